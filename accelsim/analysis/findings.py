"""What a study found, as values: tables, charts yet to be drawn, and remarks beside the sentences that they judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Cell = str | int | float | None
Verdict = Literal["bears out", "contradicts", "qualifies", "says nothing of"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns whose names carry units; a file ``name.csv``."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Line:
    """A curve; ``mark`` is the index of a point that stands out, and ``None`` where none does."""

    name: str
    points: tuple[tuple[float, float], ...]
    mark: int | None = None


@dataclass(frozen=True, slots=True)
class Panel:
    """Curves that are drawn in one frame."""

    title: str
    lines: tuple[Line, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.points for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineChart:
    """Curves over logarithmic axes, in one frame or in several side by side that share their axes."""

    name: str
    caption: str
    x_label: str
    y_label: str
    y_unit: str = ""
    panels: tuple[Panel, ...]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return all(panel.is_empty for panel in self.panels)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    """Horizontal bars of stacked parts, a row each; ``shares`` makes every bar 100 %."""

    name: str
    caption: str
    label: str
    unit: str = ""
    rows: tuple[str, ...]
    parts: tuple[tuple[str, tuple[float, ...]], ...]
    """Each part's name and its value in every row."""
    shares: bool = False
    log: bool = False
    """One part only: bars on a logarithmic axis."""

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class WinnerMap:
    """Who wins at each crossing of two quantities; ``cells[row][column]`` is a name, empty where nobody does."""

    name: str
    caption: str
    x_label: str
    y_label: str
    xs: tuple[str, ...]
    ys: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]

    @property
    def is_empty(self) -> bool:
        """Whether nobody wins anywhere."""
        return not any(cell for row in self.cells for cell in row)


@dataclass(frozen=True, slots=True)
class Roof:
    """A device's limits: peak [op/s] and bandwidth [bytes/s]."""

    name: str
    peak_ops_per_s: float
    bytes_per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoofChart:
    """Roofs in one frame for each title, and the intensities [op/byte] of some workloads below them."""

    name: str
    caption: str
    panels: tuple[tuple[str, tuple[Roof, ...]], ...]
    marks: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """Workloads and the intensities of their ops."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no roof to draw."""
        return not any(roofs for _, roofs in self.panels)


Chart = LineChart | BarChart | WinnerMap | RoofChart


@dataclass(frozen=True, slots=True)
class Remark:
    """What one sees, with its numbers; and, where a sentence of the sources is about it, whether it holds."""

    text: str
    claim: str = ""
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Everything that a study leaves behind."""

    title: str
    lead: str
    """How it was done, in a paragraph."""
    remarks: tuple[Remark, ...]
    charts: tuple[Chart, ...]
    tables: tuple[Table, ...]
    left_out: tuple[str, ...] = ()
    """What could not be run, and why."""
