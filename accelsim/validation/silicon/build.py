"""A measured row becomes the ops that its kernels computed; a new kind of row registers with ``builds``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from accelsim.base.csv_rows import finite
from accelsim.base.dtypes import DTYPES
from accelsim.base.units import ceil_div
from accelsim.validation.silicon.experts import share
from accelsim.validation.silicon.protocol import protocol_for
from accelsim.validation.silicon.rows import Measurement
from accelsim.workload.gradients import FilterGradient, InputGradient
from accelsim.workload.ops import Attention, Conv2d, Elementwise, Matmul, Norm, Op, Reduction, Role, Softmax, Tensor


@dataclass(frozen=True, slots=True)
class Formats:
    """What a ``dtype`` cell means."""

    compute: str
    weight: str
    kv_cache: str
    block_scaled: bool = False
    math: str = ""
    """What operands are turned into before they are multiplied, where that is another format."""


_PLAIN = {
    "half": "fp16",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float32": "fp32",
    "float": "fp32",
    "float64": "fp64",
    "sq": "int8",
    "nvfp4": "fp4",
}
_WEIGHT_ONLY = {"int8_wo": "int8", "int4_wo": "int4", "w4a16_mxfp4": "int4"}


def formats(cell: str) -> Formats:
    """Read a ``dtype`` cell: ``bfloat16/kv-fp8``, ``int4_wo`` (weights only), ``fp8_block`` ...

    >>> formats("bfloat16/kv-fp8")
    Formats(compute='bf16', weight='bf16', kv_cache='fp8', block_scaled=False, math='')
    """
    if cell == "fp16-storage/fp32-math":
        return Formats("fp16", "fp16", "fp16", math="fp32")
    main, _, cache = cell.partition("/kv-")
    if main in _WEIGHT_ONLY:
        return Formats("bf16", _WEIGHT_ONLY[main], "bf16")
    plain = main.removesuffix("_block")
    plain = _PLAIN.get(plain, plain)
    kept = _PLAIN.get(cache, cache) or plain
    return Formats(plain, plain, kept, block_scaled=main.endswith("_block"))


def _formats(row: Measurement) -> Formats:
    """The formats of a row. Raises UnmodelledError for one that is not known, InputError where none is said."""
    cell = row.text("dtype")
    if not cell:
        raise row.wrong("dtype", cell, "a number format")
    found = formats(cell)
    if not {found.compute, found.weight, found.kv_cache} <= DTYPES.keys():
        raise UnmodelledError(f"dtype {cell}")
    return found


Builder = Callable[[Measurement], tuple[Op, ...]]
_BUILDERS: dict[str, Builder] = {}


def builds(*kinds: str) -> Callable[[Builder], Builder]:
    """Register the builder of rows whose ``op`` is one of ``kinds``."""

    def register(builder: Builder) -> Builder:
        _BUILDERS.update(dict.fromkeys(kinds, builder))
        return builder

    return register


def known_kinds() -> list[str]:
    """Kinds of row that can be built."""
    return sorted(_BUILDERS)


class UnmodelledError(Exception):
    """A row whose kernel or device has no model here; the text says which."""


def build(row: Measurement) -> tuple[Op, ...]:
    """The ops of a row, in the order of its kernels.

    Raises UnmodelledError for a kind without a builder and InputError for cells that are wrong.
    """
    builder = _BUILDERS.get(row.text("op"))
    if builder is None:
        raise UnmodelledError(f"op {row.text('op')}")
    return builder(row)


def _tensor(name: str, shape: tuple[int, ...], dtype: str, role: Role = "activation") -> Tensor:
    return Tensor(name=name, shape=shape, dtype=dtype, role=role)


@builds("gemm", "linear")
def _gemm(row: Measurement) -> tuple[Op, ...]:
    kinds = _formats(row)
    if row.text("dtype") == "int8_wo" and row.text("framework").startswith("SGLang"):
        kinds = formats("int8")  # 1.1e15 a second on an H100 is beyond the peak of bf16: activations are rounded too
    batch, m, n, k = row.whole("batch", 1), row.whole("M"), row.whole("N"), row.whole("K")
    out = kinds.compute if kinds.compute not in {"fp8", "fp4", "int8"} else "bf16"
    if kinds.compute == "int8":
        out = "int32" if "DeepBench" in row.text("source_repo") else "fp16"
    a = _tensor("a", (batch, m, k), kinds.compute)
    b = _tensor("b", (batch, k, n), kinds.weight, "weight")
    c = _tensor("c", (batch, m, n), out)
    return (Matmul(name="gemm", inputs=(a, b), outputs=(c,), m=m, k=k, n=n, batch=batch, math=kinds.math),)


@builds("bmm")
def _bmm(row: Measurement) -> tuple[Op, ...]:
    dtype = _formats(row).compute
    batch, m, n, k = row.whole("batch", 1), row.whole("M"), row.whole("N"), row.whole("K")
    a, b, c = (_tensor(name, (batch, *shape), dtype) for name, shape in (("a", (m, k)), ("b", (k, n)), ("c", (m, n))))
    return (Matmul(name="bmm", inputs=(a, b), outputs=(c,), m=m, k=k, n=n, batch=batch),)


@builds("conv2d", "conv2d_bwd_data", "conv2d_bwd_filter")
def _conv2d(row: Measurement) -> tuple[Op, ...]:
    kinds = _formats(row)
    batch, c_in, c_out = row.whole("batch", 1), row.whole("c_in"), row.whole("c_out")
    size, window = (row.whole("h_in"), row.whole("w_in")), (row.whole("kh"), row.whole("kw"))
    stride_h, pad_h = row.whole("stride", 1), row.whole("pad", 0, least=0)
    stride = (stride_h, row.whole_extra("stride_w", stride_h))
    pad = (pad_h, row.whole_extra("pad_w", pad_h, least=0))
    h, w = ((x + 2 * p - f) // s + 1 for x, p, f, s in zip(size, pad, window, stride, strict=True))
    if min(h, w) < 1:
        raise row.wrong("kh", str(window[0]), f"a window, here {window}, that fits into {size} with pad {pad}")
    image = _tensor("x", (batch, c_in, *size), kinds.compute)
    filters = _tensor("w", (c_out, c_in, *window), kinds.weight, "weight")
    result = _tensor("y", (batch, c_out, h, w), kinds.compute)
    kind, inputs, output = {
        "conv2d": (Conv2d, (image, filters), result),
        "conv2d_bwd_data": (InputGradient, (result, filters), image),
        "conv2d_bwd_filter": (FilterGradient, (result, image), filters),
    }[row.text("op")]
    return (
        kind(
            name=row.text("op"),
            inputs=inputs,
            outputs=(output,),
            batch=batch,
            c_in=c_in,
            h_in=size[0],
            w_in=size[1],
            c_out=c_out,
            h_out=h,
            w_out=w,
            kh=window[0],
            kw=window[1],
            stride=stride,
            pad=(pad[0], pad[1], pad[0], pad[1]),
            math=kinds.math,
        ),
    )


MOST_STEPS = 2**16
"""Of a recurrent layer: each is an op of its own."""
CELLS = {
    "rnn_vanilla": (1, ("tanh",)),
    "rnn_lstm": (4, ("sigmoid", "tanh", "mul", "add")),
    "rnn_gru": (3, ("sigmoid", "tanh", "mul", "add")),
}
"""Of a recurrent cell: gates, and the functions of the kernel that makes the next state of them."""


@builds(*CELLS)
def _recurrent(row: Measurement) -> tuple[Op, ...]:
    """A product with the recurrent weights and a kernel of functions for each step of time, one after another.

    What comes from the layer's input is not part of it (``CUDNN_SKIP_INPUT`` in DeepBench's rnn_bench).
    """
    kinds = _formats(row)
    batch, steps, hidden = row.whole("batch", 1), row.whole("rows", most=MOST_STEPS), row.whole("cols")
    gates, functions = CELLS[row.text("op")]
    wide = gates * hidden
    state, made = _tensor("h", (batch, hidden), kinds.compute), _tensor("gates", (batch, wide), kinds.compute)
    weights = _tensor("w", (hidden, wide), kinds.weight, "weight")
    product = Matmul(
        name="recurrent", inputs=(state, weights), outputs=(made,), m=batch, k=hidden, n=wide, math=kinds.math
    )
    first, *others = (
        Elementwise(name=function, inputs=(made,), outputs=(made,), function=function) for function in functions
    )
    cell = replace(first, inputs=(made, state), outputs=(state,), epilogue=tuple(others))
    return (product, cell) * steps


def _matrix(row: Measurement, *names: str) -> list[Tensor]:
    dtype = _formats(row).compute
    return [_tensor(name, (row.whole("rows"), row.whole("cols")), dtype) for name in names]


@builds("softmax")
def _softmax(row: Measurement) -> tuple[Op, ...]:
    x, y = _matrix(row, "x", "y")
    return (Softmax(name="softmax", inputs=(x,), outputs=(y,), rows=x.shape[0], cols=x.shape[1]),)


@builds("layernorm", "rmsnorm")
def _norm(row: Measurement) -> tuple[Op, ...]:
    x, y = _matrix(row, "x", "y")
    rms = row.text("op") == "rmsnorm" and not _of_phi2(row)
    weights = (_tensor(name, (x.shape[1],), x.dtype, "weight") for name in ("scale", "shift")[: 1 if rms else 2])
    return (Norm(name=row.text("op"), inputs=(x, *weights), outputs=(y,), rows=x.shape[0], cols=x.shape[1], rms=rms),)


@builds("gelu", "relu", "tanh", "ew_add_scalar", "ew_mul_scalar", "ew_div_scalar", "ew_pow_scalar")
def _unary(row: Measurement) -> tuple[Op, ...]:
    x, y = _matrix(row, "x", "y")
    function = row.text("op").removeprefix("ew_").removesuffix("_scalar")
    return (Elementwise(name=function, inputs=(x,), outputs=(y,), function=function),)


@builds("ew_add", "ew_mul", "ew_div", "ew_pow")
def _binary(row: Measurement) -> tuple[Op, ...]:
    x, other, y = _matrix(row, "x", "other", "y")
    function = row.text("op").removeprefix("ew_")
    return (Elementwise(name=function, inputs=(x, other), outputs=(y,), function=function),)


PHI2 = {"mlp_act": 10240, "input_layernorm": 2560}
"""Widths of the one model among Vidur's whose activation has no gate (GELU) and whose norms take the mean off."""


