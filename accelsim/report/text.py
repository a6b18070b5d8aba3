"""What the terminal shows: quiet tables for a run, a sweep, a comparison, a device and a workload.

Every function returns something that rich can print; :func:`render` makes text of it, :func:`show` writes it where it
fits (colour only on a terminal, and not where ``NO_COLOR`` is set).
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import IO

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from accelsim.analysis.result import Result
from accelsim.hardware.device import Device
from accelsim.hardware.energy import EnergyRow
from accelsim.report.naming import bottleneck, ellipsis
from accelsim.report.sheets import (
    TOP_OPS,
    Column,
    Sheet,
    compare_sheet,
    device_peaks_sheet,
    device_sections,
    energy_sheet,
    energy_sources,
    graph_ops_sheet,
    headline_rows,
    kinds_sheet,
    ops_sheet,
    shared_facets,
    sweep_sheet,
    workload_totals,
)
from accelsim.workload.graph import Graph

PIPED_WIDTH = 100
"""Columns where nobody says how wide the output is."""

_GAP = 2
_LEAST_NAME = 8
_LEAST_WRAPPED = 16
_LEAST_COLUMNS = 4
_PLAIN = str.maketrans({"µ": "u", "…": "~", "·": "-", "—": "-", "×": "x", "─": "-"})


def render(renderable: RenderableType, *, width: int = 80, color: bool = False) -> str:
    """Text of that many columns at most; lines have no spaces at their ends."""
    text = io.StringIO()
    console = Console(
        file=text,
        width=width,
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        highlight=False,
        emoji=False,
        markup=False,
        legacy_windows=False,
    )
    console.print(renderable, crop=False)
    return "".join(f"{line.rstrip()}\n" for line in text.getvalue().splitlines())


def show(renderable: RenderableType, file: IO[str] | None = None) -> None:
    """Print on ``file`` (standard output), as wide as the terminal; letters that it cannot encode are replaced."""
    out = file or sys.stdout
    terminal = Console(file=out)
    width = terminal.width if terminal.is_terminal else max(PIPED_WIDTH, terminal.width)
    text = render(renderable, width=width, color=terminal.is_terminal and not terminal.no_color)
    encoding = getattr(out, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = text.translate(_PLAIN).encode(encoding, "replace").decode(encoding)
    out.write(text)


@dataclass(frozen=True, slots=True)
class Fitted:
    """A sheet drawn as a table that fits: columns go by rank and from the right, then names lose their middle."""

    sheet: Sheet

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Choose what to show at this width."""
        kept, widths = self._fit(options.max_width)
        table = Table(
            box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 0, 0, 1), show_edge=False, header_style="bold"
        )  # fmt: skip
        for i in kept:
            it = self.sheet.columns[i]
            table.add_column(
                Text(it.name),
                justify="left" if it.left else "right",
                no_wrap=not it.wrap,
                overflow="fold",
                width=widths[i],
            )
        last = len(self.sheet.rows) - self.sheet.totals
        for number, row in enumerate(self.sheet.rows):
            cells = [row[i] if self.sheet.columns[i].wrap else ellipsis(row[i], widths[i]) for i in kept]
            table.add_row(*map(Text, cells), style="dim" if number >= last else "")
        # What does not fit even so stands out to the right: a number that lost its last digits would be a wrong one.
        needed = sum(widths[i] + _GAP for i in kept)
        yield from console.render(table, options.update(max_width=max(options.max_width, needed)))

    def _fit(self, width: int) -> tuple[list[int], dict[int, int]]:
        columns = self.sheet.columns
        widths = {
            i: max([cell_len(it.name), *(cell_len(row[i]) for row in self.sheet.rows)]) for i, it in enumerate(columns)
        }
        kept = list(widths)
        for rank in sorted({it.rank for it in columns if it.rank}, reverse=True):
            if _least(columns, kept, widths) <= width:
                break
            kept = [i for i in kept if columns[i].rank != rank]
        while _least(columns, kept, widths) > width and len(kept) > _LEAST_COLUMNS:
            kept.pop()
        for i in kept:
            excess = sum(widths[j] + _GAP for j in kept) - _GAP - width
            if excess > 0 and (columns[i].shrink or columns[i].wrap):
                widths[i] = max(_floor(columns[i], widths[i]), widths[i] - excess)
        return kept, widths


def _floor(it: Column, width: int) -> int:
    if it.wrap:
        return min(width, max(_LEAST_WRAPPED, len(it.name)))
    return min(width, max(2 * _LEAST_NAME, len(it.name))) if it.shrink else width


