"""Studies: what they say follows from runs, and a folder regenerates byte for byte."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from click.testing import CliRunner

from accelsim import simulate
from accelsim.base.errors import ConfigError, LimitError
from accelsim.cli import cli
from accelsim.study.reports import run_study, study_file, study_kinds
from accelsim.study.reports.choose import _Offer, serve

STUDIES = {
    "energy_table": """
        actions = ["add.int32", "mul.fp32", "dram"]
        dram = "dram"
        add = "add.int32"
        devices = ["tpu_v1", "xeon_8275cl"]
        workloads = ["matmul"]
    """,
    "batching": """
        workloads = ["matmul"]
        batches = [1, 4, 16]
        [[groups]]
        name = "both"
        devices = ["tpu_v1", "nvidia_t4"]
    """,
    "bus_and_sports_car": """
        buses = ["nvidia_a100_sxm_80gb"]
        sports_cars = ["nvidia_t4"]
        workloads = ["matmul"]
        batches = [1, 8]
    """,
    "neuroncores": """
        device = "aws_inferentia1"
        fits = "resnet18"
        does_not_fit = "alexnet_conv"
        batches = [4]
    """,
    "precision": """
        devices = ["nvidia_t4", "tpu_v1"]
        formats = ["fp32", "fp16", "int8"]
        workload = "matmul"
    """,
    "fallback": """
        [[cases]]
        device = "aws_inferentia1"
        workload = "resnet18"
        batch = 2
        taken = ["relu", "pool"]
    """,
    "choose": """
        workloads = ["matmul"]
        devices = ["nvidia_t4", "nvidia_a100_sxm_80gb"]
        batches = [1, 8]
        rates_per_s = [10, 1000]
        limits_ms = [1, 100]
        idle_gpu = "nvidia_a100_sxm_80gb"
        slice_of_one = "nvidia_t4"
        cpu = "xeon_8275cl"
    """,
    "roofline": """
        devices = ["nvidia_t4", "tpu_v1"]
        formats = ["fp16", "int8"]
        workloads = ["resnet18"]
        marked_in = "int8"
    """,
}


def _study(folder: Path, kind: str, body: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    lines = "\n".join(line.strip() for line in (body or STUDIES[kind]).splitlines())
    file = folder / "study.toml"
    file.write_text(f'study = "{kind}"\ntitle = "A study"\nclaims = ["said"]\n{lines}\n')
    return file


def test_every_kind_is_tried_here() -> None:
    assert sorted(STUDIES) == study_kinds()


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_writes_its_folder_and_the_same_again(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / kind
    _study(folder, kind)
    run = CliRunner()
    assert run.invoke(cli, ["report", str(folder)], catch_exceptions=False).exit_code == 0
    names = {path.suffix for path in folder.iterdir()}
    assert {".md", ".csv", ".pdf", ".png"} <= names
    assert run.invoke(cli, ["report", str(folder), "--check"], catch_exceptions=False).exit_code == 0
    (folder / "README.md").write_text("edited")
    changed = run.invoke(cli, ["report", str(folder), "--check"])
    assert isinstance(changed.exception, LimitError)


def test_the_numbers_are_those_of_a_run(tmp_path: Path) -> None:
    found = run_study(_study(tmp_path / "b", "batching"))
    rows = list(csv.DictReader(_csv(found.tables[0])))
    for row in rows:
        again = simulate(row["device"], row["workload"], batch=int(row["batch"]))
        assert float(row["latency_ms"]) == again.latency_s * 1e3


def _csv(table: object) -> list[str]:
    from accelsim.report.study_files import table_csv

    return table_csv(table).splitlines()  # type: ignore[arg-type]


def test_a_dram_word_costs_what_the_paper_says(tmp_path: Path) -> None:
    found = run_study(_study(tmp_path / "e", "energy_table"))
    assert "6400 times" in found.remarks[0].text  # 640 pJ against 0.1 pJ, arXiv 1506.02626, Fig. 1
    assert found.remarks[0].verdict == "bears out"


def test_serving_a_rate() -> None:
    small = _Offer("small", 1, 0.010, 100.0, 1.0)
    large = _Offer("large", 10, 0.010, 1000.0, 5.0)
    # 50 requests a second: one small device, 1 $/h over 180,000 requests.
    deal = serve([small, large], 50, 0.1)
    assert deal is not None
    assert (deal.offer.device, deal.devices) == ("small", 1)
    assert deal.usd_per_million == pytest.approx(1e6 / 180_000)
    # 1,000 a second: ten small ones cost 10 $/h, one large one 5 $/h; the first of ten waits 9 ms.
    deal = serve([small, large], 1000, 0.1)
    assert deal is not None
    assert deal.offer.device == "large"
    assert deal.latency_s == pytest.approx(0.019)
    assert serve([large], 1000, 0.018) is None


@pytest.mark.parametrize(
    ("kind", "body", "words"),
    [
        ("batching", 'workloads = ["matmul"]\nbatches = [0]\n', "batches"),
        ("nonsense", "x = 1", "want one of batching"),
        ("roofline", 'devices = ["nvidia_t4"]\nbogus = 1\n', "bogus: unknown key"),
        ("fallback", STUDIES["fallback"].replace('"relu"', '"rleu"'), r"taken\[0\]: got 'rleu'.* mean 'relu'\?$"),
        ("energy_table", STUDIES["energy_table"].replace('"dram"', '"drum"'), r"actions\[2\]: got 'drum'; no such row"),
        ("choose", STUDIES["choose"].replace("[10, 1000]", "[10, 1e300]"), r"rates_per_s\[1\]: got 1e\+300; want"),
        ("choose", STUDIES["choose"].replace("xeon_8275cl", "xeon"), "device 'xeon': unknown"),
        ("roofline", STUDIES["roofline"].replace('in = "int8"', 'in = "int9"'), "marked_in: got 'int9'.* mean 'int8'"),
        ("batching", STUDIES["batching"].replace("[1, 4, 16]", "[4, 4]"), "batches: got .* 4 stands twice"),
        (
            "batching",
            STUDIES["batching"] + '[[groups]]\nname = "both"\ndevices = ["tpu_v1"]',
            "groups: got .*; want each once; both stands twice",
        ),
        ("neuroncores", STUDIES["neuroncores"].replace("aws_inferentia1", "tpu_v1"), "'tpu_v1': it has one core; want"),
        ("neuroncores", STUDIES["neuroncores"].replace("aws_inferentia1", "nvidia_t4"), "spread over all of its cores"),
    ],
)
def test_a_wrong_study_file_is_refused_with_all_that_is_wrong(kind: str, body: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        run_study(_study(tmp_path / "w", kind, body))


TOO_LARGE = {
    **{kind: [('"matmul"', '"llama2_70b"')] for kind in ("batching", "bus_and_sports_car", "choose")},
    "energy_table": [('"matmul"', '"llama2_70b"'), (', "xeon_8275cl"', "")],
    "neuroncores": [("resnet18", "llama2_70b"), ("alexnet_conv", "llama2_70b")],
    "precision": [('"nvidia_t4", ', ""), (', "int8"]', "]")],
    "fallback": [("resnet18", "llama2_70b")],
    "roofline": [('"nvidia_t4", ', ""), ('["fp16", "int8"]', '["fp64"]')],
}
"""What makes each of the studies one of which nothing can be run."""


@pytest.mark.parametrize("kind", STUDIES)
def test_a_study_of_which_nothing_runs_says_why_and_writes_nothing(kind: str, tmp_path: Path) -> None:
    body = STUDIES[kind].replace('"nvidia_a100_sxm_80gb"', '"tpu_v1"')
    for was, now in TOO_LARGE[kind]:
        body = body.replace(was, now)
    file = _study(tmp_path / "n", kind, body)
    run = CliRunner().invoke(cli, ["report", str(file)])
    assert isinstance(run.exception, ConfigError)
    assert all(line.startswith(f"{file}: nothing could be run: ") for line in run.exception.problems)
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.parametrize(
    ("kind", "was", "now"),
    [
        ("batching", '["matmul"]', '["llama2_7b"]'),  # on the T4 alone, in part
        ("bus_and_sports_car", '["matmul"]', '["llama2_13b"]'),  # on the A100 alone
        ("neuroncores", "alexnet_conv", "llama2_70b"),
        ("choose", '"nvidia_t4", "nvidia_a100_sxm_80gb"', '"tpu_v1"'),  # which nobody rents
        ("choose", "[1, 100]", "[1e-9]"),  # ms
        ("fallback", '"relu", "pool"', '"softmax"'),  # which ResNet-18 ends without
    ],
)
def test_a_study_of_which_a_part_runs_is_written(kind: str, was: str, now: str, tmp_path: Path) -> None:
    assert was in STUDIES[kind]
    folder = _study(tmp_path / "p", kind, STUDIES[kind].replace(was, now)).parent
    assert CliRunner().invoke(cli, ["report", str(folder)], catch_exceptions=False).exit_code == 0
    assert (folder / "README.md").exists()


def test_an_unknown_study_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"study\.toml"):
        study_file("no_such_study")
