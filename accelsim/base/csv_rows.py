"""CSV files with a header line: every row by its columns, or one error with all that is wrong."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path

from accelsim.base.errors import InputError, capped

SIZES = (
    *("batch", "M", "N", "K", "rows", "cols", "c_in", "h_in", "w_in", "c_out", "kh", "kw", "stride", "pad"),
    *("q_len", "kv_len", "heads", "kv_heads", "head_dim", "window"),
)
"""Of timed kernels (``ops.csv``): columns of whole numbers, each of which may be empty."""

_NUMBER = re.compile(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,4})?\s*")


def read_csv(file: Path, wanted: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The columns, and each row with the line that it ends on; empty lines are passed over.

    Raises InputError where the file cannot be read, a ``wanted`` column is missing, or rows have other cells than the
    header has columns.
    """
    return parse_csv(csv_text(file), file, wanted)


def csv_text(file: Path) -> str:
    """The text of a file, its line ends as they are. Raises InputError where it cannot be read."""
    try:
        return file.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror}; want a CSV file") from None
    except ValueError:
        raise InputError(f"{file}: not a text file in UTF-8; want a CSV file") from None


def parse_csv(text: str, file: Path, wanted: Sequence[str] = ()) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """The same of a text; ``file`` is what errors call it."""
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        columns = next(reader, [])
        raise_for(_header_problems(file, columns, wanted))
        rows = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise InputError(f"{file}, line {reader.line_num}: not CSV: {error}") from None
    raise_for(
        [
            f"{file}, line {line}: {len(cells)} cells; want {len(columns)}, as there are columns"
            for line, cells in rows
            if len(cells) != len(columns)
        ]
    )
    return columns, [(line, dict(zip(columns, cells, strict=True))) for line, cells in rows]


def _header_problems(file: Path, columns: Sequence[str], wanted: Sequence[str]) -> list[str]:
    twice = [column for column in dict.fromkeys(columns) if columns.count(column) > 1]
    return [
        *(f"{file}: column {column!r}: stands twice" for column in twice),
        *(f"{file}: column {column!r}: missing" for column in wanted if column not in columns),
    ]


def raise_for(problems: Sequence[str]) -> None:
    """Raise InputError with the first of the problems and the number of the others, where there are any."""
    if problems:
        raise InputError(*capped(problems))


def finite(text: str) -> float | None:
    """The number that a cell holds; None for anything else, as ``nan``, ``inf`` and what is too large for a float.

    >>> finite("1e3"), finite("12"), finite("nan"), finite("1_0"), finite("1e999")
    (1000.0, 12.0, None, None, None)
    """
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if abs(value) != float("inf") else None