def _least(columns: Sequence[Column], kept: Sequence[int], widths: dict[int, int]) -> int:
    """Columns of text that these need."""
    return sum(_floor(columns[i], widths[i]) + _GAP for i in kept) - _GAP


def run_table(
    result: Result, *, precision_note: str = "", nominal_clock_hz: float | None = None, top: int | None = TOP_OPS
) -> RenderableType:
    """One run: what it takes, what limits it, its slowest ops, its warnings.

    ``precision_note`` says why it ran in that precision (``the device's default``, ``fp32 autocast to bf16``).
    """
    params = "".join(f", {key}={value}" for key, value in sorted((result.workload.get("params") or {}).items()))
    return Group(
        _heading(f"{result.workload['name']} on {result.device['name']}", f"batch {result.batch}{params}"),
        Text(""),
        _grid(headline_rows(result, precision_note, nominal_clock_hz), right={1}),
        Text(""),
        Text(bottleneck(result), style="bold"),
        Text(""),
        *([ops_table(result, top=top)] if result.ops else []),
        *warning_lines(result.warnings),
    )


def _heading(title: str, more: str = "") -> Text:
    return Text.assemble((title, "bold"), f"  {more}" if more else "")


def _grid(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> Table:
    """Rows without rules: a dim name, then values; the last column wraps."""
    cells = [*rows]
    grid = Table.grid(padding=(0, 2, 0, 0))
    rights, count = set(right), max((len(row) for row in cells), default=0)
    for i in range(count):
        grid.add_column(
            style="dim" if i == 0 else "",
            justify="right" if i in rights else "left",
            no_wrap=i < count - 1,
            overflow="fold",
        )
    for row in cells:
        grid.add_row(*map(Text, row))
    return grid


def ops_table(result: Result, *, top: int | None = TOP_OPS) -> RenderableType:
    """Draw the ``top`` ops by time; the rest in one row."""
    return Fitted(ops_sheet(result, top=top))


def warning_lines(warnings: Sequence[str]) -> list[RenderableType]:
    """One paragraph for each warning."""
    lines: list[RenderableType] = [Text("")] if warnings else []
    for warning in warnings:
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.add_row(Text("!", style="yellow"), Text(warning, overflow="fold"))
        lines.append(grid)
    return lines


def sweep_table(results: Sequence[Result], varied_names: Sequence[str] | None = None) -> RenderableType:
    """One row for each run, by what differs between them; what they share stands above."""
    sheet = sweep_sheet(results, varied_names)
    same = shared_facets(results, [column.name for column in sheet.columns])
    warnings = dict.fromkeys(warning for result in results for warning in result.warnings)
    above: list[RenderableType] = [Text("; ".join(same)), Text("")] if same else []
    return Group(*above, Fitted(sheet), *warning_lines([*warnings]))


def compare_table(results: Sequence[Result]) -> RenderableType:
    """Compare runs with the first of them."""
    return Fitted(compare_sheet(results))


def energy_table_text(rows: Sequence[EnergyRow], title: str = "", unit_pj: float | None = None) -> RenderableType:
    """Draw an energy table with costs relative to ``unit_pj`` (adding two int32, unless given); sources are below."""
    above: list[RenderableType] = [_heading(title), Text("")] if title else []
    sources = [(str(i), source) for i, source in enumerate(energy_sources(rows), start=1)]
    below: list[RenderableType] = [Text(""), Text("Sources", style="bold"), _grid(sources)] if sources else []
    return Group(*above, Fitted(energy_sheet(rows, unit_pj)), *below)


def device_sheet(device: Device) -> RenderableType:
    """Draw the data sheet of a device: every number with its source."""
    parts: list[RenderableType] = [_heading(device.name, device.description), Text("")]
    parts.append(Fitted(device_peaks_sheet(device)))
    for name, fields, source in device_sections(device):
        rows = [*fields, ("source", source)]
        parts += [Text(""), Text(name or "device", style="bold"), Padding(_grid(rows), (0, 0, 0, 2))]
    return Group(*parts)


def workload_sheet(graph: Graph, *, top: int | None = None) -> RenderableType:
    """Totals of a workload, its kinds of op and its ops in order (the first ``top`` of them)."""
    return Group(
        _heading(graph.name),
        Text(""),
        _grid(workload_totals(graph)),
        Text(""),
        Fitted(kinds_sheet(graph)),
        Text(""),
        Fitted(graph_ops_sheet(graph, top=top)),
        *warning_lines(graph.notes),
    )
