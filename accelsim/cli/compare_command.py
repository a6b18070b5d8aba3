"""``accelsim compare``: devices side by side on the same work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from accelsim.base.errors import InputError
from accelsim.cli import options

if TYPE_CHECKING:
    from accelsim.study.compare import Entry, Refused
    from accelsim.study.sweep import Point


@click.command("compare")
@click.argument("devices", nargs=-1, required=True)
@click.option(
    "-w",
    "--workload",
    "workloads",
    multiple=True,
    required=True,
    metavar="WORKLOAD",
    help="What runs; may be repeated.",
)
@click.option("--by", default="throughput", show_default=True, metavar="latency|throughput|energy|cost", help="Order.")
@click.option("--batch", metavar="N[,N...]", help="Items in one step (1, or the workload's own).")
@click.option("--precision", metavar="P[,P...]", help=options.PRECISIONS_HELP)
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A workload's parameter.")
@click.option("--latency-limit-ms", type=float, metavar="MS", help="Leave out what takes longer.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write the results, best first.")
@click.option("--csv", "csv_file", metavar="FILE|-", help="Write the runs, best first.")
def command(
    devices: Sequence[str],
    workloads: Sequence[str],
    by: str,
    json_file: str | None,
    csv_file: str | None,
    latency_limit_ms: float | None,
    **how: Any,
) -> None:
    """Compare DEVICES on the same workloads: time, energy and dollars an item, the best first, and why it is.

    Each device runs in its own format unless --precision says another, with all its cores: where an op runs on one
    core only, a replica of the model on each. A device that cannot run a workload is named with the reason.
    """
    from accelsim.study.compare import compare, ranked

    options.writable_files({"--json": json_file, "--csv": csv_file})
    if latency_limit_ms is not None and not latency_limit_ms > 0:
        raise InputError(f"--latency-limit-ms {latency_limit_ms:g}: want a number > 0")
    ranked([], by)
    entries, refused = compare(_points(devices, workloads, how))
    within = [e for e in entries if latency_limit_ms is None or e.result.latency_s * 1e3 <= latency_limit_ms]
    if not within:
        raise InputError(*_why_none(entries, refused, latency_limit_ms))
    best_first = ranked(within, by)
    _write(best_first, json_file, csv_file)
    if "-" not in (json_file, csv_file):
        _show(best_first, by)
        if len(within) < len(entries):
            click.echo(f"{len(entries) - len(within)} runs take longer than {latency_limit_ms:g} ms")
        for one in refused:
            click.echo(f"not run: {one.point.workload} on {one.point.device}: {one.why}")


def _points(devices: Sequence[str], workloads: Sequence[str], how: dict[str, Any]) -> list[Point]:
    from accelsim.hardware.loader import load_device
    from accelsim.simulation import Options
    from accelsim.study.sweep import Point

    twice = [name for name in dict.fromkeys((*devices, *workloads)) if (*devices, *workloads).count(name) > 1]
    if twice:
        raise InputError(*(f"{name}: stands twice" for name in twice))
    problems: list[str] = []
    for device in devices:
        try:
            load_device(device)
        except InputError as error:
            problems += error.problems
    if problems:
        raise InputError(*problems)
    batches: Sequence[int | None] = options.integers(how["batch"], "batch") or [None]
    asked = how["precision"]
    formats: Sequence[str | None] = [None] if asked is None else options.words(asked, "--precision")
    params = options.param_values(how["params"])
    return [
        Point(device=device, workload=workload, params=params, options=Options(batch=batch, precision=precision))
        for workload in workloads
        for device in devices
        for precision in formats
        for batch in batches
    ]


def _why_none(entries: Sequence[Entry], refused: Sequence[Refused], limit_ms: float | None) -> list[str]:
    if entries:
        fastest = min(e.result.latency_s for e in entries) * 1e3
        return [f"no run is within {limit_ms:g} ms; the shortest takes {fastest:.3g} ms"]
    return list(dict.fromkeys(f"{one.point.workload} on {one.point.device}: {one.why}" for one in refused))


def _write(best_first: Sequence[Entry], json_file: str | None, csv_file: str | None) -> None:
    from accelsim.report.tabular import result_json, runs_csv

    results = [e.result for e in best_first]
    if json_file is not None:
        options.write(result_json(results), json_file)
    if csv_file is not None:
        options.write(runs_csv(results), csv_file)


def _show(best_first: Sequence[Entry], by: str) -> None:
    from accelsim.report import text
    from accelsim.report.naming import bottleneck
    from accelsim.report.scale import percent, si
    from accelsim.report.sheets import Column, Sheet, main_bound
    from accelsim.study.compare import ORDERS

    columns = (
        Column("device", left=True),
        Column("precision", left=True),
        Column("batch"),
        Column("latency"),
        Column("items/s"),
        Column("J/item"),
        Column("$/M items"),
        Column("power", rank=2),
        Column("util", rank=3),
        Column("bound", left=True, rank=1),
    )
    for workload in dict.fromkeys(e.result.workload["name"] for e in best_first):
        entries = [e for e in best_first if e.result.workload["name"] == workload]
        rows = tuple(
            (
                e.result.device["name"],
                e.result.precision,
                str(e.result.batch),
                si(e.result.latency_s, "s"),
                si(e.result.throughput_items_per_s),
                si(e.result.energy_per_item_j, "J"),
                "-" if e.usd_per_million is None else f"{e.usd_per_million:.3g}",
                si(e.result.average_power_w, "W"),
                percent(e.result.mac_utilization),
                main_bound(e.result),
            )
            for e in entries
        )
        click.echo(f"{workload}, by {by}\n")
        text.show(text.Fitted(Sheet(columns, rows)))
        best, last = entries[0].result, entries[-1].result
        click.echo(f"\n{_of(best)} {ORDERS[by].wording}. {bottleneck(best)}")
        if last is not best:
            click.echo(f"Last is {_of(last)}. {bottleneck(last)}")
        click.echo()


def _of(result: Any) -> str:
    return f"{result.device['name']} in {result.precision} at batch {result.batch}"
