"""Figures: for every number of runs, legible rules apart (those are looked at), and the same bytes every time."""

import dataclasses
import hashlib
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import DEVICES, make_result, many_results

from accelsim.report.figures import (
    energy_figure,
    latency_figure,
    roofline_figure,
    spread,
    throughput_figure,
    timeline_figure,
)
from accelsim.report.style import figure_bytes, log_ticks, save_figure

AGAINST_RUNS = (latency_figure, throughput_figure, energy_figure, roofline_figure)


def long_names():
    return [make_result("a_device_with_a_name_that_never_ends_" + d, batch=b, ops=12) for d in DEVICES for b in (1, 8)]


def zeros():
    zero = dataclasses.replace(
        make_result(ops=0),
        energy_per_item_j=0.0,
        energy_breakdown_j={},
        dram_bandwidth_bytes_per_s=0.0,
        throughput_items_per_s=0.0,
    )
    return [zero, dataclasses.replace(zero, peak_macs_per_s=0.0)]


@pytest.mark.parametrize("draw", AGAINST_RUNS)
@pytest.mark.parametrize(
    "results", [many_results()[:1], many_results() + long_names(), zeros(), []], ids=["one", "thirty", "zeros", "none"]
)
def test_figures_cope_with_any_number_of_runs(draw, results):
    plot = draw(results)
    assert figure_bytes(plot.figure, "png").startswith(b"\x89PNG")
    assert plot.caption.endswith(".")
    assert round(plot.figure.get_figwidth(), 2) in {3.33, 7.0}


@pytest.mark.parametrize(
    "result",
    [make_result(ops=1, steps=1), make_result("aws_inferentia1", replicas=4, ops=300, host_every=7), zeros()[0]],
    ids=["one op", "hundreds", "none"],
)
def test_timelines_cope_with_any_number_of_ops(result):
    plot = timeline_figure(result)
    assert figure_bytes(plot.figure, "png").startswith(b"\x89PNG")


@pytest.mark.parametrize("draw", [*AGAINST_RUNS, lambda results: timeline_figure(results[0])])
def test_two_renders_are_the_same_bytes(draw):
    results = [make_result(d, batch=b, ops=12) for d in DEVICES for b in (1, 8)]
    for kind in ("pdf", "png", "svg"):
        first, second = (figure_bytes(draw(results).figure, kind) for _ in range(2))
        assert first == second


def test_pdf_has_type_42_fonts_and_no_date():
    pdf = figure_bytes(energy_figure([make_result()]).figure, "pdf")
    assert b"CIDFontType2" in pdf  # how TrueType outlines (Type 42) stand in a PDF
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf


def test_another_process_with_other_hashes_and_settings_writes_the_same_bytes(tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 20\naxes.facecolor: red\n")
    code = (
        "import hashlib; from report_samples import make_result; from accelsim.report.figures import roofline_figure;"
        "from accelsim.report.style import figure_bytes; f = roofline_figure([make_result()]).figure;"
        "print(hashlib.sha256(figure_bytes(f, 'pdf') + figure_bytes(f, 'png')).hexdigest())"
    )
    path = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parent.parent)])
    env = {**os.environ, "PYTHONPATH": path, "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    done = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=each).stdout
        for each in ({**env, "PYTHONHASHSEED": "1"}, {**env, "PYTHONHASHSEED": "2", "TZ": "Asia/Tokyo"})
    ]
    figure = roofline_figure([make_result()]).figure
    here = hashlib.sha256(figure_bytes(figure, "pdf") + figure_bytes(figure, "png")).hexdigest()
    assert [each.strip() for each in done] == [here, here]


def test_a_figure_is_saved_as_pdf_and_png(tmp_path):
    pdf, png = save_figure(latency_figure([make_result()]).figure, tmp_path / "new", "latency")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert png.name == "latency.png"


@given(st.floats(min_value=1e-12, max_value=1e12), st.floats(min_value=1.05, max_value=1e12))
def test_ticks_are_inside_and_few(low, factor):
    ticks = log_ticks(low, low * factor)
    assert 1 <= len(ticks) <= 8
    assert ticks == sorted(ticks)
    assert all(low * 0.999 <= tick <= low * factor * 1.001 for tick in ticks)


@given(st.lists(st.floats(min_value=0, max_value=1), max_size=12))
def test_labels_are_moved_apart_inside_the_axes_and_keep_their_order(places):
    gap = 0.05
    moved = spread(places, gap)
    order = sorted(range(len(places)), key=lambda i: moved[i])
    assert all(moved[b] - moved[a] >= gap - 1e-9 for a, b in pairwise(order))
    assert all(-1e-9 <= place <= 1 + 1e-9 for place in moved)
    assert [places[i] for i in order] == sorted(places)
