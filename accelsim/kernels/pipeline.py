"""Tile pipelines: load, compute, finish and store over buffers, step by step.

All times are floats in one unit (picoseconds by convention); the result has that unit.
"""

from __future__ import annotations

import numpy as np
from numba import njit

N_CHANNELS = 3


@njit(cache=True)
def tile_pipeline(
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
) -> float:
    """End of the last store of a tiled product ``C = A @ B``, all resources idle at time 0.

    The loops are ``repeats`` x (n, m) or (m, n) x k, with ``steps = (n_m, n_k, n_n)``. Index 1 of a table's axis is the
    last tile along it (the edge), index 0 every other: ``compute[m, k, n]``, ``load_a[m, k]``, ``load_b[k, n]``,
    ``finish[m, n]`` and ``store[m, n]`` (after the last k: work on the result, then its way out). A tile of A or B is
    loaded when the step before used another one. ``channel`` names the channel (0..2) of A, B and C; a channel serves
    one transfer at a time, in program order, the store of a tile after the loads of the next step. A load into a buffer
    waits until the step that used it, ``buffers`` before, has computed.
    """
    n_m, n_k, n_n = steps[0], steps[1], steps[2]
    outer, inner = (n_n, n_m) if n_outer else (n_m, n_n)
    channel_free = np.zeros(N_CHANNELS)
    computed = np.zeros(buffers)
    core_free = 0.0
    finisher_free = 0.0
    a_ready = 0.0
    b_ready = 0.0
    held_a = -1
    held_b = -1
    pending = 0.0
    pending_ready = -1.0
    step = 0
    for repeat in range(repeats):
        for i in range(outer):
            for j in range(inner):
                m, n = (j, i) if n_outer else (i, j)
                m_edge = 1 if m == n_m - 1 else 0
                n_edge = 1 if n == n_n - 1 else 0
                for k in range(n_k):
                    k_edge = 1 if k == n_k - 1 else 0
                    slot = step % buffers
                    key_a = (repeat * n_m + m) * n_k + k
                    if key_a != held_a:
                        held_a = key_a
                        c = channel[0]
                        a_ready = max(channel_free[c], computed[slot]) + load_a[m_edge, k_edge]
                        channel_free[c] = a_ready
                    key_b = (repeat * n_n + n) * n_k + k
                    if key_b != held_b:
                        held_b = key_b
                        c = channel[1]
                        b_ready = max(channel_free[c], computed[slot]) + load_b[k_edge, n_edge]
                        channel_free[c] = b_ready
                    if pending_ready >= 0.0:
                        c = channel[2]
                        channel_free[c] = max(channel_free[c], pending_ready) + pending
                        pending_ready = -1.0
                    core_free = max(core_free, max(a_ready, b_ready)) + compute[m_edge, k_edge, n_edge]
                    computed[slot] = core_free
                    step += 1
                finisher_free = max(finisher_free, core_free) + finish[m_edge, n_edge]
                pending_ready = finisher_free
                pending = store[m_edge, n_edge]
    c = channel[2]
    return max(channel_free[c], pending_ready) + pending
