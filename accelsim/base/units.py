"""Units: time is an integer count of picoseconds, names carry their unit, scaling is for reports."""

from __future__ import annotations

import math
from fractions import Fraction

PS_PER_S = 10**12
BITS_PER_BYTE = 8


def ps_from_s(seconds: float) -> int:
    """Picoseconds in ``seconds``, rounded up, so that rounding never makes anything faster."""
    return math.ceil(Fraction(seconds) * PS_PER_S)


def s_from_ps(ps: int) -> float:
    """Seconds in ``ps`` picoseconds."""
    return ps / PS_PER_S


def transfer_ps(size_bytes: int, bandwidth_bytes_per_s: float) -> int:
    """Time to move ``size_bytes`` at full bandwidth [ps], rounded up.

    >>> transfer_ps(65536, 34e9)
    1927530
    """
    return math.ceil(Fraction(size_bytes * PS_PER_S) / Fraction(bandwidth_bytes_per_s))


def ceil_div(a: int, b: int) -> int:
    """``a / b`` rounded up."""
    return -(-a // b)
