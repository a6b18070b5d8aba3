"""Figures that a paper takes as they are; a caption comes with each, no title stands in it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from accelsim.analysis.result import BOUNDS, COMPONENTS, OpResult, Result
from accelsim.report.naming import ellipsis, facets, label, labels, natural, varied
from accelsim.report.perfetto import Steps, channel_rates
from accelsim.report.scale import prefix, si, thousands
from accelsim.report.style import (
    BOUND_STYLE,
    COLORS,
    COLUMN_IN,
    COMPONENT_STYLE,
    GREY,
    INK,
    LINES,
    MARKERS,
    PAGE_IN,
    TEXT_PT,
    ink,
    log_axis,
    log_ticks,
    new_figure,
    paper,
    set_ticks,
)
from accelsim.trace import Span

_LABEL_LENGTH = 30
_LINE_IN = TEXT_PT * 1.25 / 72
_CHARACTER_IN = TEXT_PT * 0.56 / 72
"""Height and mean width of text; layout is planned with them, so that nothing has to be drawn twice."""


@dataclass(frozen=True, slots=True)
class Plot:
    """A figure and the text that belongs under it."""

    figure: Figure
    caption: str


# Latency and throughput against batch -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Series:
    name: str
    device: str
    points: tuple[tuple[int, float], ...]


def latency_figure(results: Sequence[Result]) -> Plot:
    """Latency of one step against batch, a line for each device and precision."""
    return _against_batch(results, lambda result: result.latency_s, "Latency", "s", "Latency of one step")


def throughput_figure(results: Sequence[Result]) -> Plot:
    """Throughput against batch, a line for each device and precision."""
    return _against_batch(
        results, lambda result: result.throughput_items_per_s, "Throughput", "items/s", "Steady throughput"
    )


def _against_batch(
    results: Sequence[Result], value: Callable[[Result], float], axis: str, unit: str, what: str
) -> Plot:
    series = _series(results, value)
    values = [v for line in series for _, v in line.points]
    longest = max((len(line.name) for line in series), default=0)
    wide = longest * _CHARACTER_IN > COLUMN_IN / 3
    height = max(2.3, len(series) * _LINE_IN + 0.6)
    with paper():
        figure = new_figure(PAGE_IN if wide else COLUMN_IN, height)
        axes = figure.add_subplot()
        log_axis(axes, "y", values)
        power = thousands(max(values, default=1.0)) if unit == "s" else 0
        if power:
            log_axis(axes, "y", values)
            rescale_labels(axes, power)
        axes.set_ylabel(f"{axis} ({prefix(power)}{unit})")
        _batch_axis(axes, [batch for line in series for batch, _ in line.points])
        looks = _looks(series)
        for line, look in zip(series, looks, strict=True):
            _draw_series(axes, line, look)
        _direct_labels(axes, series, looks, height - 0.5)
    return Plot(figure, f"{what} against batch size{_of_what(results)}.")


def _series(results: Sequence[Result], value: Callable[[Result], float]) -> list[_Series]:
    names = [name for name in varied(results) if name != "batch"]
    grouped: dict[str, list[Result]] = {}
    for result in results:
        grouped.setdefault(label(result, names), []).append(result)
    return [
        _Series(ellipsis(name, _LABEL_LENGTH), runs[0].device["name"], points)
        for name, runs in grouped.items()
        if (points := tuple(sorted((run.batch, value(run)) for run in runs if 0 < value(run) < math.inf)))
    ]


def rescale_labels(axes: Axes, power: int) -> None:
    """Let the ticks of an axis in SI units count in ``1000**power`` of them."""
    low, high = axes.get_ylim()
    step = 1000.0**power
    ticks = log_ticks(low / step, high / step)
    set_ticks(axes.yaxis, [tick * step for tick in ticks], [f"{tick:g}" for tick in ticks])


def _batch_axis(axes: Axes, batches: Iterable[int]) -> None:
    places = sorted(set(batches)) or [1]
    axes.set_xscale("log", base=2)
    axes.set_xlim(places[0] / 1.25, places[-1] * 1.25)
    shown = places if len(places) <= 9 else places[:: math.ceil(len(places) / 9)]
    set_ticks(axes.xaxis, shown, [str(place) for place in shown])
    axes.set_xlabel("Batch size (items)")


def _looks(series: Sequence[_Series]) -> list[dict[str, Any]]:
    """Colour by device where there are several, dashes by line of a device, a marker for each line."""
    devices = list(dict.fromkeys(line.device for line in series))
    seen: dict[str, int] = {}
    looks: list[dict[str, Any]] = []
    for number, line in enumerate(series):
        nth = seen.get(line.device, 0)
        seen[line.device] = nth + 1
        color = COLORS[(devices.index(line.device) if len(devices) > 1 else number) % len(COLORS)]
        looks.append(
            {"color": color, "marker": MARKERS[number % len(MARKERS)], "linestyle": LINES[nth % len(LINES)]}
        )  # fmt: skip
    return looks


def _draw_series(axes: Axes, line: _Series, look: dict[str, Any]) -> None:
    axes.plot(
        [batch for batch, _ in line.points],
        [value for _, value in line.points],
        markeredgecolor="white",
        markeredgewidth=0.3,
        zorder=3,
        clip_on=False,
        **look,
    )


def _direct_labels(axes: Axes, series: Sequence[_Series], looks: Sequence[dict[str, Any]], height_in: float) -> None:
    """Write each line's name at its right end, moved apart where lines end close together."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    ends = [(math.log(line.points[-1][1]) - low) / (high - low) for line in series]
    for line, look, place in zip(series, looks, spread(ends, _LINE_IN / height_in), strict=True):
        _label_end(axes, line.name, line.points[-1], place, look["color"])


