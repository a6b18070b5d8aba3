"""PyTorch on the CPU or an NVIDIA or AMD GPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from accelsim.base.errors import InputError
from accelsim.study.measure import machine
from accelsim.study.measure.cases import ATTENTION, Case

Call = Callable[[], object]

_FORMATS = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16", "fp64": "float64"}


@dataclass(frozen=True)
class TorchBackend:
    """PyTorch, eager, on a device."""

    torch: Any
    kind: str
    """``cpu`` or ``cuda``."""
    threads: int

    name = "torch"

    @classmethod
    def open(cls, device: str, threads: int | None) -> TorchBackend:
        """Import it. Raises InputError where it is not installed or sees no such device."""
        try:
            torch = import_module("torch")
        except ImportError as error:
            raise InputError(
                f"--backend torch: PyTorch is not installed ({error}); install it (https://pytorch.org/get-started) "
                "or want --backend numpy, which measures the CPU without convolutions"
            ) from None
        if device == "cuda" and not torch.cuda.is_available():
            raise InputError("--device cuda: PyTorch sees no GPU; want --device cpu")
        if threads is not None and device == "cuda":
            raise InputError(f"--threads {threads}: a GPU has no such number; want it with --device cpu")
        if threads is not None:
            torch.set_num_threads(threads)
        if device == "cuda":
            torch.backends.cuda.matmul.allow_tf32 = False
            torch.backends.cudnn.allow_tf32 = False
        return cls(torch, device, torch.get_num_threads())

    @property
    def dtypes(self) -> Sequence[str]:
        """BF16 beside FP32; on a GPU FP16 too."""
        return ("fp32", "bf16", "fp16", "fp64") if self.kind == "cuda" else ("fp32", "bf16", "fp64")

    @property
    def defaults(self) -> Sequence[str]:
        """All but FP64."""
        return self.dtypes[:-1]

    @property
    def synchronised(self) -> str:
        """After each sample, on a GPU."""
        return ", synchronised after each sample" if self.kind == "cuda" else ""

    @property
    def device(self) -> str:
        """The GPU's or CPU's name."""
        return str(self.torch.cuda.get_device_name()) if self.kind == "cuda" else machine.cpu_name()

    @property
    def framework(self) -> str:
        """Versions; on the CPU with the libraries that it calls."""
        torch = self.torch
        if self.kind == "cuda":
            cudnn = torch.backends.cudnn.version()
            return f"torch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {cudnn}, TF32 off"
        libraries = (("MKL", torch.backends.mkl), ("oneDNN", torch.backends.mkldnn))
        parts = [name for name, library in libraries if library.is_available()]
        return f"torch {torch.__version__}, {' and '.join(parts) or 'no BLAS named'}"

    def warnings(self) -> Sequence[str]:
        """None."""
        return ()

    def threads_of(self, op: str) -> int:
        """Every kernel is spread over all."""
        return self.threads

    def wait(self) -> None:
        """Until the GPU's queue is empty."""
        if self.kind == "cuda":
            self.torch.cuda.synchronize()

    def prepare(self, case: Case) -> Call | None:
        """A call on operands of its own; no gradients."""
        self.torch.manual_seed(0)
        self.torch.set_grad_enabled(False)
        make = getattr(self, f"_{case.op}", None) or (self._attention if case.op in ATTENTION else None)
        return None if make is None else make(case)

    def _random(self, case: Case, *shape: int) -> Any:
        dtype = getattr(self.torch, _FORMATS[case.dtype])
        return self.torch.rand(shape, device=self.kind).add(0.5).to(dtype)

    def _matrix(self, case: Case) -> Any:
        return self._random(case, case.size("rows"), case.size("cols"))

    def _gemm(self, case: Case) -> Call:
        m, n, k = (case.size(c) for c in "MNK")
        a, b, c = self._random(case, m, k), self._random(case, k, n), self._random(case, m, n)
        return lambda: self.torch.mm(a, b, out=c)

    def _bmm(self, case: Case) -> Call:
        batch, m, n, k = (case.size(c) for c in ("batch", "M", "N", "K"))
        a, b, c = (self._random(case, batch, *shape) for shape in ((m, k), (k, n), (m, n)))
        return lambda: self.torch.bmm(a, b, out=c)

    def _conv2d(self, case: Case) -> Call:
        x = self._random(case, *(case.size(c) for c in ("batch", "c_in", "h_in", "w_in")))
        w = self._random(case, *(case.size(c) for c in ("c_out", "c_in", "kh", "kw")))
        stride, pad = case.size("stride"), case.size("pad")
        return lambda: self.torch.nn.functional.conv2d(x, w, stride=stride, padding=pad)

    def _softmax(self, case: Case) -> Call:
        x = self._matrix(case)
        return lambda: self.torch.softmax(x, -1)

    def _layernorm(self, case: Case) -> Call:
        x, (gamma, beta) = self._matrix(case), (self._random(case, case.size("cols")) for _ in range(2))
        return lambda: self.torch.nn.functional.layer_norm(x, gamma.shape, gamma, beta)

    def _relu(self, case: Case) -> Call:
        x = self._matrix(case)
        return lambda: self.torch.relu(x)

    def _tanh(self, case: Case) -> Call:
        x = self._matrix(case)
        return lambda: self.torch.tanh(x)

    def _gelu(self, case: Case) -> Call:
        x = self._matrix(case)
        return lambda: self.torch.nn.functional.gelu(x)

    def _binary(self, case: Case, function: Any) -> Call:
        x, other, y = (self._matrix(case) for _ in range(3))
        return lambda: function(x, other, out=y)

    def _ew_add(self, case: Case) -> Call:
        return self._binary(case, self.torch.add)

    def _ew_mul(self, case: Case) -> Call:
        return self._binary(case, self.torch.mul)

    def _ew_div(self, case: Case) -> Call:
        return self._binary(case, self.torch.div)

    def _attention(self, case: Case) -> Call:
        batch, heads, dim = (case.size(c) for c in ("batch", "heads", "head_dim"))
        q_len, kv_len = case.size("q_len"), case.size("kv_len")
        query = self._random(case, batch, heads, q_len, dim)
        key, value = (self._random(case, batch, heads, kv_len, dim) for _ in range(2))
        causal = case.op == "attention_prefill"
        attend = self.torch.nn.functional.scaled_dot_product_attention
        return lambda: attend(query, key, value, is_causal=causal)
