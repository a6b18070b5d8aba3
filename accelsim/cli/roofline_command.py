"""``accelsim roofline``: roofs of devices, and where workloads lie under them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from accelsim.base.dtypes import PRECISIONS
from accelsim.base.errors import InputError, nearest
from accelsim.cli import options

if TYPE_CHECKING:
    from accelsim.analysis.result import Result


@click.command("roofline")
@click.argument("devices", nargs=-1, required=True)
@click.option("-w", "--workload", "workloads", multiple=True, help="Run it and place it under the roofs.")
@click.option("--batch", metavar="N[,N...]", help="Items in one step.")
@click.option("--precision", metavar="P", help=options.PRECISIONS_HELP)
@click.option("--plot", "plot_dir", metavar="DIR", help="Write the figure, PDF and PNG (wants --workload).")
def command(
    devices: Sequence[str], workloads: Sequence[str], batch: str | None, precision: str | None, plot_dir: str | None
) -> None:
    """Print peak, bandwidth and ridge point of DEVICES; with --workload, what is attained under them."""
    from accelsim.hardware.loader import load_device
    from accelsim.report import text
    from accelsim.report.sheets import roofs_sheet

    folder = options.folder(plot_dir)
    if not workloads and (folder is not None or batch is not None):
        raise InputError(f"{'--batch' if folder is None else '--plot'}: want a --workload to place under the roofs")
    if precision is not None and precision not in PRECISIONS:
        raise InputError(
            f"--precision {precision}: unknown{nearest(precision, PRECISIONS)}; want one of {', '.join(PRECISIONS)}"
        )
    roofs = roofs_sheet([load_device(name) for name in devices], precision)
    results = _attained(devices, workloads, options.integers(batch, "batch"), precision)
    text.show(text.Fitted(roofs))
    if not results:
        return
    click.echo()
    text.show(text.sweep_table(results))
    if folder is not None:
        from accelsim.report.figures import roofline_figure
        from accelsim.report.style import save_figure

        plot = roofline_figure(results)
        pdf, _ = save_figure(plot.figure, folder, "roofline")
        click.echo(f"{pdf} (and .png): {plot.caption}", err=True)


def _attained(
    devices: Sequence[str], workloads: Sequence[str], batches: Sequence[int] | None, precision: str | None
) -> list[Result]:
    """Run every workload on every device."""
    if not workloads:
        return []
    from accelsim.cli.run_command import run_all
    from accelsim.simulation import Options
    from accelsim.study.sweep import Point

    sizes: list[int | None] = [*batches] if batches else [None]
    return run_all(
        [
            Point(device=device, workload=workload, options=Options(batch=size, precision=precision))
            for device in devices
            for workload in workloads
            for size in sizes
        ]
    )
