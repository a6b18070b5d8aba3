"""A two-dimensional array of cells with loops of a convolution laid out along its axes."""

from __future__ import annotations

from math import prod
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from accelsim.base.errors import nearest
from accelsim.hardware.part import Count, DTypeName, NonNegative, Part, Positive, Rates

LOOPS = ("batch", "groups", "c_out", "c_in", "h_out", "w_out", "kh", "kw")
"""Loops of a convolution.

A product ``m x k x n`` has m over ``batch``, ``h_out`` and ``w_out``, k over ``c_in``, ``kh`` and ``kw``, n over
``c_out``, and its repeats over ``groups``.
"""


def _known_loop(name: str) -> str:
    if name not in LOOPS:
        raise ValueError(f"unknown loop{nearest(name, LOOPS)}; want one of {', '.join(LOOPS)}")
    return name


Loop = Annotated[str, AfterValidator(_known_loop), Field(description="a loop of a convolution")]

Axis = Annotated[
    dict[Loop, Count],
    Field(description=f"a table of loops ({', '.join(LOOPS)}) and how many steps of each"),
]


class Unrolling(BaseModel):
    """Loops along the two axes, each with how many of its steps stand side by side."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Axis
    cols: Axis

    def factor(self, loop: str) -> int:
        """Steps of a loop that are taken at once, over both axes."""
        return self.rows.get(loop, 1) * self.cols.get(loop, 1)

    @property
    def cells(self) -> int:
        """Cells that it uses."""
        return prod(self.rows.values()) * prod(self.cols.values())


class SpatialArray(Part):
    """A grid of multiply-accumulate cells, each with its place in the loops that are laid out along the two axes.

    A cell reads an operand with those whose loops differ only in what does not index it (multicast), and adds to a
    result together with those whose loops differ only in what the result sums over (an adder tree).
    """

    kind: Literal["spatial_array"]
    rows: Axis
    """Loops along the rows, with how many steps of each, as ``{ c_in = 64 }``."""
    cols: Axis
    alternatives: tuple[Unrolling, ...] = ()
    """Other layouts that an op may take, each ``{ rows = {...}, cols = {...} }``; none that needs more cells."""
    stationary: Literal["weight", "output", "input"] = "weight"
    """Which operand stays in the cells while the loops that do not index it go on."""
    freq_hz: Positive
    macs_per_cycle_per_cell: Rates
    fill_cycles: NonNegative = 0.0
    """From an op's first operands to its first result: once an op."""
    prefers: Literal["latency", "dram"] = "latency"
    """What its mapper looks for: least time, or least traffic beyond the chip within one per cent of it."""
    energy_pj_per_mac: dict[DTypeName, Positive] = {}
    register_pj_per_bit: NonNegative | None = None

    @property
    def unrollings(self) -> tuple[Unrolling, ...]:
        """Every layout of loops that the cells allow, the one of ``rows`` and ``cols`` first."""
        own = Unrolling(rows=self.rows, cols=self.cols)
        return (own, *(other for other in self.alternatives if other.cells <= own.cells))

    def macs_per_cycle(self, dtype: str) -> float:
        """Peak rate of one core; 0 for a format that it lacks."""
        return self.unrollings[0].cells * self.macs_per_cycle_per_cell.get(dtype, 0.0)
