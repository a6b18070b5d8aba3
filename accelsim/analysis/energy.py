"""Energy is accounted from counts: actions times energy per action."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from accelsim.analysis.result import COMPONENTS
from accelsim.hardware.device import Device
from accelsim.hardware.energy import OFF_CHIP, EnergyTable
from accelsim.trace import Count, Span

PJ_PER_J = 10**12
MOVING = ("sram", "dram", "link", "register")


def priced(span: Span, device: Device, table: EnergyTable) -> Iterator[tuple[str, Count, float]]:
    """Component, count and energy [pJ] of everything that a span did; on chip at its voltage."""
    prices = table.prices(device)
    for count in span.counts:
        part, pj = prices[count.action]
        scale = 1.0 if part in OFF_CHIP else span.energy_scale
        yield part, count, count.amount * pj * scale


def span_energy_j(span: Span, device: Device, table: EnergyTable) -> float:
    """Dynamic energy of one span [J]."""
    return sum(pj for _, _, pj in priced(span, device, table)) / PJ_PER_J


def breakdown_j(spans: Iterable[Span], device: Device, table: EnergyTable) -> dict[str, float]:
    """Dynamic energy by component [J]; ``static`` is 0 here, for it belongs to time."""
    total = dict.fromkeys(COMPONENTS, 0.0)
    for span, times in _alike(spans):
        for part, _, pj in priced(span, device, table):
            total[part] += times * pj
    return {part: pj / PJ_PER_J for part, pj in total.items()}


def by_operand_j(spans: Iterable[Span], device: Device, table: EnergyTable) -> dict[str, float]:
    """Energy of moving inputs, weights and outputs through registers, memories and links [J]."""
    total = {"input": 0.0, "weight": 0.0, "output": 0.0}
    for span, times in _alike(spans):
        for part, count, pj in priced(span, device, table):
            if part in MOVING and count.operand in total:
                total[count.operand] += times * pj
    return {operand: pj / PJ_PER_J for operand, pj in total.items()}


def memory_bytes(spans: Iterable[Span], names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Bytes read from and written to each memory."""
    total = {name: {"read": 0, "write": 0} for name in names}
    for span, times in _alike(spans):
        for count in span.counts:
            memory, _, what = count.action.partition(".")
            if memory in total and what in ("read", "write"):
                total[memory][what] += times * count.amount
    return total


def _alike(spans: Iterable[Span]) -> Iterable[tuple[Span, int]]:
    """Spans that did the same, as layers of a network do: the first of each, and how many they are."""
    found: dict[tuple[int, float], tuple[Span, int]] = {}
    for span in spans:
        key = id(span.counts), span.energy_scale
        first, times = found.get(key, (span, 0))
        found[key] = first, times + 1
    return found.values()


def of_device(spans: Iterable[Span], device: Device) -> list[Span]:
    """Spans of the device itself, its transfers included and its host left out."""
    return [span for span in spans if span.device == device.name]


def hosts_energy_j(spans: Iterable[Span], hosts: Mapping[str, tuple[Device, EnergyTable]]) -> float:
    """Dynamic energy of what ran on the host [J]."""
    return sum(span_energy_j(span, *hosts[span.device]) for span in spans if span.device in hosts)
