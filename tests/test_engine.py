"""The event engine against closed forms."""

from fractions import Fraction

import pytest
import simpy
from hypothesis import given
from hypothesis import strategies as st

from accelsim.engine import run
from accelsim.engine.fluid import Channels, fair
from accelsim.mapping.task import Task
from accelsim.schedule.program import Job, Program


def task(duration_ps, *, channels=(), resident_ps=None, prefetch=None):
    """A task of that length; ``prefetch`` is (channel, bytes)."""
    return Task(
        op="op", kind="matmul", device="d", unit="matrix", dtype="int8", duration_ps=duration_ps,
        resident_ps=duration_ps if resident_ps is None else resident_ps, launch_ps=0,
        prefetch_channel=prefetch[0] if prefetch else None, prefetch_bytes=prefetch[1] if prefetch else 0,
        channel_bytes=tuple(channels), macs=1, compute_cycles=1, clock_hz=1e9, energy_scale=1.0, bound="compute",
        bounds_s=(), counts=(), tiling="",
    )  # fmt: skip


def job(name, resource, what, needs=(), **more):
    return Job(name=name, task=what, resource=resource, needs=tuple(needs), step=0, replica=0, **more)


def ends(jobs, channels=None):
    trace = run(Program(tuple(jobs), channels or {}, 1))
    return {span.name: span.end_ps for span in trace.spans}, trace.end_ps


@given(st.integers(1, 12), st.integers(1, 1000), st.integers(1, 1000))
def test_n_equal_jobs_through_two_stages(n, first, second):
    """The end is ``s1 + s2 + (n - 1) max(s1, s2)``."""
    jobs = []
    for i in range(n):
        jobs.append(job(f"a{i}", "one", task(first), [f"a{i - 1}"] if i else []))
        jobs.append(job(f"b{i}", "two", task(second), [f"a{i}", *([f"b{i - 1}"] if i else [])]))
    assert ends(jobs)[1] == first + second + (n - 1) * max(first, second)


@given(st.integers(1, 8), st.integers(1, 10**6), st.integers(1, 10**6))
def test_k_tasks_that_each_want_all_of_a_channel_take_k_times_as_long(k, size, rate):
    """Each alone: ``size / rate``; together the channel moves ``k size``."""
    alone = -(-size * 10**12 // (rate * 10**6))
    jobs = [job(f"t{i}", f"core{i}", task(alone, channels=[("dram", size)])) for i in range(k)]
    _, end = ends(jobs, {"dram": rate * 1e6})
    assert k * Fraction(size * 10**12, rate * 10**6) <= end
    assert end <= k * alone


@given(st.integers(2, 8), st.integers(1000, 10**9))
def test_tasks_that_want_little_do_not_feel_each_other(k, duration):
    """k demands of 1/k of the channel each are all granted."""
    size = duration // (10 * k)
    jobs = [job(f"t{i}", f"core{i}", task(duration, channels=[("dram", size)])) for i in range(k)]
    assert ends(jobs, {"dram": 1e12})[1] == duration


def test_a_short_task_slows_a_long_one_only_while_it_runs():
    """Two flows at full rate: the short one's 10 bytes take 20 ps at half rate, the long one's 90 are left to 110."""
    jobs = [
        job("long", "core0", task(100, channels=[("dram", 100)])),
        job("short", "core1", task(10, channels=[("dram", 10)])),
    ]
    found, _ = ends(jobs, {"dram": 1e12})
    assert found == {"short": 20, "long": 110}


def test_prefetch_takes_what_others_leave():
    """Half the channel is idle for 100 ps, so 50 of the next op's 80 bytes are there: it takes 80 - 50 ps."""
    jobs = [
        job("first", "core0", task(100, channels=[("dram", 50)])),
        job(
            "second", "core0", task(80, channels=[("dram", 80)], resident_ps=5, prefetch=("dram", 80)), ["first"],
            prefetch_bytes=80, prefetch_during="first",
        ),
    ]  # fmt: skip
    assert ends(jobs, {"dram": 1e12})[0] == {"first": 100, "second": 130}


def test_prefetch_stops_where_the_room_ends():
    jobs = [
        job("first", "core0", task(100)),
        job(
            "second", "core0", task(80, channels=[("dram", 80)], resident_ps=5, prefetch=("dram", 80)), ["first"],
            prefetch_bytes=20, prefetch_during="first",
        ),
    ]  # fmt: skip
    assert ends(jobs, {"dram": 1e12})[1] == 100 + 60


def test_prefetch_never_delays_demand():
    """A prefetch that wants everything leaves a demand that wants everything alone."""
    jobs = [
        job("demand", "core0", task(100, channels=[("dram", 100)])),
        job(
            "next", "core0", task(80, channels=[("dram", 80)], resident_ps=5, prefetch=("dram", 80)), ["demand"],
            prefetch_bytes=80, prefetch_during="demand",
        ),
    ]  # fmt: skip
    assert ends(jobs, {"dram": 1e12})[0] == {"demand": 100, "next": 180}


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(0, 500), st.integers(0, 2)), min_size=1, max_size=10))
def test_channels_conserve_bytes(tasks):
    """No channel moves more than its rate times the time that something ran."""
    jobs = [
        job(f"t{i}", f"core{core}", task(max(t, size), channels=[("dram", size)] if size else []))
        for i, (t, size, core) in enumerate(tasks)
    ]
    _, end = ends(jobs, {"dram": 1e12})
    assert end >= sum(size for _, size, _ in tasks)
    assert end >= max(sum(max(t, s) for t, s, core in tasks if core == c) for c in range(3))
    assert end <= sum(max(t, s) for t, s, _ in tasks)


@given(st.lists(st.fractions(0, 100), max_size=6), st.fractions(1, 100))
def test_fair_shares_are_max_min(demands, capacity):
    shares = fair(demands, capacity)
    assert sum(shares) <= capacity
    assert all(share <= demand for share, demand in zip(shares, demands, strict=True))
    short = [share for share, demand in zip(shares, demands, strict=True) if share < demand]
    if short:  # who gets less than asked gets as much as anyone, and the channel is full
        assert sum(shares) == capacity
        assert min(short) == max(shares)


def test_the_same_program_gives_the_same_trace():
    jobs = [job(f"t{i}", f"core{i % 3}", task(100 + i, channels=[("dram", 70)])) for i in range(20)]
    program = Program(tuple(jobs), {"dram": 1e12}, 1)
    assert run(program) == run(program)


def test_a_flow_that_is_stopped_tells_what_is_left():
    env = simpy.Environment()
    channels = Channels(env, {"dram": 1e12})
    flow = channels.start({"dram": Fraction(1)}, 100)
    env.run(until=30)
    assert channels.stop(flow) == 70


def test_jobs_that_wait_for_each_other_are_refused():
    with pytest.raises(AssertionError, match="cycle"):
        ends([job("a", "core0", task(1), ["b"]), job("b", "core0", task(1), ["a"])])
