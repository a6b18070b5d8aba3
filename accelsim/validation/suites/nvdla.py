"""NVDLA against the ResNet-50 estimates of its primer, for seven of its sizes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from accelsim.simulation import simulate
from accelsim.validation.rows import Row, Suite

DEVICE = "nvdla_full"

PRIMER = (
    (64, 32, 512, 20, 269),
    (32, 32, 256, 15, 153),
    (32, 16, 256, 10, 93),
    (32, 8, 256, 5, 46),
    (16, 8, 256, 2, 20),
    (8, 8, 128, 1, 7.3),
    (8, 4, 128, 0.5, 3.6),
)
"""Input channels x filters (their product is the table's MACs), buffer [KB], DRAM [GB/s], ResNet-50 [frames/s]."""


def rows(data: Path | None) -> Iterator[Row]:
    """A row for each size."""
    for c, k, buffer_kb, gb_per_s, frames in PRIMER:
        result = simulate(
            DEVICE,
            "resnet50",
            overrides={
                "core.matrix.rows.c_in": c,
                "core.matrix.cols.c_out": k,
                "core.matrix.alternatives": [{"rows": {"c_in": 4, "kw": c // 4}, "cols": {"c_out": k}}],
                "cbuf.capacity_bytes": buffer_kb * 1024,
                "dram.bandwidth_bytes_per_s": gb_per_s * 1e9,
            },
        )
        yield Row(
            suite="nvdla", name=f"{c * k} MACs, {buffer_kb} KB, {gb_per_s:g} GB/s", quantity="throughput",
            unit="frames/s", reference=frames, ours=1 / result.latency_s, tolerance_pct=12,
            source="NVDLA primer, Example Area and Performance: int8, 1 GHz",
            why="an estimate against an estimate; how MACs split into channels x filters below 2048 is ASSUMED",
        )  # fmt: skip


SUITE = Suite(
    title="NVDLA: ResNet-50 in its primer",
    about=(
        "NVIDIA's estimates of ResNet-50 for seven sizes of NVDLA against `nvdla_full` set to each. They are "
        "estimates, not silicon; no measured frame rate of the open design at full size was found."
    ),
    rows=rows,
)
