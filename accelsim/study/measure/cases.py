"""What is measured: ops over a grid of shapes, from what fits into the first cache to what fits into none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from accelsim.base.dtypes import bits
from accelsim.base.errors import InputError, nearest


@dataclass(frozen=True, slots=True)
class Case:
    """A kernel to time: ``op`` and the columns that say its sizes, as in ``ops.csv``."""

    op: str
    dtype: str
    sizes: tuple[tuple[str, int], ...]

    def size(self, column: str) -> int:
        """The size in a column."""
        return dict(self.sizes)[column]

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.op} {self.dtype} " + " ".join(f"{column}={size}" for column, size in self.sizes)

    @property
    def bytes(self) -> int:
        """Memory that its largest operand takes, about."""
        get = dict(self.sizes).get
        largest = {
            "gemm": lambda: max(get("M", 1) * get("K", 1), get("K", 1) * get("N", 1), get("M", 1) * get("N", 1)),
            "bmm": lambda: get("batch", 1) * max(get("M", 1), get("K", 1)) * max(get("N", 1), get("K", 1)),
            "conv2d": lambda: get("batch", 1) * max(get("c_in", 1), get("c_out", 1)) * get("h_in", 1) * get("w_in", 1),
        }.get(self.op)
        if largest is not None:
            elements = largest()
        elif self.op in ATTENTION:
            elements = get("batch", 1) * get("heads", 1) * get("q_len", 1) * get("kv_len", 1)
        else:
            elements = get("rows", 1) * get("cols", 1)
        return elements * bits(self.dtype) // 8


Sizes = dict[str, int]

ELEMENTWISE = ("ew_add", "ew_mul", "ew_div", "relu", "tanh", "gelu")
ATTENTION = ("attention_prefill", "attention_decode", "attention_encoder")


def _gemm(quick: bool) -> Iterator[Sizes]:
    squares = (64, 256, 1024) if quick else (32, 64, 96, 128, 192, 256, 384, 512, 768, 1000, 1024, 1536, 2048, 3072)
    yield from ({"M": n, "N": n, "K": n} for n in squares)
    matrices = ((1024, 1024), (4096, 1024)) if quick else (
        (1024, 1024), (4096, 1024), (1024, 4096), (4096, 4096), (3000, 700), (512, 64), (64, 4096),
    )  # fmt: skip
    for n, k in matrices:
        rows = (1, 16, 128) if quick else (1, 4, 16, 32, 64, 128, 500, 2048)
        yield from ({"M": m, "N": n, "K": k} for m in rows)


def _bmm(quick: bool) -> Iterator[Sizes]:
    for batch in (12,) if quick else (4, 12, 96):
        yield {"batch": batch, "M": 128, "N": 128, "K": 64}
        if not quick:
            yield {"batch": batch, "M": 512, "N": 64, "K": 512}
            yield {"batch": batch, "M": 64, "N": 256, "K": 64}


def _conv2d(quick: bool) -> Iterator[Sizes]:
    layers = [
        (3, 224, 64, 7, 2), (64, 56, 64, 1, 1), (64, 56, 64, 3, 1), (64, 56, 256, 1, 1), (256, 56, 128, 1, 2),
        (128, 28, 128, 3, 1), (512, 28, 128, 1, 1), (256, 14, 256, 3, 1), (1024, 14, 256, 1, 1), (512, 7, 512, 3, 1),
        (2048, 7, 512, 1, 1),
    ]  # fmt: skip
    for batch in (1,) if quick else (1, 8):
        for c_in, size, c_out, window, stride in layers[:: 4 if quick else 1]:
            yield {
                "batch": batch, "c_in": c_in, "h_in": size, "w_in": size, "c_out": c_out, "kh": window, "kw": window,
                "stride": stride, "pad": window // 2,
            }  # fmt: skip


def _rows(quick: bool) -> Iterator[Sizes]:
    if quick:
        yield from ({"rows": rows, "cols": cols} for rows, cols in ((128, 1024), (4096, 768)))
        return
    for cols in (128, 768, 1024, 4096, 30000):
        for elements in (2**14, 2**17, 2**20, 2**23):
            if elements // cols:
                yield {"rows": elements // cols, "cols": cols}


def _elements(quick: bool) -> Iterator[Sizes]:
    for power in (12, 20, 24) if quick else (10, 12, 14, 16, 17, 18, 19, 20, 21, 22, 23, 24, 26):
        yield {"rows": 2 ** (power - 10), "cols": 1024}


def _attention(op: str) -> Callable[[bool], Iterator[Sizes]]:
    def sizes(quick: bool) -> Iterator[Sizes]:
        for batch, heads, length, dim in ((1, 12, 128, 64), (1, 16, 512, 64), (8, 12, 128, 64), (1, 32, 1024, 128)):
            yield {
                "batch": batch, "q_len": 1 if op == "attention_decode" else length, "kv_len": length, "heads": heads,
                "kv_heads": heads, "head_dim": dim,
            }  # fmt: skip
            if quick:
                return

    return sizes


GRID: dict[str, Callable[[bool], Iterator[Sizes]]] = {
    "gemm": _gemm,
    "bmm": _bmm,
    "conv2d": _conv2d,
    "softmax": _rows,
    "layernorm": _rows,
    "rmsnorm": _rows,
    **dict.fromkeys(ELEMENTWISE, _elements),
    **{op: _attention(op) for op in ATTENTION},
}
OPS = tuple(GRID)


def cases(*, ops: Sequence[str] = (), dtypes: Sequence[str], quick: bool = False) -> list[Case]:
    """The grid of some ops (all, unless said) in some formats. Raises InputError for an op that is not known."""
    unknown = [op for op in ops if op not in GRID]
    if unknown:
        raise InputError(*(f"--op {op!r}: unknown{nearest(op, OPS)}; want one of {', '.join(OPS)}" for op in unknown))
    return [
        Case(op, dtype, tuple(sizes.items()))
        for op, grid in GRID.items()
        if not ops or op in ops
        for dtype in dtypes
        for sizes in grid(quick)
    ]