def _of_phi2(row: Measurement) -> bool:
    """Whether a row is of Phi-2 (Microsoft, 2023): by its op among the extras and its width before slicing."""
    slices = row.whole_extra("tp", 1)
    return any(op in row.extra and row.whole("cols") * slices == width for op, width in PHI2.items())


@builds("silu_and_mul")
def _gated(row: Measurement) -> tuple[Op, ...]:
    if _of_phi2(row):
        x, y = _matrix(row, "x", "y")
        return (Elementwise(name="gelu", inputs=(x,), outputs=(y,), function="gelu"),)
    gate, up, y = _matrix(row, "gate", "up", "y")
    product = Elementwise(name="mul", inputs=(y, up), outputs=(y,), function="mul")
    return (Elementwise(name="silu", inputs=(gate, up), outputs=(y,), function="silu", epilogue=(product,)),)


@builds("attention_prefill", "attention_decode", "attention_encoder")
def _attention(row: Measurement) -> tuple[Op, ...]:
    kinds = _formats(row)
    batch, heads, kv_heads, head_dim = (row.whole(c) for c in ("batch", "heads", "kv_heads", "head_dim"))
    q_len, kv_len = row.whole("q_len"), row.whole("kv_len")
    causal = row.text("op") != "attention_encoder"
    kept = (batch, kv_len, kv_heads * head_dim)
    q, y = (_tensor(name, (batch, q_len, heads * head_dim), kinds.compute) for name in ("q", "y"))
    role: Role = "kv_cache" if causal else "activation"
    k, v = (_tensor(name, kept, kinds.kv_cache, role) for name in ("k", "v"))
    return (
        Attention(
            name=row.text("op"),
            inputs=(q, k, v),
            outputs=(y,),
            batch=batch,
            q_len=q_len,
            kv_len=kv_len,
            heads=heads,
            kv_heads=kv_heads,
            head_dim=head_dim,
            causal=causal,
            window=row.whole("window", 0, least=0) or None,
        ),
    )


