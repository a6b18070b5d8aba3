"""A run's outcome as a value: what ``--json`` writes and what Python callers get."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import Any

from accelsim.trace import Trace

SCHEMA = "accelsim.result/1"

BOUNDS = ("compute", "dram", "sram", "link", "latency", "host")
"""What can limit an op."""

COMPONENTS = ("mac", "register", "sram", "dram", "link", "static")
"""Where energy goes; elementary operations count under ``mac``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpResult:
    """One op of the first step, on one core; an op on several replicas has a row for each."""

    name: str
    kind: str
    device: str
    core: str
    dtype: str
    macs: int
    start_s: float
    end_s: float
    compute_cycles: int
    stall_cycles: int
    clock_hz: float
    bound: str
    dram_read_bytes: int
    """Of the device's DRAM; 0 for what the host does."""
    dram_write_bytes: int
    energy_j: float

    @property
    def latency_s(self) -> float:
        """From its start to its end [s]."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a simulation says. Times are in seconds, energies in joules, sizes in bytes; all of one step unless said.

    ``energy_breakdown_j`` adds up to ``energy_j``. ``energy_by_operand_j`` is the part of it that moves inputs,
    weights and outputs. Nothing beats ``roofline_latency_s``; ``naive_roofline_latency_s`` is what one draws by hand.
    """

    device: dict[str, Any]
    """``name``, ``sha256`` of the resolved device, ``overrides``."""
    workload: dict[str, Any]
    """``name``, ``sha256`` of the resolved graph, ``params``."""
    batch: int
    precision: str
    fidelity: str
    seed: int
    clock_hz: float
    """MAC-weighted mean of the clocks that the ops ran at."""
    start: str
    cores: int
    parallel: str | None
    steps: int
    energy_table: str
    latency_s: float
    throughput_items_per_s: float
    roofline_latency_s: float
    naive_roofline_latency_s: float
    energy_j: float
    energy_per_item_j: float
    average_power_w: float
    host_energy_j: float
    """Dynamic energy of what ran on the host [J]; beside ``energy_j``, not in it."""
    macs: int
    dram_bytes: int
    mac_utilization: float
    energy_breakdown_j: dict[str, float]
    energy_by_operand_j: dict[str, float]
    bytes_by_memory: dict[str, dict[str, int]]
    ops: tuple[OpResult, ...]
    warnings: tuple[str, ...]
    peak_macs_per_s: float
    """Nominal peak of the cores in use, at ``precision``."""
    dram_bandwidth_bytes_per_s: float
    """Nominal; 0 where there is no DRAM."""
    tdp_w: float | None
    accelsim_version: str
    trace: Trace = field(repr=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Plain values under the names of schema ``accelsim.result/1``; the trace is not among them."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"trace", "ops"}}
        return {
            "schema": SCHEMA,
            **plain,
            "ops": [asdict(op) for op in self.ops],
            "warnings": list(self.warnings),
        }

    @property
    def bound_share(self) -> dict[str, float]:
        """Share of the ops' time by what limited them, largest first."""
        time: dict[str, float] = {}
        for op in self.ops:
            time[op.bound] = time.get(op.bound, 0.0) + op.latency_s
        total = sum(time.values()) or 1.0
        return {bound: t / total for bound, t in sorted(time.items(), key=lambda item: -item[1])}