def _label_end(axes: Axes, text: str, end: tuple[float, float], place: float, color: str) -> None:
    """Write ``text`` right of the axes at that height (share of the axes), with a line to the end of what it names."""
    axes.annotate(
        text,
        xy=end,
        xycoords="data",
        xytext=(1.05, place),
        textcoords="axes fraction",
        va="center",
        color=ink(color),
        annotation_clip=False,
        arrowprops={
            "arrowstyle": "-", "linewidth": 0.5, "color": color, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)
        },
    )  # fmt: skip


def spread(places: Sequence[float], gap: float) -> list[float]:
    """Move places in 0..1 apart so that neighbours are at least ``gap`` from each other, as little as that takes.

    >>> spread([0.5, 0.5, 0.9], 0.1)
    [0.55, 0.45, 0.9]
    """
    order = sorted(range(len(places)), key=lambda i: (places[i], -i))
    gap = min(gap, 1 / max(1, len(places) - 1))
    moved = list(places)
    floor = 0.0
    for i in order:
        moved[i] = max(moved[i], floor)
        floor = moved[i] + gap
    ceiling = 1.0
    for i in reversed(order):
        moved[i] = min(moved[i], ceiling)
        ceiling = moved[i] - gap
    return _centred(places, moved, order, gap)


def _centred(wanted: Sequence[float], moved: Sequence[float], order: Sequence[int], gap: float) -> list[float]:
    """Shift each run of touching places to the middle of where its members want to be, where there is room below."""
    result = list(moved)
    start = 0
    floor = 0.0
    while start < len(order):
        end = start
        while end + 1 < len(order) and result[order[end + 1]] - result[order[end]] <= gap * (1 + 1e-9):
            end += 1
        group = order[start : end + 1]
        shift = sum(wanted[i] - result[i] for i in group) / len(group)
        shift = max(min(shift, 0.0), min(0.0, floor - result[group[0]]))
        for i in group:
            result[i] = round(result[i] + shift, 12)
        floor = result[group[-1]] + gap
        start = end + 1
    return result


def _of_what(results: Sequence[Result]) -> str:
    """`` (resnet50, int8, batch 8)``: what all of the results share."""
    shared = {
        name: values.pop()
        for name in ("workload", "device", "precision", "batch")
        if len(values := {facets(result)[name] for result in results}) == 1
    }
    if "batch" in shared:
        shared["batch"] = f"batch {shared['batch']}"
    return f" ({', '.join(shared.values())})" if shared else ""


# Energy ------------------------------------------------------------------------------------------------------------


