"""Rows of a file with the columns of ``ops.csv``."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

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

    def whole(self, column: str, default: int | None = None, least: int = 1) -> int:
        """A whole number. Raises InputError where the cell is empty and there is no default, or is something else."""
        text = self.text(column)
        if not text and default is not None:
            return default
        try:
            value = float(text)
        except ValueError:
            raise InputError(f"line {self.number}, {column}: {text!r}: want a whole number") from None
        if not value.is_integer() or not least <= value <= MOST:
            raise InputError(f"line {self.number}, {column}: {text!r}: want a whole number from {least} to {MOST}")
        return int(value)

    @cached_property
    def extra(self) -> Mapping[str, str]:
        """The pairs of the ``extra`` column; a word without ``=`` is a pair of its own with an empty value."""
        pairs = (part.partition("=") for part in self.text("extra").split(";") if part.strip())
        return {key.strip(): value.strip() for key, _, value in pairs}

    @property
    def latency_us(self) -> float:
        """What was measured [us]. Raises InputError where that is no positive number."""
        return self._positive("latency_us")

    @property
    def power_w(self) -> float | None:
        """Mean board power, where measured [W]."""
        return self._positive("power_w") if self.text("power_w") else None

    def _positive(self, column: str) -> float:
        try:
            value = float(self.text(column))
        except ValueError:
            value = -1.0
        if not LEAST_MEASURED <= value <= MOST_MEASURED:
            raise InputError(
                f"line {self.number}, {column}: {self.text(column)!r}: "
                f"want a number from {LEAST_MEASURED:g} to {MOST_MEASURED:g}"
            )
        return value


def read_measurements(file: Path, wanted: Sequence[str] = WANTED) -> tuple[Sequence[str], list[Measurement]]:
    """The columns of a file and its rows. Raises InputError where it cannot be read or lacks a column."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from None
    reader = csv.DictReader(text.splitlines(), restval="")
    columns = [*(reader.fieldnames or ())]
    lacking = [column for column in wanted if column not in columns]
    if lacking:
        raise InputError(*(f"{file}: column {column!r}: missing" for column in lacking))
    try:
        return columns, [
            Measurement(reader.line_num, {key: value or "" for key, value in cells.items() if isinstance(key, str)})
            for cells in reader
        ]
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: not CSV: {error}") from None
