"""Rows of a file with the columns of ``ops.csv``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from accelsim.base.csv_rows import SIZES, finite, raise_for, read_csv
from accelsim.base.errors import InputError

WANTED = ("device", "op", "dtype", "latency_us")
"""Columns without which a row says nothing; any other that is absent counts as empty."""

MOST = 2**40
"""Of any size."""
LEAST_MEASURED, MOST_MEASURED = 1e-6, 1e15
"""Of what was measured, in its unit."""


@dataclass(frozen=True)
class Measurement:
    """A kernel that was timed."""

    number: int
    """Its line in the file."""
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """A cell; empty where the column is absent."""
        return self.cells.get(column) or ""

    def whole(self, column: str, default: int | None = None, least: int = 1, most: int = MOST) -> int:
        """A whole number. Raises InputError where the cell is empty and there is no default, or is something else."""
        text = self.text(column)
        return default if not text and default is not None else self._whole(column, text, least, most)

    def whole_extra(self, key: str, default: int, least: int = 1, most: int = MOST) -> int:
        """The whole number of a pair of the ``extra`` column. Raises InputError where it is something else."""
        return self._whole(f"extra, {key}", self.extra[key], least, most) if key in self.extra else default

    def _whole(self, where: str, text: str, least: int, most: int) -> int:
        value = finite(text)
        if value is None or not value.is_integer() or not least <= value <= most:
            raise self.wrong(where, text, f"a whole number from {least} to {most}")
        return int(value)

    @cached_property
    def extra(self) -> Mapping[str, str]:
        """The pairs of the ``extra`` column; a word without ``=`` is a pair of its own with an empty value."""
        pairs = (part.partition("=") for part in self.text("extra").split(";") if part.strip())
        return {key.strip(): value.strip() for key, _, value in pairs}

    @property
    def latency_us(self) -> float:
        """What was measured [us]. Raises InputError where that is no positive number."""
        return self.real("latency_us")

    @property
    def power_w(self) -> float | None:
        """Mean board power, where measured [W]."""
        return self.real("power_w") if self.text("power_w") else None

    def real(self, column: str, default: float | None = None, least: float = LEAST_MEASURED) -> float:
        """What was measured, in its unit. Raises InputError as ``whole`` does."""
        text = self.text(column)
        if not text and default is not None:
            return default
        value = finite(text)
        if value is None or not least <= value <= MOST_MEASURED:
            raise self.wrong(column, text, f"a number from {least:g} to {MOST_MEASURED:g}")
        return value

    def wrong(self, where: str, text: str, wanted: str) -> InputError:
        """The error of a cell."""
        return InputError(f"line {self.number}, {where}: {show(text)}: want {wanted}")


def show(text: str) -> str:
    """A cell in a message, cut where it is long."""
    return repr(text) if len(text) <= 60 else f"{text[:57]!r}..."


Check = Callable[[Measurement], object]
"""Reads a cell; raises InputError where it is wrong."""


def _size(column: str) -> Check:
    return lambda row: row.whole(column, 0, least=0)


KERNEL_CHECKS: tuple[Check, ...] = (
    lambda row: row.latency_us,
    lambda row: row.power_w,
    *map(_size, SIZES),
)
"""Of a row of ``ops.csv``."""


def read_measurements(
    file: Path, wanted: Sequence[str] = WANTED, checks: Sequence[Check] = KERNEL_CHECKS
) -> tuple[Sequence[str], list[Measurement]]:
    """The columns of a file and its rows.

    Raises InputError where it cannot be read, lacks a column, or has no row, and with every cell that is wrong.
    """
    columns, lines = read_csv(file, wanted)
    if not lines:
        raise InputError(f"{file}: has no rows")
    rows = [Measurement(number, cells) for number, cells in lines]
    raise_for([f"{file}, {problem}" for row in rows for check in checks for problem in _problems(check, row)])
    return columns, rows


def _problems(check: Check, row: Measurement) -> Sequence[str]:
    try:
        check(row)
    except InputError as error:
        return error.problems
    return ()
