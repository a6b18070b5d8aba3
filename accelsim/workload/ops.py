"""Ops: shapes that know their counts, and nothing of hardware."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import ClassVar, Literal, Self

from accelsim.base.dtypes import product_format, size_bytes
from accelsim.base.errors import WorkloadError
from accelsim.base.units import BITS_PER_BYTE, ceil_div

Role = Literal["weight", "activation", "kv_cache"]
"""``kv_cache``: keys and values that a device keeps from step to step; it computes with them as with activations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """A named block of numbers."""

    name: str
    shape: tuple[int, ...]
    dtype: str = "fp32"
    role: Role = "activation"
    sparsity: tuple[int, int] = (1, 1)
    """(N, M): of every M elements along the reduction N are kept, with their places beside them."""
    zeros: float = 0.0
    """Share of its numbers that are zero, where that is known."""
    elements: int = field(init=False, repr=False, compare=False)
    """Numbers in it."""
    bytes: int = field(init=False, repr=False, compare=False)
    """Memory that it occupies [bytes]; of a sparse one what is kept, with ``log2 M`` bits for each place."""

    def __post_init__(self) -> None:
        kept, of = self.sparsity
        if not 1 <= kept <= of:
            raise WorkloadError(f"tensor {self.name}: want sparsity N:M with 1 <= N <= M, got {kept}:{of}")
        if not 0 <= self.zeros <= 1:
            raise WorkloadError(f"tensor {self.name}: want a share of zeros from 0 to 1, got {self.zeros:g}")
        if any(dim < 1 for dim in self.shape):
            raise WorkloadError(f"tensor {self.name}: want every dimension >= 1, got shape {self.shape}")
        elements = prod(self.shape)
        held = elements if kept == of else ceil_div(elements * kept, of)
        places = 0 if kept == of else ceil_div(held * (of - 1).bit_length(), BITS_PER_BYTE)
        # Both are asked for again and again.
        object.__setattr__(self, "elements", elements)
        object.__setattr__(self, "bytes", size_bytes(held, self.dtype) + places)


@dataclass(frozen=True, slots=True)
class Elementary:
    """Elementary operations outside multiply-accumulates, as counts or per element."""

    add: int = 0
    """Additions, subtractions, comparisons and selections."""
    mul: int = 0
    special: int = 0
    """Exponentials, divisions, roots and their like."""

    def __add__(self, other: Elementary) -> Elementary:
        return Elementary(self.add + other.add, self.mul + other.mul, self.special + other.special)

    def __mul__(self, times: int) -> Elementary:
        return Elementary(self.add * times, self.mul * times, self.special * times)

    @property
    def total(self) -> int:
        """All of them."""
        return self.add + self.mul + self.special


