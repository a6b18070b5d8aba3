"""One DRAM channel, command by command: banks and their rows, in whole clock cycles.

The controller looks at the oldest ``len(queue)`` requests that are not yet served and always issues the command that
can go first (at equal times a column access before an activate before a precharge, then the older request): row hits
overtake conflicts, banks work side by side, an open row is closed only when no request in sight wants it. Reads and
writes are served in turns: the direction changes when no request of the present one is in sight. Refresh is never
postponed.

The loop is plain Python that numba can compile; short runs do without it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt

FIELDS = (
    "rcd_read", "rcd_write", "rp", "ras", "rc", "cl", "cwl", "burst", "ccd_s", "ccd_l", "rrd_s", "rrd_l", "faw", "wr",
    "wtr_s", "wtr_l", "rtp", "rtw", "refi", "rfc", "refresh_bank", "act_cmd", "pre_cmd", "col_cmd", "row_bus",
)  # fmt: skip
"""The order of ``timing``: cycles, but for ``refresh_bank`` (1: one bank at a time, ``refi`` apart) and ``row_bus`` (1:
row commands have a bus of their own)."""
(
    _RCD_READ, _RCD_WRITE, _RP, _RAS, _RC, _CL, _CWL, _BURST, _CCD_S, _CCD_L, _RRD_S, _RRD_L, _FAW, _WR, _WTR_S,
    _WTR_L, _RTP, _RTW, _REFI, _RFC, _REFRESH_BANK, _ACT_CMD, _PRE_CMD, _COL_CMD, _ROW_BUS,
) = range(len(FIELDS))  # fmt: skip

_OPEN, _ACT_AT, _READ_AT, _WRITE_AT, _PRE_AT, _FRESH, _SEEN, _HITS, _WAITING, _GROUP = 0, 1, 2, 3, 4, 5, 6, 7, 9, 11
BANK_FIELDS = 12
"""State of a bank: open row or -1, earliest activate, read, write and precharge, whether its row is not yet used, last
step that looked at it, (read, write) requests in sight that hit its row and that are for it at all, its group."""
GROUP_FIELDS = 3
"""Earliest read, write and activate in a bank group."""
TIME, SERVED, ACTIVATES, MISSES, WRITES, REFRESHES = range(6)
MARK_FIELDS = 6
LONG_AGO = -(10**9)
_NEVER = 2**62
_COLUMN, _ACTIVATE, _PRECHARGE = 0, 1, 2

SHORT = 400
"""Requests up to which a run does without numba, as long as it is not loaded."""
PATIENCE = 200
_started = count()

Table = Any
"""A nested sequence of whole numbers, or an array."""


def serve(  # noqa: C901 - one controller loop; numba takes it as it stands
    timing: Table,
    bank: Table,
    row: Table,
    write: Table,
    banks: Table,
    groups: Table,
    recent: Table,
    queue: Table,
    first: int,
    last: int,
    marks: Table,
) -> int:
    """Serve requests in the order in which they arrive; return when the last data has passed [cycles].

    Request ``i`` is one burst in row ``row[i]`` of bank ``bank[i]``, a write where ``write[i]``; all wait from cycle 0.
    ``banks``, ``groups`` and ``recent`` (the last four activates) hold the state; ``queue`` is room for the requests in
    sight. ``marks[0]`` and ``marks[1]`` take the counts when refresh number ``first`` and ``last`` begin (the run ends
    there), ``marks[2]`` those at the end.
    """
    n_banks = len(banks)
    refi = timing[_REFI]
    due = refi if refi > 0 else _NEVER
    total, depth = len(bank), len(queue)
    row_free = col_free = act_free = read_free = write_free = end = 0
    now = oldest = filled = taken = step = 0
    served = activates = misses = writes = refreshes = 0
    reads_pending = writes_pending = 0
    mode = write[0] if total else 0
    while served < total and refreshes < last:
        while filled < depth and taken < total:
            b, d = bank[taken], write[taken]
            queue[filled] = taken
            banks[b][_WAITING + d] += 1
            if banks[b][_OPEN] == row[taken]:
                banks[b][_HITS + d] += 1
            if d:
                writes_pending += 1
            else:
                reads_pending += 1
            filled += 1
            taken += 1
        if mode and not writes_pending:
            mode = 0
        elif not mode and not reads_pending:
            mode = 1
        # The command that can go first.
        step += 1
        best, best_at, best_kind = -1, _NEVER, _PRECHARGE + 1
        column_at = max(write_free if mode else read_free, col_free, now)
        activate_at = max(act_free, recent[oldest] + timing[_FAW], row_free, now)
        for i in range(filled):
            b, d = bank[queue[i]], write[queue[i]]
            state = banks[b]
            if state[_OPEN] == row[queue[i]]:
                if d != mode or best_at < column_at or (best_at == column_at and best_kind == _COLUMN):
                    continue
                kind = _COLUMN
                at = max(state[_WRITE_AT if d else _READ_AT], groups[state[_GROUP]][d], column_at)
            else:
                # A row is opened and closed for the oldest request of its bank; for the other direction only where
                # the present one wants nothing.
                if state[_SEEN] == step or (d != mode and state[_WAITING + mode] > 0):
                    continue
                state[_SEEN] = step
                if state[_OPEN] < 0:
                    if best_at <= activate_at and best_kind != _PRECHARGE:
                        continue
                    kind = _ACTIVATE
                    at = max(state[_ACT_AT], groups[state[_GROUP]][2], activate_at)
                elif state[_HITS + mode] > 0 or state[_HITS + d] > 0:
                    continue
                else:
                    kind = _PRECHARGE
                    at = max(state[_PRE_AT], row_free, now)
            if at < best_at or (at == best_at and kind < best_kind):
                best, best_at, best_kind = i, at, kind
        if best_at >= due:
            low, high = 0, n_banks
            if timing[_REFRESH_BANK]:
                low = refreshes % n_banks
                high = low + 1
            at = max(due, row_free)
            for b in range(low, high):
                closed = max(banks[b][_PRE_AT], due) + timing[_RP] if banks[b][_OPEN] >= 0 else banks[b][_ACT_AT]
                at = max(at, closed)
            if timing[_REFRESH_BANK]:
                at = max(at, act_free)
                act_free = at + timing[_RRD_S]
            for b in range(low, high):
                banks[b][_OPEN] = -1
                banks[b][_HITS] = 0
                banks[b][_HITS + 1] = 0
                banks[b][_ACT_AT] = at + timing[_RFC]
            row_free = max(row_free, at + timing[_PRE_CMD])
            refreshes += 1
            due += refi
            if refreshes in (first, last):
                mark = marks[0] if refreshes == first else marks[1]
                mark[TIME], mark[SERVED], mark[ACTIVATES] = at, served, activates
                mark[MISSES], mark[WRITES], mark[REFRESHES] = misses, writes, refreshes
            continue
        request = queue[best]
        b, d, at = bank[request], write[request], best_at
        now = at  # a request that comes into sight later cannot be served earlier
        state = banks[b]
        group = groups[state[_GROUP]]
        if best_kind == _ACTIVATE:
            state[_OPEN] = row[request]
            state[_FRESH] = 1
            state[_READ_AT] = at + timing[_RCD_READ]
            state[_WRITE_AT] = at + timing[_RCD_WRITE]
            state[_PRE_AT] = at + timing[_RAS]
            state[_ACT_AT] = at + timing[_RC]
            act_free = at + timing[_RRD_S]
            group[2] = at + timing[_RRD_L]
            recent[oldest] = at
            oldest = (oldest + 1) % len(recent)
            row_free = at + timing[_ACT_CMD]
            activates += 1
            for i in range(filled):
                if bank[queue[i]] == b and row[queue[i]] == state[_OPEN]:
                    state[_HITS + write[queue[i]]] += 1
        elif best_kind == _PRECHARGE:
            state[_OPEN] = -1
            state[_HITS] = 0
            state[_HITS + 1] = 0
            state[_ACT_AT] = max(state[_ACT_AT], at + timing[_RP])
            row_free = at + timing[_PRE_CMD]
        else:
            if d:
                data = at + timing[_CWL] + timing[_BURST]
                write_free = at + timing[_CCD_S]
                group[1] = at + timing[_CCD_L]
                read_free = max(read_free, data + timing[_WTR_S])
                group[0] = max(group[0], data + timing[_WTR_L])
                state[_PRE_AT] = max(state[_PRE_AT], data + timing[_WR])
                writes_pending -= 1
                writes += 1
            else:
                data = at + timing[_CL] + timing[_BURST]
                read_free = at + timing[_CCD_S]
                group[0] = at + timing[_CCD_L]
                write_free = max(write_free, at + timing[_RTW])
                state[_PRE_AT] = max(state[_PRE_AT], at + timing[_RTP])
                reads_pending -= 1
            end = max(end, data)
            col_free = at + timing[_COL_CMD]
            misses += state[_FRESH]
            state[_FRESH] = 0
            state[_HITS + d] -= 1
            state[_WAITING + d] -= 1
            served += 1
            filled -= 1
            for i in range(best, filled):
                queue[i] = queue[i + 1]
        if not timing[_ROW_BUS]:
            row_free = col_free = max(row_free, col_free)
    mark = marks[2]
    mark[TIME], mark[SERVED], mark[ACTIVATES] = end, served, activates
    mark[MISSES], mark[WRITES], mark[REFRESHES] = misses, writes, refreshes
    return end


@cache
def _compiled() -> Callable[..., int]:
    from numba import njit

    compiled: Callable[..., int] = njit(cache=True)(serve)
    return compiled


Ints = npt.NDArray[np.int64]


def idle_state(n_banks: int, n_groups: int) -> tuple[Ints, Ints, Ints]:
    """Return banks (all closed), groups and recent activates of a channel that nothing has happened to."""
    banks = np.zeros((n_banks, BANK_FIELDS), np.int64)
    banks[:, _OPEN] = -1
    banks[:, _GROUP] = np.arange(n_banks) // (n_banks // n_groups)
    return banks, np.zeros((n_groups, GROUP_FIELDS), np.int64), np.full(4, LONG_AGO, np.int64)


def run_interpreted(
    timing: Ints, requests: tuple[Ints, Ints, Ints], state: tuple[Ints, Ints, Ints], depth: int, first: int, last: int
) -> Ints:
    """``serve`` in plain Python; the marks."""
    marks = [[0] * MARK_FIELDS for _ in range(3)]
    bank, row, write = (column.tolist() for column in requests)
    banks, groups, recent = (part.tolist() for part in state)
    serve(timing.tolist(), bank, row, write, banks, groups, recent, [0] * depth, first, last, marks)
    return np.array(marks)


def run_compiled(
    timing: Ints, requests: tuple[Ints, Ints, Ints], state: tuple[Ints, Ints, Ints], depth: int, first: int, last: int
) -> Ints:
    """``serve`` through numba; the marks."""
    marks = np.zeros((3, MARK_FIELDS), np.int64)
    state = (state[0].copy(), state[1].copy(), state[2].copy())
    _compiled()(timing, *requests, *state, np.zeros(depth, np.int64), first, last, marks)
    return marks


def run(
    timing: Ints,
    requests: tuple[Ints, Ints, Ints],
    state: tuple[Ints, Ints, Ints],
    depth: int,
    first: int = 2**31,
    last: int = 2**31,
) -> Ints:
    """``serve`` either way: marks at refresh ``first``, at refresh ``last`` and at the end."""
    heavy = len(requests[0]) > SHORT or next(_started) >= PATIENCE
    return (run_compiled if heavy else run_interpreted)(timing, requests, state, depth, first, last)
