"""What op tables are made of: columns, sizes with symbols, and names with signs that mean something else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from math import prod
from urllib.parse import quote, unquote

from accelsim.base.errors import nearest
from accelsim.workload.ops import (
    Attention,
    Conv2d,
    Elementwise,
    Gather,
    Matmul,
    Move,
    Norm,
    Op,
    Opaque,
    Pool,
    Reduction,
    Role,
    Softmax,
    Tensor,
)

KINDS: dict[str, type[Op]] = {
    cls.kind: cls
    for cls in (Matmul, Conv2d, Attention, Elementwise, Reduction, Softmax, Norm, Pool, Gather, Move, Opaque)
}
OWN_FIELDS: dict[str, tuple[str, ...]] = {
    kind: tuple(f.name for f in fields(cls) if f.name not in {g.name for g in fields(Op)})
    for kind, cls in KINDS.items()
}
"""The columns of each kind of op, besides those that all have."""
WANTED: dict[str, frozenset[str]] = {
    kind: frozenset(f.name for f in fields(cls) if f.name in OWN_FIELDS[kind] and f.default is MISSING)
    for kind, cls in KINDS.items()
}
"""Those of them that an op has no default for."""

COMMON = ("name", "kind", "inputs", "outputs")
COLUMNS = ("name", "kind", *dict.fromkeys(f for own in OWN_FIELDS.values() for f in own), "inputs", "outputs")
TEXT_FIELDS = ("function", "op_type")
FLAG_FIELDS = ("causal", "rms")
YES, NO = "yes", "no"
ROW_FIELDS = {"stride": 2, "dilation": 2, "pad": 4}
"""Columns that hold several sizes, and how many."""

MARKS: dict[Role, str] = {"weight": "@", "kv_cache": "&"}
"""What stands before the name of a tensor with that role."""
SPECIAL = ";[]@&"
"""Signs that are written as ``%XX`` in a tensor's name."""

BATCH = "B"
MAX_SIZE = 2**40
MAX_BATCH = 2**20
SIZE_WANTED = "want a whole number from 1 to 2^40, or a product with symbols such as 196B or 12*seq_len"


def misfits(op: Op) -> Iterator[tuple[str, str]]:
    """Yield the columns of products and attention whose tensors are not what the sizes say, and what is wanted.

    An operand of a matmul may be broadcast, or hold more matrices than are multiplied with (the weights of experts); A
    may lie in several inputs side by side. Tensors of an attention may hold more than is read (Q, K and V in one). So a
    table can say what ONNX can.
    """
    if isinstance(op, Matmul):
        yield from _operands(op)
        yield from _result(op, op.batch * op.m * op.n, "batch x m x n" if op.batch > 1 else "m x n")
    elif isinstance(op, Conv2d):
        image = (op.batch, op.c_in, op.h_in, op.w_in)
        if len(op.inputs[0].shape) == len(image) and op.inputs[0].shape != image:
            yield "inputs", f"{shown(op.inputs[0])}: want batch, c_in, h_in and w_in = {list(image)}"
        filters = op.c_out * (op.c_in // op.groups) * op.kh * op.kw
        if len(op.inputs) > 1 and op.inputs[1].elements != filters:
            yield "inputs", f"{shown(op.inputs[1])}: want c_out x (c_in / groups) x kh x kw = {filters} numbers"
        yield from _result(op, op.batch * op.c_out * op.h_out * op.w_out, "batch x c_out x h_out x w_out")
    elif isinstance(op, Attention):
        query, keys = (op.batch * n * op.head_dim for n in (op.q_len * op.heads, op.kv_len * op.kv_heads))
        wanted = ((query, "q_len x heads"), (keys, "kv_len x kv_heads"), (keys, "kv_len x kv_heads"))
        for tensor, (numbers, what) in zip(op.inputs, wanted, strict=False):
            if tensor.elements < numbers:
                yield "inputs", f"{shown(tensor)}: want batch x {what} x head_dim = {numbers} numbers"
        yield from _result(op, query, "batch x q_len x heads x head_dim")


def _operands(op: Matmul) -> Iterator[tuple[str, str]]:
    wanted = f"{op.batch} x " if op.batch > 1 else ""
    for i, side, sizes in ((0, "A", ("m", "k")), (1, "B", ("k", "n"))):
        if i >= len(op.inputs):
            continue
        rows, columns = (int(getattr(op, size)) for size in sizes)
        matrices, rest = divmod(op.inputs[i].elements, rows * columns)
        in_parts = op.inputs[0].elements + sum(t.elements for t in op.inputs[2:] if t.role != "weight")
        if i == 0 and in_parts == op.batch * rows * columns:
            continue
        if rest or (matrices < op.batch and op.batch % matrices):
            what = f"{wanted}{' x '.join(sizes)} = {wanted}{rows} x {columns}"
            yield "inputs", f"{shown(op.inputs[i])}: want {what} for {side}"


def _result(op: Op, wanted: int, what: str) -> Iterator[tuple[str, str]]:
    made = op.outputs[0] if op.outputs else None
    if made is not None and made.elements != wanted:
        yield "outputs", f"{shown(made)}: want {what} = {wanted} numbers"


def shown(tensor: Tensor) -> str:
    """A tensor as a row has it.

    >>> shown(Tensor(name="x", shape=(8, 64)))
    'x[8 64]'
    """
    return f"{tensor.name}[{' '.join(map(str, tensor.shape))}]"


def words(text: str) -> list[str]:
    """Return the numbers and symbols of a product."""
    return re.findall(r"\d+|[A-Za-z_]\w*", text, re.ASCII)


def size(text: str, symbols: Mapping[str, int]) -> int:
    """Return a size that is written as a number or a product; ValueError says what is wrong with it.

    >>> size("196B", {"B": 8}), size("12*seq_len", {"B": 8, "seq_len": 128})
    (1568, 1536)
    """
    factors = re.fullmatch(r"(\d+|[A-Za-z_]\w*|\d+[A-Za-z_]\w*)(\*(\d+|[A-Za-z_]\w*|\d+[A-Za-z_]\w*))*", text, re.ASCII)
    if not factors:
        raise ValueError(SIZE_WANTED)
    found = words(text)
    unknown = [word for word in found if not word.isdigit() and word not in symbols]
    if unknown:
        word = unknown[0]
        raise ValueError(f"symbol {word!r}: unknown; want one of {sorted(symbols)}{nearest(word, symbols)}")
    if any(word.isdigit() and len(word) > 20 for word in found):
        raise ValueError(SIZE_WANTED)
    value = prod(int(word) if word.isdigit() else symbols[word] for word in found)
    if not 1 <= value <= MAX_SIZE:
        raise ValueError(SIZE_WANTED)
    return value


def quoted(text: str, also: str = "") -> str:
    """Return a name with the signs that mean something in a table written as ``%XX``.

    >>> quoted("a;b [1]", ";[]"), unquoted("a%3Bb %5B1%5D")
    ('a%3Bb %5B1%5D', 'a;b [1]')
    """
    text = re.sub(r"%(?=[0-9A-Fa-f]{2})", "%25", text)
    edges = {0, len(text) - 1}
    return "".join(
        _percent(sign)
        if sign in also or not sign.isprintable() or (i in edges and (sign.isspace() or sign in "#=,"))
        else sign
        for i, sign in enumerate(text)
    )


def _percent(sign: str) -> str:
    return quote(sign, safe="", errors="surrogatepass")


def unquoted(text: str) -> str:
    """Undo ``quoted``."""
    return unquote(text, errors="replace")
