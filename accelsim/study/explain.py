"""Why an op takes what it takes: what each resource alone would need, and what would help when it is run again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from accelsim.analysis.energy import breakdown_j
from accelsim.analysis.result import Result
from accelsim.base.errors import ConfigError, InputError, MappingError, nearest
from accelsim.base.units import PS_PER_S
from accelsim.hardware.device import Device, Memory
from accelsim.hardware.energy import energy_table_of, load_energy_table
from accelsim.hardware.loader import load_device
from accelsim.study.sweep import Point
from accelsim.trace import Span

TWICE = 2


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One number of the device changed, and the run repeated."""

    change: str
    """In words: ``dram bandwidth x2``."""
    sets: Mapping[str, Any]
    """As ``--set`` would say it."""
    op_s: float
    """The op's time then [s]."""
    latency_s: float
    """The whole step's [s]."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    """An op of a run, taken apart."""

    result: Result
    spans: tuple[Span, ...]
    """Of the op in the first step: one, or one for each replica."""
    nominal_hz: float
    energy_j: Mapping[str, float]
    """The op's own, by component; what flows anyway is not in it."""
    what_ifs: tuple[WhatIf, ...]
    """What helps most stands first."""

    @property
    def span(self) -> Span:
        """The longest of its spans."""
        return max(self.spans, key=lambda span: span.duration_ps)

    @property
    def op_s(self) -> float:
        """Time of the op, all parts of the batch together [s]."""
        return _busy_ps(self.spans) / PS_PER_S

    @property
    def power_w(self) -> float:
        """Mean power while the op runs: its own energy over its time, and what flows anyway [W]."""
        static_w = self.result.energy_breakdown_j["static"] / (self.result.trace.end_ps / PS_PER_S / self.result.steps)
        return sum(self.energy_j.values()) / self.op_s + static_w


def explain(point: Point, op: str | None = None) -> Explanation:
    """Run a point, take its op (the longest, unless named) apart, and try what would make it faster.

    Raises InputError where the workload has no such op, and what a run raises.
    """
    result = point.run()
    name = _named(result, op)
    device = load_device(point.device, point.overrides)
    spans = tuple(span for span in result.trace.spans if span.op == name and span.step == 0)
    table = load_energy_table(point.options.energy_table) if point.options.energy_table else energy_table_of(device)
    longest = max(spans, key=lambda span: span.duration_ps)
    own = load_device(longest.device) if longest.device != device.name else device
    unit = own.core.matrix if own.core.matrix and own.core.matrix.macs_per_cycle(longest.dtype) else own.core.vector
    tried = [_tried(point, name, change, sets) for change, sets in _changes(device)]
    return Explanation(
        result=result,
        spans=spans,
        nominal_hz=unit.freq_hz,
        energy_j=breakdown_j(
            [s for s in spans if s.resource == longest.resource], own, table if own is device else energy_table_of(own)
        ),
        what_ifs=tuple(sorted(filter(None, tried), key=lambda one: (one.op_s, one.latency_s, one.change))),
    )


def _named(result: Result, op: str | None) -> str:
    ops = [one for one in result.ops if one.kind != "transfer"] or [*result.ops]
    if op is None:
        return max(ops, key=lambda one: one.latency_s).name
    names = list(dict.fromkeys(one.name for one in result.ops))
    if op not in names:
        fused = "; elementwise ops may have been fused into the op before them" if len(names) > 1 else ""
        raise InputError(
            f"op {op!r}: {result.workload['name']} as it runs on {result.device['name']} has none of that name"
            f"{nearest(op, names)}{fused}; `accelsim run` lists them"
        )
    return op


def _tried(point: Point, op: str, change: str, sets: Mapping[str, Any]) -> WhatIf | None:
    """The run with one number changed; None where there is no such device, or it has no room for the workload.

    There is none with twice a bandwidth that stands for an endless one; a larger array may want a larger buffer first.
    """
    changed = Point(
        device=point.device,
        workload=point.workload,
        overrides={**point.overrides, **sets},
        params=point.params,
        options=point.options,
    )
    try:
        other = changed.run()
    except (ConfigError, MappingError):
        return None
    spans = [span for span in other.trace.spans if span.op == op and span.step == 0]
    return WhatIf(change, sets, _busy_ps(spans) / PS_PER_S, other.latency_s)


def _busy_ps(spans: Iterable[Span]) -> int:
    """Time of an op on the core that works longest at it [ps]."""
    by_core: dict[str, int] = {}
    for span in spans:
        by_core[span.resource] = by_core.get(span.resource, 0) + span.duration_ps
    return max(by_core.values())


def _changes(device: Device) -> Iterator[tuple[str, dict[str, Any]]]:
    """What an architect would ask for: twice of each rate and size, no overhead, no power limit."""
    core = device.core
    clocks: dict[str, Any] = {"core.vector.freq_hz": core.vector.freq_hz * TWICE}
    if core.matrix is not None:
        clocks["core.matrix.freq_hz"] = core.matrix.freq_hz * TWICE
    for memory in device.memory:
        if memory.kind == "sram":
            clocks |= _twice_as_fast(memory)
    yield "clock x2, on-chip memories with it", clocks
    if core.gang:
        yield "cores x2", {"core.count": core.count * TWICE}
    if core.matrix is not None and hasattr(core.matrix, "rows") and hasattr(core.matrix, "cols"):
        for side in ("rows", "cols"):
            yield from _array_changes(side, getattr(core.matrix, side))
    for memory in device.memory:
        yield from _memory_changes(memory)
    if device.host is not None:
        link = device.host.link
        yield f"{link.name} bandwidth x2", {f"{link.name}.bandwidth_bytes_per_s": link.bandwidth_bytes_per_s * TWICE}
    if device.power.tdp_w is not None:
        yield "no power limit", {"power.tdp_w": "none"}
    if device.calibration is not None and device.calibration.launch_overhead_s:
        yield "no launch overhead", {"calibration.launch_overhead_s": 0.0}
    if device.factors is not None and device.factors.kind == "gpu":
        yield "no launch overhead", {"factors.kernel.launch_s": 0.0}


def _array_changes(side: str, extent: int | Mapping[str, int]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Twice the cells along a side; of a spatial array by twice the steps of one of its loops there."""
    if isinstance(extent, int):
        yield f"array {side} x2", {f"core.matrix.{side}": extent * TWICE}
        return
    for loop, steps in extent.items():
        yield f"array {side} x2 ({loop})", {f"core.matrix.{side}.{loop}": steps * TWICE}


def _memory_changes(memory: Memory) -> Iterator[tuple[str, dict[str, Any]]]:
    yield f"{memory.name} bandwidth x2", _twice_as_fast(memory)
    if memory.kind == "sram":
        yield f"{memory.name} capacity x2", {f"{memory.name}.capacity_bytes": memory.capacity_bytes * TWICE}


def _twice_as_fast(memory: Memory) -> dict[str, Any]:
    sets = {f"{memory.name}.bandwidth_bytes_per_s": memory.bandwidth_bytes_per_s * TWICE}
    if memory.write_bandwidth_bytes_per_s is not None:
        sets[f"{memory.name}.write_bandwidth_bytes_per_s"] = memory.write_bandwidth_bytes_per_s * TWICE
    return sets
