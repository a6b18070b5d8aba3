"""Measured files, which stay out of the project: where they are, and their rows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.base.csv_rows import finite, read_csv
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
        value = self.real(column)
        if not value.is_integer():
            raise InputError(f"{self.file}, line {self.number}, {column}: {self.cells[column]!r}: want a whole number")
        return int(value)

    def real(self, column: str) -> float:
        """A number."""
        value = finite(self.cells[column])
        if value is None:
            raise InputError(f"{self.file}, line {self.number}, {column}: {self.cells[column]!r}: want a number")
        return value


def read_rows(file: Path, columns: Sequence[str]) -> Iterator[Line]:
    """Rows of a measured CSV file that has (at least) these columns, and at least one row."""
    rows = read_csv(file, columns)[1]
    if not rows:
        raise InputError(f"{file}: has no rows")
    return (Line(file, number, cells) for number, cells in rows)
