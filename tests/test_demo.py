"""The demo: all of its files, their numbers, and the same bytes every time."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from accelsim.base.errors import InputError
from accelsim.cli import status
from accelsim.cli.demo_command import make_demo, write_all
from accelsim.report.demo import away_share, lessons, summary_sheet, told
from accelsim.study.demo import PRECISIONS, demo_points

FIGURES = ("throughput", "energy", "roofline", "timeline")
FILES = {
    "results.json", "runs.csv", "ops.csv", "trace.json", "report.html",
    *(f"{name}.{kind}" for name in FIGURES for kind in ("pdf", "png")),
}  # fmt: skip
SMALL = {"workloads": ("bert_base",), "devices": ("tpu_v1", "xeon_8275cl"), "batches": (1, 2)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Run the demo as a user does."""
    folder = tmp_path_factory.mktemp("demo") / "made" / "here"
    assert status(["demo", "-o", str(folder)]) == 0
    return folder


def test_points_are_two_networks_on_four_devices_at_two_batches_and_precisions() -> None:
    points = demo_points()
    assert len(points) == 2 * 4 * 2 * 2
    assert {point.device for point in points} == {*PRECISIONS}


def test_it_leaves_exactly_its_files(whole: Path) -> None:
    assert {path.name for path in whole.iterdir()} == FILES
    for name in FIGURES:
        assert (whole / f"{name}.pdf").read_bytes().startswith(b"%PDF-")
        assert (whole / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_its_tables_tell_the_same_as_its_results(whole: Path) -> None:
    results = json.loads((whole / "results.json").read_text())
    runs = list(csv.DictReader(io.StringIO((whole / "runs.csv").read_text())))
    ops = list(csv.DictReader(io.StringIO((whole / "ops.csv").read_text())))
    assert len(results) == len(runs) == 32
    assert len({(r["device"], r["workload"], r["batch"], r["precision"]) for r in runs}) == 32
    assert [float(row["latency_s"]) for row in runs] == [result["latency_s"] for result in results]
    assert len(ops) == sum(len(result["ops"]) for result in results)
    for result in results:
        assert result["latency_s"] >= result["roofline_latency_s"]
        assert result["average_power_w"] <= (result["tdp_w"] or float("inf"))


def test_its_page_names_no_address_and_shows_every_figure(whole: Path) -> None:
    page = (whole / "report.html").read_text()
    for outside in ("http:", "https:", 'src="//', "<link", "@import"):
        assert outside not in page
    assert page.count("data:image/png;base64,") == len(FIGURES)
    assert "falls back to the host" in page


def test_its_trace_is_sorted_and_shows_the_fallback(whole: Path) -> None:
    trace = json.loads((whole / "trace.json").read_text())
    assert (trace["otherData"]["device"], trace["otherData"]["workload"]) == ("tpu_v1", "bert_base")
    events = [event for event in trace["traceEvents"] if event["ph"] != "M"]
    assert events == sorted(events, key=lambda event: event["ts"])
    tracks = {e["args"]["name"] for e in trace["traceEvents"] if e["name"] == "thread_name"}
    assert {"core0", "host", "pcie"} <= tracks
    ends: dict[int, list[float]] = {}
    for event in events:
        if event["ph"] == "X":
            open_slices = ends.setdefault(event["tid"], [])
            while open_slices and open_slices[-1] <= event["ts"]:
                open_slices.pop()
            end = event["ts"] + event["dur"]
            assert not open_slices or end <= open_slices[-1] + 1e-6
            open_slices.append(end)


def test_it_writes_the_same_bytes_every_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Here and in another process, with another seed of the hashes, into a folder of another name."""
    make_demo(demo_points(**SMALL), str(tmp_path / "one"))
    script = (
        "from accelsim.cli.demo_command import make_demo; from accelsim.study.demo import demo_points; "
        f"make_demo(demo_points(**{SMALL!r}), {str(tmp_path / 'two')!r})"
    )
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    subprocess.run(
        [sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": path}
    )
    for name in sorted(FILES):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name
    told_us = capsys.readouterr().out
    assert "falls back to the host" in told_us
    assert "report.html" in told_us


def test_lessons_quote_the_results() -> None:
    results = [point.run() for point in demo_points(**SMALL)]
    run = told(results)
    assert (run.device["name"], run.workload["name"]) == ("tpu_v1", "bert_base")
    on_host = sum(op.device != "tpu_v1" for op in run.ops)
    ops = sum(op.kind != "transfer" for op in run.ops)
    assert f"{on_host} of {ops} ops" in lessons(results)[0]
    assert f"{away_share(run):.0%} of the time" in lessons(results)[0]
    waited = sum(op.latency_s for op in run.ops if op.bound in {"link", "host"})
    assert away_share(run) == pytest.approx(waited / run.latency_s, rel=0.02)  # few of them overlap
    sheet = summary_sheet(results)
    assert len(sheet.rows) == 4
    assert all(len(row) == len(sheet.columns) for row in sheet.rows)


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_file_in_the_way_is_named_before_anything_runs(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    assert status(["demo", "-o", str(tmp_path / where)]) == 2
    assert "is a file; want a folder" in capsys.readouterr().err
    assert (tmp_path / "file").read_text() == "mine"


def test_nothing_is_written_where_a_run_fails(tmp_path: Path) -> None:
    points = demo_points(**SMALL)
    wrong = [*points, type(points[0])(device="tpu_v0", workload="resnet50")]
    with pytest.raises(InputError, match="tpu_v0"):
        make_demo(wrong, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_no_file_is_half_written(tmp_path: Path) -> None:
    """A file that cannot be written leaves the others as they were."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / ".b.part").mkdir()
    with pytest.raises(OSError, match=r"b\.part"):
        write_all({"a": b"new", "b": b"new"}, tmp_path)
    assert (tmp_path / "a").read_bytes() == b"old"
    assert not (tmp_path / ".a.part").exists()
