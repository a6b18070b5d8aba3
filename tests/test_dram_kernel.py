"""The compiled DRAM channel against a slow twin that asks the history of commands, cycle by cycle, what is legal."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.kernels.dram import (
    ACTIVATES,
    FIELDS,
    MISSES,
    REFRESHES,
    SERVED,
    TIME,
    WRITES,
    idle_state,
    run_compiled,
    run_interpreted,
)

DDR4 = {
    "rcd_read": 22, "rcd_write": 22, "rp": 22, "ras": 52, "rc": 74, "cl": 22, "cwl": 16, "burst": 4, "ccd_s": 4,
    "ccd_l": 8, "rrd_s": 4, "rrd_l": 8, "faw": 34, "wr": 24, "wtr_s": 4, "wtr_l": 12, "rtp": 12, "rtw": 12, "refi": 0,
    "rfc": 0, "refresh_bank": 0, "act_cmd": 1, "pre_cmd": 1, "col_cmd": 1, "row_bus": 0,
}  # fmt: skip
NEVER = 2**31


def table(**changes):
    return np.array([{**DDR4, **changes}[name] for name in FIELDS], np.int64)


def requests(rows):
    """From (bank, row, write) triples."""
    return tuple(np.array(column, np.int64) for column in zip(*rows, strict=True))


def run(rows, banks=4, groups=2, depth=4, runner=run_interpreted, first=NEVER, last=NEVER, **changes):
    return runner(table(**changes), requests(rows), idle_state(banks, groups), depth, first, last)


def test_a_closed_row_costs_activate_read_and_burst():
    assert run([(0, 5, 0)])[2][TIME] == 22 + 22 + 4
    assert run([(0, 5, 1)])[2][TIME] == 22 + 16 + 4


def test_a_row_conflict_costs_a_precharge_more():
    """tRP + tRCD + tCL + burst with another row open."""
    state = idle_state(4, 2)
    state[0][0, 0] = 9
    marks = run_interpreted(table(), requests([(0, 5, 0)]), state, 4, NEVER, NEVER)
    assert marks[2][TIME] == 22 + 22 + 22 + 4


def test_a_row_hit_costs_read_and_burst():
    state = idle_state(4, 2)
    state[0][0, 0] = 5
    marks = run_interpreted(table(), requests([(0, 5, 0)]), state, 4, NEVER, NEVER)
    assert marks[2][TIME] == 22 + 4
    assert marks[2][MISSES] == 0


def test_one_bank_turns_rows_over_every_trc():
    marks = run([(0, r, 0) for r in range(10)], depth=2)
    assert marks[2][TIME] == 9 * 74 + 22 + 22 + 4
    assert marks[2][ACTIVATES] == marks[2][MISSES] == 10


def test_four_activates_fit_into_a_window():
    """Eight banks in eight groups: tRRD_S within a window of four, tFAW between windows."""
    marks = run([(b, 0, 0) for b in range(8)], banks=8, groups=8, depth=8, row_bus=1)
    assert marks[2][TIME] == 34 + 3 * 4 + 22 + 22 + 4


def test_hits_in_one_group_come_every_ccd_l_and_in_two_every_ccd_s():
    assert run([(0, 0, 0)] * 11)[2][TIME] == 22 + 10 * 8 + 22 + 4
    alternating = [(0, 0, 0), (2, 0, 0)] * 16
    assert run(alternating, depth=8)[2][TIME] == 22 + 31 * 4 + 22 + 4


def test_turning_the_bus_around():
    """Read to write: the given gap; write to read: write data, then tWTR."""
    assert run([(0, 0, 0), (0, 0, 1)])[2][TIME] == 22 + 12 + 16 + 4
    assert run([(0, 0, 1), (0, 0, 0)])[2][TIME] == 22 + 16 + 4 + 12 + 22 + 4


def test_refresh_takes_trfc_out_of_trefi():
    """Two groups read in turn, so that the bus is the limit: what is lost is tRFC and opening the rows anew."""
    rows = [(0, 0, 0), (2, 0, 0)] * 20000
    marks = run(rows, depth=16, runner=run_compiled, refi=12480, rfc=560, first=1, last=5)
    share = (marks[1][SERVED] - marks[0][SERVED]) * 4 / (marks[1][TIME] - marks[0][TIME])
    assert marks[1][TIME] - marks[0][TIME] == pytest.approx(4 * 12480, abs=40)
    assert share <= 1 - 560 / 12480
    assert share == pytest.approx(1 - 560 / 12480, abs=0.008)


# A twin that knows no state but the history of commands


def twin(rows, banks, groups, depth, **changes):  # noqa: C901 - as it stands in the standard, pair by pair
    t = {**DDR4, **changes}
    arrivals = list(enumerate(rows))
    window, history, data_end, clock = [], [], [0], 0
    refreshes, due, mode = 0, t["refi"] or 10**12, rows[0][2]
    per_group = banks // groups

    def open_row(bank):
        row = None
        for _, what, b, r in history:
            if b == bank:
                row = {"act": r, "pre": None, "ref": None}.get(what, row)
        return row

    def not_before(what, bank):  # noqa: C901
        """Earliest cycle of a command: a maximum over every earlier one."""
        at, acts = 0, [h[0] for h in history if h[1] == "act"]
        for h_at, h, b, _ in history:
            same, near = b == bank, b // per_group == bank // per_group
            wdata = h_at + t["cwl"] + t["burst"]
            if h == "act":
                if same:
                    of = {"act": t["rc"], "rd": t["rcd_read"], "wr": t["rcd_write"], "pre": t["ras"]}
                    at = max(at, h_at + of[what])
                if what == "act":
                    at = max(at, h_at + (t["rrd_l"] if near else t["rrd_s"]))
                if t["row_bus"] == 0 or what in ("act", "pre"):
                    at = max(at, h_at + t["act_cmd"])
            if h == "pre":
                if same and what == "act":
                    at = max(at, h_at + t["rp"])
                if t["row_bus"] == 0 or what in ("act", "pre"):
                    at = max(at, h_at + t["pre_cmd"])
            if h in ("rd", "wr"):
                if t["row_bus"] == 0 or what in ("rd", "wr"):
                    at = max(at, h_at + t["col_cmd"])
                if h == what:
                    at = max(at, h_at + (t["ccd_l"] if near else t["ccd_s"]))
                if (h, what) == ("rd", "wr"):
                    at = max(at, h_at + t["rtw"], h_at + t["ccd_l"] if near else 0)
                if (h, what) == ("wr", "rd"):
                    at = max(at, wdata + (t["wtr_l"] if near else t["wtr_s"]))
                if same and what == "pre":
                    at = max(at, h_at + t["rtp"] if h == "rd" else wdata + t["wr"])
            if h == "ref":
                if same and what == "act":
                    at = max(at, h_at + t["rfc"])
                if what in ("act", "pre"):
                    at = max(at, h_at + t["pre_cmd"])
                if what == "act" and t["refresh_bank"]:
                    at = max(at, h_at + t["rrd_s"])
        if what == "act" and len(acts) >= 4:
            at = max(at, acts[-4] + t["faw"])
        return at

    def wishes():
        """Commands that serve a request, in order of age."""
        for age, (number, (bank, row, write)) in enumerate(window):
            others = [r for _, r in window if r[0] == bank]
            is_open = open_row(bank)
            if is_open == row:
                if write == mode:
                    yield "wr" if write else "rd", 0, age, number, bank, row
                continue
            if write != mode and any(r[2] == mode for r in others):
                continue
            older = [r for _, r in window[:age] if r[0] == bank and r[1] != is_open]
            if any(r[2] == mode or all(o[2] != mode for o in others) for r in older):
                continue
            if is_open is None:
                yield "act", 1, age, number, bank, row
            elif not any(r[1] == is_open and r[2] in (mode, write) for r in others):
                yield "pre", 2, age, number, bank, row

    served = 0
    while served < len(rows):
        while arrivals and len(window) < depth:
            window.append(arrivals.pop(0))
        if all(r[2] != mode for _, r in window):
            mode = 1 - mode
        ready = [(max(not_before(w[0], w[4]), 0), w[1], w[2], w) for w in wishes()]
        ready = [r for r in ready if r[0] <= clock]
        if clock >= due and not any(r[0] < due for r in ready):
            chosen = [refreshes % banks] if t["refresh_bank"] else list(range(banks))
            at = max([due] + [h[0] + t["act_cmd" if h[1] == "act" else "pre_cmd"] for h in history
                              if h[1] in ("act", "pre", "ref")])  # fmt: skip
            if t["row_bus"] == 0:
                at = max([at] + [h[0] + t["col_cmd"] for h in history if h[1] in ("rd", "wr")])
            for b in chosen:
                at = max(at, max(not_before("pre", b, ), due) + t["rp"] if open_row(b) is not None
                         else bank_only(history, b, t))  # fmt: skip
            if t["refresh_bank"]:
                at = max([at] + [h[0] + t["rrd_s"] for h in history if h[1] in ("act", "ref")])
            history += [(at, "ref", b, None) for b in chosen]
            refreshes, due = refreshes + 1, due + t["refi"]
            continue
        if not ready:
            clock += 1
            continue
        _, _, age, (what, _, _, _, bank, row) = min(ready, key=lambda r: (max(r[0], clock), r[1], r[2]))
        history.append((clock, what, bank, row))
        if what in ("rd", "wr"):
            window.pop(age)
            served += 1
            data_end.append(clock + t["cl" if what == "rd" else "cwl"] + t["burst"])
    counts = [h[1] for h in history]
    return max(data_end), counts.count("act"), served


def bank_only(history, bank, t):
    """Earliest activate of a closed bank as far as its own commands go."""
    of = {"act": t["rc"], "pre": t["rp"], "ref": t["rfc"], "rd": 0, "wr": 0}
    return max([0] + [h[0] + of[h[1]] for h in history if h[2] == bank])


access = st.tuples(st.integers(0, 3), st.integers(0, 2), st.integers(0, 1))
speeds = st.fixed_dictionaries(
    {
        "rrd_s": st.integers(2, 6), "rrd_l": st.integers(6, 9), "faw": st.integers(8, 60), "wtr_s": st.integers(1, 5),
        "wtr_l": st.integers(5, 14), "rtp": st.integers(2, 14), "act_cmd": st.integers(1, 4),
        "col_cmd": st.integers(1, 4), "row_bus": st.integers(0, 1), "ccd_l": st.integers(4, 9),
    }
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(access, min_size=1, max_size=14), speeds, st.integers(1, 6))
def test_the_twin_without_refresh(rows, changes, depth):
    marks = run(rows, depth=depth, **changes)
    assert (marks[2][TIME], marks[2][ACTIVATES], marks[2][SERVED]) == twin(rows, 4, 2, depth, **changes)


@settings(max_examples=25)
@given(st.lists(access, min_size=4, max_size=12), st.integers(1, 6), st.integers(200, 400))
def test_the_twin_with_refresh_of_all_banks(rows, depth, refi):
    changes = {"refi": refi, "rfc": 60}
    marks = run(rows, depth=depth, **changes)
    assert (marks[2][TIME], marks[2][ACTIVATES], marks[2][SERVED]) == twin(rows, 4, 2, depth, **changes)


@given(st.lists(access, min_size=1, max_size=200), speeds, st.integers(1, 16), st.booleans())
def test_compiled_and_interpreted_agree_and_conserve_requests(rows, changes, depth, single):
    changes = {**changes, "refi": 500, "rfc": 60, "refresh_bank": int(single)}
    a = run(rows, depth=depth, runner=run_interpreted, **changes)
    b = run(rows, depth=depth, runner=run_compiled, **changes)
    assert a.tolist() == b.tolist()
    assert a[2][SERVED] == len(rows)
    assert a[2][WRITES] == sum(r[2] for r in rows)
    assert a[2][MISSES] <= a[2][ACTIVATES]
    assert a[2][TIME] >= len(rows) * 4
    # A refresh that is due waits for the row that is opening, so the count may lag behind the time by a few.
    assert a[2][REFRESHES] <= a[2][TIME] // 500 + 1