def energy_figure(results: Sequence[Result], *, shares: bool | None = None) -> Plot:
    """Energy of one item by component, a bar for each run.

    ``shares`` adds a panel in which every bar is 100 %; by default where the bars differ by more than 8 times.
    """
    totals = [result.energy_per_item_j for result in results]
    positive = [total for total in totals if total > 0]
    both = shares if shares is not None else bool(positive) and max(positive) > 8 * min(positive)
    names = [ellipsis(name, _LABEL_LENGTH) for name in labels(results)]
    longest = max((len(name) for name in names), default=0)
    wide = both or longest * _CHARACTER_IN > COLUMN_IN / 2.4
    power = thousands(max(positive, default=1.0))
    parts = [name for name in COMPONENTS if any(result.energy_breakdown_j.get(name, 0) > 0 for result in results)]
    with paper():
        figure = new_figure(PAGE_IN if wide else COLUMN_IN, len(results) * 0.17 + (0.95 if wide else 1.1))
        panels = figure.subplots(1, 2 if both else 1, sharey=True, squeeze=False, width_ratios=[1.25, 1][: 1 + both])[0]
        _energy_bars(panels[0], results, parts, [1 / (r.batch * 1000.0**power) for r in results])
        panels[0].set_xlabel(f"Energy per item ({prefix(power)}J)")
        panels[0].set_xlim(0, max([*positive, 0]) / 1000.0**power * 1.22 or 1.0)
        for row, total in enumerate(totals):
            panels[0].annotate(
                si(total, "J"), (total / 1000.0**power, row), xytext=(3, 0), textcoords="offset points", va="center"
            )
        set_ticks(panels[0].yaxis, range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.4, -0.6)
        if both:
            _energy_bars(panels[1], results, parts, [100 / (sum(r.energy_breakdown_j.values()) or 1) for r in results])
            panels[1].set_xlabel("Share (%)")
            panels[1].set_xlim(0, 100)
        _energy_legend(figure, parts, wide=wide)
    return Plot(figure, f"Energy of one item by component{_of_what(results)}; the number is the total.")


def _energy_bars(axes: Axes, results: Sequence[Result], parts: Sequence[str], scales: Sequence[float]) -> None:
    left = [0.0] * len(results)
    rows = range(len(results))
    for part in parts:
        color, hatch = COMPONENT_STYLE[part]
        widths = [r.energy_breakdown_j.get(part, 0.0) * scale for r, scale in zip(results, scales, strict=True)]
        axes.barh(rows, widths, left=left, height=0.72, color=color, hatch=hatch, edgecolor=INK, linewidth=0.4)
        left = [start + width for start, width in zip(left, widths, strict=True)]
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)


def _energy_legend(figure: Figure, parts: Sequence[str], *, wide: bool) -> None:
    handles = [
        Patch(facecolor=COMPONENT_STYLE[part][0], hatch=COMPONENT_STYLE[part][1], edgecolor=INK, linewidth=0.4)
        for part in parts
    ]
    names = [part.upper() if part in {"mac", "sram", "dram"} else part for part in parts]
    if handles:
        figure.legend(handles, names, loc="outside upper center", ncols=len(parts) if wide else 3)


# Roofline ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Point:
    """An op (or a run) under a roof: operations per DRAM byte (inf without any), operations per second, time share."""

    intensity: float
    attained: float
    share: float


_CROWDED = 6
"""From this many runs on, a point is a run and no longer an op."""


def roofline_figure(results: Sequence[Result]) -> Plot:
    """Draw the roof of each device and precision, and under it the ops, as large as their share of the time."""
    runs = [result for result in results if result.peak_macs_per_s > 0]
    by_run = len(runs) >= _CROWDED
    clouds = [[_run_point(result)] if by_run else _op_points(result) for result in runs]
    roofs = _roofs(runs)
    points = [point for cloud in clouds for point in cloud]
    ridges = [2 * peak / bandwidth for peak, bandwidth in roofs.values() if bandwidth]
    intensities = [point.intensity for point in points if math.isfinite(point.intensity)]
    span = [*intensities, *ridges] or [1.0]
    left, right = min(span) / 3, max(span) * 6
    heights = [2 * peak for peak, _ in roofs.values()]
    attained = [point.attained for point in points]
    with paper():
        figure = new_figure(PAGE_IN, max(3.0, len(roofs) * _LINE_IN + 0.7))
        axes = figure.add_subplot()
        log_axis(axes, "x", [left, right], room=1.0)
        log_axis(axes, "y", [*heights, *(a for a in attained if a > 0)], room=2.0)
        axes.set_xlabel("Operations per DRAM byte")
        axes.set_ylabel("Operations/s")
        looks = {key: (COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]) for i, key in enumerate(roofs)}
        _draw_roofs(axes, roofs, looks, right, figure.get_figheight() - 0.5)
        for result, cloud in zip(runs, clouds, strict=True):
            _draw_points(axes, cloud, *looks[_roof_key(result, runs)], right)
        if not by_run:
            _size_legend(axes)
    return Plot(figure, _roofline_caption(runs, by_run=by_run))


