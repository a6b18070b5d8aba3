"""``accelsim energy``: what an action costs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import InputError, nearest
from accelsim.cli import options


@click.command("energy")
@click.option("--node", default="45", show_default=True, metavar="NM|FILE", help="Technology node, or a table's file.")
@click.option("--dtype", "dtypes", multiple=True, metavar="T[,T...]", help="Only arithmetic in these formats.")
@click.option("--csv", "csv_file", metavar="FILE|-", help="Write the table as CSV.")
def command(node: str, dtypes: Sequence[str], csv_file: str | None) -> None:
    """Print the energy of every action and its cost relative to a 32-bit integer add."""
    from accelsim.hardware.energy import load_energy_table, table_rows
    from accelsim.report import text as shown
    from accelsim.report.tabular import energy_csv

    options.writable_files({"--csv": csv_file})
    chosen = [dtype for text in dtypes for dtype in options.words(text, "--dtype")]
    for dtype in chosen:
        if dtype not in DTYPES:
            raise InputError(f"--dtype {dtype}: unknown{nearest(dtype, DTYPES)}; want one of {', '.join(DTYPES)}")
    table = load_energy_table(node)
    rows = table_rows(table, chosen)
    if csv_file is not None:
        options.write(energy_csv(rows), csv_file)
    if csv_file != "-":
        shown.show(shown.energy_table_text(rows, title=table.name, unit_pj=table.add["int32"].pj))
