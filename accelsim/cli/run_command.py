"""``accelsim run``: one simulation, or a small sweep."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from accelsim.base.errors import InputError
from accelsim.cli import options

if TYPE_CHECKING:
    from pathlib import Path

    from accelsim.analysis.result import Result
    from accelsim.study.sweep import Point
    from accelsim.trace import Span


@click.command("run")
@click.argument("device")
@click.argument("workload", required=False)
@options.run_options
@click.option(
    "--place",
    metavar="W:CORES,...",
    help="Workloads side by side, each on cores of its own: resnet50:0-1,bert_base:2-3 (instead of WORKLOAD).",
)
@click.option("--json", "json_file", metavar="FILE|-", help="Write the result (a list, for a sweep).")
@click.option("--csv", "csv_file", metavar="FILE|-", help="Write the ops (for a sweep: the runs).")
@click.option("--trace", "trace_file", metavar="FILE", help="Write a trace that opens in Perfetto.")
@click.option("--plot", "plot_dir", metavar="DIR", help="Write figures, PDF and PNG.")
@click.option("--reports", "reports_dir", metavar="DIR", help="Write reports in SCALE-Sim's form.")
@click.option("--assert", "limits", multiple=True, metavar="FIELD<NUMBER", help="Exit 1 unless it holds: latency_ms<5.")
@click.option("--top", type=click.IntRange(0), default=12, show_default=True, help="Ops to list, slowest first.")
def command(
    device: str,
    workload: str | None,
    place: str | None,
    json_file: str | None,
    csv_file: str | None,
    trace_file: str | None,
    plot_dir: str | None,
    reports_dir: str | None,
    limits: Sequence[str],
    top: int,
    **how: Any,
) -> None:
    """Run WORKLOAD on DEVICE: latency, throughput, energy, and what bounds them.

    DEVICE and WORKLOAD are a shipped name (see `accelsim list`) or a path; a workload may be an .onnx file or
    onnx:light_resnet50. Lists in --batch, --precision, --cores, --param and --set make a sweep.
    """
    options.writable_files({"--json": json_file, "--csv": csv_file, "--trace": trace_file})
    asserted = options.read_limits(limits)
    folder, reports = options.folder(plot_dir), options.folder(reports_dir)
    if place is not None:
        if workload is not None or trace_file or plot_dir or reports_dir:
            raise click.UsageError("--place names the workloads; it goes with --json, --csv and --assert only")
        _run_placed(device, place, how, json_file, csv_file, asserted)
        return
    if workload is None:
        raise click.UsageError("Missing argument 'WORKLOAD' (or --place).")
    sweep = points(device, workload, how)
    if trace_file is not None and len(sweep) > 1:
        raise click.UsageError(f"--trace is of one run; this is a sweep of {len(sweep)}")
    if reports is not None and len(sweep) > 1:
        raise click.UsageError(f"--reports are of one run; this is a sweep of {len(sweep)}")
    results = run_all(sweep, csv_file)
    if json_file != "-" and csv_file != "-":
        _show(sweep[0], results, how, top)
    _write(sweep, results, json_file, csv_file, trace_file)
    if folder is not None:
        _plot(results, folder)
    if reports is not None:
        _report(sweep[0], results[0], reports)
    options.check_limits(asserted, results)


def _run_placed(
    device: str,
    place: str,
    how: dict[str, Any],
    json_file: str | None,
    csv_file: str | None,
    asserted: Sequence[options.Limit],
) -> None:
    """Workloads side by side: a row each."""
    from accelsim.placement import read_placement, simulate_together
    from accelsim.report import text
    from accelsim.report.tabular import result_json, runs_csv

    placed = read_placement(place)
    sweep = points(device, placed[0].workload, how)
    if len(sweep) > 1:
        raise InputError(f"--place is of one run; the lists in the options make {len(sweep)}")
    one = sweep[0]
    results = simulate_together(device, placed, overrides=one.overrides, params=one.params, options=one.options)
    if json_file is not None:
        options.write(result_json(results), json_file)
    if csv_file is not None:
        options.write(runs_csv(results), csv_file)
    if "-" not in (json_file, csv_file):
        text.show(text.sweep_table(results))
    options.check_limits(asserted, results)


def points(device: str, workload: str, how: dict[str, Any]) -> list[Point]:
    """What the options ask for, as runs."""
    from accelsim.simulation import Options
    from accelsim.study.sweep import Point
    from accelsim.study.sweep import points as combine

    if how["energy_table"] == "":
        raise InputError("--energy-table: got ''; want a node such as 28nm, or a path to a table (.toml)")
    varied: dict[str, Sequence[Any]] = {}
    cores, batches = options.integers(how["cores"], "cores"), options.integers(how["batch"], "batch")
    if cores is not None:
        varied["cores"] = cores
    if how["precision"] is not None:
        varied["precision"] = options.words(how["precision"], "--precision")
    if batches is not None:
        varied["batch"] = batches
    base = Point(
        device=device,
        workload=workload,
        options=Options(
            parallel=how["parallel"],
            steps=how["steps"],
            start=how["start"],
            host=how["host"],
            graph=how["graph"],
            sparsity=how["sparsity"],
            energy_table=how["energy_table"],
            fidelity=how["fidelity"],
            seed=how["seed"],
        ),
    )
    overrides = options.override_lists(how["sets"], _lists(device) if how["sets"] else {})
    return combine(base, varied, overrides, options.param_lists(how["params"]))


def _lists(device: str) -> dict[str, bool]:
    """Which fields of a device are lists themselves."""
    from accelsim.hardware.loader import field_values, load_device

    return {key: isinstance(value, tuple | list) for key, value in field_values(load_device(device)).items()}


def run_all(sweep: Sequence[Point], csv_file: str | None = None) -> list[Result]:
    """Run every point, with progress on a terminal; what is done when one interrupts is kept in the CSV file."""
    from accelsim.study.sweep import run_points

    results: list[Result] = []
    started = time.monotonic()
    quiet = len(sweep) == 1 or not sys.stderr.isatty()
    try:
        for result in run_points(sweep):
            results.append(result)
            if not quiet:
                left_s = (time.monotonic() - started) / len(results) * (len(sweep) - len(results))
                click.echo(f"\r{len(results)} of {len(sweep)} runs, about {left_s:.0f} s to go ", nl=False, err=True)
    except KeyboardInterrupt:
        if results and csv_file and csv_file != "-":
            from accelsim.report.tabular import runs_csv

            options.write(runs_csv(results), csv_file)
            click.echo(f"\n{len(results)} of {len(sweep)} runs are kept in {csv_file}", err=True)
        raise
    finally:
        if not quiet:
            click.echo("\r" + " " * 60 + "\r", nl=False, err=True)
    return results


def _show(first: Point, results: Sequence[Result], how: dict[str, Any], top: int) -> None:
    from accelsim.report import text

    if len(results) > 1:
        text.show(text.sweep_table(results))
        return
    note = "as asked" if how["precision"] == results[0].precision else "the device's default"
    if how["precision"] not in (None, results[0].precision):
        note = f"{how['precision']}, cast by the compiler"
    text.show(text.run_table(results[0], precision_note=note, nominal_clock_hz=_nominal_hz(first), top=top))


def _write(
    sweep: Sequence[Point],
    results: Sequence[Result],
    json_file: str | None,
    csv_file: str | None,
    trace_file: str | None,
) -> None:
    if json_file is not None:
        from accelsim.report.tabular import result_json

        options.write(result_json(results[0] if len(results) == 1 else results), json_file)
    if csv_file is not None:
        from accelsim.report.tabular import ops_csv, runs_csv

        options.write(ops_csv(results[0]) if len(results) == 1 else runs_csv(results), csv_file)
    if trace_file is not None:
        from accelsim.report.perfetto import chrome_trace

        options.write(chrome_trace(results[0], _prices(sweep[0])), trace_file)


def _nominal_hz(point: Point) -> float:
    """Clock of the unit that multiplies, before any power limit."""
    from accelsim.hardware.loader import load_device

    core = load_device(point.device, point.overrides).core
    return (core.matrix or core.vector).freq_hz


def _prices(point: Point) -> Callable[[Span], float]:
    """What each span of a run cost [J]."""
    from accelsim.analysis.energy import span_energy_j
    from accelsim.hardware.energy import energy_table_of, load_energy_table
    from accelsim.hardware.loader import load_device

    device = load_device(point.device, point.overrides)
    named = point.options.energy_table
    table = load_energy_table(named) if named else energy_table_of(device)
    return lambda span: span_energy_j(span, device, table) if span.device == device.name else 0.0


def _plot(results: Sequence[Result], folder: Path) -> None:
    from accelsim.report import figures
    from accelsim.report.style import save_figure

    plots = {"energy": figures.energy_figure(results), "roofline": figures.roofline_figure(results)}
    if len(results) == 1:
        plots["timeline"] = figures.timeline_figure(results[0])
    else:
        plots["latency"] = figures.latency_figure(results)
        plots["throughput"] = figures.throughput_figure(results)
    for name, plot in plots.items():
        pdf, _ = save_figure(plot.figure, folder, name)
        click.echo(f"{pdf} (and .png): {plot.caption}", err=True)


def _report(point: Point, result: Result, folder: Path) -> None:
    """Cycles and bandwidths in the form of SCALE-Sim's reports."""
    from accelsim.hardware.loader import load_device
    from accelsim.report.scalesim_reports import write_reports
    from accelsim.workload.library import load_workload

    device = load_device(point.device, point.overrides)
    graph = load_workload(point.workload, batch=point.options.batch, params=point.params)
    for path in write_reports(result, device, graph, folder):
        click.echo(path, err=True)
