"""Gemmini's default configuration against the cycles that its repository reports for ResNet-50."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.validation.rows import Row, Suite

DEVICE = "gemmini_16x16"
BATCH = 4
CELLS = 256
PULL_90 = 0.51
"""Of the array's cells, a month after pull request 69."""


def rows(data: Path | None) -> Iterator[Row]:
    """Four images, as in its tests."""
    result = simulate(DEVICE, "resnet50", batch=BATCH)
    ours = result.latency_s * load_device(DEVICE).core.vector.freq_hz
    reported = {
        "ucb-bar/gemmini, pull request 69 (2021): 153 709 356 cycles, 40 % utilisation": 153_709_356.0,
        "ucb-bar/gemmini, pull request 90 (2021): 51 % utilisation": result.macs / CELLS / PULL_90,
    }
    for (source, cycles), number in zip(reported.items(), (69, 90), strict=True):
        yield Row(
            suite="gemmini", name=f"ResNet-50, batch {BATCH}, pull request {number}", quantity="latency", unit="cycles",
            reference=cycles, ours=ours, source=source, tolerance_pct=60,
            why="ours is a bound: instructions that a Rocket core issues, TLB misses, the latency of 16 requests of 64 "
            "bytes behind an L2 and the blocks of 16 outputs along a row that its loops take are not modelled",
        )  # fmt: skip


SUITE = Suite(
    title="Gemmini 16 x 16: ResNet-50",
    about=(
        "Cycles of ResNet-50 that Gemmini's pull requests report (UNVERIFIED: RTL on FireSim's FPGAs) against "
        "`gemmini_16x16`. Luffca's blog has 1 358 733 049 cycles on an Artix-7 board, whose array it does not say: not "
        "compared."
    ),
    rows=rows,
)
