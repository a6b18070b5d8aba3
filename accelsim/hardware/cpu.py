"""CPUs: how a core runs loops of SIMD instructions over its caches, and the factors that a family of CPUs shares."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from accelsim.hardware.part import Count, Flag, Fraction01, NonNegative, Part, Positive

Clocks = Annotated[
    tuple[tuple[Count, Positive], ...],
    Field(description="a list of [active cores, Hz], more cores and lower clocks towards its end"),
]

Licence = Literal["stream", "product", "tile"]
"""What the cores do: vector code, multiply-adds in all lanes of the SIMD ports, or products in the tile unit (AMX)."""


class CpuExecution(Part):
    """How a CPU core runs micro-kernels: SIMD registers over caches."""

    kind: Literal["cpu"]
    vector_bits: Count
    """Width of a SIMD register."""
    vector_registers: Count
    fma_latency_cycles: Positive = 4.0
    """From a multiply-add to the next one on the same register."""
    loads_per_cycle: Positive = 2.0
    """Vectors that a core loads from its first cache in a cycle."""
    line_bytes: Count = 64
    """Of a cache."""
    outstanding_lines: Count | None = None
    """Lines that a core waits for at a time from beyond its own caches, prefetched ones included; with a memory's
    ``latency_s`` they bound what one core draws from it (Little, Operations Research 9, 1961). Absent: no bound."""
    port_bytes_per_cycle: Positive | None = None
    """Of a core's port to what it shares with others. Absent: no bound."""
    stream_clock_hz: Clocks = ()
    """Clock of vector code by active cores, up to so many; empty: the unit's ``freq_hz``."""
    product_clock_hz: Clocks = ()
    """The same while all lanes multiply and add (AVX2 and AVX-512 licences)."""
    tile_clock_hz: Clocks = ()
    """The same while the tile unit (AMX) works."""

    @model_validator(mode="after")
    def _clocks_fall(self) -> Self:
        problems = []
        for licence in ("stream", "product", "tile"):
            steps = self.clocks(licence)
            for (cores, hz), (more, lower) in pairwise(steps):
                if more <= cores or lower > hz:
                    problems.append(f"{licence}_clock_hz: want more cores and no higher clocks after [{cores}, {hz:g}]")
                elif (cores + 1) * lower < cores * hz:
                    problems.append(
                        f"{licence}_clock_hz: {cores + 1} cores at {lower:g} do less than {cores} at {hz:g}"
                    )
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def clocks(self, licence: Licence) -> tuple[tuple[int, float], ...]:
        """The table of a licence."""
        return {
            "stream": self.stream_clock_hz,
            "product": self.product_clock_hz,
            "tile": self.tile_clock_hz,
        }[licence]

    def clock_hz(self, licence: Licence, active_cores: int, nominal_hz: float) -> float:
        """Clock of so many active cores [Hz]; beyond the table's end that of its last line."""
        steps = self.clocks(licence)
        for cores, hz in steps:
            if active_cores <= cores:
                return hz
        return steps[-1][1] if steps else nominal_hz


class CpuFactors(Part):
    """Of a family of CPUs and the libraries that run on it."""

    kind: Literal["cpu"]
    dispatch_s: NonNegative
    """From an op's end to the next one's start: the call of a library or framework."""
    fork_join_s: NonNegative
    """Starting and joining threads, for each doubling of their number (a tree)."""
    dram: Fraction01
    """Share of the DRAM's peak that all cores together reach."""
    cache: Fraction01
    """Share of the peak between caches that streams reach."""
    overlap: Annotated[float, Field(ge=1, le=64, strict=True, description="a number from 1 to 64")]
    """How well work and the transfers between memory levels hide each other: 1 not at all (Stengel et al., ICS 2015,
    whose ECM model adds up transfers on Intel's cores), many as if alone."""
    fma_issue: Fraction01
    """Share of the peak that a micro-kernel's loop reaches."""
    pack: Fraction01
    """Share of the first cache's store bandwidth that packing into panels reaches."""
    vector_issue: Fraction01
    """Share of the lanes' peak that elementwise code reaches."""
    reduce_issue: Fraction01
    """Share of the lanes' peak that reductions reach, whose additions wait for each other."""
    functions: Fraction01 = 1.0
    """Share of the device's special functions a cycle that exponentials and their like reach, by polynomials; divisions
    and roots have a unit."""
    whole_lines: Flag = False
    """Lines of results are written without being read first: by non-temporal stores, or cores that see that they write
    a line as a whole. False: write-allocate."""

    @property
    def dram_share(self) -> float:
        """Of the DRAM's peak, for what streams through it."""
        return self.dram

    @property
    def launch_s(self) -> float:
        """From an op's end to the next one's start."""
        return self.dispatch_s
