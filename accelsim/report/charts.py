"""Charts of a study's findings, in the look of all figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import singledispatch
from typing import Any

from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from accelsim.analysis.findings import BarChart, Chart, LineChart, Panel, Roof, RoofChart, WinnerMap
from accelsim.report.figures import Plot, rescale_labels, spread
from accelsim.report.scale import prefix, si, thousands
from accelsim.report.style import (
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
    new_figure,
    paper,
    set_ticks,
)

_LINE_IN = TEXT_PT * 1.25 / 72
_HATCHES = ("", "//////", ".....", "xxxxx", r"\\\\\\", "|||||", "-----", "+++++")


def draw(chart: Chart) -> Plot:
    """Draw a chart."""
    with paper():
        return Plot(_drawn(chart), chart.caption)


@singledispatch
def _drawn(chart: object) -> Figure:
    raise TypeError(f"no drawing for {type(chart).__name__}")


def looks(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Colour, marker and dash by name, the same in every frame of a chart: no two alike before 32."""
    return {
        name: {
            "color": COLORS[number % len(COLORS)],
            "marker": MARKERS[number % len(MARKERS)],
            "linestyle": LINES[number // len(COLORS) % len(LINES)],
        }
        for number, name in enumerate(dict.fromkeys(names))
    }


# Curves --------------------------------------------------------------------------------------------------------------


@_drawn.register
def _(chart: LineChart) -> Figure:
    count = len(chart.panels)
    columns = 1 if count == 1 else 2
    rows = math.ceil(count / columns)
    most = max((len(panel.lines) for panel in chart.panels), default=1)
    height = max(2.1, most * _LINE_IN + 0.7)
    figure = new_figure(PAGE_IN, rows * height)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    frames = [axes for row in grid for axes in row]
    every = [point for panel in chart.panels for line in panel.lines for point in line.points]
    styles = looks(line.name for panel in chart.panels for line in panel.lines)
    for axes, panel in zip(frames, chart.panels, strict=False):
        _curves(axes, panel, styles)
    for axes in frames[count:]:
        axes.set_visible(False)
    power = thousands(max(y for _, y in every)) if chart.y_unit else 0
    log_axis(frames[0], "y", [y for _, y in every])
    if power:
        rescale_labels(frames[0], power)
    y_unit = f"{prefix(power)}{chart.y_unit}"
    _x_axis(frames[0], sorted({x for x, _ in every}))
    for panel, axes in zip(chart.panels, frames, strict=False):
        _names(axes, panel, styles, height - 0.6)
        axes.tick_params(labelbottom=True, labelleft=True)
    for axes in frames[max(0, count - columns) : count]:
        axes.set_xlabel(chart.x_label)
    for row in grid:
        row[0].set_ylabel(f"{chart.y_label} ({y_unit})" if y_unit else chart.y_label)
    return figure


def _curves(axes: Axes, panel: Panel, styles: Mapping[str, dict[str, Any]]) -> None:
    if panel.title:
        axes.set_title(panel.title, fontsize=TEXT_PT + 1, loc="left")
    for line in panel.lines:
        style = styles[line.name]
        xs, ys = zip(*line.points, strict=True)
        axes.plot(xs, ys, markeredgecolor="white", markeredgewidth=0.3, zorder=3, clip_on=False, **style)
        if line.mark is not None:
            x, y = line.points[line.mark]
            axes.plot(
                [x], [y], marker="o", markersize=7, markerfacecolor="none", markeredgecolor=style["color"], zorder=4
            )


def _x_axis(axes: Axes, xs: Sequence[float]) -> None:
    """Powers of two as they are, other numbers on decades."""
    if all(math.log2(x).is_integer() for x in xs if x > 0):
        axes.set_xscale("log", base=2)
        axes.set_xlim(xs[0] / 1.25, xs[-1] * 1.25)
        shown = xs if len(xs) <= 7 else xs[:: math.ceil(len(xs) / 7)]
        set_ticks(axes.xaxis, shown, [f"{x:g}" for x in shown])
    else:
        log_axis(axes, "x", xs)


def _names(axes: Axes, panel: Panel, styles: Mapping[str, dict[str, Any]], height_in: float) -> None:
    """Each curve's name at its right end, moved apart where they end close together."""
    low, high = (math.log(limit) for limit in axes.get_ylim())
    ends = [(math.log(line.points[-1][1]) - low) / (high - low) for line in panel.lines]
    for line, place in zip(panel.lines, spread(ends, _LINE_IN / height_in), strict=True):
        color = styles[line.name]["color"]
        axes.annotate(
            line.name, xy=line.points[-1], xytext=(1.03, place), textcoords="axes fraction", va="center",
            color=ink(color), annotation_clip=False,
            arrowprops={  # dotted and pale: no part of the curve
                "arrowstyle": "-", "linewidth": 0.5, "linestyle": (0, (1, 2)), "alpha": 0.7, "color": color,
                "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5),
            },
        )  # fmt: skip


# Bars ----------------------------------------------------------------------------------------------------------------


@_drawn.register
def _(chart: BarChart) -> Figure:
    totals = [sum(values[row] for _, values in chart.parts) for row in range(len(chart.rows))]
    longest = max((len(name) for name in chart.rows), default=0)
    wide = longest > 22 or chart.log
    power = 0 if chart.shares or chart.log else thousands(max([*totals, 1e-30]))
    figure = new_figure(PAGE_IN if wide else COLUMN_IN, len(chart.rows) * 0.17 + 0.95)
    axes = figure.add_subplot()
    left = [0.0] * len(chart.rows)
    for number, (part, values) in enumerate(chart.parts):
        color, hatch = _part_style(part, number)
        widths = [
            value * 100 / (total or 1.0) if chart.shares else value / 1000.0**power
            for value, total in zip(values, totals, strict=True)
        ]
        axes.barh(
            range(len(chart.rows)), widths, left=None if chart.log else left, height=0.72, color=color, hatch=hatch,
            edgecolor=INK, linewidth=0.4, label=part,
        )  # fmt: skip
        left = [start + width for start, width in zip(left, widths, strict=True)]
    _bar_axes(axes, chart, totals, power)
    if len(chart.parts) > 1:
        figure.legend(loc="outside upper center", ncols=min(len(chart.parts), 6 if wide else 3))
    return figure


def _bar_axes(axes: Axes, chart: BarChart, totals: Sequence[float], power: int) -> None:
    scale = 1000.0**power
    unit = "%" if chart.shares else f"{prefix(power)}{chart.unit}"
    axes.set_xlabel(f"{chart.label} ({unit})" if unit else chart.label)
    set_ticks(axes.yaxis, range(len(chart.rows)), chart.rows)
    axes.set_ylim(len(chart.rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    if chart.shares:
        axes.set_xlim(0, 100)
        return
    if chart.log:
        log_axis(axes, "x", [total for total in totals if total > 0], chart.unit, room=3.0)
        axes.set_xlabel(chart.label)
    else:
        axes.set_xlim(0, max([*totals, 0.0]) / scale * 1.25 or 1.0)
    for row, total in enumerate(totals):
        axes.annotate(
            f"{total:g}" if chart.log else si(total, chart.unit),
            (total / scale, row),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
        )


def _part_style(part: str, number: int) -> tuple[str, str]:
    """What is a part of the energy looks as it does everywhere."""
    if part in COMPONENT_STYLE:
        return COMPONENT_STYLE[part]
    return COLORS[number % len(COLORS)], _HATCHES[number % len(_HATCHES)]


# Maps ----------------------------------------------------------------------------------------------------------------


@_drawn.register
def _(chart: WinnerMap) -> Figure:
    winners = list(dict.fromkeys(cell for row in chart.cells for cell in row if cell))
    colors = ["#FFFFFF", *(COLORS[i % len(COLORS)] for i in range(len(winners)))]
    figure = new_figure(PAGE_IN, 0.26 * len(chart.ys) + 1.3)
    axes = figure.add_subplot()
    numbers = [[winners.index(cell) + 1 if cell else 0 for cell in row] for row in chart.cells]
    axes.pcolormesh(numbers, cmap=ListedColormap(colors), vmin=0, vmax=len(winners), edgecolors="white", linewidth=0.8)
    axes.grid(visible=False)
    for y, row in enumerate(chart.cells):
        for x, cell in enumerate(row):
            if cell:
                axes.text(
                    x + 0.5, y + 0.5, chr(ord("A") + winners.index(cell)), ha="center", va="center", color="white",
                    fontweight="bold",
                )  # fmt: skip
    set_ticks(axes.xaxis, [i + 0.5 for i in range(len(chart.xs))], chart.xs)
    set_ticks(axes.yaxis, [i + 0.5 for i in range(len(chart.ys))], chart.ys)
    axes.set_xlabel(chart.x_label)
    axes.set_ylabel(chart.y_label)
    handles = [
        Patch(facecolor=colors[i + 1], edgecolor=INK, linewidth=0.4, label=f"{chr(ord('A') + i)}  {name}")
        for i, name in enumerate(winners)
    ]
    if any(not cell for row in chart.cells for cell in row):
        handles.append(Patch(facecolor="white", edgecolor=INK, linewidth=0.4, label="nobody"))
    figure.legend(handles=handles, loc="outside right center")
    return figure


# Roofs ---------------------------------------------------------------------------------------------------------------


@_drawn.register
def _(chart: RoofChart) -> Figure:
    count = len(chart.panels)
    columns = min(2, count)
    rows = math.ceil(count / columns)
    most = max((len(roofs) for _, roofs in chart.panels), default=1)
    height = max(2.4, most * _LINE_IN + 0.8)
    figure = new_figure(PAGE_IN, rows * height + 0.3)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    frames = [axes for row in grid for axes in row]
    every = [roof for _, roofs in chart.panels for roof in roofs]
    ridges = [roof.peak_ops_per_s / roof.bytes_per_s for roof in every]
    values = [*ridges, *(value for _, marks in chart.marks for value in marks)]
    low, high = min(values) / 4, max(values) * 4
    styles = looks(roof.name for roof in every)
    for axes, (title, roofs) in zip(frames, chart.panels, strict=False):
        axes.set_title(title, fontsize=TEXT_PT + 1, loc="left")
        _roofs(axes, roofs, styles, low, high)
    for axes in frames[count:]:
        axes.set_visible(False)
    log_axis(frames[0], "y", [roof.peak_ops_per_s for roof in every] + [low * min(r.bytes_per_s for r in every)])
    log_axis(frames[0], "x", [low, high], room=1.0)
    for axes, (_, roofs) in zip(frames, chart.panels, strict=False):
        _intensities(axes, chart.marks)
        _roof_names(axes, roofs, styles, high, height - 0.7)
        axes.tick_params(labelbottom=True, labelleft=True)
    for axes in frames[max(0, count - columns) : count]:
        axes.set_xlabel("Operations per DRAM byte")
    for row in grid:
        row[0].set_ylabel("Operations per second")
    if chart.marks:
        handles = [
            Line2D([], [], color=GREY, marker="|", markersize=6, linestyle="none", label=name)
            if number == 0
            else Line2D([], [], color=COLORS[number], marker="|", markersize=6, linestyle="none", label=name)
            for number, (name, _) in enumerate(chart.marks)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    return figure


def _roofs(axes: Axes, roofs: Sequence[Roof], styles: Mapping[str, dict[str, Any]], low: float, high: float) -> None:
    for roof in roofs:
        ridge = roof.peak_ops_per_s / roof.bytes_per_s
        style = styles[roof.name]
        axes.plot(
            [low, ridge, high],
            [low * roof.bytes_per_s, roof.peak_ops_per_s, roof.peak_ops_per_s],
            color=style["color"],
            linestyle=style["linestyle"],
        )


def _roof_names(
    axes: Axes, roofs: Sequence[Roof], styles: Mapping[str, dict[str, Any]], right: float, height_in: float
) -> None:
    low, high = (math.log(limit) for limit in axes.get_ylim())
    ends = [(math.log(roof.peak_ops_per_s) - low) / (high - low) for roof in roofs]
    for roof, place in zip(roofs, spread(ends, _LINE_IN / height_in), strict=True):
        color = styles[roof.name]["color"]
        axes.annotate(
            roof.name, xy=(right, roof.peak_ops_per_s), xytext=(1.03, place), textcoords="axes fraction", va="center",
            color=ink(color), annotation_clip=False,
            arrowprops={
                "arrowstyle": "-", "linewidth": 0.5, "color": color, "shrinkA": 1, "shrinkB": 2, "relpos": (0, 0.5)
            },
        )  # fmt: skip


def _intensities(axes: Axes, marks: Sequence[tuple[str, tuple[float, ...]]]) -> None:
    """Where the ops of workloads lie: a rug at the foot of the frame, a row for each workload."""
    for number, (_, values) in enumerate(marks):
        color = GREY if number == 0 else COLORS[number]
        axes.plot(
            values, [0.03 + 0.045 * number] * len(values), marker="|", markersize=5, linestyle="none", color=color,
            transform=axes.get_xaxis_transform(), zorder=2, alpha=0.7,
        )  # fmt: skip
