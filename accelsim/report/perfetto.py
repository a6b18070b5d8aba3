"""A run's trace for ui.perfetto.dev and chrome://tracing.

One track for each resource, with a slice for each step and in it one for each op; counters for the bandwidth of each
channel and for power. Those programs read microseconds as floating point and keep nanoseconds, so a slice begins a
picosecond after a whole nanosecond and ends a picosecond before one, a step's right on it: slices nest, whichever way
they are rounded. The exact times stand in ``args`` as integer picoseconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from accelsim.analysis.result import Result
from accelsim.report.naming import natural
from accelsim.trace import Span

Steps = list[tuple[int, float]]
"""A piecewise constant quantity: from each time [ps] on, this value; the last is 0."""

_LEAST_PS = 1000
"""What moves in less than a nanosecond counts as moving in one."""

_PID = 1


def chrome_trace(result: Result, energy_j: Mapping[str, float] | Callable[[Span], float] | None = None) -> str:
    """JSON of the trace-event format.

    ``energy_j`` gives a span's dynamic energy [J], by its name or by a function; without it, the energy of the ops of
    the first step stands for that of every step.
    """
    spans = result.trace.spans
    tracks = _tracks(spans)
    events = [*_names(result, tracks)]
    slices = [event for number, track in enumerate(tracks.values()) for event in _slices(track, number)]
    counters = [
        *_counters("bandwidth", "GB/s", 1e-9, channel_rates(spans, result.dram_bandwidth_bytes_per_s)),
        *_counters("", "W", 1.0, {"power": power_steps(result, energy_j)}),
    ]
    events += sorted([*slices, *counters], key=lambda event: (event["ts"], -event.get("dur", 0.0)))
    lines = ",\n".join(json.dumps(event, ensure_ascii=False, allow_nan=False) for event in events)
    about = {
        "accelsim_version": result.accelsim_version,
        "device": result.device["name"],
        "workload": result.workload["name"],
        "batch": result.batch,
        "precision": result.precision,
    }
    return f'{{"displayTimeUnit": "ns", "otherData": {json.dumps(about)}, "traceEvents": [\n{lines}\n]}}\n'


def _tracks(spans: Sequence[Span]) -> dict[str, list[Span]]:
    """Spans by resource, in natural order; spans of a resource that overlap go to tracks of their own."""
    tracks: dict[str, list[Span]] = {}
    ends: dict[str, int] = {}
    for span in sorted(spans, key=lambda span: (natural(span.resource), span.start_ps, span.end_ps, span.name)):
        lane, number = span.resource, 1
        while ends.get(lane, 0) > span.start_ps:
            number += 1
            lane = f"{span.resource} ({number})"
        tracks.setdefault(lane, []).append(span)
        ends[lane] = max(ends.get(lane, 0), span.end_ps)
    return tracks


def _names(result: Result, tracks: Iterable[str]) -> Iterator[dict[str, Any]]:
    title = f"{result.workload['name']} on {result.device['name']}, batch {result.batch}, {result.precision}"
    yield {"ph": "M", "name": "process_name", "pid": _PID, "tid": 0, "args": {"name": title}}
    for number, track in enumerate(tracks):
        yield {"ph": "M", "name": "thread_name", "pid": _PID, "tid": number + 1, "args": {"name": track}}
        yield {"ph": "M", "name": "thread_sort_index", "pid": _PID, "tid": number + 1, "args": {"sort_index": number}}


def _slices(track: Sequence[Span], number: int) -> Iterator[dict[str, Any]]:
    """Make steps outer slices: a run of spans of one step, as another step's may come between."""
    for (step, replica), group in groupby(track, key=lambda span: (span.step, span.replica)):
        spans = [*group]
        args = {"step": step, "replica": replica, "start_ps": spans[0].start_ps, "end_ps": spans[-1].end_ps}
        yield _slice(f"step {step}", "step", number, args)
        for span in spans:
            yield _slice(span.op, span.kind, number, _span_args(span))


def _slice(name: str, category: str, number: int, args: dict[str, Any]) -> dict[str, Any]:
    first, last = args["start_ps"] // 1000, args["end_ps"] // 1000
    return {
        "ph": "X",
        "name": name,
        "cat": category,
        "pid": _PID,
        "tid": number + 1,
        "ts": (first * 1000 + 1) / 1e6,
        "dur": max(0, (last - first) * 1000 - (1 if category == "step" else 2)) / 1e6,
        "args": args,
    }


def _span_args(span: Span) -> dict[str, Any]:
    return {
        "bound": span.bound,
        "start_ps": span.start_ps,
        "end_ps": span.end_ps,
        "step": span.step,
        "replica": span.replica,
        "device": span.device,
        "dtype": span.dtype,
        "macs": span.macs,
        "compute_cycles": span.compute_cycles,
        "clock_hz": span.clock_hz,
        **{f"{channel}_bytes": size for channel, size in span.channel_bytes},
        "prefetched_bytes": span.prefetched_bytes,
    }


def _counters(suffix: str, unit: str, scale: float, quantities: Mapping[str, Steps]) -> Iterator[dict[str, Any]]:
    for name, steps in sorted(quantities.items()):
        title = f"{name} {suffix} ({unit})".replace("  ", " ")
        for ps, value in steps:
            yield {"ph": "C", "name": title, "pid": _PID, "ts": ps / 1e6, "args": {unit: value * scale}}


