"""Measured files, which stay out of the project: where they are, and their rows."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.base.errors import InputError
from accelsim.base.resources import PACKAGE

VARIABLE = "ACCELSIM_DATA"
BESIDE_CHECKOUT = PACKAGE.parent.parent / "shared" / "validation"


def data_folder(given: str | os.PathLike[str] | None = None) -> Path:
    """The folder of measured files: ``given``, else $ACCELSIM_DATA, else ``../shared/validation`` of the checkout.

    Raises InputError where the one that was asked for is no folder; the last need not be there.
    """
    for what, asked in (("--data", given), (f"${VARIABLE}", os.environ.get(VARIABLE))):
        if asked:
            folder = Path(asked)
            if not folder.is_dir():
                raise InputError(f"{what} {asked}: is no folder; want the one of the measured files")
            return folder
    return BESIDE_CHECKOUT


def missing(folder: Path, needs: Sequence[str]) -> list[str]:
    """Files that are not there."""
    return [name for name in needs if not (folder / name).is_file()]


@dataclass(frozen=True, slots=True)
class Line:
    """A row of a measured file, which says where it stands when it is wrong."""

    file: Path
    number: int
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """A cell."""
        return self.cells[column]

    def integer(self, column: str) -> int:
        """A whole number."""
        return int(self.real(column))

    def real(self, column: str) -> float:
        """A number."""
        try:
            return float(self.cells[column])
        except ValueError:
            raise InputError(
                f"{self.file}, line {self.number}, {column}: {self.cells[column]!r}: want a number"
            ) from None


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[Line]:
    """Rows of a measured CSV file that has (at least) these columns."""
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: cannot be read: {error}") from None
    rows = csv.DictReader(text.splitlines(), restval="")
    lacking = [column for column in columns if column not in (rows.fieldnames or ())]
    if lacking:
        raise InputError(*(f"{file}: column {column!r}: missing" for column in lacking))
    for cells in rows:
        yield Line(file, rows.line_num, {key: value or "" for key, value in cells.items() if isinstance(key, str)})
