"""Families of devices: factors that are fitted once for an architecture, never for a device or a shape.

Every class here is a section of a file in ``hwconfigs/families``; each says in ``source`` on what it was
fitted, and when.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from accelsim.hardware.part import Fraction01, NonNegative, Part, Tiles


class KernelFactors(Part):
    """What every kernel costs beside its work."""

    kernel_s: NonNegative
    """From a kernel's start to its end when it does nothing: first instruction, drain, completion."""
    launch_s: NonNegative
    """From a kernel's end to the start of the next one that waits in the queue."""
    graph_launch_s: NonNegative
    """The same inside a captured graph."""


class BandwidthFactors(Part):
    """Shares of peak bandwidths that kernels reach."""

    dram: Fraction01
    l2: Fraction01


class GemmFactors(Part):
    """A product on one kind of unit: the library's tiles and how well its main loop runs."""

    tiles: Tiles
    """Thread-block tiles (m, n, k) that the library has."""
    issue: Fraction01
    """Share of the unit's peak that the main loop of the largest tile reaches."""
    prologue_s: NonNegative
    """Of a thread block: filling its pipeline and writing its result, beside the main loop."""


class StreamFactors(Part):
    """Kernels that stream: elementwise, norm, softmax."""

    dram: Fraction01
    """Share of the DRAM's peak."""


class GpuFactors(Part):
    """Of a family of GPUs."""

    kind: Literal["gpu"]
    kernel: KernelFactors
    bandwidth: BandwidthFactors
    tensor: GemmFactors | None = None
    """Products on tensor cores."""
    simt: GemmFactors
    """Products on the SIMD lanes."""
    stream: StreamFactors

    @property
    def dram_share(self) -> float:
        """Of the DRAM's peak, for what streams through it."""
        return self.bandwidth.dram

    @property
    def launch_s(self) -> float:
        """From a kernel's end to the next one's start."""
        return self.kernel.launch_s


class CpuFactors(Part):
    """Of a family of CPUs."""

    kind: Literal["cpu"]
    fork_join_s: NonNegative
    """Starting and joining the threads of a parallel loop."""
    dram: Fraction01
    """Share of the DRAM's peak that all cores together reach."""
    fma_issue: Fraction01
    """Share of the peak that a micro-kernel's loop reaches."""

    @property
    def dram_share(self) -> float:
        """Of the DRAM's peak, for what streams through it."""
        return self.dram

    @property
    def launch_s(self) -> float:
        """From an op's end to the next one's start."""
        return self.fork_join_s


Factors = Annotated[GpuFactors | CpuFactors, Field(discriminator="kind")]