def channel_rates(spans: Sequence[Span], dram_bandwidth_bytes_per_s: float = 0.0) -> dict[str, Steps]:
    """Bytes per second over each channel, as if every span moved its bytes evenly.

    Prefetched bytes came before their span: they fill what was free of the DRAM's bandwidth, latest time first, as far
    back as it takes; what finds no room counts in the span itself. Without a bandwidth all bytes do.
    """
    pieces: dict[str, list[tuple[int, int, float]]] = {}
    early: list[tuple[Span, int]] = []
    for span in spans:
        for channel, size in span.channel_bytes:
            ahead = min(size, span.prefetched_bytes) if channel == "dram" and dram_bandwidth_bytes_per_s else 0
            pieces.setdefault(channel, []).append(_piece(span, size - ahead))
            if ahead:
                early.append((span, ahead))
    rates = {channel: piecewise(parts) for channel, parts in pieces.items()}
    if early:
        borders = [span.start_ps for span in spans]
        rates["dram"] = _with_prefetch(rates["dram"], borders, early, dram_bandwidth_bytes_per_s)
    return rates


def _with_prefetch(
    demand: Steps, borders: Iterable[int], early: Sequence[tuple[Span, int]], bandwidth_bytes_per_s: float
) -> Steps:
    """Fill what ``demand`` leaves free before each span with its prefetched bytes."""
    starts, rates = _cut(demand, borders)
    index = {start: i for i, start in enumerate(starts)}
    left_of = list(range(-1, len(starts) - 1))
    late: list[tuple[int, int, float]] = []
    for span, size in sorted(early, key=lambda item: item[0].start_ps):
        left = float(size)
        seen = []
        at = left_of[index[span.start_ps]]
        while at >= 0 and left > 0:
            seconds = (starts[at + 1] - starts[at]) / 1e12
            taken = min(left, max(0.0, bandwidth_bytes_per_s - rates[at]) * seconds)
            rates[at] += taken / seconds
            left -= taken
            if left > 0:
                seen.append(at)
                at = left_of[at]
        left_of[index[span.start_ps]] = at
        for full in seen:
            left_of[full] = at
        if left > 0:
            late.append(_piece(span, left))
    filled = [(start, end, rate) for start, end, rate in zip(starts, starts[1:], rates, strict=False) if rate]
    return piecewise([*filled, *late])


def _cut(steps: Steps, borders: Iterable[int]) -> tuple[list[int], list[float]]:
    """Start and rate of each stretch, with further borders; 0 before the first step."""
    starts = sorted({*borders, *(ps for ps, _ in steps)})
    given = dict(steps)
    rates: list[float] = []
    rate = 0.0
    for start in starts:
        rate = given.get(start, rate)
        rates.append(rate)
    return starts, rates


def _piece(span: Span, amount: float) -> tuple[int, int, float]:
    """Start, end [ps] and rate [per s] of an amount that a span spreads over its time."""
    end = max(span.end_ps, span.start_ps + _LEAST_PS)
    return span.start_ps, end, amount * 1e12 / (end - span.start_ps)


def piecewise(pieces: Iterable[tuple[int, int, float]]) -> Steps:
    """Add up pieces (start, end, rate) to one piecewise constant rate that ends at 0.

    >>> piecewise([(0, 10, 1.0), (5, 15, 2.0)])
    [(0, 1.0), (5, 3.0), (10, 2.0), (15, 0.0)]
    """
    borders: list[tuple[int, int, int, float]] = []
    for number, (start, end, rate) in enumerate(pieces):
        borders += [(start, 1, number, rate), (end, 0, number, rate)]
    active: dict[int, float] = {}
    steps: Steps = []
    for ps, group in groupby(sorted(borders), key=lambda border: border[0]):
        for _, opens, number, rate in group:
            if opens:
                active[number] = rate
            else:
                del active[number]
        total = math.fsum(active.values())
        if not steps or steps[-1][1] != total:
            steps.append((ps, total))
    return steps


def power_steps(result: Result, energy_j: Mapping[str, float] | Callable[[Span], float] | None = None) -> Steps:
    """Add static power all through the run to each span's dynamic energy spread over its time [W].

    It is the device's own: what ran on a host does not count.
    """
    spans = result.trace.spans
    if not spans:
        return []
    joules = energy_j if callable(energy_j) else _from_ops(result) if energy_j is None else _from_table(energy_j)
    seconds = result.energy_j / result.average_power_w if result.average_power_w else result.latency_s
    static_w = result.energy_breakdown_j.get("static", 0.0) / seconds if seconds else 0.0
    end = max([result.trace.end_ps, *(span.start_ps + _LEAST_PS for span in spans)])
    dynamic = [_piece(span, joules(span)) for span in spans if span.device == result.device["name"]]
    return piecewise([(min(0, spans[0].start_ps), end, static_w), *dynamic])


def _from_table(energy_j: Mapping[str, float]) -> Callable[[Span], float]:
    return lambda span: energy_j.get(span.name, 0.0)


def _from_ops(result: Result) -> Callable[[Span], float]:
    """Energy of a span as that of its op on that resource in the first step, shared by its spans as their time is."""
    energy: dict[tuple[str, str, str], float] = {}
    for op in result.ops:
        key = (op.name, op.kind, op.core)
        energy[key] = energy.get(key, 0.0) + op.energy_j
    time: dict[tuple[int, str, str, str], int] = {}
    for span in result.trace.spans:
        place = (span.step, span.op, span.kind, span.resource)
        time[place] = time.get(place, 0) + span.duration_ps

    def joules(span: Span) -> float:
        whole = time[span.step, span.op, span.kind, span.resource]
        return energy.get((span.op, span.kind, span.resource), 0.0) * (span.duration_ps / whole if whole else 0.0)

    return joules
