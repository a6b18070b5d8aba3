"""numpy on the CPU: products in its BLAS, everything else as sequences of array functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from accelsim.base.errors import InputError
from accelsim.study.measure import machine
from accelsim.study.measure.cases import ATTENTION, Case

Call = Callable[[], object]
Values = np.ndarray[Any, np.dtype[Any]]

_FORMATS = {"fp32": np.float32, "fp64": np.float64}
_PREFIXES = ("scipy_openblas_", "openblas_")
_SUFFIXES = ("64_", "", "_64_", "64")
_AVX2_CORES = frozenset({"haswell", "zen", "excavator"})


def _blas() -> ctypes.CDLL | None:
    """The OpenBLAS that numpy brought along, where it did."""
    folder = Path(np.__file__).parent.parent / "numpy.libs"
    for file in sorted(folder.glob("*openblas*")):
        try:
            return ctypes.CDLL(str(file))
        except OSError:
            continue
    return None


def _function(library: ctypes.CDLL | None, name: str) -> Any:
    for prefix in _PREFIXES:
        for suffix in _SUFFIXES:
            found = getattr(library, f"{prefix}{name}{suffix}", None) if library is not None else None
            if found is not None:
                return found
    return None


@dataclass(frozen=True)
class NumpyBackend:
    """numpy with so many threads in its BLAS; array functions have one."""

    threads: int
    blas: str
    """Version of the BLAS."""
    core: str
    """The CPU whose kernels the BLAS runs, where it tells."""

    name = "numpy"
    dtypes: Sequence[str] = ("fp32", "fp64")
    defaults: Sequence[str] = ("fp32",)
    synchronised = ""

    @classmethod
    def open(cls, threads: int | None) -> NumpyBackend:
        """Set the threads of the BLAS (all cores, unless said)."""
        library = _blas()
        set_threads = _function(library, "set_num_threads")
        wanted = threads or machine.cores()
        if set_threads is not None:
            set_threads(ctypes.c_int(wanted))
        elif threads is not None:
            raise InputError(
                f"--threads {threads}: this numpy's BLAS does not take a number of threads; "
                f"set OMP_NUM_THREADS={threads} (or its own variable) before the command instead"
            )
        told = _function(library, "get_corename")
        core = ""
        if told is not None:
            told.restype = ctypes.c_char_p
            core = (told() or b"").decode(errors="replace")
        config: Any = np.show_config(mode="dicts")
        blas = (config or {}).get("Build Dependencies", {}).get("blas", {})
        return cls(wanted, f"{blas.get('name', 'BLAS')} {blas.get('version', '')}".strip(), core)

    @property
    def device(self) -> str:
        """The CPU."""
        return machine.cpu_name()

    @property
    def framework(self) -> str:
        """Versions, and whose kernels the BLAS runs."""
        return f"numpy {np.__version__}, {self.blas}" + (f", {self.core} kernels" if self.core else "")

    def warnings(self) -> Sequence[str]:
        """A BLAS that does not use what the CPU has."""
        if self.core.lower() in _AVX2_CORES and "avx512f" in machine.flags():
            return (
                f"OpenBLAS runs its {self.core} kernels, of 256 bits, on a CPU with AVX-512; "
                "set OPENBLAS_CORETYPE=SkylakeX before the command to measure AVX-512",
            )
        return ()

    def threads_of(self, op: str) -> int:
        """Only products are spread."""
        return self.threads if op in {"gemm", "bmm", *ATTENTION} else 1

    def wait(self) -> None:
        """Nothing runs on."""

    def prepare(self, case: Case) -> Call | None:
        """A call on operands of its own, results included."""
        make = _KERNELS.get(case.op)
        return None if make is None else make(case, np.random.default_rng(0))


Maker = Callable[[Case, np.random.Generator], Call]


def _random(generator: np.random.Generator, case: Case, *shape: int) -> Values:
    return generator.uniform(0.5, 1.5, shape).astype(_FORMATS[case.dtype])


def _product(case: Case, generator: np.random.Generator) -> Call:
    batch = (case.size("batch"),) if case.op == "bmm" else ()
    m, n, k = (case.size(c) for c in "MNK")
    a, b = _random(generator, case, *batch, m, k), _random(generator, case, *batch, k, n)
    c = np.empty((*batch, m, n), a.dtype)
    return lambda: np.matmul(a, b, out=c)


def _matrices(case: Case, generator: np.random.Generator, inputs: int) -> list[Values]:
    shape = case.size("rows"), case.size("cols")
    made = [_random(generator, case, *shape) for _ in range(inputs)]
    return [*made, np.empty(shape, made[0].dtype)]


def _binary(function: Callable[..., Any]) -> Maker:
    def make(case: Case, generator: np.random.Generator) -> Call:
        x, other, y = _matrices(case, generator, 2)
        return lambda: function(x, other, out=y)

    return make


def _unary(function: Callable[..., Any]) -> Maker:
    def make(case: Case, generator: np.random.Generator) -> Call:
        x, y = _matrices(case, generator, 1)
        return lambda: function(x, y)

    return make


def _gelu(x: Values, y: Values) -> None:
    """``x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))``, nine array functions in place."""
    np.multiply(x, x, out=y)
    np.multiply(y, 0.044715, out=y)
    np.add(y, 1.0, out=y)
    np.multiply(y, x, out=y)
    np.multiply(y, 0.7978845608, out=y)
    np.tanh(y, out=y)
    np.add(y, 1.0, out=y)
    np.multiply(y, x, out=y)
    np.multiply(y, 0.5, out=y)


def _softmax(x: Values, y: Values) -> None:
    """Five array functions: maximum, difference, exponential, sum, quotient."""
    np.subtract(x, x.max(axis=-1, keepdims=True), out=y)
    np.exp(y, out=y)
    np.divide(y, y.sum(axis=-1, keepdims=True), out=y)


def _layernorm(case: Case, generator: np.random.Generator) -> Call:
    """Moments by two reductions and a square, then three array functions in place."""
    x, square, y = _matrices(case, generator, 2)
    gamma, beta = _random(generator, case, case.size("cols")), _random(generator, case, case.size("cols"))

    def call() -> None:
        np.subtract(x, x.mean(axis=-1, keepdims=True), out=y)
        np.multiply(y, y, out=square)
        np.divide(y, np.sqrt(square.mean(axis=-1, keepdims=True) + 1e-5), out=y)
        np.multiply(y, gamma, out=y)
        np.add(y, beta, out=y)

    return call


def _rmsnorm(case: Case, generator: np.random.Generator) -> Call:
    x, square, y = _matrices(case, generator, 2)
    gamma = _random(generator, case, case.size("cols"))

    def call() -> None:
        np.multiply(x, x, out=square)
        np.divide(x, np.sqrt(square.mean(axis=-1, keepdims=True) + 1e-5), out=y)
        np.multiply(y, gamma, out=y)

    return call


def _attention(case: Case, generator: np.random.Generator) -> Call:
    """Two products with scaling, mask and softmax between them; scores of masked pairs are computed too."""
    batch, heads, dim = (case.size(c) for c in ("batch", "heads", "head_dim"))
    q_len, kv_len = case.size("q_len"), case.size("kv_len")
    query = _random(generator, case, batch, heads, q_len, dim)
    key, value = (_random(generator, case, batch, heads, kv_len, dim) for _ in range(2))
    scores = np.empty((batch, heads, q_len, kv_len), query.dtype)
    result = np.empty_like(query)
    mask = np.triu(np.full((q_len, kv_len), -np.inf, query.dtype), kv_len - q_len + 1)
    masked = case.op != "attention_encoder" and q_len > 1
    turned = np.ascontiguousarray(key.swapaxes(-1, -2))

    def call() -> None:
        np.matmul(query, turned, out=scores)
        np.multiply(scores, dim**-0.5, out=scores)
        if masked:
            np.add(scores, mask, out=scores)
        _softmax(scores, scores)
        np.matmul(scores, value, out=result)

    return call


_KERNELS: dict[str, Maker] = {
    "gemm": _product,
    "bmm": _product,
    "softmax": _unary(_softmax),
    "layernorm": _layernorm,
    "rmsnorm": _rmsnorm,
    "ew_add": _binary(np.add),
    "ew_mul": _binary(np.multiply),
    "ew_div": _binary(np.divide),
    "relu": _unary(lambda x, y: np.maximum(x, 0, out=y)),
    "tanh": _unary(lambda x, y: np.tanh(x, out=y)),
    "gelu": _unary(_gelu),
    **dict.fromkeys(ATTENTION, _attention),
}
