"""``accelsim list``: what ships."""

from __future__ import annotations

from dataclasses import replace

import click


@click.command("list")
@click.argument("what", type=click.Choice(["devices", "workloads"]), required=False)
def command(what: str | None) -> None:
    """List shipped devices and workloads, with headline figures."""
    from accelsim.report import text
    from accelsim.report.sheets import devices_sheet, workloads_sheet

    if what in (None, "devices"):
        from accelsim.hardware.loader import device_names, load_device

        text.show(text.Fitted(devices_sheet([load_device(name) for name in device_names()])))
    if what is None:
        click.echo()
    if what in (None, "workloads"):
        from accelsim.workload.library import load_workload, workload_names

        graphs = [replace(load_workload(name), name=name) for name, _ in workload_names()]
        text.show(text.Fitted(workloads_sheet(graphs)))