FUNCTIONS: dict[str, Elementary] = {
    "identity": Elementary(),
    "add": Elementary(add=1),
    "sub": Elementary(add=1),
    "mul": Elementary(mul=1),
    "div": Elementary(special=1),
    "affine": Elementary(add=1, mul=1),
    "relu": Elementary(add=1),
    "clip": Elementary(add=2),
    "leaky_relu": Elementary(add=1, mul=1),
    "max": Elementary(add=1),
    "min": Elementary(add=1),
    "abs": Elementary(add=1),
    "neg": Elementary(add=1),
    "compare": Elementary(add=1),
    "select": Elementary(add=1),
    "exp": Elementary(special=1),
    "log": Elementary(special=1),
    "sqrt": Elementary(special=1),
    "reciprocal": Elementary(special=1),
    "pow": Elementary(mul=1, special=2),
    "erf": Elementary(special=1),
    "tanh": Elementary(special=1),
    "sigmoid": Elementary(add=1, special=2),
    "hard_sigmoid": Elementary(add=3, mul=1),
    "silu": Elementary(add=1, mul=1, special=2),
    "gelu": Elementary(add=1, mul=3, special=1),
    "mish": Elementary(add=1, mul=1, special=3),
    "hard_swish": Elementary(add=3, mul=2),
    "rotary": Elementary(add=1, mul=2),
}
"""What one element of an elementwise function costs.

GELU is ``x/2 * (1 + erf(x / sqrt 2))``, Mish ``x * tanh(log(1 + exp(x)))``; ``rotary`` turns pairs of elements by an
angle whose sine and cosine are read (Su et al., RoFormer, 2021).
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One step of a workload; ``inputs`` and ``outputs`` are the tensors that it touches.

    ``epilogue`` holds elementwise ops that were fused into it: they work on its result before that is written,
    and their further operands stand at the end of ``inputs``.
    """

    kind: ClassVar[str]
    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    epilogue: tuple[Elementwise, ...] = ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return 0

    @property
    def own_elementary(self) -> Elementary:
        """Elementary operations of the op itself, its epilogue apart."""
        return Elementary()

    @property
    def elementary(self) -> Elementary:
        """Elementary operations, its epilogue's included."""
        total = self.own_elementary
        for fused in self.epilogue:
            total = total + fused.own_elementary
        return total

    @property
    def passes(self) -> int:
        """How often its input has to be gone through, because a result depends on all of a row."""
        return 1

    @property
    def dtype(self) -> str:
        """The format it computes in: that of its first input."""
        return self.inputs[0].dtype if self.inputs else self.outputs[0].dtype

    @property
    def weights(self) -> tuple[Tensor, ...]:
        """Inputs that are weights."""
        return tuple(t for t in self.inputs if t.role == "weight")

    @property
    def activations(self) -> tuple[Tensor, ...]:
        """Inputs that are not weights."""
        return tuple(t for t in self.inputs if t.role != "weight")

    def bytes_read(self, tensor: Tensor) -> int:
        """Bytes of one of its inputs that it looks at, each counted once."""
        return tensor.bytes

    @property
    def functions(self) -> frozenset[str]:
        """Elementwise functions that a device must have to run it."""
        return frozenset(fused.function for fused in self.epilogue)

    def with_tensors(self, rename: dict[str, Tensor]) -> Self:
        """Return the op with tensors replaced, by name, wherever it (or its epilogue) touches them."""
        return replace(
            self,
            inputs=tuple(rename.get(t.name, t) for t in self.inputs),
            outputs=tuple(rename.get(t.name, t) for t in self.outputs),
            epilogue=tuple(fused.with_tensors(rename) for fused in self.epilogue),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Matmul(Op):
    """``C[batch, m, n] = A[batch, m, k] @ B[batch, k, n]``, ``batch`` independent products.

    ``inputs`` are A, B and then what the epilogue adds; B is the weights where there are any.
    """

    kind: ClassVar[str] = "matmul"
    m: int
    k: int
    n: int
    batch: int = 1
    math: str = ""
    """The format that operands are turned into before they are multiplied, as fp32 of numbers kept in fp16."""

    @property
    def dtype(self) -> str:
        """The format that it multiplies in: its operands' own, or the name of the pair, unless ``math`` names one."""
        return self.math or product_format(self.inputs[0].dtype, self.inputs[1].dtype)

    def __post_init__(self) -> None:
        if min(self.m, self.k, self.n, self.batch) < 1:
            raise WorkloadError(f"op {self.name}: want m, k, n and batch >= 1")

    @property
    def macs(self) -> int:
        """``batch * m * k * n``."""
        return self.batch * self.m * self.k * self.n

    def bytes_read(self, tensor: Tensor) -> int:
        """Of A and B, no more than the products take: either may be a slice of its tensor."""
        for operand, rows, cols in zip(self.inputs, (self.m, self.k), (self.k, self.n), strict=False):
            if operand.name == tensor.name:
                return min(tensor.bytes, size_bytes(self.batch * rows * cols, operand.dtype))
        return tensor.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Conv2d(Op):
    """A two-dimensional convolution; a depthwise one has ``groups == c_in``. ``inputs`` are image, filters, ...

    ``batch`` x ``c_in`` x ``h_in`` x ``w_in`` -> ``batch`` x ``c_out`` x ``h_out`` x ``w_out``.
    """

    kind: ClassVar[str] = "conv2d"
    batch: int
    c_in: int
    h_in: int
    w_in: int
    c_out: int
    h_out: int
    w_out: int
    kh: int
    kw: int
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int, int, int] = (0, 0, 0, 0)
    """Top, left, bottom, right."""
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    math: str = ""
    """The format that operands are turned into before they are multiplied, as fp32 of numbers kept in fp16."""

    @property
    def dtype(self) -> str:
        """The format that it multiplies in: its operands' own, or the name of the pair, unless ``math`` names one."""
        return self.math or product_format(self.inputs[0].dtype, self.inputs[1].dtype)

    def __post_init__(self) -> None:
        if self.c_in % self.groups or self.c_out % self.groups:
            raise WorkloadError(
                f"op {self.name}: want groups to divide c_in and c_out, "
                f"got groups={self.groups}, c_in={self.c_in}, c_out={self.c_out}"
            )

    @property
    def macs(self) -> int:
        """``batch * h_out * w_out * c_out * (c_in / groups) * kh * kw``."""
        return self.gemm.macs

    @property
    def gemm(self) -> Matmul:
        """The matrix product that it is: ``groups`` of (pixels, c_in kh kw / groups, c_out / groups)."""
        return Matmul(
            name=self.name,
            inputs=self.inputs,
            outputs=self.outputs,
            epilogue=self.epilogue,
            batch=self.groups,
            m=self.batch * self.h_out * self.w_out,
            k=self.c_in // self.groups * self.kh * self.kw,
            n=self.c_out // self.groups,
            math=self.math,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Elementwise(Op):
    """The same function on every element of the (broadcast) result."""

    kind: ClassVar[str] = "elementwise"
    function: str

    def __post_init__(self) -> None:
        if self.function not in FUNCTIONS:
            raise WorkloadError(f"op {self.name}: function {self.function!r}: want one of {sorted(FUNCTIONS)}")

    @property
    def own_elementary(self) -> Elementary:
        """The function's cost on every element of the result."""
        return FUNCTIONS[self.function] * self.outputs[0].elements

    @property
    def functions(self) -> frozenset[str]:
        """Its own function."""
        return frozenset({self.function})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reduction(Op):
    """A sum, mean or extreme over some axes."""

    kind: ClassVar[str] = "reduction"

    @property
    def own_elementary(self) -> Elementary:
        """One addition or comparison an element."""
        return Elementary(add=self.inputs[0].elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Op):
    """``exp(x - max) / sum(exp(x - max))`` over rows of ``cols`` elements."""

    kind: ClassVar[str] = "softmax"
    rows: int
    cols: int

    @property
    def own_elementary(self) -> Elementary:
        """An element: max, subtract, exp, sum, scale; a row: one reciprocal."""
        return Elementary(add=3, mul=1, special=1) * (self.rows * self.cols) + Elementary(special=self.rows)

    @property
    def passes(self) -> int:
        """Maximum, exponential and sum, scaling."""
        return 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Op):
    """``softmax(Q K' / sqrt(head_dim) + mask) V`` for every head of every item, in one kernel.

    ``inputs`` are Q ``[batch, q_len, heads * head_dim]``, K and V ``[batch, kv_len, kv_heads * head_dim]`` and a mask
    where one is given; the output has the shape of Q. K and V of a decoding step are the cache (role ``kv_cache``),
    what this step adds to it included. Queries are the last ``q_len`` of ``kv_len`` positions: a ``causal`` one sees
    the keys up to its own position, with a ``window`` the last so many of them. ``heads / kv_heads`` query heads share
    the keys and values of one (Ainslie et al., EMNLP 2023).
    """

    kind: ClassVar[str] = "attention"
    batch: int
    q_len: int
    kv_len: int
    heads: int
    kv_heads: int
    head_dim: int
    causal: bool = False
    window: int | None = None

    def __post_init__(self) -> None:
        problems = []
        if min(self.batch, self.q_len, self.kv_len, self.heads, self.kv_heads, self.head_dim, self.window or 1) < 1:
            problems.append("want every size >= 1")
        elif self.heads % self.kv_heads:
            problems.append(f"want kv_heads to divide heads, got kv_heads={self.kv_heads}, heads={self.heads}")
        if self.causal and self.q_len > self.kv_len:
            problems.append(f"causal: want q_len <= kv_len, got q_len={self.q_len}, kv_len={self.kv_len}")
        if self.window is not None and not self.causal:
            problems.append(f"window={self.window}: want causal attention")
        if len(self.inputs) < 3:
            problems.append("want inputs Q, K and V")
        if problems:
            raise WorkloadError(*(f"op {self.name}: {problem}" for problem in problems))

    @property
    def scores_per_head(self) -> int:
        """Pairs of a query and a key that it sees, of one head of one item.

        >>> def seen(q, kv, window=None):
        ...     x = Tensor(name="x", shape=())
        ...     return Attention(
        ...         name="a", inputs=(x, x, x), outputs=(x,), batch=1, q_len=q, kv_len=kv, heads=1, kv_heads=1,
        ...         head_dim=1, causal=True, window=window
        ...     ).scores_per_head
        >>> seen(4, 4), seen(1, 4), seen(4, 4, window=2), seen(2, 5, window=3)
        (10, 4, 7, 6)
        """
        if not self.causal:
            return self.q_len * self.kv_len
        first, last = self.kv_len - self.q_len + 1, self.kv_len
        full = min(max(self.window or last, first), last)
        rising = (first + full) * (full - first + 1) // 2 + full * (last - full)
        return rising if self.window is None or self.window > first else self.window * self.q_len

    @property
    def keys_seen(self) -> int:
        """Positions of K and V that some query sees: all, or what the windows of the queries reach."""
        return self.kv_len if self.window is None else min(self.kv_len, self.window + self.q_len - 1)

    @property
    def macs(self) -> int:
        """``2 * batch * heads * head_dim`` for each pair of a query and a key that it sees: what is masked is left out.

        A kernel that works in tiles computes some of the masked pairs too, and one that is not fused all of them.
        """
        return 2 * self.batch * self.heads * self.head_dim * self.scores_per_head

    @property
    def own_elementary(self) -> Elementary:
        """A score: scale, maximum, subtraction, exp, sum (and a mask's addition); a row: one reciprocal, scaling."""
        masked = Elementary(add=1 if len(self.inputs) > 3 else 0)
        rows = self.batch * self.heads * self.q_len
        return (Elementary(add=3, mul=1, special=1) + masked) * (
            self.batch * self.heads * self.scores_per_head
        ) + Elementary(mul=self.head_dim, special=1) * rows

    def bytes_read(self, tensor: Tensor) -> int:
        """Of K and V, the positions that some query sees; each of the three may be a slice of its tensor."""
        if tensor not in self.inputs[:3]:
            return tensor.bytes
        positions = self.keys_seen * self.kv_heads if tensor in self.inputs[1:3] else self.q_len * self.heads
        return min(tensor.bytes, size_bytes(self.batch * positions * self.head_dim, tensor.dtype))


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm(Op):
    """Layer, root-mean-square or local response normalisation over rows of ``cols`` elements."""

    kind: ClassVar[str] = "norm"
    rows: int
    cols: int
    rms: bool = False
    """Root mean square: rows are scaled, their mean is not taken off (Zhang and Sennrich, NeurIPS 2019)."""

    @property
    def own_elementary(self) -> Elementary:
        """An element: sum, square, sum of squares, subtract, scale, gamma and beta; a row: root and division.

        Of a root-mean-square one: square, sum of squares, scale, gamma.
        """
        element = Elementary(add=1, mul=3) if self.rms else Elementary(add=4, mul=3)
        return element * (self.rows * self.cols) + Elementary(special=2) * self.rows

    @property
    def passes(self) -> int:
        """Moments, normalisation."""
        return 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Op):
    """Maximum or average over windows of ``window`` elements."""

    kind: ClassVar[str] = "pool"
    window: int

    @property
    def own_elementary(self) -> Elementary:
        """One addition or comparison an element of a window."""
        return Elementary(add=self.window) * self.outputs[0].elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Gather(Op):
    """Rows looked up in a table (``inputs[0]``) by indices (``inputs[1]``); only the rows asked for are read."""

    kind: ClassVar[str] = "gather"

    def bytes_read(self, tensor: Tensor) -> int:
        """Of the table, no more than the rows that come out."""
        return min(tensor.bytes, self.outputs[0].bytes) if tensor is self.inputs[0] else tensor.bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Move(Op):
    """Data rearranged and not computed with: transpose, concatenate, slice, pad, resize."""

    kind: ClassVar[str] = "move"


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque(Op):
    """An op that is not modelled: its bytes are moved, its arithmetic is not known, and a warning names it."""

    kind: ClassVar[str] = "opaque"
    op_type: str