def _roof_key(result: Result, runs: Sequence[Result]) -> str:
    names = [n for n in varied(runs) if n in {"device", "precision", "cores"} or ("." in n and "param." not in n)]
    return ellipsis(label(result, names), _LABEL_LENGTH)


def _roofs(runs: Sequence[Result]) -> dict[str, tuple[float, float]]:
    return {_roof_key(run, runs): (run.peak_macs_per_s, run.dram_bandwidth_bytes_per_s) for run in runs}


def _run_point(result: Result) -> _Point:
    intensity = 2 * result.macs / result.dram_bytes if result.dram_bytes else math.inf
    return _Point(intensity, 2 * result.macs / result.latency_s if result.latency_s else 0.0, 0.1)


def _op_points(result: Result) -> list[_Point]:
    """Ops with MACs on the device itself; replicas of an op, which run side by side, are one point."""
    groups: dict[str, list[OpResult]] = {}
    for op in result.ops:
        if op.macs and op.device == result.device["name"]:
            groups.setdefault(op.name, []).append(op)
    total = sum(op.latency_s for op in result.ops) or 1.0
    points = []
    for ops in groups.values():
        seconds = max(op.end_s for op in ops) - min(op.start_s for op in ops)
        size = sum(op.dram_read_bytes + op.dram_write_bytes for op in ops)
        if seconds > 0:
            macs = sum(op.macs for op in ops)
            share = sum(op.latency_s for op in ops) / total
            points.append(_Point(2 * macs / size if size else math.inf, 2 * macs / seconds, share))
    return points


def _draw_roofs(
    axes: Axes,
    roofs: dict[str, tuple[float, float]],
    looks: dict[str, tuple[str, str]],
    right: float,
    height_in: float,
) -> None:
    left = axes.get_xlim()[0]
    low, high = (math.log(limit) for limit in axes.get_ylim())
    places = spread(
        [(math.log(2 * peak) - low) / (high - low) for peak, _ in roofs.values()], _LINE_IN / height_in
    )  # fmt: skip
    for (key, (peak, bandwidth)), place in zip(roofs.items(), places, strict=True):
        color = looks[key][0]
        knee = 2 * peak / bandwidth if bandwidth else left
        xs = [left, knee, right] if knee > left else [left, right]
        axes.plot(xs, [min(2 * peak, x * bandwidth) if bandwidth else 2 * peak for x in xs], color=color, zorder=2)
        limits = f"{si(2 * peak, 'OPS')}, {si(bandwidth, 'B/s')}" if bandwidth else si(2 * peak, "OPS")
        _label_end(axes, f"{key}  {limits}", (right, 2 * peak), place, color)


def _area(share: float) -> float:
    """Area of a point [pt^2]; one percent of the time is still seen."""
    return 5 + 260 * share


def _draw_points(axes: Axes, points: Sequence[_Point], color: str, marker: str, right: float) -> None:
    low = axes.get_ylim()[0]
    drawn = sorted((point for point in points if point.attained > low), key=lambda point: -point.share)
    inside = [point for point in drawn if math.isfinite(point.intensity)]
    edge = [point for point in drawn if not math.isfinite(point.intensity)]
    look: dict[str, Any] = {"color": color, "edgecolors": "white", "linewidths": 0.4, "alpha": 0.8}
    axes.scatter(
        [p.intensity for p in inside], [p.attained for p in inside], s=[_area(p.share) for p in inside],
        marker=marker, zorder=4, **look,
    )  # fmt: skip
    axes.scatter(
        [right] * len(edge), [p.attained for p in edge], s=[10 + _area(p.share) for p in edge],
        marker=">", zorder=4, clip_on=False, **look,
    )  # fmt: skip


def _size_legend(axes: Axes) -> None:
    sizes = (0.01, 0.1, 0.3)
    handles = [
        Line2D([], [], linestyle="", marker="o", color=GREY, markeredgewidth=0, markersize=math.sqrt(_area(size)))
        for size in sizes
    ]
    axes.legend(handles, [f"{size:.0%} of the time" for size in sizes], loc="lower right", labelspacing=0.8)


def _roofline_caption(runs: Sequence[Result], *, by_run: bool) -> str:
    if by_run:
        return (
            f"Rooflines at nominal peak; a point is a run{_of_what(runs)}. A triangle at the right edge reads no DRAM."
        )
    dropped = max(
        (
            sum(op.latency_s for op in run.ops if not op.macs or op.device != run.device["name"])
            / (sum(op.latency_s for op in run.ops) or 1.0)
            for run in runs
        ),
        default=0.0,
    )
    missing = f" Ops without MACs or on the host (up to {dropped:.0%} of the time) are not shown." if dropped else ""
    return (
        f"Rooflines at nominal peak, and the ops under them{_of_what(runs)}; area is a share of the time. "
        f"A triangle at the right edge is an op without DRAM traffic.{missing}"
    )


