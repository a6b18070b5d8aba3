"""``accelsim calibrate``: a family's factors fitted to measured kernels."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.base.errors import InputError
from accelsim.cli import options

if TYPE_CHECKING:
    from accelsim.hardware.device import Device
    from accelsim.validation.silicon.fitting import Fitted
    from accelsim.validation.silicon.rows import Measurement


@click.command("calibrate")
@click.argument("device")
@click.argument("csv", type=click.Path())
@click.option("--rows-of", metavar="NAME", help="Rows whose device cell is this (else those that name DEVICE).")
@click.option("--op", "ops", metavar="OP[,OP...]", help="Only rows of these ops.")
@click.option("--dtype", "dtypes", metavar="P[,P...]", help="Only rows of these formats, as CSV spells them.")
@click.option("--calls", type=click.IntRange(1), default=400, show_default=True,
              help="Evaluations of a class of kernels.")  # fmt: skip
@click.option("-o", "out", metavar="FILE", help="Write the fitted family file.")
def command(
    device: str, csv: str, rows_of: str | None, ops: str | None, dtypes: str | None, calls: int, out: str | None
) -> None:
    """Fit the factors of DEVICE's family to the timed kernels of CSV (from `accelsim measure`, or the like).

    Only named factors with a physical meaning are fitted, within limits, for each class of kernels that the file has
    enough rows of: on one half of them, and judged on the other. Nothing is written without -o; a device file finds the
    family NAME in NAME.toml beside itself, before those that ship.
    """
    from accelsim.hardware.loader import load_device
    from accelsim.validation.silicon.fitting import calibrated, family_of
    from accelsim.validation.silicon.rows import read_measurements

    options.writable_files({"-o": out})
    loaded = load_device(device)
    _, rows = read_measurements(Path(csv))
    wanted = {"op": ops, "dtype": dtypes}
    only = {column: options.words(text, f"--{column}") for column, text in wanted.items() if text is not None}
    chosen = _chosen(loaded, rows, rows_of, only, csv)
    try:
        fitted = calibrated(loaded, chosen, most_calls=calls, progress=_progress)
    except InputError as error:
        raise InputError(*(f"{csv}: {problem}" for problem in error.problems)) from None
    if sys.stderr.isatty():
        click.echo("\r" + " " * 78 + "\r", nl=False, err=True)
    if out is not None:
        options.write(family_of(fitted, csv, datetime.now(UTC).date().isoformat()), out)
    if out != "-":
        _show(fitted)


def _chosen(
    device: Device, rows: Sequence[Measurement], rows_of: str | None, only: Mapping[str, Sequence[str]], csv: str
) -> list[Measurement]:
    from accelsim.validation.silicon.fitting import names_device

    def fits(row: Measurement) -> bool:
        named = row.text("device") == rows_of if rows_of is not None else names_device(device, row.text("device"))
        return named and all(row.text(column) in words for column, words in only.items())

    chosen = [row for row in rows if fits(row)]
    if not chosen:
        there = ", ".join(sorted({row.text("device") for row in rows})) or "none"
        kinds = "".join(f" and {column} {', '.join(words)}" for column, words in only.items())
        raise InputError(
            f"{csv}: no rows of {rows_of or device.name}{kinds}; want one of its devices: {there} (--rows-of NAME)"
        )
    return chosen


def _progress(kind: str, calls: int, error_pct: float) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{kind}: evaluation {calls}, error {error_pct:.1f} %   ", nl=False, err=True)


def _show(fitted: Fitted) -> None:
    from accelsim.report import text
    from accelsim.report.sheets import Column, Sheet

    columns = ("kernels", "rows", "fitted on", "before %", "after %", "judged on", "before %", "after %")
    lines = [
        (
            one.kind, str(one.fitted_rows + one.judged_rows), str(one.fitted_rows), f"{one.fitted_before_pct:.1f}",
            f"{one.fitted_after_pct:.1f}", str(one.judged_rows), f"{one.judged_before_pct:.1f}",
            f"{one.judged_after_pct:.1f}",
        )
        for one in fitted.classes
    ]  # fmt: skip
    text.show(text.Fitted(Sheet(tuple(Column(name, left=name == "kernels") for name in columns), tuple(lines))))
    click.echo()
    cells = [
        (path, f"{one.before[path]:.4g}", f"{value:.4g}") for one in fitted.classes for path, value in one.after.items()
    ]
    names = (Column("factor", left=True), Column("before"), Column("after"))
    text.show(text.Fitted(Sheet(names, tuple(cells))))
    for note in fitted.notes:
        click.echo(note)
