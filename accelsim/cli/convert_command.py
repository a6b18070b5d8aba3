"""``accelsim convert``: between workload formats."""

from __future__ import annotations

from collections.abc import Sequence

import click

from accelsim.base.errors import InputError
from accelsim.cli import options


@click.command("convert")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the workload.")
def command(source: str, target: str, params: Sequence[str]) -> None:
    """Convert a workload (a name, .onnx or .csv) to an op-table, OUT.csv, whose batch stays open."""
    from accelsim.workload.library import load_workload
    from accelsim.workload.table import write_table

    if not target.endswith(".csv") and target != "-":
        raise InputError(f"{target}: want a name that ends in .csv, or - for standard output")
    options.in_existing_folder(target)
    chosen = {key: values[0] for key, values in options.param_lists(params).items()}
    text = write_table(lambda batch: load_workload(source, batch=batch, params=chosen))
    options.write(text, target)
    if target != "-":
        click.echo(f"{target}: {len(load_workload(target).ops)} ops")
