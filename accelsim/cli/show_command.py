"""``accelsim show``: a device's data sheet, or a workload's ops."""

from __future__ import annotations

from collections.abc import Sequence

import click

from accelsim.cli import options


@click.command("show")
@click.argument("name")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="A device's field, set to another value.")
@click.option("--batch", type=int, help="Items in one step of a workload.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A workload's parameter.")
def command(name: str, sets: Sequence[str], batch: int | None, params: Sequence[str]) -> None:
    """Show NAME: a device (or its .toml file) with sources, or a workload with its ops and totals."""
    from accelsim.report import text

    if options.is_device(name):
        from accelsim.hardware.loader import load_device

        if batch is not None or params:
            raise click.UsageError(f"{name} is a device: --batch and --param are of workloads")
        text.show(text.device_sheet(load_device(name, options.pairs(sets, "set"))))
        return
    if sets:
        raise click.UsageError(f"{name} is no device: --set is of devices")
    from accelsim.workload.library import load_workload

    text.show(text.workload_sheet(load_workload(name, batch=batch, params=options.param_values(params))))