# Timeline ----------------------------------------------------------------------------------------------------------


_LEAST_SHARE = 1 / 700
"""Spans shorter than this share of the window are drawn together."""
_MOST_RATES = 1500
_LEAST_NAME = 14
"""A name cut shorter than this says nothing."""


def timeline_figure(result: Result, *, steps: int | None = None, until_s: float | None = None) -> Plot:
    """Draw what every resource did in the first ``steps`` steps, by what bound it, above the bandwidths.

    Without ``steps``: four of a pipeline, else one. ``until_s`` cuts it there, so that the names of ops can be read.
    """
    shown = min(steps or (4 if result.parallel == "pipeline" else 1), result.steps)
    cut_ps = math.inf if until_s is None else round(until_s * 1e12)
    spans = [span for span in result.trace.spans if span.step < shown and span.start_ps < cut_ps]
    lanes = sorted({span.resource for span in spans}, key=natural)
    start = min((span.start_ps for span in spans), default=0)
    last = max(max((span.end_ps for span in spans), default=1), start + 1)
    end = int(min(last, max(cut_ps, start + 1)))
    power = thousands((end - start) / 1e12)
    scale = 1000.0**power * 1e12
    window = (end - start) / scale
    rates = channel_rates(spans, result.dram_bandwidth_bytes_per_s)
    lanes_in = 0.28 * max(1, len(lanes)) + 0.1
    with paper():
        figure = new_figure(PAGE_IN, lanes_in + (1.45 if rates else 0.75))
        heights = [lanes_in, 0.6][: 1 + bool(rates)]
        panels = figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0]
        for row, lane in enumerate(lanes):
            blocks = [_Block.of(s, start, scale, result) for s in spans if s.resource == lane]
            _draw_lane(panels[0], row, blocks, window)
        for step in range(1, shown):
            first = min((span.start_ps for span in spans if span.step == step), default=start)
            panels[0].axvline((first - start) / scale, color=INK, linewidth=0.6, linestyle=(0, (1, 1.5)), zorder=5)
        set_ticks(panels[0].yaxis, range(len(lanes)), lanes)
        panels[0].set_ylim(len(lanes) - 0.45, -0.55)
        panels[0].set_xlim(0, window)
        panels[0].grid(visible=False, axis="y")
        panels[0].tick_params(axis="y", length=0)
        if rates:
            _draw_rates(panels[1], rates, start, scale, result.dram_bandwidth_bytes_per_s)
        panels[-1].set_xlabel(f"Time ({prefix(power)}s)")
        bounds = {_bound(span, result) for span in spans}
        _bound_legend(figure, [bound for bound in BOUNDS if bound in bounds])
    which = "the first step" if shown == 1 else f"the first {shown} steps (a dotted line where each begins)"
    if end < last:
        which = f"the first {si((end - start) / 1e12, 's')} of {which}"
    below = " Below, bandwidth in use; dashed: the DRAM's nominal one." if rates else ""
    return Plot(
        figure,
        f"{result.workload['name']} on {result.device['name']}, batch {result.batch}, {result.precision}: "
        f"what each resource did in {which}, by what bound it.{below}",
    )


@dataclass(frozen=True, slots=True)
class _Block:
    """A stretch of one resource's time, in the units of the axis."""

    start: float
    end: float
    bound: str
    name: str

    @staticmethod
    def of(span: Span, origin_ps: int, scale: float, result: Result) -> _Block:
        start, end = (span.start_ps - origin_ps) / scale, (span.end_ps - origin_ps) / scale
        return _Block(start, end, _bound(span, result), span.op)


def _bound(span: Span, result: Result) -> str:
    """What limited a span; all that a host does is ``host``, as in the result's ops."""
    return span.bound if span.device == result.device["name"] else "host"


def merged(blocks: Sequence[_Block], least: float) -> list[_Block]:
    """Put blocks shorter than ``least`` together with their neighbours, under the bound that holds longest."""
    out: list[_Block] = []
    group: list[_Block] = []
    for block in sorted(blocks, key=lambda block: (block.start, block.end)):
        if block.end - block.start >= least:
            out += _grouped(group)
            out.append(block)
            group = []
            continue
        if group and (block.start - group[-1].end > least or group[-1].end - group[0].start >= least):
            out += _grouped(group)
            group = []
        group.append(block)
    return out + _grouped(group)


