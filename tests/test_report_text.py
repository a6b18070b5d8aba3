"""Scales, sheets, text, CSV and JSON."""

import csv
import dataclasses
import io
import json
import math
import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import DEVICES, make_result, many_results

from accelsim.analysis.result import COMPONENTS
from accelsim.hardware.energy import EnergyRow, load_energy_table, table_rows
from accelsim.hardware.loader import device_names, load_device
from accelsim.report import naming, scale
from accelsim.report.sheets import Column, Sheet, devices_sheet, ops_sheet, roofs_sheet, workloads_sheet
from accelsim.report.tabular import OPS_COLUMNS, RUNS_COLUMNS, energy_csv, ops_csv, result_json, runs_csv, write_text
from accelsim.report.text import (
    Fitted,
    compare_table,
    device_sheet,
    energy_table_text,
    render,
    run_table,
    show,
    sweep_table,
    workload_sheet,
)
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Elementwise, Matmul, Tensor

finite = st.floats(min_value=1e-14, max_value=1e19)
PREFIX = {"": 1, "f": 1e-15, "p": 1e-12, "n": 1e-9, "µ": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12} | {
    "P": 1e15,
    "E": 1e18,
}


@given(finite)
def test_si_is_the_value_to_three_digits(value):
    number, _, unit = scale.si(value, "s").partition(" ")
    assert float(number) * PREFIX[unit.removesuffix("s")] == pytest.approx(value, rel=0.0051)
    assert len(number.replace(".", "").lstrip("0")) == 3


@given(st.lists(st.floats(min_value=0, max_value=1e12), min_size=1))
def test_a_column_has_one_unit_and_rounds_to_its_last_digit(values):
    unit, cells = scale.column(values, "B")
    step = PREFIX[unit.removesuffix("B")]
    for value, cell in zip(values, cells, strict=True):
        if cell.startswith("<"):
            assert 0 < value < float(cell[1:]) * step
        else:
            decimals = len(cell.partition(".")[2])
            assert float(cell) * step == pytest.approx(value, abs=0.51 * step * 10**-decimals, rel=1e-9)


@pytest.mark.parametrize("bad", [math.inf, math.nan, None])
def test_what_is_not_a_number_is_a_dash(bad):
    assert scale.si(bad, "s") == scale.percent(bad) == scale.MISSING
    assert scale.ratio(1.0, 0.0) == scale.MISSING


def test_what_varies_names_runs():
    results = [
        make_result(batch=b, overrides={"dram.bandwidth_bytes_per_s": bw}) for b in (1, 2) for bw in (34e9, 68e9)
    ]
    assert naming.varied(results) == ("batch", "dram.bandwidth_bytes_per_s")
    assert naming.labels(results)[-1] == "tpu_v1 b2 dram.bandwidth_bytes_per_s=6.8e+10"
    assert naming.labels(results[:1]) == ["tpu_v1"]


def test_the_bottleneck_is_named_with_the_operand_that_moves_most():
    sentence = naming.bottleneck(make_result(batch=1))
    assert "bound by dram (weights)" in sentence
    assert "the longest op is stage5_matmul34" in sentence
    assert naming.bottleneck(make_result(ops=0)) == "No op takes any time."


