"""What the demo leaves behind: tables, figures, a trace, a page, and the lessons in them, with their numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from accelsim.analysis.result import Result
from accelsim.hardware.device import Device
from accelsim.report.figures import Plot, energy_figure, roofline_figure, throughput_figure, timeline_figure
from accelsim.report.html import demo_report
from accelsim.report.naming import bottleneck
from accelsim.report.perfetto import chrome_trace
from accelsim.report.scale import percent, ratio, si
from accelsim.report.sheets import Column, Sheet
from accelsim.report.style import figure_bytes
from accelsim.report.tabular import ops_csv, result_json, runs_csv

TIMELINE_SHARE = 1 / 6
"""Share of a step that the timeline shows: of BERT's twelve layers the first two, so that single ops can be seen."""


def demo_files(results: Sequence[Result], devices: Sequence[Device], command: str) -> dict[str, bytes]:
    """Return every file of the demo by its name; the same results give the same bytes."""
    shown = told(results)
    plots = _plots(results, shown)
    files = {
        "results.json": result_json(results).encode(),
        "runs.csv": runs_csv(results).encode(),
        "ops.csv": ops_csv(results).encode(),
        "trace.json": chrome_trace(shown).encode(),
    }
    for name, plot in plots.items():
        files[f"{name}.pdf"] = figure_bytes(plot.figure, "pdf")
        files[f"{name}.png"] = figure_bytes(plot.figure, "png")
    page = demo_report(
        results,
        {name: files[f"{name}.png"] for name in plots},
        {name: plot.caption for name, plot in plots.items()},
        devices=devices,
        command=command,
        notes=lessons(results),
    )
    files["report.html"] = page.encode()
    return files


def _plots(results: Sequence[Result], shown: Result) -> dict[str, Plot]:
    """Four figures; each of as many runs as it can carry."""
    first = [run for run in results if run.workload["name"] == results[0].workload["name"]]
    batch = max(run.batch for run in results)
    at_once = [run for run in results if run.batch == batch]
    return {
        "throughput": throughput_figure(first),
        "energy": energy_figure(at_once),
        "roofline": roofline_figure([run for run in _defaults(first) if run.batch == batch]),
        "timeline": timeline_figure(shown, until_s=shown.latency_s * TIMELINE_SHARE),
    }


def told(results: Sequence[Result]) -> Result:
    """Return the run that the timeline and the trace show: the one whose time goes most to transfers and the host."""
    return max(_defaults(results), key=away_share)


def _defaults(results: Sequence[Result]) -> list[Result]:
    """Keep the runs in the precision in which each device runs first."""
    first: dict[str, str] = {}
    for run in results:
        first.setdefault(run.device["name"], run.precision)
    return [run for run in results if run.precision == first[run.device["name"]]]


def away_share(result: Result) -> float:
    """Return the share of a run's time in which the host works, or the link to it is what everything waits for."""
    away = (
        (span.start_ps, span.end_ps)
        for span in result.trace.spans
        if span.device != result.device["name"] or span.bound == "link"
    )
    return _covered_ps(away) / (result.trace.end_ps or 1)


def _covered_ps(intervals: Iterable[tuple[int, int]]) -> int:
    """Length of a union."""
    total, reached = 0, 0
    for start, end in sorted(intervals):
        total += max(0, end - max(start, reached))
        reached = max(reached, end)
    return total


# What there is to see ------------------------------------------------------------------------------------------------


def lessons(results: Sequence[Result]) -> list[str]:
    """Say what there is to see, a sentence or two each, with numbers from the results."""
    return [*_fallback(results), *_batch(results), *_precision(results), *_energy(results)]


def _fallback(results: Sequence[Result]) -> list[str]:
    run = told(results)
    on_host = [op for op in run.ops if op.device != run.device["name"]]
    if not on_host:
        return []
    ops = [op for op in run.ops if op.kind != "transfer"]
    return [
        f"Memory against fallback: {_what(run)} falls back to the host: {len(on_host)} of {len(ops)} ops "
        f"run on {on_host[0].device}, and {away_share(run):.0%} of the time is transfers and host. "
        "The timeline shows it, and trace.json, op by op."
    ]


