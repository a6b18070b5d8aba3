"""Labs: scripts that students run, the notebooks made from them, and checking what students answer.

A lab is a folder of ``labs/`` named ``NN_what_it_is_about`` with ``lab.py`` (cells between ``# %%`` marks), its output
``lab.out``, and ``questions.py``, whose function ``questions`` computes the right answers.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import runpy
import tomllib
from collections.abc import Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelsim.base.errors import InputError, nearest
from accelsim.base.resources import resource_dir

OPEN = ("?", "")
"""What stands in an answers' file where no answer is given yet."""

_FOLDER = re.compile(r"(\d\d)_(\w+)")


@dataclass(frozen=True, slots=True)
class Question:
    """A question whose answer is a number; right is what differs by no more than ``tolerance``, relatively."""

    key: str
    answer: float
    tolerance: float
    hint: str

    def accepts(self, given: float) -> bool:
        """Whether a student's number is right."""
        return abs(given - self.answer) <= self.tolerance * abs(self.answer) + 1e-9 * abs(self.answer)


@dataclass(frozen=True, slots=True)
class Lab:
    """A lab that ships."""

    number: str
    folder: Path

    @property
    def title(self) -> str:
        """Its heading, as its script has it."""
        lines = self.script.read_text(encoding="utf-8").splitlines()
        return next(line.removeprefix("# # ") for line in lines if line.startswith("# # "))

    @property
    def script(self) -> Path:
        """What it runs."""
        return self.folder / "lab.py"

    def questions(self) -> list[Question]:
        """Compute the right answers."""
        found: list[Question] = runpy.run_path(os.fspath(self.folder / "questions.py"))["questions"]()
        return found


def labs() -> list[Lab]:
    """Every lab that ships, by number."""
    folders = sorted(path for path in resource_dir("labs").iterdir() if (path / "lab.py").is_file())
    return [Lab(found[1], path) for path in folders if (found := _FOLDER.fullmatch(path.name))]


def lab_of(number: str) -> Lab:
    """Return the lab of a number (``1``, ``01``) or of its folder's name. Raises InputError."""
    have = {lab.number: lab for lab in labs()}
    wanted = number.zfill(2)
    for lab in have.values():
        if number == lab.folder.name:
            return lab
    if wanted not in have:
        raise InputError(f"lab {number}: unknown; want one of {', '.join(have)}")
    return have[wanted]


def run(lab: Lab) -> None:
    """Run a lab's script; it prints."""
    runpy.run_path(os.fspath(lab.script), run_name="__main__")


def output(lab: Lab) -> str:
    """Return what a lab prints."""
    printed = io.StringIO()
    with redirect_stdout(printed):
        run(lab)
    return printed.getvalue()


# Answers -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one question: ``right``, ``wrong`` or ``missing``."""

    question: Question
    given: float | None

    @property
    def word(self) -> str:
        """The verdict in a word."""
        if self.given is None:
            return "missing"
        return "right" if self.question.accepts(self.given) else "wrong"


def read_answers(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read an answers' file. Raises InputError where it cannot be read."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"{os.fspath(path)}: is no text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{os.fspath(path)}: is no TOML: {error}; want lines such as macs = 1024") from None


def check(answers: Mapping[str, Any], lab: Lab, name: str = "answers") -> list[Verdict]:
    """Compare answers with what the simulator says. Raises InputError for keys and values that make no sense."""
    questions = lab.questions()
    keys = [question.key for question in questions]
    given = {key: value for key, value in answers.items() if key != "lab"}
    problems = [
        f"{name}: {key}: unknown{nearest(key, keys)}; want one of {', '.join(keys)}" for key in given if key not in keys
    ]
    problems += [
        f"{name}: {key}: got {value!r}; want a number"
        for key, value in given.items()
        if key in keys and value not in OPEN and not _is_number(value)
    ]
    if problems:
        raise InputError(*problems)
    return [Verdict(q, float(given[q.key]) if given.get(q.key, "?") not in OPEN else None) for q in questions]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


# Notebooks -----------------------------------------------------------------------------------------------------------


def notebook(script: str) -> str:
    r"""Make a Jupyter notebook of a script with ``# %%`` and ``# %% [markdown]`` marks; the same bytes every time.

    >>> cells = json.loads(notebook("# %% [markdown]\n# # Title\n\n# %%\nx = 1\n"))["cells"]
    >>> [(cell["cell_type"], cell["source"]) for cell in cells]
    [('markdown', ['# Title']), ('code', ['x = 1'])]
    """
    book = {
        "cells": [_cell(number, *cell) for number, cell in enumerate(_cells(script))],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _cells(script: str) -> list[tuple[str, list[str]]]:
    """Kind and lines of each cell; what stands before the first mark is left out."""
    cells: list[tuple[str, list[str]]] = []
    for line in script.splitlines():
        if line.startswith("# %%"):
            cells.append(("markdown" if "[markdown]" in line else "code", []))
        elif cells:
            kind, lines = cells[-1]
            lines.append(line.removeprefix("#").removeprefix(" ") if kind == "markdown" else line)
    return [(kind, "\n".join(lines).strip("\n").splitlines(keepends=True)) for kind, lines in cells]


def _cell(number: int, kind: str, lines: list[str]) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number:02d}", "metadata": {}, "source": lines}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
