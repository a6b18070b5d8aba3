"""What op tables are made of: columns, sizes with symbols, and names with signs that mean something else."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
