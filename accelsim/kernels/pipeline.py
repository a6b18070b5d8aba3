"""Tile pipelines: load, compute, finish and store over buffers, step by step, in whole ticks.

Long runs of equal steps settle into a rhythm (the recurrence is linear in the max-plus algebra). Where every time has
moved by the same amount from one round of a loop to the next, all further equal rounds will too, and they are skipped:
with whole numbers that is exact.
"""

from __future__ import annotations

import numpy as np
from numba import njit

N_CHANNELS = 3
_CORE, _FINISHER, _A_READY, _B_READY, _PENDING_READY, _CHANNEL = 0, 1, 2, 3, 4, 5
_COMPUTED = _CHANNEL + N_CHANNELS


@njit(cache=True)
def _settle(state: np.ndarray) -> None:
    """Lift times that are too old to matter, so that they do not hide a rhythm."""
    core = state[_CORE]
    for i in (_FINISHER, _A_READY, _B_READY):
        state[i] = max(state[i], core)
    oldest = state[_COMPUTED]
    for i in range(_CHANNEL, _COMPUTED):
        state[i] = max(state[i], oldest)


@njit(cache=True)
def _skip(state: np.ndarray, before: np.ndarray, taken: bool, rounds: int) -> int:
    """Skip ``rounds`` equal rounds where the last one moved every time alike; how many were skipped.

    ``before`` holds the state at the head of the last round (if one was ``taken``) and takes the present one.
    """
    _settle(state)
    if taken and rounds > 0:
        shift = state[_CORE] - before[_CORE]
        alike = True
        for i in range(state.size):
            if state[i] - before[i] != shift:
                alike = False
                break
        if alike:
            state += shift * rounds
            return rounds
    before[:] = state
    return 0


@njit(cache=True)
def tile_pipeline(  # noqa: C901 - one recurrence, kept in one loop nest for the compiler
    repeats: int,
    steps: np.ndarray,
    n_outer: bool,
    compute: np.ndarray,
    load_a: np.ndarray,
    load_b: np.ndarray,
    finish: np.ndarray,
    store: np.ndarray,
    channel: np.ndarray,
    buffers: int,
) -> int:
    """End of the last store of a tiled product ``C = A @ B`` in ticks, all resources idle at tick 0.

    The loops are ``repeats`` x (n, m) or (m, n) x k, with ``steps = (n_m, n_k, n_n)``. Index 1 of a table's axis is the
    last tile along it (the edge), index 0 every other: ``compute[m, k, n]``, ``load_a[m, k]``, ``load_b[k, n]``,
    ``finish[m, n]`` and ``store[m, n]`` (after the last k: work on the result, then its way out); all int64 ticks. A
    tile of A or B is loaded when the step before used another one. ``channel`` names the channel (0..2) of A, B and
    C; a channel serves one transfer at a time, in program order, the store of a tile after the loads of the next
    step. A load into a buffer waits until the step that used it, ``buffers`` before, has computed.
    """
    n_m, n_k, n_n = steps[0], steps[1], steps[2]
    outer, inner = (n_n, n_m) if n_outer else (n_m, n_n)
    channel_a, channel_b, channel_c = _CHANNEL + channel[0], _CHANNEL + channel[1], _CHANNEL + channel[2]
    size = _COMPUTED + buffers
    state = np.zeros(size, dtype=np.int64)
    heads = np.zeros((4, size), dtype=np.int64)
    held_a = -1
    held_b = -1
    pending = 0
    has_pending = False

    repeat = 0
    while repeat < repeats:
        if repeat >= 1:
            repeat += _skip(state, heads[0], repeat >= 2, repeats - repeat)
            if repeat >= repeats:
                break
        i = 0
        while i < outer:
            if 1 <= i < outer - 1:
                i += _skip(state, heads[1], i >= 2, outer - 1 - i)
            j = 0
            while j < inner:
                if 1 <= j < inner - 1:
                    j += _skip(state, heads[2], j >= 2, inner - 1 - j)
                m, n = (j, i) if n_outer else (i, j)
                m_edge = 1 if m == n_m - 1 else 0
                n_edge = 1 if n == n_n - 1 else 0
                k = 0
                while k < n_k:
                    if 1 <= k < n_k - 1:
                        k += _skip(state, heads[3], k >= 2, n_k - 1 - k)
                    k_edge = 1 if k == n_k - 1 else 0
                    free = state[_COMPUTED]
                    key_a = (repeat * n_m + m) * n_k + k
                    if key_a != held_a:
                        held_a = key_a
                        state[_A_READY] = max(state[channel_a], free) + load_a[m_edge, k_edge]
                        state[channel_a] = state[_A_READY]
                    key_b = (repeat * n_n + n) * n_k + k
                    if key_b != held_b:
                        held_b = key_b
                        state[_B_READY] = max(state[channel_b], free) + load_b[k_edge, n_edge]
                        state[channel_b] = state[_B_READY]
                    if has_pending:
                        state[channel_c] = max(state[channel_c], state[_PENDING_READY]) + pending
                        has_pending = False
                    ready = max(state[_A_READY], state[_B_READY])
                    state[_CORE] = max(state[_CORE], ready) + compute[m_edge, k_edge, n_edge]
                    for b in range(_COMPUTED, size - 1):
                        state[b] = state[b + 1]
                    state[size - 1] = state[_CORE]
                    # Nothing waits to be stored now; a time that moves with the core keeps the rhythm visible.
                    state[_PENDING_READY] = state[_CORE]
                    k += 1
                state[_FINISHER] = max(state[_FINISHER], state[_CORE]) + finish[m_edge, n_edge]
                state[_PENDING_READY] = state[_FINISHER]
                pending = store[m_edge, n_edge]
                has_pending = True
                j += 1
            i += 1
        repeat += 1
    end: int = max(state[channel_c], state[_PENDING_READY]) + pending
    return end


def pipeline_time(
    repeats: int,
    steps: tuple[int, int, int],
    n_outer: bool,
    tables: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    channel: tuple[int, int, int],
    buffers: int,
) -> float:
    """``tile_pipeline`` for real times in any one unit: (compute, load_a, load_b, finish, store).

    Times become whole ticks, rounded up: thousandths of the unit, or coarser ones where the sum would not fit into 62
    bits.
    """
    largest = sum(float(table.max()) for table in tables) * repeats * steps[0] * steps[1] * steps[2]
    ticks = min(1000.0, 2.0**62 / largest) if largest > 0 else 1000.0
    compute, load_a, load_b, finish, store = (np.ceil(table * ticks).astype(np.int64) for table in tables)
    total = tile_pipeline(
        repeats,
        np.array(steps, dtype=np.int64),
        n_outer,
        compute,
        load_a,
        load_b,
        finish,
        store,
        np.array(channel, dtype=np.int64),
        buffers,
    )
    return float(total / ticks)
