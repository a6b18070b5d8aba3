"""The Perfetto trace: slices nest, counters add up."""

import dataclasses
import json
import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from report_samples import make_result

from accelsim.report.perfetto import channel_rates, chrome_trace, piecewise, power_steps
from accelsim.trace import Span, Trace


def spans_strategy():
    """A few resources, each with disjoint spans of any picosecond length, some of them empty."""
    lengths = st.lists(
        st.tuples(st.integers(0, 5000), st.integers(0, 10**7), st.integers(0, 10**6), st.floats(0, 1)), max_size=12
    )
    return st.lists(lengths, min_size=1, max_size=3).map(_spans)


def _spans(resources):
    spans = []
    for number, rows in enumerate(resources):
        now = 0
        for i, (gap, length, size, ahead) in enumerate(rows):
            now += gap
            spans.append(_span(f"r{number}s{i}", f"core{number}", i // 3, now, now + length, size, round(size * ahead)))
            now += length
    return tuple(sorted(spans, key=lambda span: span.start_ps))


def _span(name, resource, step, start, end, size, ahead=0):
    return Span(
        name=name, op=name, kind="matmul", device="tpu_v1", resource=resource, step=step, replica=0, start_ps=start,
        end_ps=end, macs=1, dtype="int8", compute_cycles=1, clock_hz=7e8, bound="compute", counts=(),
        channel_bytes=(("dram", size),), prefetched_bytes=ahead,
    )  # fmt: skip


def with_spans(spans):
    return dataclasses.replace(make_result(ops=3), trace=Trace(spans))


def integral(steps):
    return math.fsum(rate * (b - a) / 1e12 for (a, rate), (b, _) in pairwise(steps))


def tracks(events):
    by_track = {}
    for event in events:
        if event["ph"] == "X":
            by_track.setdefault(event["tid"], []).append(event)
    return by_track


def assert_nested(intervals):
    """On one track, in order of start and then length, every slice is inside the open one or after it."""
    open_ends = []
    for start, end in sorted(intervals, key=lambda i: (i[0], -i[1])):
        while open_ends and open_ends[-1] <= start:
            open_ends.pop()
        assert not open_ends or end <= open_ends[-1]
        open_ends.append(end)


@given(spans_strategy())
@settings(deadline=None)
def test_slices_nest_however_they_are_rounded_and_events_are_sorted(spans):
    trace = json.loads(chrome_trace(with_spans(spans)), parse_constant=pytest.fail)
    events = [event for event in trace["traceEvents"] if event["ph"] != "M"]
    assert [e["ts"] for e in events] == sorted(e["ts"] for e in events)
    for slices in tracks(events).values():
        assert_nested([(e["ts"], e["ts"] + e["dur"]) for e in slices])
        # Perfetto: int64(microseconds * 1000) of start and duration.
        assert_nested([(int(e["ts"] * 1000), int(e["ts"] * 1000) + int(e["dur"] * 1000)) for e in slices])


@given(spans_strategy(), st.sampled_from([0.0, 1e6, 1e9, 1e12]))
@settings(deadline=None)
def test_bandwidth_integrates_to_all_bytes_and_returns_to_zero(spans, bandwidth):
    rates = channel_rates(spans, bandwidth)
    for steps in rates.values():
        assert integral(steps) == pytest.approx(sum(size for span in spans for _, size in span.channel_bytes), abs=1e-6)
        assert steps[-1][1] == 0
        assert [ps for ps, _ in steps] == sorted({ps for ps, _ in steps})
    assert bool(rates) == bool(spans)


def test_prefetched_bytes_fill_what_was_free_before():
    spans = (
        _span("a", "core0", 0, 0, 10**6, 500),
        _span("b", "core0", 0, 10**6, 2 * 10**6, 0),
        _span("c", "core0", 0, 2 * 10**6, 3 * 10**6, 1300, 1300),
    )
    # 1e9 bytes/s are 1000 bytes/us: b's microsecond takes 1000, a's free half 300 of 500, c itself none.
    assert channel_rates(spans, 1e9)["dram"] == [(0, 0.8e9), (10**6, 1e9), (2 * 10**6, 0.0)]


def test_a_channel_never_shows_more_than_the_dram_can_do_where_demand_does_not():
    result = make_result(ops=80)
    steps = channel_rates(result.trace.spans, result.dram_bandwidth_bytes_per_s)["dram"]
    assert max(rate for _, rate in steps) <= result.dram_bandwidth_bytes_per_s * (1 + 1e-9)


@given(spans_strategy())
@settings(deadline=None)
def test_power_integrates_to_dynamic_and_static_energy(spans):
    result = with_spans(spans)
    joules = {span.name: 1e-9 * (i + 1) for i, span in enumerate(spans)}
    steps = power_steps(result, joules)
    if not spans:
        assert steps == []
        return
    end_ps = max([result.trace.end_ps, *(span.start_ps + 1000 for span in spans)])
    static_w = result.energy_breakdown_j["static"] / result.latency_s
    assert integral(steps) == pytest.approx(math.fsum(joules.values()) + static_w * end_ps / 1e12, rel=1e-9)
    assert steps == power_steps(result, lambda span: joules[span.name])
    assert steps[-1][1] == 0


def test_without_prices_the_ops_energies_stand_for_every_step():
    result = make_result(ops=12, steps=2)
    static_w = result.energy_breakdown_j["static"] / result.latency_s
    dynamic = integral(power_steps(result)) - static_w * result.trace.end_ps / 1e12
    assert dynamic == pytest.approx(2 * sum(op.energy_j for op in result.ops))


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(1, 50), st.floats(0, 1e6)), max_size=20))
def test_piecewise_against_a_plain_sum(rows):
    pieces = [(start, start + length, rate) for start, length, rate in rows]
    steps = piecewise(pieces)
    for ps in range(101):
        plain = math.fsum(rate for start, end, rate in pieces if start <= ps < end)
        assert next((value for at, value in reversed(steps) if at <= ps), 0.0) == plain


def test_tracks_are_named_and_overlaps_get_their_own():
    result = make_result("aws_inferentia1", replicas=3, host_every=4)
    events = json.loads(chrome_trace(result))["traceEvents"]
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert names[:3] == ["core0", "core1", "core2"]
    assert "host (2)" in names
    counters = {e["name"] for e in events if e["ph"] == "C"}
    assert counters == {"dram bandwidth (GB/s)", "pcie bandwidth (GB/s)", "power (W)"}
    assert {e["name"] for e in events if e.get("cat") == "step"} == {"step 0", "step 1"}
    assert chrome_trace(result) == chrome_trace(result)
