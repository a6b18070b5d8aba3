"""The compiled pipeline against closed forms and a slow twin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.kernels.pipeline import pipeline_time, run_compiled, run_interpreted

SHAPES = ((2, 2, 2), (2, 2), (2, 2), (2, 2), (2, 2))


def run(steps, compute, a=0, b=0, finish=0, store=0, n_outer=True, channel=(0, 0, 0), buffers=2, repeats=1):
    """The pipeline with tiles that are all alike; ``steps`` along m, k and n."""
    tables = [np.full(shape, value) for shape, value in zip(SHAPES, (compute, a, b, finish, store), strict=True)]
    return interpreted(repeats, steps, n_outer, tables, channel, buffers)


def loops(repeats, steps, n_outer):
    m, k, n = steps
    return (repeats, n, m, k) if n_outer else (repeats, m, n, k)


times = st.integers(0, 50)
counts = st.integers(1, 7)


@given(counts, times, times)
def test_two_stages_with_two_buffers_are_the_textbook_pipeline(n, load, compute):
    """``load + compute + (n - 1) max(load, compute)``: n equal tiles through two stages."""
    assert run((1, n, 1), compute, b=load) == load + compute + (n - 1) * max(load, compute)


@given(counts, times, times)
def test_one_buffer_is_serial(n, load, compute):
    assert run((1, n, 1), compute, b=load, buffers=1) == n * (load + compute)


@given(counts, times, times, times)
def test_three_stages_on_their_own_channels(n, load, compute, store):
    expected = load + compute + store + (n - 1) * max(load, compute, store)
    assert run((n, 1, 1), compute, a=load, store=store, channel=(0, 1, 2), n_outer=False) == expected


def test_a_weight_tile_stays_while_the_rows_stream_past():
    """n outside, one k tile: B is loaded once for every n, A for every (n, m)."""
    assert run((4, 1, 3), 0, b=7, channel=(0, 1, 2)) == 3 * 7
    assert run((4, 1, 3), 0, a=5, channel=(0, 1, 2)) == 4 * 3 * 5


def slow_twin(repeats, steps, n_outer, compute, load_a, load_b, finish, store, channel, buffers):
    """The same, with events in lists: every load, step and store knows its own end."""
    order = [
        (r, m, k, n)
        for r in range(repeats)
        for m, n in (
            [(m, n) for n in range(steps[2]) for m in range(steps[0])]
            if n_outer
            else [(m, n) for m in range(steps[0]) for n in range(steps[2])]
        )
        for k in range(steps[1])
    ]
    edge = [[int(i == size - 1) for i in range(size)] for size in steps]
    free = [0, 0, 0]
    ends, finished, stores = [], [0], []
    last_a = last_b = None
    ready_a = ready_b = 0
    for s, (r, m, k, n) in enumerate(order):
        em, ek, en = edge[0][m], edge[1][k], edge[2][n]
        room = ends[s - buffers] if s >= buffers else 0
        if (r, m, k) != last_a:
            last_a = (r, m, k)
            ready_a = free[channel[0]] = max(free[channel[0]], room) + load_a[em][ek]
        if (r, n, k) != last_b:
            last_b = (r, n, k)
            ready_b = free[channel[1]] = max(free[channel[1]], room) + load_b[ek][en]
        if stores:
            ready, time = stores.pop()
            free[channel[2]] = max(free[channel[2]], ready) + time
        ends.append(max([ready_a, ready_b, *ends[-1:]]) + compute[em][ek][en])
        if ek:
            finished.append(max(finished[-1], ends[-1]) + finish[em][en])
            stores.append((finished[-1], store[em][en]))
    ready, time = stores.pop()
    return max(free[channel[2]], ready) + time


@st.composite
def pipelines(draw):
    """Repeats, steps, order, tables, channels, buffers."""

    def table(shape):
        size = int(np.prod(shape))
        return np.array(draw(st.lists(times, min_size=size, max_size=size)), dtype=np.int64).reshape(shape)

    return (
        draw(st.integers(1, 4)),
        draw(st.tuples(counts, counts, counts)),
        draw(st.booleans()),
        [table(shape) for shape in SHAPES],
        draw(st.tuples(*[st.integers(0, 2)] * 3)),
        draw(st.integers(1, 3)),
    )


def interpreted(repeats, steps, n_outer, tables, channel, buffers):
    return run_interpreted((*loops(repeats, steps, n_outer), *channel), n_outer, flat(tables), buffers)


def flat(tables):
    return [time for table in tables for time in table.ravel().tolist()]


@given(pipelines())
@settings(max_examples=600)
def test_the_kernel_equals_its_slow_twin_interpreted_and_compiled(case):
    repeats, steps, n_outer, tables, channel, buffers = case
    expected = slow_twin(repeats, steps, n_outer, *tables, channel, buffers)
    assert interpreted(*case) == expected
    assert run_compiled((*loops(repeats, steps, n_outer), *channel), n_outer, flat(tables), buffers) == expected


@given(pipelines(), st.integers(0, 4))
def test_slower_parts_and_fewer_buffers_never_help(case, part):
    repeats, steps, n_outer, tables, channel, buffers = case
    slower = [table + (i == part) for i, table in enumerate(tables)]
    assert interpreted(repeats, steps, n_outer, slower, channel, buffers) >= interpreted(*case)
    assert interpreted(repeats, steps, n_outer, tables, channel, buffers + 1) <= interpreted(*case)


@given(pipelines())
def test_nothing_is_faster_than_the_work_of_the_core(case):
    repeats, steps, _, (compute, *_), *_ = case
    edges = [[int(i == size - 1) for i in range(size)] for size in steps]
    work = repeats * sum(compute[m, k, n] for m in edges[0] for k in edges[1] for n in edges[2])
    assert interpreted(*case) >= work


@given(pipelines(), st.floats(1e-9, 1e15))
def test_real_times_lose_nothing_to_ticks(case, unit):
    repeats, steps, n_outer, tables, channel, buffers = case
    scaled = [table * unit for table in tables]
    found = pipeline_time((*loops(repeats, steps, n_outer), *channel), n_outer, flat(scaled), buffers)
    assert found == pytest.approx(interpreted(*case) * unit, rel=1e-12)


def test_millions_of_equal_steps_are_skipped_exactly():
    """``load + compute + (n - 1) max(load, compute)`` for a billion tiles, at once."""
    n = 10**9
    assert run((n, 1, 1), 7, a=5, n_outer=False) == 5 + 7 + (n - 1) * 7
    assert run((1, n, 1), 5, b=9) == 9 + 5 + (n - 1) * 9
    assert run((10**4, 10**4, 10**4), 3, a=1, b=1, channel=(0, 1, 2)) >= 3 * 10**12
