"""``accelsim convert``: between workload formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from accelsim.base.errors import InputError
from accelsim.cli import options


@click.command("convert")
@click.argument("source", metavar="IN")
@click.argument("target", metavar="OUT")
@click.option("--scalesim", is_flag=True, help="Write a SCALE-Sim topology (batch 1) instead of an op table.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of the workload.")
def command(source: str, target: str, scalesim: bool, params: Sequence[str]) -> None:
    """Convert a workload (a name, .onnx or .csv) to an op-table, OUT.csv, whose batch stays open."""
    from accelsim.workload.library import load_workload
    from accelsim.workload.scalesim import topology_of, write_topology
    from accelsim.workload.table import write_table

    if target != "-" and Path(target).suffix.lower() != ".csv":
        raise InputError(f"{target}: want a name that ends in .csv, or - for standard output")
    options.writable_files({"OUT": target})
    if Path(source).exists() and Path(target).exists() and Path(source).samefile(target):
        raise InputError(f"{target}: is what is to be converted; want another name")
    chosen = options.param_values(params)
    if scalesim:
        text = write_topology(topology_of(load_workload(source, batch=1, params=chosen)))
    else:
        text = write_table(lambda batch: load_workload(source, batch=batch, params=chosen))
    options.write(text, target)
    if target != "-":
        click.echo(f"{target}: {len(load_workload(target).ops)} ops")
