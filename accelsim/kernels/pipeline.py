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
from math import ceil
from typing import Any

import numpy as np

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

COMPUTE, LOAD_A, LOAD_B, FINISH, STORE, N_TIMES = 0, 8, 12, 16, 20, 24
"""Where the times of the five parts begin in ``times``."""


def tile_pipeline(  # noqa: C901 - one recurrence; numba takes it as it stands
    shape: Sequence[int], n_outer: bool, times: Table, state: Table, heads: Table, index: Table
) -> int:
    """End of the last store of a tiled product ``C = A @ B`` in ticks, all resources idle at tick 0.

    ``shape`` has four counts of loops and the three channels of A, B and C. The loops run over repeats, then (n, m) if
    ``n_outer`` or else (m, n), then k. ``times`` has for each part all times of full tiles (0) and edge tiles (1), the
    last along an axis: ``compute[m][k][n]``, ``load_a[m][k]``, ``load_b[k][n]``, ``finish[m][n]`` and ``store[m][n]``
    (after the last k: work on the result, then its way out). A tile of A or B is loaded when the step before used
    another one. A channel (0..2) serves one transfer at a time, in program order, the store of a tile after the loads
    of the next step. A load into a buffer waits until the step that used it, as many before as there are buffers, has
    computed.

    ``state`` (8 + buffers zeros), ``heads`` (4 of those) and ``index`` (4 zeros) are working room.
    """
    size = len(state)
    n_k = shape[3]
    channel_a, channel_b, channel_c = _CHANNEL + shape[4], _CHANNEL + shape[5], _CHANNEL + shape[6]
    held_a = -1
    held_b = -1
    pending = 0
    has_pending = False
    while index[0] < shape[0]:
        # At the head of a round of a loop whose rounds are alike (the last one's edges set it apart): skip the rest
        # of them if the last round moved every time by the same amount.
        for loop in range(N_LOOPS):
            inside = False
            for deeper in range(loop + 1, N_LOOPS):
                inside = inside or index[deeper] != 0
            end = shape[loop] if loop == 0 else shape[loop] - 1
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
        if index[0] >= shape[0]:
            break
        k = index[3]
        m, n = (index[2], index[1]) if n_outer else (index[1], index[2])
        m_edge = 1 if index[2 if n_outer else 1] == shape[2 if n_outer else 1] - 1 else 0
        n_edge = 1 if index[1 if n_outer else 2] == shape[1 if n_outer else 2] - 1 else 0
        k_edge = 1 if k == n_k - 1 else 0
        free = state[_COMPUTED]
        key_a = (index[0] * shape[2 if n_outer else 1] + m) * n_k + k
        if key_a != held_a:
            held_a = key_a
            state[_A_READY] = max(state[channel_a], free) + times[LOAD_A + 2 * m_edge + k_edge]
            state[channel_a] = state[_A_READY]
        key_b = (index[0] * shape[1 if n_outer else 2] + n) * n_k + k
        if key_b != held_b:
            held_b = key_b
            state[_B_READY] = max(state[channel_b], free) + times[LOAD_B + 2 * k_edge + n_edge]
            state[channel_b] = state[_B_READY]
        if has_pending:
            state[channel_c] = max(state[channel_c], state[_PENDING_READY]) + pending
            has_pending = False
        state[_CORE] = max(state[_CORE], state[_A_READY], state[_B_READY]) + times[4 * m_edge + 2 * k_edge + n_edge]
        for i in range(_COMPUTED, size - 1):
            state[i] = state[i + 1]
        state[size - 1] = state[_CORE]
        # Nothing waits to be stored now; a time that moves with the core keeps the rhythm visible.
        state[_PENDING_READY] = state[_CORE]
        if k_edge:
            state[_FINISHER] = max(state[_FINISHER], state[_CORE]) + times[FINISH + 2 * m_edge + n_edge]
            state[_PENDING_READY] = state[_FINISHER]
            pending = times[STORE + 2 * m_edge + n_edge]
            has_pending = True
        index[3] += 1
        for loop in range(N_LOOPS - 1, 0, -1):
            if index[loop] >= shape[loop]:
                index[loop] = 0
                index[loop - 1] += 1
    return max(state[channel_c], state[_PENDING_READY]) + pending  # type: ignore[no-any-return]


@cache
def _compiled() -> Callable[..., int]:
    from numba import njit

    compiled: Callable[..., int] = njit(cache=True)(tile_pipeline)
    return compiled


def run_interpreted(shape: Sequence[int], n_outer: bool, times: Sequence[int], buffers: int) -> int:
    """``tile_pipeline`` in plain Python."""
    size = _COMPUTED + buffers
    heads = [[0] * size for _ in range(N_LOOPS)]
    return tile_pipeline(shape, n_outer, times, [0] * size, heads, [0] * N_LOOPS)


def run_compiled(shape: Sequence[int], n_outer: bool, times: Sequence[int], buffers: int) -> int:
    """``tile_pipeline`` through numba."""
    size = _COMPUTED + buffers
    room = np.zeros((N_LOOPS + 1, size), np.int64)
    whole = np.array([*shape, *times], np.int64)
    head = len(shape)
    return int(_compiled()(whole[:head], n_outer, whole[head:], room[0], room[1:], np.zeros(N_LOOPS, np.int64)))


def pipeline_time(shape: Sequence[int], n_outer: bool, times: Sequence[float], buffers: int) -> float:
    """``tile_pipeline`` for real times in any one unit.

    Times become whole ticks, rounded up, as fine as the sum of all fits into 61 bits.
    """
    repeats, outer, inner, n_k = shape[:4]
    steps = repeats * outer * inner * n_k
    largest = steps * (
        max(times[:LOAD_A]) + max(times[LOAD_A:LOAD_B]) + max(times[LOAD_B:FINISH])
        + max(times[FINISH:STORE]) + max(times[STORE:])
    )  # fmt: skip
    if largest <= 0:
        return 0.0
    ticks = 2.0**61 / (largest + 5 * steps)
    whole = [ceil(time * ticks) for time in times]
    heavy = steps > LONG or next(_started) >= PATIENCE
    total = (run_compiled if heavy else run_interpreted)(shape, n_outer, whole, buffers)
    return total / ticks