@pytest.mark.parametrize("width", [60, 80, 100, 120])
@pytest.mark.parametrize("kind", ["run", "sweep", "compare", "energy", "graph"])
def test_nothing_is_wider_than_it_may_be(width, kind):
    results = [*many_results(), make_result("aws_inferentia1", replicas=4, host_every=9)]
    shown = {
        "run": lambda: run_table(results[-1], precision_note="fp32 autocast to bf16", nominal_clock_hz=8e8),
        "sweep": lambda: sweep_table(results),
        "compare": lambda: compare_table(results),
        "energy": lambda: energy_table_text(
            [EnergyRow("add.int32", 32, 0.1, 1.0, "x " * 60), EnergyRow("dram", 32, 640.0, 6400.0, "")]
        ),
        "graph": lambda: workload_sheet(small_graph()),
    }[kind]()
    text = render(shown, width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert all(line == line.rstrip() for line in text.splitlines())
    assert text == render(shown, width=width)


def test_narrow_tables_lose_columns_and_never_digits():
    result = make_result(ops=30)
    wide, narrow = (render(Fitted(ops_sheet(result)), width=width) for width in (120, 60))
    assert "kind" in wide
    assert "kind" not in narrow
    for row in ops_sheet(result).rows:
        assert row[4] in narrow
        assert row[8] in narrow


def test_a_long_name_loses_its_middle():
    sheet = Sheet((Column("op", left=True, shrink=True), Column("ms")), (("a" * 60 + "end", "1.23"),))
    text = render(Fitted(sheet), width=40)
    assert "…" in text
    assert "end  1.23" in text


def test_the_summary_says_what_a_user_asks():
    result = make_result("nvidia_t4", workload="bert_base", params={"seq_len": 384}, warnings=("[b]no[/b] markup",))
    text = render(run_table(result, precision_note="the device's default", nominal_clock_hz=8e8), width=100)
    for wanted in (
        "bert_base on nvidia_t4",
        "seq_len=384",
        "the device's default",
        "2.20x",
        "of 70.0 W TDP",
        "throttled by power from 800 MHz",
        "more ops",
        "[b]no[/b] markup",
    ):
        assert wanted in text
    assert "nominal" in render(run_table(result, nominal_clock_hz=7e8))
    assert "no TDP" in render(run_table(make_result("aws_inferentia1")))


def test_a_run_without_ops_is_shown_too():
    assert "No op takes any time." in render(run_table(make_result(ops=0)))


def small_graph():
    def tensor(name, *shape, role="activation"):
        return Tensor(name=name, shape=shape, role=role)

    layers = [
        Matmul(
            name=f"fc{i}",
            inputs=(tensor(f"x{i}", 8, 64), tensor(f"w{i}", 64, 64, role="weight")),
            outputs=(tensor(f"x{i + 1}", 8, 64),),
            m=8,
            k=64,
            n=64,
        )
        for i in range(3)
    ]
    relu = Elementwise(name="relu", inputs=(tensor("x3", 8, 64),), outputs=(tensor("y", 8, 64),), function="relu")
    return Graph(name="tiny", ops=(*layers, relu), notes=("one op is not modelled",), batch=8)


def test_a_workload_sheet_adds_up():
    text = render(workload_sheet(small_graph()))
    assert "98.30 kMAC" in text  # 3 x 8 x 64 x 64
    assert "12.29 k" in text  # 3 x 64 x 64 parameters
    assert "one op is not modelled" in text
    assert "2 more ops" in render(workload_sheet(small_graph(), top=2))


def test_output_that_is_not_unicode_gets_plain_letters():
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    show(run_table(make_result(batch=1)), out)
    out.flush()
    assert b"us" in raw.getvalue()


def test_csv_reads_back_exactly():
    result = make_result(ops=7, host_every=3)
    rows = [*csv.DictReader(io.StringIO(ops_csv(result)))]
    assert tuple(rows[0]) == OPS_COLUMNS
    assert [row["op"] for row in rows] == [op.name for op in result.ops]
    assert [float(row["latency_s"]) for row in rows] == [op.latency_s for op in result.ops]
    assert [int(row["macs"]) for row in rows] == [op.macs for op in result.ops]
    assert "\r" not in ops_csv(result)


def test_sweep_csv_has_a_row_for_each_run_and_every_part_of_its_energy():
    results = [make_result(d, batch=4, overrides={"b": 1.5, "a": 2}, params={"seq_len": 8}) for d in DEVICES]
    rows = [*csv.DictReader(io.StringIO(runs_csv(results)))]
    assert tuple(rows[0]) == RUNS_COLUMNS
    for row, result in zip(rows, results, strict=True):
        assert row["device_overrides"] == "a=2;b=1.5"
        assert row["workload_params"] == "seq_len=8"
        assert sum(float(row[f"energy_{part}_j"]) for part in COMPONENTS) == pytest.approx(result.energy_j)
    assert rows[2]["tdp_w"] == ""


def test_json_is_the_schema_and_has_no_nan():
    result = dataclasses.replace(make_result(ops=5), throughput_items_per_s=math.inf)
    plain = json.loads(result_json(result), parse_constant=pytest.fail)
    assert plain["schema"] == "accelsim.result/1"
    assert plain["throughput_items_per_s"] is None
    assert list(plain) == list(result.to_dict())
    assert len(json.loads(result_json([result, result]))) == 2
    assert result_json(result) == result_json(result)


def test_files_keep_their_line_ends(tmp_path):
    assert write_text("a\nµ\n", tmp_path / "x.csv").read_bytes() == "a\nµ\n".encode()


def test_importing_the_package_or_its_light_parts_costs_nothing_heavy():
    code = (
        "import sys, accelsim.report, accelsim.report.scale, accelsim.report.naming, accelsim.report.tabular, "
        "accelsim.report.perfetto; print([m for m in ('matplotlib', 'rich', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ}
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("node", ["45nm", "7nm", "28"])
def test_an_energy_table_is_shown_whole(node):
    rows = table_rows(load_energy_table(node))
    text = render(energy_table_text(rows, node), width=100)
    assert all(row.name in text for row in rows)
    if node == "45nm":
        # Horowitz, ISSCC 2014: 640 pJ for a 32-bit word of DRAM, 0.1 pJ for adding two int32: 6400 times as much.
        assert "6400x" in text
    back = [*csv.DictReader(io.StringIO(energy_csv(rows)))]
    assert [float(row["energy_pj"]) for row in back] == [row.pj for row in rows]


def test_shipped_devices_are_listed_and_their_sheets_say_every_source():
    devices = [load_device(name) for name in device_names()]
    listed = render(Fitted(devices_sheet(devices)), width=100)
    roofs = render(Fitted(roofs_sheet(devices, "fp32")), width=80)
    for device in devices:
        assert device.name in listed
        assert device.name in roofs
        assert render(device_sheet(device)).count("  source ") >= 6
    assert "91.8 TOPS" in listed  # Jouppi et al., ISCA 2017: 65,536 MACs at 700 MHz, 92 TOPS
    assert "no fp32" in roofs


def test_workloads_are_listed():
    assert "98.3 k" in render(Fitted(workloads_sheet([small_graph()])))
