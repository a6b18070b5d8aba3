"""Number formats: their width in memory, their kind and what they are accumulated in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DType:
    """A number format."""

    name: str
    bits: int
    """Width in memory [bits]; TF32 is a way of multiplying and occupies 32."""
    kind: Literal["float", "int"]
    accumulator: str
    """The format in which its products are added up."""
    operands: tuple[str, str] | None = None
    """Of a product whose operands differ: the formats of activations and weights; its width is the activations'."""


DTYPES: dict[str, DType] = {
    d.name: d
    for d in (
        DType("fp64", 64, "float", "fp64"),
        DType("fp32", 32, "float", "fp32"),
        DType("tf32", 32, "float", "fp32"),
        DType("bf16", 16, "float", "fp32"),
        DType("fp16", 16, "float", "fp32"),
        DType("fp8", 8, "float", "fp32"),
        DType("fp4", 4, "float", "fp32"),
        DType("int64", 64, "int", "int64"),
        DType("int32", 32, "int", "int32"),
        DType("int16", 16, "int", "int32"),
        DType("int16x8", 16, "int", "int32", ("int16", "int8")),
        DType("int8", 8, "int", "int32"),
        DType("int4", 4, "int", "int32"),
    )
}

PRECISIONS = ("fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int16", "int16x8", "int8", "int4")
"""The formats in which a network can be computed."""

_MIXED = {d.operands: d.name for d in DTYPES.values() if d.operands is not None}


def product_format(activations: str, weights: str) -> str:
    """The format of a product of two operands: that of the activations, unless the pair has a name of its own.

    >>> product_format("int16", "int8"), product_format("fp16", "int8")
    ('int16x8', 'fp16')
    """
    return _MIXED.get((activations, weights), activations)


def bits(dtype: str) -> int:
    """Width of one element in memory [bits]."""
    return DTYPES[dtype].bits


def size_bytes(elements: int, dtype: str) -> int:
    """Memory that ``elements`` packed elements occupy [bytes], rounded up.

    >>> size_bytes(3, "int4")
    2
    """
    return -(-elements * bits(dtype) // 8)
