"""Numbers for people: the one place where seconds become ms and joules become µJ.

Three significant digits, an SI prefix, ``-`` for what is not there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

_PREFIXES = {-5: "f", -4: "p", -3: "n", -2: "µ", -1: "m", 0: "", 1: "k", 2: "M", 3: "G", 4: "T", 5: "P", 6: "E"}
_BINARY = ((2**40, "TiB"), (2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))

MISSING = "-"
"""Stands for a value that does not exist or is not finite."""


def thousands(value: float, digits: int = 3) -> int:
    """Power of 1000 by whose prefix ``value`` reads best after rounding.

    >>> thousands(0.0123), thousands(999.9), thousands(0)
    (-1, 1, 0)
    """
    if not value or not math.isfinite(value):
        return 0
    rounded = float(f"{abs(value):.{digits - 1}e}")
    return max(min(_PREFIXES), min(max(_PREFIXES), math.floor(math.log10(rounded) / 3 + 1e-9)))


def prefix(power: int) -> str:
    """SI prefix of ``1000**power``.

    >>> prefix(-2)
    'µ'
    """
    return _PREFIXES[power]


def significant(value: float, digits: int = 3) -> str:
    """``value`` with that many significant digits, and no exponent for whole digits that are there anyway.

    >>> significant(1.5), significant(15.04), significant(1234.6), significant(0.01234)
    ('1.50', '15.0', '1235', '0.0123')
    """
    if not math.isfinite(value):
        return MISSING
    if not value:
        return "0"
    rounded = float(f"{value:.{digits - 1}e}")
    decimals = digits - 1 - math.floor(math.log10(abs(rounded)))
    return f"{value:.{max(0, decimals)}f}"


def si(value: float | None, unit: str = "", digits: int = 3) -> str:
    """``value`` with an SI prefix.

    >>> si(0.0123, "s"), si(999.96e-6, "J"), si(0, "s"), si(None, "W"), si(42, "B"), si(92e12, "OPS")
    ('12.3 ms', '1.00 mJ', '0 s', '-', '42 B', '92.0 TOPS')
    """
    if value is None or not math.isfinite(value):
        return MISSING
    power = thousands(value, digits)
    number = f"{value}" if isinstance(value, int) and power == 0 else significant(value / 1000.0**power, digits)
    return f"{number} {prefix(power)}{unit}".rstrip()


def trim(value: float, unit: str = "") -> str:
    """``value`` with an SI prefix and all of its digits (six at most), for data sheets.

    >>> trim(716.8e9, "B/s"), trim(75.0, "W"), trim(0.0, "s")
    ('716.8 GB/s', '75 W', '0 s')
    """
    power = thousands(value, 6)
    return f"{value / 1000.0**power:g} {prefix(power)}{unit}".rstrip()


def capacity(size_bytes: float) -> str:
    """Size of a memory, in binary units where it is a whole number of them.

    >>> capacity(25165824), capacity(1536), capacity(25_500_000), capacity(15_835_660_288)
    ('24 MiB', '1.5 KiB', '25.5 MB', '15.84 GB')
    """
    for step, unit in _BINARY:
        if step <= size_bytes < 8192 * step and size_bytes * 8 % step == 0:
            return f"{size_bytes / step:g} {unit}"
    return si(size_bytes, "B", 4 if size_bytes >= 10**9 else 3)


def percent(share: float | None) -> str:
    """Share of one, in percent.

    >>> percent(0.1234), percent(0.0004), percent(0), percent(1.0), percent(None)
    ('12.3%', '<0.1%', '0%', '100%', '-')
    """
    if share is None or not math.isfinite(share):
        return MISSING
    if share == 0:
        return "0%"
    if 0 < share < 0.0005:
        return "<0.1%"
    return "100%" if 0.9995 <= share < 1.0005 else f"{share:.1%}"


def ratio(value: float | None, base: float | None) -> str:
    """``value / base`` as a factor.

    >>> ratio(3.0, 2.0), ratio(1.0, 0.0), ratio(240, 1)
    ('1.50x', '-', '240x')
    """
    if value is None or not base or not math.isfinite(value / base):
        return MISSING
    return f"{significant(value / base)}x"


def column(values: Sequence[float], unit: str, digits: int = 3) -> tuple[str, list[str]]:
    """Return one unit for a column, set by its largest value, and its cells with as many decimals each.

    >>> column([0.0123, 0.00004, 0.0], "s")
    ('ms', ['12.3', '<0.1', '0'])
    >>> column([0.0123, 0.00014, 1e-9], "s", digits=4)
    ('ms', ['12.30', '0.14', '<0.01'])
    """
    largest = max((abs(v) for v in values if math.isfinite(v)), default=0.0)
    power = thousands(largest, digits)
    top = largest / 1000.0**power
    decimals = max(0, digits - 1 - math.floor(math.log10(float(f"{top:.{digits - 1}e}")))) if top else 0
    return f"{prefix(power)}{unit}", [_cell(v, 1000.0**power, decimals) for v in values]


def _cell(value: float, step: float, decimals: int) -> str:
    if not math.isfinite(value):
        return MISSING
    if not value:
        return "0"
    least = 10.0**-decimals
    scaled = value / step
    return f"<{least:.{decimals}f}" if 0 < scaled < least / 2 else f"{scaled:.{decimals}f}"
