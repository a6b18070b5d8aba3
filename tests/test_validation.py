"""The framework of ``accelsim validate``, and the suites that take a second or two."""

import csv
import io
import json
import textwrap
from pathlib import Path

import pytest

from accelsim.base.errors import InputError
from accelsim.cli import status
from accelsim.validation import (
    Row,
    broken,
    data_folder,
    load_suite,
    read_rows,
    run_suites,
    suite_names,
    suites,
    summary,
)
from accelsim.validation.document import page, section, to_csv, to_json

DOCS = Path(__file__).parent.parent / "docs" / "validation.md"

TOY = """
from accelsim.validation.rows import Row, Suite

def rows(data):
    for name, reference, ours, tolerance in (("a", 100.0, 110.0, 10), ("b", 50.0, 40.0, 20), ("c", 10.0, 10.0, None)):
        yield Row(suite="toy", name=name, quantity="latency", unit="us", reference=reference, ours=ours,
                  source="made up", peer_error_pct=7.5 if name == "a" else None, tolerance_pct=tolerance, why="a test")
    yield Row(suite="toy", name="d", quantity="power", unit="W", reference=1.0, ours=9.0, source="made up")

SUITE = Suite(title="A toy", about="Nothing.", rows=rows)
"""


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A suite is a module in a folder, and nothing else."""
    (tmp_path / "toy.py").write_text(TOY)
    monkeypatch.setattr(suites, "__path__", [*suites.__path__, str(tmp_path)])
    return tmp_path


@pytest.fixture
def measured():
    folder = data_folder()
    if not folder.is_dir():
        pytest.skip(f"the measured files are not at {folder}: set $ACCELSIM_DATA")
    return folder


def test_the_mean_is_over_all_latencies_and_throughputs(toy):
    ran, lacking = run_suites(["toy"], toy)
    assert lacking == []
    said = summary("toy", ran["toy"])
    assert said["n"] == 3
    assert said["rows"] == 4
    assert said["mape_pct"] == pytest.approx((10 + 20 + 0) / 3)
    assert said["median_ape_pct"] == pytest.approx(10)
    assert said["bias_pct"] == pytest.approx((10 - 20 + 0) / 3)
    assert (said["worst"]["name"], said["worst"]["error_pct"]) == ("b", pytest.approx(-20))
    assert broken(ran["toy"]) == []


def test_a_suite_without_timings_is_judged_by_all_its_rows():
    rows = [
        Row(suite="s", name=n, quantity="power", unit="W", reference=2, ours=o, source="x")
        for n, o in (("a", 1), ("b", 3))
    ]
    assert summary("s", rows)["mape_pct"] == 50


def test_json_has_the_schema_of_accelsim_validation_1(toy, capsys):
    assert status(["validate", "toy", "--json", "-"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == "accelsim.validation/1"
    assert {"suite", "n", "mape_pct", "median_ape_pct", "bias_pct", "worst"} <= said["suites"][0].keys()
    wanted = {"suite", "name", "quantity", "unit", "reference", "ours", "error_pct", "source"}
    assert all(wanted <= row.keys() for row in said["rows"])
    assert said["rows"][0]["peer_error_pct"] == 7.5
    assert "peer_error_pct" not in said["rows"][1]


def test_csv_and_table_have_every_row(toy, tmp_path, capsys):
    assert status(["validate", "toy", "--csv", str(tmp_path / "rows.csv")]) == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert [(row["name"], float(row["error_pct"])) for row in rows] == [("a", 10), ("b", -20), ("c", 0), ("d", 800)]
    shown = capsys.readouterr().out
    for word in ("reference", "ours", "error %", "peer %", "asserted %", "+10.0", "-20.0", "7.5", "mean error 10.0 %"):
        assert word in shown


def test_a_broken_bound_is_exit_1_and_says_which(toy, capsys):
    (toy / "tight.py").write_text(TOY.replace("110.0, 10", "110.0, 9.9").replace("toy", "tight"))
    assert status(["validate", "tight"]) == 1
    assert "tight: a, latency: ours is +10.00 % off, asserted is 9.9 %" in capsys.readouterr().err


def test_an_unknown_suite_is_exit_2_and_suggests_the_nearest(capsys):
    assert status(["validate", "scalsim"]) == 2
    said = capsys.readouterr().err
    assert "suite 'scalsim': unknown; did you mean 'scalesim'?" in said
    assert all(name in said for name in suite_names())


def test_measured_files_are_looked_for_in_three_places(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ACCELSIM_DATA", str(tmp_path))
    assert data_folder() == tmp_path
    assert data_folder(tmp_path.parent) == tmp_path.parent
    assert status(["validate", "scalesim"]) == 2
    said = capsys.readouterr().err
    assert (
        f"suite scalesim: wants scalesim_cycles.csv in {tmp_path}; say where with --data DIR or $ACCELSIM_DATA" in said
    )
    assert status(["validate", "scalesim", "--data", str(tmp_path / "none")]) == 2
    assert "is no folder" in capsys.readouterr().err
    monkeypatch.delenv("ACCELSIM_DATA")
    assert data_folder().parts[-2:] == ("shared", "validation")


def test_a_measured_file_that_is_broken_says_where(tmp_path, capsys):
    (tmp_path / "scalesim_cycles.csv").write_text("layer,kind\na,b\n")
    assert status(["validate", "scalesim", "--data", str(tmp_path)]) == 2
    assert "column 'total_cycles': missing" in capsys.readouterr().err
    (tmp_path / "t.csv").write_text("a,b\n1,x\n")
    (line,) = read_rows(tmp_path / "t.csv", ["a"])
    assert line.integer("a") == 1
    with pytest.raises(InputError, match="line 2, b: 'x': want a number"):
        line.real("b")


def test_the_list_names_every_suite(capsys):
    assert status(["validate", "--list"]) == 0
    shown = capsys.readouterr().out
    assert {"scalesim", "tpu_v1"} <= set(suite_names())
    assert all(name in shown for name in suite_names())


def test_the_page_says_why_and_is_the_same_twice(toy):
    ran, _ = run_suites(["toy"], toy)
    text = page(ran)
    assert text == page(ran)
    assert "| a | latency | 100 | 110 | us | +10.0 | 7.5 | 10 |" in text
    assert "- a, b, c: a test." in text
    assert to_json(ran) == to_json(ran)
    assert to_csv(ran).count("\n") == 5


def test_a_long_suite_is_shown_by_its_worst_rows():
    rows = [
        Row(suite="s", name=f"r{i}", quantity="latency", unit="s", reference=100, ours=100 + i, source="x")
        for i in range(99)
    ]
    text = section("s", load_suite("tpu_v1"), rows)
    assert "99 rows, 1 of them equal to the reference" in text
    assert "| r98 |" in text
    assert "| r3 |" not in text


# --- suites -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", suite_names())
def test_every_suite_says_what_it_is(name):
    suite = load_suite(name)
    assert suite.title
    assert suite.about


def test_all_588_rows_of_scale_sim_are_exact(measured):
    ran, lacking = run_suites(["scalesim"], measured)
    assert lacking == []
    rows = ran["scalesim"]
    assert len(rows) == 588
    assert [row.name for row in rows if row.ours != row.reference] == []
    with (measured / "scalesim_cycles.csv").open() as file:
        assert [row.reference for row in rows] == [int(row["total_cycles"]) + 1 for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def tpu_v1():
    return run_suites(["tpu_v1"], data_folder())[0]["tpu_v1"]


def test_tpu_v1_is_held_to_the_paper_s_numbers(tpu_v1):
    """Jouppi et al., ISCA 2017: abstract, Fig. 5, Table 3, Table 7, section 7. The paper's numbers, not ours."""
    reference = {row.name: row.reference for row in tpu_v1}
    assert (reference["peak"], reference["ridge point"]) == (92, 1350)
    tops = [row for row in tpu_v1 if row.quantity == "throughput"]
    assert [row.reference for row in tops] == [12.3, 9.7, 3.7, 2.8, 86.0, 14.1]
    assert [row.name.split(", ")[1] for row in tops] == [f"batch {n}" for n in (200, 168, 64, 96, 8, 32)]
    assert [row.peer_error_pct for row in tops] == [6.8, 10.9, 7.7, 5.4, 8.2, 11.2]
    assert reference["memory bandwidth x4, weighted mean"] == 3.0
    assert all(row.why for row in tpu_v1 if row.tolerance_pct)


