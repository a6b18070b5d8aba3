"""``accelsim explain``: what it says must follow from runs, and help where it says that something would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import accelsim
from accelsim.base.errors import InputError
from accelsim.cli import cli
from accelsim.study.explain import explain
from accelsim.study.sweep import Point

POINT = Point(device="tpu_v1", workload="matmul", params={"m": 8, "n": 4096, "k": 4096})


def test_an_op_bound_by_dram_is_helped_by_its_bandwidth() -> None:
    said = explain(POINT)
    assert said.span.bound == "dram"
    assert said.what_ifs[0].change == "dram bandwidth x2"
    # 16 MiB of weights at twice 34 GB/s: no less than 247 us, and what is said is what a run says.
    assert said.what_ifs[0].op_s >= 2**24 / 68e9
    again = accelsim.simulate("tpu_v1", "matmul", params=POINT.params, overrides=said.what_ifs[0].sets)
    assert again.latency_s == said.what_ifs[0].latency_s


def test_bounds_are_no_longer_than_the_op() -> None:
    said = explain(POINT)
    assert max(seconds for _, seconds in said.span.bounds_s) <= said.op_s
    assert said.power_w <= 75  # W, the TDP


def test_the_longest_op_is_meant_where_none_is_named() -> None:
    said = explain(Point(device="tpu_v1", workload="resnet50"))
    assert said.op_s == pytest.approx(max(op.latency_s for op in said.result.ops if op.kind != "transfer"))


def test_an_unknown_op_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match=r"fc\.bogus"):
        explain(Point(device="tpu_v1", workload="resnet50"), "fc.bogus")


def test_json_has_what_the_screen_has(tmp_path: Path) -> None:
    file = tmp_path / "said.json"
    done = CliRunner().invoke(
        cli, ["explain", "tpu_v1", "resnet50:fc", "--json", str(file)], catch_exceptions=False, prog_name="accelsim"
    )
    assert done.exit_code == 0
    said = json.loads(file.read_text())
    assert said["op"] == "fc"
    assert said["bound"] in done.output
    assert all(entry["op_s"] > 0 for entry in said["what_if"])


def test_a_sweep_is_refused() -> None:
    done = CliRunner().invoke(cli, ["explain", "tpu_v1", "matmul", "--batch", "1,2"])
    assert isinstance(done.exception, InputError)


@pytest.mark.parametrize("device", ["nvdla_full", "eyeriss_v1", "ideal_systolic", "tpu_v1", "nvidia_t4", "xeon_8275cl"])
def test_every_kind_of_unit_can_be_explained(device: str) -> None:
    """One device for each kind of matrix unit, a CPU, and one whose bandwidths have no double."""
    said = explain(Point(device=device, workload="conv2d"))
    assert said.what_ifs
    assert all(one.op_s > 0 for one in said.what_ifs)


def test_loops_of_a_spatial_array_are_doubled_one_by_one() -> None:
    """NVDLA lays out 64 channels by 32 filters; twice the filters want more sums at a time than accumulators hold."""
    said = explain(Point(device="nvdla_full", workload="conv2d", params={"c_in": 256, "c_out": 64}))
    by_change = {one.change: one for one in said.what_ifs}
    wider = by_change["array rows x2 (c_in)"]
    assert wider.sets == {"core.matrix.rows.c_in": 128}
    assert wider.op_s <= said.op_s
    assert "array cols x2 (c_out)" not in by_change
