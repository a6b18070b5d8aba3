"""Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit", ISCA 2017.

What stands in the paper's tables, against the shipped workloads and the mechanisms that they ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from accelsim import load_device, simulate
from accelsim.validation.suites.tpu_v1 import APPS, App, cycles_pct
from accelsim.workload.graph import Graph
from accelsim.workload.library import load_workload
from accelsim.workload.ops import Conv2d, Elementwise, Matmul, Tensor


@pytest.mark.parametrize("app", [app for app in APPS if app.name != "CNN1"], ids=lambda app: app.name)
def test_the_array_is_active_as_long_as_its_counters_say(app: App) -> None:
    """Table 3, first two rows: 1 to 11 % off, LSTM1 24 %; CNN1, whose shapes the tables leave open, is not asserted."""
    result = simulate("tpu_v1", app.workload, precision=app.precision, host=True)
    active, useful, *_ = cycles_pct(result, load_workload(app.workload))
    bound = 0.25 if app.name == "LSTM1" else 0.12
    assert active == pytest.approx(app.cycles_pct[0], rel=bound)
    assert useful == pytest.approx(app.cycles_pct[1], rel=bound)


def test_a_mix_of_8_and_16_bits_runs_at_half_speed_and_16_bits_at_a_quarter() -> None:
    """Section 2."""
    device = load_device("tpu_v1")
    peaks = [device.peak_macs_per_s(dtype) for dtype in ("int8", "int16x8", "int16")]
    assert [peak / peaks[0] for peak in peaks] == [1, 0.5, 0.25]
    matrix = _chain(lambda i: 0, count=1, m=4096)
    cycles = [simulate("tpu_v1", matrix, precision=p).ops[0].compute_cycles for p in ("int8", "int16x8", "int16")]
    fill = 256 + 510
    assert [(c - fill) / (cycles[0] - fill) for c in cycles] == [1, 2, 4]


def test_a_mix_moves_its_weights_in_8_bits_and_its_activations_in_16() -> None:
    matrix = _chain(lambda i: 0, count=1, m=64)
    narrow, mixed = (simulate("tpu_v1", matrix, precision=p, host=True) for p in ("int8", "int16x8"))
    assert mixed.bytes_by_memory["dram"] == narrow.bytes_by_memory["dram"]
    pcie = [sum(dict(span.channel_bytes).get("pcie", 0) for span in run.trace.spans) for run in (narrow, mixed)]
    assert pcie[0] > 0
    assert pcie[1] == 2 * pcie[0]


def _chain(source: Callable[[int], int], *, count: int, m: int = 64) -> Graph:
    """Products of 256 x 256; number ``i`` reads the result of number ``source(i)`` (0: the input)."""

    def data(i: int) -> Tensor:
        return Tensor(name=f"t{i}", shape=(m, 256), dtype="int8")

    ops = tuple(
        Matmul(
            name=f"fc{i}", m=m, k=256, n=256,
            inputs=(data(source(i)), Tensor(name=f"w{i}", shape=(256, 256), dtype="int8", role="weight")),
            outputs=(data(i),),
        )
        for i in range(1, count + 1)
    )  # fmt: skip
    return Graph(name="chain", ops=ops, batch=m)


WAIT_S = 5e-6


def _waits(graph: Graph) -> list[float]:
    """Idle time of the core in front of each op but the first."""
    done = simulate("tpu_v1", graph, overrides={"calibration.result_latency_s": WAIT_S})
    ops = sorted(done.ops, key=lambda op: op.start_s)
    return [after.start_s - before.end_s for before, after in pairwise(ops)]


def test_an_op_waits_until_the_result_that_it_reads_is_back_in_the_buffer() -> None:
    """Section 2: the matrix unit waits in a delay slot before it safely reads from the unified buffer."""
    assert _waits(_chain(lambda i: i - 1, count=4)) == pytest.approx([WAIT_S] * 3)


def test_ops_that_read_older_results_wait_for_nothing() -> None:
    assert _waits(_chain(lambda i: 0, count=4)) == pytest.approx([0] * 3, abs=1e-12)
    apart = _waits(_chain(lambda i: max(0, i - 2), count=6))
    assert max(apart) < WAIT_S


def test_images_follow_one_another_without_waiting() -> None:
    def conv(i: int, batch: int) -> Conv2d:
        def image(j: int) -> Tensor:
            return Tensor(name=f"t{j}", shape=(batch, 64, 14, 14), dtype="int8")

        weights = Tensor(name=f"w{i}", shape=(64, 64, 1, 1), dtype="int8", role="weight")
        return Conv2d(
            name=f"conv{i}", batch=batch, c_in=64, h_in=14, w_in=14, c_out=64, h_out=14, w_out=14, kh=1, kw=1,
            inputs=(image(i - 1), weights), outputs=(image(i),),
        )  # fmt: skip

    def waits(batch: int) -> list[float]:
        return _waits(Graph(name="images", ops=(conv(1, batch), conv(2, batch)), batch=batch))

    assert waits(8) == pytest.approx([0], abs=1e-12)
    assert waits(1) == pytest.approx([WAIT_S])


def test_weights_come_while_a_result_is_on_its_way() -> None:
    """Read_Weights needs no activations: DRAM does not wait with the matrix unit."""
    chain = _chain(lambda i: i - 1, count=16)
    with_wait = simulate("tpu_v1", chain, overrides={"calibration.result_latency_s": 1e-6}).latency_s
    without = simulate("tpu_v1", chain, overrides={"calibration.result_latency_s": 0.0}).latency_s
    assert without <= with_wait < without + 15 * 1e-6


def test_the_host_waits_for_a_result_too() -> None:
    chain = _chain(lambda i: i - 1, count=1)
    result = simulate("aws_inferentia1", chain, host=True, overrides={"calibration.result_latency_s": WAIT_S})
    *_, product, transfer = sorted(result.trace.spans, key=lambda span: span.end_ps)
    assert (product.kind, transfer.kind) == ("matmul", "transfer")
    assert transfer.start_ps - product.end_ps == pytest.approx(WAIT_S * 1e12)


def test_what_a_step_costs_stands_before_its_first_op_on_the_device() -> None:
    """Not before the transfer of its input, which the host starts."""
    plain, late = (
        simulate("tpu_v1", _softmax_first(), overrides={"calibration.step_overhead_s": s}) for s in (0.0, 1e-5)
    )
    assert [op.latency_s for op in late.ops if op.device != "tpu_v1"] == pytest.approx(
        [op.latency_s for op in plain.ops if op.device != "tpu_v1"]
    )
    first = min((op for op in late.ops if op.kind == "matmul"), key=lambda op: op.start_s)
    before = next(op for op in plain.ops if op.name == first.name)
    assert first.latency_s - before.latency_s == pytest.approx(1e-5)


def _softmax_first() -> Graph:
    """An exponential, which the TPU lacks, and then a product."""
    start = Tensor(name="t", shape=(64, 256), dtype="int8")
    exp = Elementwise(
        name="exp", function="exp", inputs=(start,), outputs=(Tensor(name="t0", shape=(64, 256), dtype="int8"),)
    )
    return Graph(name="host first", ops=(exp, *_chain(lambda i: i - 1, count=1).ops), batch=64)
