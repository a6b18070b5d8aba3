"""Tile pipelines: load, compute, finish and store over buffers, step by step, in whole ticks.

Long runs of equal steps settle into a rhythm (the recurrence is linear in the max-plus algebra). Where every time has
moved by the same amount from one round of a loop to the next, all further equal rounds will too, and they are skipped:
with whole numbers that is exact.

The loop is plain Python that numba can compile. Loading numba costs about a second, a few hundred pipelines without it
a tenth of that; so the first ones are run as they are, and numba is loaded when there is enough to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

N_CHANNELS = 3
N_LOOPS = 4
_CORE, _FINISHER, _A_READY, _B_READY, _PENDING_READY, _CHANNEL = 0, 1, 2, 3, 4, 5
_COMPUTED = _CHANNEL + N_CHANNELS

PATIENCE = 5000
"""Pipelines that are run before numba is loaded."""
LONG = 100_000
"""Steps from which numba is loaded at once, in case they find no rhythm."""

_started = count()

Table = Any
"""A nested sequence of ticks, or an array."""


def tile_pipeline(  # noqa: C901 - one recurrence; numba takes it as it stands
    counts: Sequence[int],
    n_outer: bool,
    compute: Table,
    load_a: Table,
    load_b: Table,
    finish: Table,
    store: Table,
    channel: Sequence[int],
    state: Table,
    heads: Table,
    index: Table,
) -> int:
    """End of the last store of a tiled product ``C = A @ B`` in ticks, all resources idle at tick 0.

    The loops run over ``counts``: repeats, then (n, m) if ``n_outer`` or else (m, n), then k. Index 1 of a table's axis
    is the last tile along it (the edge), index 0 every other: ``compute[m][k][n]``, ``load_a[m][k]``, ``load_b[k][n]``,
    ``finish[m][n]`` and ``store[m][n]`` (after the last k: work on the result, then its way out). A tile of A or B is
    loaded when the step before used another one. ``channel`` names the channel (0..2) of A, B and C; a channel serves
    one transfer at a time, in program order, the store of a tile after the loads of the next step. A load into a buffer
    waits until the step that used it, as many before as there are buffers, has computed.

    ``state`` (8 + buffers zeros), ``heads`` (4 of those) and ``index`` (4 zeros) are working room.
    """
    size = len(state)
    n_k = counts[3]
    channel_a, channel_b, channel_c = _CHANNEL + channel[0], _CHANNEL + channel[1], _CHANNEL + channel[2]
    held_a = -1
    held_b = -1
    pending = 0
    has_pending = False
    while index[0] < counts[0]:
        # At the head of a round of a loop whose rounds are alike (the last one's edges set it apart): skip the rest
        # of them if the last round moved every time by the same amount.
        for loop in range(N_LOOPS):
            inside = False
            for deeper in range(loop + 1, N_LOOPS):
                inside = inside or index[deeper] != 0
            end = counts[loop] if loop == 0 else counts[loop] - 1
            if inside or not 1 <= index[loop] < end:
                continue
            # Times that are too old to matter must not hide the rhythm.
            for i in (_FINISHER, _A_READY, _B_READY):
                state[i] = max(state[i], state[_CORE])
            for i in range(_CHANNEL, _COMPUTED):
                state[i] = max(state[i], state[_COMPUTED])
            head = heads[loop]
            shift = state[_CORE] - head[_CORE]
            alike = index[loop] >= 2
            for i in range(size):
                alike = alike and state[i] - head[i] == shift
            if alike:
                rounds = end - index[loop]
                for i in range(size):
                    state[i] += shift * rounds
                index[loop] += rounds
            for i in range(size):
                head[i] = state[i]
        if index[0] >= counts[0]:
            break
        k = index[3]
        m, n = (index[2], index[1]) if n_outer else (index[1], index[2])
        m_edge = 1 if index[2 if n_outer else 1] == counts[2 if n_outer else 1] - 1 else 0
        n_edge = 1 if index[1 if n_outer else 2] == counts[1 if n_outer else 2] - 1 else 0
        k_edge = 1 if k == n_k - 1 else 0
        free = state[_COMPUTED]
        key_a = (index[0] * counts[2 if n_outer else 1] + m) * n_k + k
        if key_a != held_a:
            held_a = key_a
            state[_A_READY] = max(state[channel_a], free) + load_a[m_edge][k_edge]
            state[channel_a] = state[_A_READY]
        key_b = (index[0] * counts[1 if n_outer else 2] + n) * n_k + k
        if key_b != held_b:
            held_b = key_b
            state[_B_READY] = max(state[channel_b], free) + load_b[k_edge][n_edge]
            state[channel_b] = state[_B_READY]
        if has_pending:
            state[channel_c] = max(state[channel_c], state[_PENDING_READY]) + pending
            has_pending = False
        state[_CORE] = max(state[_CORE], state[_A_READY], state[_B_READY]) + compute[m_edge][k_edge][n_edge]
        for i in range(_COMPUTED, size - 1):
            state[i] = state[i + 1]
        state[size - 1] = state[_CORE]
        # Nothing waits to be stored now; a time that moves with the core keeps the rhythm visible.
        state[_PENDING_READY] = state[_CORE]
        if k_edge:
            state[_FINISHER] = max(state[_FINISHER], state[_CORE]) + finish[m_edge][n_edge]
            state[_PENDING_READY] = state[_FINISHER]
            pending = store[m_edge][n_edge]
            has_pending = True
        index[3] += 1
        for loop in range(N_LOOPS - 1, 0, -1):
            if index[loop] >= counts[loop]:
                index[loop] = 0
                index[loop - 1] += 1
    return max(state[channel_c], state[_PENDING_READY]) + pending  # type: ignore[no-any-return]


@cache
def _compiled() -> Callable[..., int]:
    from numba import njit

    compiled: Callable[..., int] = njit(cache=True)(tile_pipeline)
    return compiled


def run_interpreted(
    counts: Sequence[int], n_outer: bool, tables: Sequence[npt.NDArray[np.int64]], channel: Sequence[int], buffers: int
) -> int:
    """``tile_pipeline`` in plain Python."""
    size = _COMPUTED + buffers
    compute, load_a, load_b, finish, store = (table.tolist() for table in tables)
    heads = [[0] * size for _ in range(N_LOOPS)]
    return tile_pipeline(
        counts, n_outer, compute, load_a, load_b, finish, store, channel, [0] * size, heads, [0] * N_LOOPS
    )


def run_compiled(
    counts: Sequence[int], n_outer: bool, tables: Sequence[npt.NDArray[np.int64]], channel: Sequence[int], buffers: int
) -> int:
    """``tile_pipeline`` through numba."""
    size = _COMPUTED + buffers
    room = (np.zeros(size, np.int64), np.zeros((N_LOOPS, size), np.int64), np.zeros(N_LOOPS, np.int64))
    return int(_compiled()(np.array(counts), n_outer, *tables, np.array(channel), *room))


def pipeline_time(
    counts: Sequence[int], n_outer: bool, tables: Sequence[Any], channel: Sequence[int], buffers: int
) -> float:
    """``tile_pipeline`` for real times in any one unit: tables ``(compute, load_a, load_b, finish, store)``.

    Times become whole ticks, rounded up, as fine as the sum of all fits into 61 bits.
    """
    arrays = [np.asarray(table, dtype=np.float64) for table in tables]
    repeats, outer, inner, n_k = counts
    steps = repeats * outer * inner * n_k
    largest = sum(float(table.max()) for table in arrays) * steps
    if largest <= 0:
        return 0.0
    ticks = 2.0**61 / (largest + 5 * steps)
    whole = [np.ceil(table * ticks).astype(np.int64) for table in arrays]
    heavy = steps > LONG or next(_started) >= PATIENCE
    total = (run_compiled if heavy else run_interpreted)(counts, n_outer, whole, channel, buffers)
    return total / ticks