def _batch(results: Sequence[Result]) -> list[str]:
    """Where a larger batch helps most."""
    pairs = [
        (small, large)
        for small in _defaults(results)
        for large in _defaults(results)
        if _place(small) == _place(large) and small.batch < large.batch
    ]
    if not pairs:
        return []
    small, large = max(pairs, key=lambda pair: pair[1].throughput_items_per_s / pair[0].throughput_items_per_s)
    return [
        f"Batching: on {small.device['name']}, {small.workload['name']} at batch {large.batch} has "
        f"{ratio(large.throughput_items_per_s, small.throughput_items_per_s)} the throughput of batch {small.batch}: "
        f"DRAM traffic falls from {si(small.dram_bytes / small.batch, 'B')} to "
        f"{si(large.dram_bytes / large.batch, 'B')} an item, for a weight once read serves the whole batch. "
        f"Batch {small.batch}: {bottleneck(small)} Batch {large.batch}: {bottleneck(large)}"
    ]


def _precision(results: Sequence[Result]) -> list[str]:
    """Where fewer bits help most."""
    first = {(*_place(run)[:2], run.batch): run for run in reversed(_defaults(results))}
    pairs = [
        (first[*_place(run)[:2], run.batch], run)
        for run in results
        if run.precision != first[*_place(run)[:2], run.batch].precision
    ]
    if not pairs:
        return []
    wide, narrow = max(pairs, key=lambda pair: pair[0].latency_s / pair[1].latency_s)
    return [
        f"Precision: {_what(wide)} takes {si(wide.latency_s, 's')} and {si(wide.energy_per_item_j, 'J')} an item; "
        f"in {narrow.precision} it is {ratio(wide.latency_s, narrow.latency_s)} as fast "
        f"on {percent(narrow.energy_per_item_j / (wide.energy_per_item_j or 1.0))} of the energy."
    ]


def _energy(results: Sequence[Result]) -> list[str]:
    """Least and most energy for the same work."""
    workload, batch = results[0].workload["name"], max(run.batch for run in results)
    runs = [run for run in results if run.workload["name"] == workload and run.batch == batch]
    least, most = min(runs, key=_joules), max(runs, key=_joules)
    if least is most:
        return []
    parts = sorted(least.energy_breakdown_j.items(), key=lambda part: -part[1])
    shares = ", ".join(f"{name} {percent(joules / (least.energy_j or 1.0))}" for name, joules in parts[:3])
    return [
        f"Energy: an item of {workload} (batch {batch}) costs {si(_joules(least), 'J')} on {_unit(least)} and "
        f"{si(_joules(most), 'J')} on {_unit(most)}, {ratio(_joules(most), _joules(least))} as much. "
        f"On {_unit(least)} it goes to {shares}."
    ]


def _joules(run: Result) -> float:
    return run.energy_per_item_j


def _place(run: Result) -> tuple[str, str, str]:
    return run.device["name"], run.workload["name"], run.precision


def _unit(run: Result) -> str:
    return f"{run.device['name']} in {run.precision}"


def _what(run: Result) -> str:
    return f"{run.workload['name']} on {run.device['name']} ({run.precision}, batch {run.batch})"


def summary_sheet(results: Sequence[Result]) -> Sheet:
    """One row for each workload, device and precision: throughput by batch, and what the largest batch costs."""
    batches = sorted({run.batch for run in results})
    groups: dict[tuple[str, str, str], dict[int, Result]] = {}
    for run in results:
        groups.setdefault(_place(run), {})[run.batch] = run
    columns = (
        Column("workload", left=True),
        Column("device", left=True),
        Column("precision", left=True),
        *(Column(f"items/s b{batch}") for batch in batches),
        Column(f"energy/item b{batches[-1]}"),
        Column(f"bound b{batches[-1]}", left=True, rank=1),
    )
    rows = []
    for (device, workload, precision), runs in groups.items():
        run = runs[max(runs)]
        speeds = [f"{runs[batch].throughput_items_per_s:.0f}" if batch in runs else "-" for batch in batches]
        bound, share = next(iter(run.bound_share.items()), ("-", 0.0))
        cost = si(run.energy_per_item_j, "J")
        rows.append((workload, device, precision, *speeds, cost, f"{bound} {share:.0%}"))
    return Sheet(columns, tuple(rows))
