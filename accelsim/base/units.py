"""Units: time is an integer count of picoseconds, names carry their unit, scaling is for reports."""

from __future__ import annotations

import math

PS_PER_S = 10**12
BITS_PER_BYTE = 8

ROUNDING = 1e-12
"""Relative difference of times that rounding alone can make."""


def whole_ps(duration_ps: float) -> int:
    """Whole picoseconds, rounded up, so that rounding never makes anything faster; but for what rounding alone added.

    >>> whole_ps(984000.0000000001), whole_ps(984000.1)
    (984000, 984001)
    """
    return math.ceil(duration_ps * (1 - ROUNDING))


def s_from_ps(ps: int) -> float:
    """Seconds in ``ps`` picoseconds."""
    return ps / PS_PER_S


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded up."""
    return -(-a // b)
