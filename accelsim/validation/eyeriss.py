"""Eyeriss against what its authors measured: Chen et al., IEEE JSSC 52(1), 2017, Tables V (AlexNet) and VI (VGG-16).

Numbers are the paper's, not ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from accelsim.analysis.energy import priced
from accelsim.base.units import PS_PER_S
from accelsim.hardware.device import Device
from accelsim.hardware.energy import EnergyTable, component, energy_table_of
from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.trace import Span
from accelsim.validation.rows import Row

DEVICE = "eyeriss_v1"
MIB = 2**20
"""The paper's MB: with it the bytes between buffer and array come out to the last digit printed."""
JSSC17 = "Chen et al., JSSC 52(1), 2017"

ABOUT = (
    "Latency is the paper's processing latency, total latency adds what the chip loads and stores before and after it; "
    "buffer traffic is between the array and its buffers, DRAM traffic is compressed, power is the chip's without its "
    "DRAM, over the processing latency. Energy and set-up of a pass (three numbers) are fitted on AlexNet and judged "
    "on VGG-16. Which mapping runs is inferred from the traffic of both, and the width of the buffer's port from "
    "VGG-16's: traffic tests the counts of a mapping, latency its time, and neither the choice. MB are 2^20 bytes."
)


class Layer(NamedTuple):
    """A row of Table V or VI."""

    name: str
    power_mw: float
    total_ms: float
    processing_ms: float
    active_pes: int
    buffer_mb: float
    dram_mb: float


class Ours(NamedTuple):
    """The same quantities of a simulated layer."""

    power_mw: float
    total_ms: float
    processing_ms: float
    buffer_mb: float
    dram_mb: float


TABLE_V = (
    Layer("CONV1", 332, 20.9, 16.5, 154, 18.5, 5.0),
    Layer("CONV2", 288, 41.9, 39.2, 135, 77.6, 4.0),
    Layer("CONV3", 266, 23.6, 21.8, 156, 50.2, 3.0),
    Layer("CONV4", 235, 18.4, 16.0, 156, 37.4, 2.1),
    Layer("CONV5", 236, 10.5, 10.0, 156, 24.9, 1.3),
)
"""AlexNet, batch 4, 200 MHz, 1 V."""

TABLE_VI = (
    Layer("CONV1-1", 247, 76.2, 38.0, 156, 112.6, 15.4),
    Layer("CONV1-2", 218, 910.3, 810.6, 156, 2402.8, 54.0),
    Layer("CONV2-1", 242, 470.3, 405.3, 156, 1201.4, 33.4),
    Layer("CONV2-2", 231, 894.3, 810.8, 156, 2402.8, 48.5),
    Layer("CONV3-1", 254, 241.1, 204.0, 156, 607.4, 20.2),
    Layer("CONV3-2", 235, 460.9, 408.1, 156, 1214.8, 32.2),
    Layer("CONV3-3", 233, 457.7, 408.1, 156, 1214.8, 30.8),
    Layer("CONV4-1", 278, 135.8, 105.1, 168, 321.8, 17.8),
    Layer("CONV4-2", 261, 254.8, 210.0, 168, 643.7, 28.6),
    Layer("CONV4-3", 240, 246.3, 210.0, 168, 643.7, 22.8),
    Layer("CONV5-1", 258, 54.3, 48.3, 168, 90.0, 6.3),
    Layer("CONV5-2", 236, 53.7, 48.5, 168, 90.0, 5.7),
    Layer("CONV5-3", 230, 53.7, 48.5, 168, 90.0, 5.6),
)
"""VGG-16, batch 3, 200 MHz, 1 V."""


def _ours(span: Span, device: Device, table: EnergyTable) -> Ours:
    amounts = {(count.action, count.operand): count.amount for count in span.counts}
    array = (("glb.read", "input"), ("glb.read", "output"), ("glb.write", "output"), ("filter_buffer.read", "weight"))
    processing_s = span.compute_cycles / span.clock_hz
    on_chip_pj = sum(pj for part, _, pj in priced(span, device, table) if part != "dram")
    dram_bytes = sum(c.amount for c in span.counts if component(c.action, device) == "dram")
    return Ours(
        power_mw=1e3 * (on_chip_pj / 1e12 / processing_s + device.power.static_w),
        total_ms=1e3 * span.duration_ps / PS_PER_S,
        processing_ms=1e3 * processing_s,
        buffer_mb=sum(amounts.get(key, 0) for key in array) / MIB,
        dram_mb=dram_bytes / MIB,
    )


def simulated(workload: str, device: Device | None = None) -> dict[str, Ours]:
    """Every layer of a workload on Eyeriss (or on a device that is one but for some numbers)."""
    device = device or load_device(DEVICE)
    table = energy_table_of(device)
    return {span.op: _ours(span, device, table) for span in simulate(device, workload).trace.spans}


QUANTITIES = (
    ("processing_ms", "latency", "ms"),
    ("total_ms", "total latency", "ms"),
    ("buffer_mb", "buffer traffic", "MB"),
    ("dram_mb", "DRAM traffic", "MB"),
    ("power_mw", "power", "mW"),
)


class Tolerances(NamedTuple):
    """Of one quantity in percent: of all layers, and of those that are further off, with the reason."""

    most: float
    others: Mapping[str, float]
    why: str = ""


def rows(
    suite: str, workload: str, table: Sequence[Layer], source: str, tolerances: Mapping[str, Tolerances]
) -> Iterator[Row]:
    """Every quantity of every layer."""
    found = simulated(workload)
    for field, quantity, unit in QUANTITIES:
        allowed = tolerances[quantity]
        for layer in table:
            yield Row(
                suite=suite,
                name=layer.name,
                quantity=quantity,
                unit=unit,
                reference=getattr(layer, field),
                ours=getattr(found[layer.name], field),
                source=f"{JSSC17}, {source}",
                tolerance_pct=allowed.others.get(layer.name, allowed.most),
                why=allowed.why,
            )