def _grouped(group: Sequence[_Block]) -> list[_Block]:
    if not group:
        return []
    time: dict[str, float] = {}
    for block in group:
        time[block.bound] = time.get(block.bound, 0.0) + block.end - block.start
    return [_Block(group[0].start, group[-1].end, max(time, key=lambda bound: time[bound]), "")]


def _draw_lane(axes: Axes, row: int, blocks: Sequence[_Block], window: float) -> None:
    shown = merged(blocks, window * _LEAST_SHARE)
    for bound in dict.fromkeys(block.bound for block in shown):
        color, hatch = BOUND_STYLE.get(bound, (GREY, ""))
        for big in (True, False):
            boxes = [b for b in shown if b.bound == bound and (b.end - b.start > window / 120) == big]
            corners = [
                [(b.start, row - 0.36), (b.end, row - 0.36), (b.end, row + 0.36), (b.start, row + 0.36)] for b in boxes
            ]
            edge: dict[str, Any] = (
                {"edgecolors": INK, "linewidths": 0.3} if big else {"edgecolors": color, "linewidths": 0.1}
            )
            if corners:
                axes.add_collection(
                    PolyCollection(corners, facecolors=color, hatch=hatch if big else "", **edge), autolim=False
                )
    for block in shown:
        _name_block(axes, row, block, window)


def _name_block(axes: Axes, row: int, block: _Block, window: float) -> None:
    """Write an op's name in its block where it fits."""
    end = min(block.end, window)
    room = int((end - block.start) / window * (PAGE_IN - 0.8) / (_CHARACTER_IN * 0.86)) - 1
    if block.name and room >= min(_LEAST_NAME, len(block.name)):
        axes.text(
            (block.start + end) / 2,
            row,
            ellipsis(block.name, room),
            fontsize=TEXT_PT - 1,
            ha="center",
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
            clip_on=True,
        )


def _draw_rates(axes: Axes, rates: dict[str, Steps], start_ps: int, scale: float, nominal: float) -> None:
    looks = ((COMPONENT_STYLE["dram"][0], "-"), (COLORS[0], "--"), (COLORS[2], ":"), (COLORS[3], "-."))
    top = nominal / 1e9
    for number, (channel, steps) in enumerate(sorted(rates.items())):
        color, dashes = looks[number % len(looks)]
        drawn = thinned(steps, _MOST_RATES)
        xs = [(ps - start_ps) / scale for ps, _ in drawn]
        ys = [rate / 1e9 for _, rate in drawn]
        axes.fill_between(xs, ys, step="post", color=color, alpha=0.3, linewidth=0)
        axes.step(xs, ys, where="post", color=ink(color), linestyle=dashes, linewidth=0.6, label=channel)
        top = max(top, *ys)
    axes.set_ylim(0, top * 1.12 or 1)
    axes.set_ylabel("GB/s")
    if nominal:
        axes.axhline(nominal / 1e9, color=INK, linewidth=0.5, linestyle=(0, (4, 2)))
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.05), borderaxespad=0.2)


def thinned(steps: Steps, most: int) -> Steps:
    """Mean over ``most`` equal stretches where there are more steps than that: finer than ink can show.

    >>> thinned([(0, 2.0), (1, 4.0), (2, 0.0)], 1)
    [(0, 3.0), (2, 0.0)]
    """
    if len(steps) <= most + 1:
        return steps
    start, end = steps[0][0], steps[-1][0]
    borders = [start + (end - start) * i // most for i in range(most + 1)]
    out: Steps = []
    at = 0
    for low, high in itertools.pairwise(borders):
        area = 0.0
        while steps[at][0] < high:
            area += steps[at][1] * (min(high, steps[at + 1][0]) - max(low, steps[at][0]))
            if steps[at + 1][0] > high:
                break
            at += 1
        out.append((low, area / (high - low)))
    return [*out, (end, 0.0)]


def _bound_legend(figure: Figure, bounds: Sequence[str]) -> None:
    handles = [
        Patch(facecolor=BOUND_STYLE[bound][0], hatch=BOUND_STYLE[bound][1], edgecolor=INK, linewidth=0.3)
        for bound in bounds
    ]
    if handles:
        figure.legend(handles, [f"bound by {b}" for b in bounds], loc="outside upper center", ncols=min(6, len(bounds)))