@builds("moe_fused")
def _experts(row: Measurement) -> tuple[Op, ...]:
    """Both products of the experts that tokens fall on, a gated activation between, the sum over a token's experts.

    The products of experts are one grid of tiles; they stand here as a batch of products of their mean size.
    """
    kinds = _formats(row)
    tokens, inner, width = row.whole("M"), row.whole("N"), row.whole("K")
    choices, devices, slices = (row.whole_extra(key, 1) for key in ("topk", "ep", "tp"))
    experts = row.whole_extra("experts", 1, most=MOST_EXPERTS)
    mine = share(tokens, choices, experts, devices, _steepness(row), all_here=protocol_for(row).local_experts)
    n, each = max(1, inner // slices), ceil_div(mine.tokens, mine.experts)
    out = kinds.compute if kinds.compute not in {"fp8", "fp4", "int8"} else "bf16"

    def product(name: str, k: int, width: int) -> Matmul:
        a = _tensor(f"{name} in", (mine.experts, each, k), kinds.compute)
        b = _tensor(f"{name} weights", (mine.experts, k, width), kinds.weight, "weight")
        c = _tensor(f"{name} out", (mine.experts, each, width), out)
        return Matmul(name=name, inputs=(a, b), outputs=(c,), m=each, k=k, n=width, batch=mine.experts, math=kinds.math)

    gate, up, y = (_tensor(name, (mine.tokens, n), out) for name in ("gate", "up", "gated"))
    gated = Elementwise(name="mul", inputs=(y, up), outputs=(y,), function="mul")
    act = Elementwise(name="silu", inputs=(gate, up), outputs=(y,), function="silu", epilogue=(gated,))
    parts = _tensor("parts", (mine.tokens, width), out)
    summed = _tensor("sum", (min(tokens, mine.tokens), width), out)
    return (
        product("up", width, 2 * n),
        act,
        product("down", n, width),
        Reduction(name="sum", inputs=(parts,), outputs=(summed,)),
    )


MOST_EXPERTS, STEEPEST = 2**16, 10.0
"""Of a mixture of experts, and of the power law by which tokens fall on them."""


def _steepness(row: Measurement) -> float | None:
    """The exponent of the power law by which tokens fall on experts; None where all get alike."""
    law, _, exponent = row.extra.get("dist", "").rpartition("_")
    if law != "power_law":
        return None
    value = finite(exponent)
    if value is None or not 1 < value <= STEEPEST:
        raise row.wrong("extra, dist", exponent, f"power_law_X, X a number > 1 and <= {STEEPEST:g}")
    return value