def test_tpu_v1_keeps_its_asserted_bounds(tpu_v1):
    assert broken(tpu_v1) == []


def test_more_memory_bandwidth_helps_tpu_v1_and_clock_and_size_alone_do_not(tpu_v1):
    """Section 7: bandwidth x4 gives 3X on average; clock and array alone do little (here: on the weighted mean)."""
    ours = {row.name: row.ours for row in tpu_v1}
    assert 2.3 < ours["memory bandwidth x4, geometric mean"] < ours["memory bandwidth x4, weighted mean"] < 4
    assert ours["clock x4, MLPs and LSTMs"] == pytest.approx(1, abs=0.02)
    assert ours["array of 512 x 512, weighted mean"] <= 1
    assert ours["array of 512 x 512, one 600 x 600 matrix"] == pytest.approx(18 / 32, rel=0.02)


def test_docs_are_what_the_suites_say(tpu_v1):
    """Only of suites that are quick and need no measured files; rewrite: accelsim validate --write-docs FILE."""
    text = DOCS.read_text()
    for name in suite_names():
        suite = load_suite(name)
        if suite.cheap and not suite.needs:
            rows = tpu_v1 if name == "tpu_v1" else run_suites([name], data_folder())[0][name]
            assert section(name, suite, rows) in text, textwrap.dedent(
                f"docs/validation.md is stale in {name}: accelsim validate --write-docs docs/validation.md"
            )
    assert all(f"(#{name})" in text for name in suite_names())
