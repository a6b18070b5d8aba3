"""accelsim measure: what a clock shows, files that go on where they were, and what is said when it cannot."""

import csv
import sys
from dataclasses import dataclass

import pytest
from click.testing import CliRunner

from accelsim.base.errors import InputError
from accelsim.cli import measure_command, status
from accelsim.study.measure import COLUMNS, OPS, Budget, Case, cases, measure, missing, time_call
from accelsim.study.measure.backend import backend
from accelsim.study.measure.numpy_backend import NumpyBackend
from accelsim.validation.silicon.build import known_kinds
from accelsim.validation.silicon.judge import judge
from accelsim.validation.silicon.protocol import protocol_of

BRIEF = Budget(0.001, sample_s=1e-5, fewest=2, most=3)


@dataclass
class Clock:
    """A clock that calls move."""

    now: float = 0.0

    def __call__(self):
        return self.now

    def work(self, seconds):
        self.now += seconds


def tiny(op="gemm", size=8):
    return Case(op, "fp32", (("M", size), ("N", size), ("K", size)))


@pytest.fixture
def numpy_backend():
    return backend("numpy", "cpu", 1)


# --- the clock -------------------------------------------------------------------------------------------------------


def test_a_call_takes_what_the_clock_says():
    clock = Clock()
    timing = time_call(lambda: clock.work(3e-6), Budget(0.1), clock=clock)
    assert timing.taken_s == pytest.approx(3e-6)
    assert timing.spread == pytest.approx(0, abs=1e-9)
    assert timing.calls * 3e-6 >= 2e-3  # a sample is long against the clock's own cost


def test_work_that_runs_on_is_waited_for():
    """A GPU's call returns at once: its time passes in ``wait``."""
    clock, queued = Clock(), []

    def wait():
        clock.work(1e-3 * len(queued))
        queued.clear()

    timing = time_call(lambda: queued.append(1), Budget(0.1), wait=wait, clock=clock)
    assert timing.taken_s == pytest.approx(1e-3)


def test_disturbed_samples_leave_the_least_alone_and_show_in_the_spread():
    clock, calls = Clock(), []

    def call():
        calls.append(1)
        clock.work(10e-3 if len(calls) % 2 else 2e-3)

    least, middle = (time_call(call, Budget(0.2, take=take), clock=clock) for take in ("least", "median"))
    assert least.taken_s == pytest.approx(2e-3)
    assert middle.taken_s >= 2e-3
    assert least.spread > 0.5


def test_a_long_call_is_sampled_no_less_than_asked():
    clock = Clock()
    assert time_call(lambda: clock.work(5.0), Budget(0.1, fewest=5), clock=clock).samples == 5


# --- the grid --------------------------------------------------------------------------------------------------------


def test_every_op_that_is_measured_can_be_predicted():
    assert set(OPS) <= set(known_kinds())


def test_quick_grid_is_smaller_and_no_case_stands_twice():
    full, quick = (cases(dtypes=["fp32"], quick=quick) for quick in (False, True))
    assert len(quick) < len(full) / 3
    assert {case.op for case in quick} == {case.op for case in full} == set(OPS)
    assert len(set(full)) == len(full)


def test_unknown_op_is_named_with_its_neighbour():
    with pytest.raises(InputError, match="--op 'gem': unknown; did you mean 'gemm'"):
        cases(ops=["gem"], dtypes=["fp32"])


# --- rows ------------------------------------------------------------------------------------------------------------


def test_rows_have_the_columns_of_ops_csv_and_are_judged(tmp_path, numpy_backend):
    file = tmp_path / "m.csv"
    wanted = [tiny(), Case("softmax", "fp32", (("rows", 4), ("cols", 64)))]
    done = list(measure(wanted, numpy_backend, file, BRIEF))
    assert [one.case for one in done] == wanted
    rows = list(csv.DictReader(file.read_text(encoding="utf-8").splitlines()))
    assert tuple(rows[0]) == COLUMNS
    assert [row["op"] for row in rows] == ["gemm", "softmax"]
    assert all(float(row["latency_us"]) > 0 for row in rows)
    extra = dict(part.split("=") for part in rows[0]["extra"].split(";"))
    assert {"threads", "spread", "least_us", "cores"} <= extra.keys()
    assert protocol_of(rows[0]["source_repo"], rows[0]["timing"]).array_functions
    _, judged = judge(file)
    assert len(judged) == 2


def test_what_is_there_is_skipped_and_the_rest_goes_on(tmp_path, numpy_backend):
    file, wanted = tmp_path / "m.csv", [tiny(size=4), tiny(size=5), tiny(size=6)]
    first = measure(wanted, numpy_backend, file, BRIEF)
    next(first)
    first.close()  # Ctrl-C between two kernels
    left = missing(wanted, numpy_backend, file)
    assert left == wanted[1:]
    assert [one.case for one in measure(left, numpy_backend, file, BRIEF)] == left
    assert missing(wanted, numpy_backend, file) == []
    assert len(file.read_text(encoding="utf-8").splitlines()) == 4


def test_other_threads_are_another_measurement(tmp_path):
    file = tmp_path / "m.csv"
    list(measure([tiny()], backend("numpy", "cpu", 1), file, BRIEF))
    two = backend("numpy", "cpu", 2)
    assert missing([tiny()], two, file) == [tiny()]
    backend("numpy", "cpu", 1)


