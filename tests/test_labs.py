"""Labs print what stands beside them, their notebooks are made from them, and answers are judged by the simulator."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from accelsim.base.errors import InputError
from accelsim.cli import status
from accelsim.study.labs import Lab, Question, check, lab_of, labs, notebook, output, read_answers

LABS = labs()
FIRST = lab_of("1")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_a_lab_prints_what_stands_beside_it(lab: Lab) -> None:
    assert output(lab) == (lab.folder / "lab.out").read_text(encoding="utf-8"), "python labs/make.py writes it anew"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_its_notebook_is_made_from_it(lab: Lab) -> None:
    made = notebook(lab.script.read_text(encoding="utf-8"))
    assert (lab.folder / "lab.ipynb").read_text(encoding="utf-8") == made, "python labs/make.py writes it anew"


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_its_notebook_says_and_prints_the_same(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    cells = json.loads((lab.folder / "lab.ipynb").read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    exec(compile(code, "lab.ipynb", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out == (lab.folder / "lab.out").read_text(encoding="utf-8")
    assert len({cell["id"] for cell in cells}) == len(cells)
    assert cells[0]["source"][0].startswith(f"# {lab.title}")


@pytest.mark.parametrize("lab", LABS, ids=lambda lab: lab.number)
def test_the_template_asks_every_question_in_order(lab: Lab) -> None:
    answers = read_answers(lab.folder / "answers.toml")
    assert answers.pop("lab") == lab.number
    assert [*answers] == [question.key for question in lab.questions()]
    assert {*answers.values()} == {"?"}
    assert {verdict.word for verdict in check(answers, lab)} == {"missing"}


def filled(tmp_path: Path, **changed: float | str) -> str:
    """Return a file of right answers, some of them changed."""
    answers = {question.key: question.answer for question in FIRST.questions()} | changed
    file = tmp_path / "answers.toml"
    file.write_text('lab = "01"\n' + "".join(f"{key} = {value!r}\n" for key, value in answers.items()))
    return str(file)


def test_answers_of_lab_1_are_what_one_gets_by_hand() -> None:
    """2048 x 512 weights of 2 bytes; 640 pJ a word; FP16 products added up in FP32; 512 GMAC/s over 25.6 GB/s."""
    answers = {question.key: question.answer for question in FIRST.questions()}
    assert answers["dram_word_in_int32_adds"] == pytest.approx(6400)
    assert answers["int8_mac_pj"] == pytest.approx(0.2 + 0.1)
    assert answers["fp32_mac_over_int8_mac"] == pytest.approx(4.6 / 0.3)
    assert answers["macs"] == 2048 * 512
    assert answers["dram_bytes"] == 2048 * 512 * 2
    assert answers["mac_uj"] == pytest.approx(2048 * 512 * (1.1 + 0.9) / 1e6)
    assert answers["dram_uj"] == pytest.approx(2048 * 512 / 2 * 640 / 1e6)
    assert answers["latency_batch_1_us"] == pytest.approx(2048 * 512 * 2 / 25.6e9 * 1e6, rel=0.01)
    assert answers["ridge_macs_per_byte"] == 20
    assert answers["crossing_batch_fp16"] == 40
    fold_load_us = 1024 * 32 / 500  # 1024 folds of 32 cycles at 500 MHz bound INT8
    assert answers["fp32_over_int8_latency_batch_1"] == pytest.approx(4 * 1024**2 / 25600 / fold_load_us, rel=0.01)
    assert answers["fp32_over_int8_latency_batch_256"] == pytest.approx(1, rel=0.01)


def test_right_answers_pass(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["lab", "check", filled(tmp_path)]) == 0
    assert "13 of 13 right" in capsys.readouterr().out
    assert status(["lab", "check", "01", filled(tmp_path)]) == 0


def test_wrong_ones_get_a_hint_and_not_the_answer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["lab", "check", filled(tmp_path, dram_uj=600.0, macs="?")]) == 1
    lines = capsys.readouterr().out.splitlines()
    wrong = next(line for line in lines if line.startswith("wrong"))
    assert "dram_uj = 600" in wrong
    assert "hint: 640 pJ" in wrong
    assert "335" not in wrong
    assert "missing  macs" in lines
    assert lines[-1] == "11 of 13 right"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("macs 7", "is no TOML"),
        ('lab = "01"\nmac = 7', "mac: unknown; did you mean 'macs'?"),
        ('lab = "01"\nmacs = "many"', "macs: got 'many'; want a number"),
        ('lab = "01"\nmacs = true', "macs: got True; want a number"),
        ('lab = "01"\nmacs = nan', "macs: got nan; want a number"),
        ('lab = "01"\nmacs = [1]', "macs: got [1]; want a number"),
        ("macs = 7", "lab: missing"),
        ("lab = 99", "lab 99: unknown; want one of 01"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.toml").write_text(text)
    assert status(["lab", "check", str(tmp_path / "a.toml")]) == 2
    assert message in capsys.readouterr().err


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "a.toml", tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match=re.escape(os.fspath(path))):
            read_answers(path)


@pytest.mark.parametrize("words", [["2"], ["x"], ["1", "2"], ["check"], ["check", "1", "a", "b"]])
def test_other_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["lab", *words]) == 2
    assert "want" in capsys.readouterr().err


def test_labs_are_listed_and_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(["lab"]) == 0
    listed = capsys.readouterr().out
    assert "01  Lab 1: memory versus compute" in listed
    assert str(FIRST.folder) in listed
    assert status(["lab", "1"]) == 0
    assert capsys.readouterr().out == (FIRST.folder / "lab.out").read_text(encoding="utf-8")
    assert lab_of(FIRST.folder.name) == lab_of("01") == FIRST


def test_tolerance_is_relative_and_zero_wants_the_very_number() -> None:
    near = Question("key", -200.0, 0.01, "")
    assert near.accepts(-202.0)
    assert not near.accepts(-202.1)
    assert not near.accepts(200.0)
    exact = Question("key", 1048576, 0.0, "")
    assert exact.accepts(1048576.0)
    assert not exact.accepts(1048577)
