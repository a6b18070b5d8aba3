"""Arm Ethos-U55 on MobileNetV2: Arm's compiler, Arm's model of the hardware, and a board."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.validation.rows import Row, Suite

DEVICE = "arm_ethos_u55"
WORKLOAD = "mobilenet_v2"

HALF = {
    "core.matrix.cols.h_out": 1,
    "core.matrix.alternatives": [
        {"rows": {"c_in": 8, "kw": 4}, "cols": {"c_out": 8, "w_out": 2}},
        {"rows": {"kw": 4}, "cols": {"groups": 8, "w_out": 2}},
    ],
}
"""The configuration of 128 MACs: blocks of 2 x 1 x 8 outputs (Vela, architecture_features.py)."""


def at(freq_hz: float, *, sram_only: bool) -> dict[str, Any]:
    """The device at another clock; ``sram_only``: everything in an SRAM on a 64-bit port of that clock."""
    device = load_device(DEVICE)
    times = freq_hz / device.core.vector.freq_hz
    near = device.memory_named("shram")
    settings = {
        "core.matrix.freq_hz": freq_hz,
        "core.vector.freq_hz": freq_hz,
        "shram.bandwidth_bytes_per_s": times * near.bandwidth_bytes_per_s,
        "shram.write_bandwidth_bytes_per_s": times * near.write_rate,
    }
    port = {f"{name}.bandwidth_bytes_per_s": 8 * freq_hz for name in ("sram", "flash")}
    return settings | port if sram_only else settings


def rows(data: Path | None) -> Iterator[Row]:
    """An estimate, a model and a measurement."""
    one = simulate(DEVICE, WORKLOAD, overrides=at(1e9, sram_only=True))
    yield Row(
        suite=DEVICE.removeprefix("arm_"), name="256 MACs at 1 GHz, Vela's estimate", quantity="latency", unit="ms",
        reference=3.54, ours=one.latency_s * 1e3, tolerance_pct=10,
        source="Renesas RZ/G3E, RUHMI page: Vela for an Ethos-U55-256, memory mode Sram_Only, 304 million MACs",
        why="Arm's compiler counts delays of blocks and what a command takes",
    )  # fmt: skip
    half = simulate(DEVICE, WORKLOAD, overrides=at(1e9, sram_only=True) | HALF)
    yield Row(
        suite=DEVICE.removeprefix("arm_"), name="128 MACs, Arm's fixed virtual platform", quantity="latency",
        unit="cycles", reference=5.5e6, ours=half.latency_s * 1e9, tolerance_pct=15,
        source="pytorch/executorch, pull request 9830: 5.5 million NPU cycles of mv2 on ethos-u55-128, Sram_Only",
        why="printed with two digits; torchvision's MobileNetV2 with its classifier",
    )  # fmt: skip
    board = simulate(DEVICE, WORKLOAD, overrides=at(400e6, sram_only=False))
    yield Row(
        suite=DEVICE.removeprefix("arm_"), name="256 MACs in an Alif Ensemble E8", quantity="latency", unit="ms",
        reference=19.0, ours=board.latency_s * 1e3, tolerance_pct=35,
        source="pytorch/executorch, pull request 19131: 19 ms an inference, all 110 operators on the NPU, measured",
        why="its clock (400 MHz, UNVERIFIED) and memories (MRAM for weights) are not in the source; ours has Arm's "
        "High End system: SRAM of 4 GB/s, flash of 0.5 GB/s, no latency",
    )  # fmt: skip


SUITE = Suite(
    title="Arm Ethos-U55: MobileNetV2",
    about=(
        "MobileNetV2 on `arm_ethos_u55`, set to the configuration of each source. One of the three is silicon; the "
        "others are Arm's compiler and Arm's model of the hardware. Nothing is fitted to them: how many outputs, "
        "channels and taps the unit takes in four cycles stands in the compiler's source."
    ),
    rows=rows,
)