def test_a_line_that_a_crash_cut_short_is_measured_again(tmp_path, numpy_backend):
    file = tmp_path / "m.csv"
    list(measure([tiny(size=4), tiny(size=5)], numpy_backend, file, BRIEF))
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole[:-20], encoding="utf-8")
    assert missing([tiny(size=4), tiny(size=5)], numpy_backend, file) == [tiny(size=5)]
    list(measure([tiny(size=5)], numpy_backend, file, BRIEF))
    assert missing([tiny(size=4), tiny(size=5)], numpy_backend, file) == []
    assert len(file.read_text(encoding="utf-8").splitlines()) == 3
    file.write_text(whole[:10], encoding="utf-8")
    list(measure([tiny(size=4)], numpy_backend, file, BRIEF))
    assert file.read_text(encoding="utf-8").splitlines()[0] == ",".join(COLUMNS)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a,b\n1,2\n", "has other columns than a file of measurements"),
        ("a letter, without an end of its last line", "has other columns"),
        ("device,op\nmine,", "has other columns"),
        (",".join(COLUMNS) + "\nx,y\n", "line 2: 2 cells; want 30"),
        (",".join(COLUMNS) + "\n" + ",".join("x" for _ in (*COLUMNS, "more")) + "\n", "line 2: 31 cells; want 30"),
        (",".join(COLUMNS) + "\n" + "x" * 200_000 + "\n", "not CSV: field larger"),
        ("\x00\n", "has other columns"),
    ],
)
def test_a_file_of_something_else_is_refused_and_left_as_it_is(tmp_path, numpy_backend, content, said):
    file = tmp_path / "m.csv"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=said):
        missing([tiny()], numpy_backend, file)
    assert file.read_text(encoding="utf-8") == content


def test_what_the_library_lacks_or_memory_cannot_hold_yields_no_row(tmp_path, numpy_backend):
    file = tmp_path / "m.csv"
    conv = next(case for case in cases(ops=["conv2d"], dtypes=["fp32"]))
    done = list(measure([conv, tiny(size=1000)], numpy_backend, file, BRIEF, room_bytes=1000))
    assert [one.timing for one in done] == [None, None]
    assert len(file.read_text(encoding="utf-8").splitlines()) == 1


# --- numpy -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", [op for op in OPS if op != "conv2d"])
def test_numpy_runs_every_op_but_convolutions(op, numpy_backend):
    case = min(cases(ops=[op], dtypes=["fp32"], quick=True), key=lambda one: one.bytes)
    call = numpy_backend.prepare(case)
    assert call is not None
    call()


def test_only_products_use_several_threads():
    two = NumpyBackend(2, "OpenBLAS 1.0", "")
    assert (two.threads_of("gemm"), two.threads_of("attention_prefill"), two.threads_of("relu")) == (2, 2, 1)


def test_a_blas_that_leaves_half_the_lanes_idle_is_named(monkeypatch):
    monkeypatch.setattr("accelsim.study.measure.machine.flags", lambda: frozenset({"avx2", "avx512f"}))
    (said,) = NumpyBackend(1, "OpenBLAS 1.0", "Haswell").warnings()
    assert "OPENBLAS_CORETYPE=SkylakeX" in said
    assert NumpyBackend(1, "OpenBLAS 1.0", "SkylakeX").warnings() == ()


# --- the command -----------------------------------------------------------------------------------------------------


def test_command_measures_and_goes_on(tmp_path):
    out = tmp_path / "m.csv"
    words = ["--quick", "--threads", "1", "--op", "ew_add", "--out", str(out)]
    first = CliRunner().invoke(measure_command.command, words, catch_exceptions=False)
    assert "3 of 3 kernels to measure" in first.output
    assert "3 kernels measured; quartiles" in first.output
    assert "0 of 3 kernels to measure" in CliRunner().invoke(measure_command.command, words).output


def test_interrupted_command_says_what_is_kept(tmp_path, monkeypatch, capsys):
    out = tmp_path / "m.csv"

    def one_then_stop(left, opened, file, budget):
        yield from measure(left[:1], opened, file, budget)
        raise KeyboardInterrupt

    monkeypatch.setattr("accelsim.study.measure.measure", one_then_stop)
    assert status(["measure", "--quick", "--threads", "1", "--op", "ew_add", "--out", str(out)]) == 130
    assert f"1 kernels are in {out}; the same command goes on from there" in capsys.readouterr().err
    assert len(out.read_text(encoding="utf-8").splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--device", "cuda"], "--device cuda: numpy computes on the CPU"),
        (["--dtype", "bf16"], "--dtype 'bf16': numpy computes in fp32, fp64 here"),
        (["--dtype", ""], "--dtype: got ''; want values"),
        (["--op", "gemm,gemm"], "--op: gemm stands twice"),
        (["--threads", "999"], "--threads 999: this process may use 2 cores; want no more"),
        (["--clock", "cpu"], "--clock cpu: counts the time of one thread"),
        (["--out", "-"], "--out -: want a file"),
        (["--out", "/nowhere/at/all.csv"], "/nowhere/at"),
    ],
)
def test_wrong_options_are_named(words, said, capsys, monkeypatch):
    monkeypatch.setattr("accelsim.study.measure.machine.cores", lambda: 2)
    assert status(["measure", "--threads", "2", *words]) == 2
    assert said in capsys.readouterr().err


def test_torch_that_is_not_installed_is_said(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    assert status(["measure", "--backend", "torch"]) == 2
    assert "PyTorch is not installed" in capsys.readouterr().err
