"""Everything that README and docs tell a reader to type is typed here.

Blocks that begin with ``console`` are run line by line where a line begins with ``$ accelsim``; ``$ cp A B`` copies a
file of the checkout; a block ``csv NAME`` or ``toml NAME`` is a file of that name; ``python`` blocks are doctests.
``python tests/test_docs.py`` writes what the commands print today into the blocks (what ends in ``...`` stays short).
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from accelsim.cli import status

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```(\w+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(command: str) -> str:
    """What a command prints, its messages apart; it must succeed."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = status(shlex.split(command)[1:])
    assert code == 0, f"$ {command}\n{err.getvalue()}"
    return out.getvalue()


def commands(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a console block with the lines that it is said to print."""
    command, said = "", []
    for line in [*block.splitlines(), "$ "]:
        if not line.startswith("$ "):
            said.append(line)
            continue
        if command:
            yield command, said
        command, said = line[2:], []


def play(command: str) -> str | None:
    """Do what a line asks for; None where it is for the reader alone."""
    if command.startswith("accelsim "):
        return run(command)
    if command.startswith("cp "):
        _, source, target = shlex.split(command)
        shutil.copy(ROOT / source, target)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_and_example_of_a_page_works(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for kind, name, content in BLOCK.findall(text):
        if name:
            (tmp_path / name).write_text(content, encoding="utf-8")
        elif kind == "console":
            for command, _ in commands(content):
                play(command)
        elif kind == "python":
            example = doctest.DocTestParser().get_doctest(content, {}, page.name, str(page), 0)
            assert example.examples, f"{page.name}: a python block without >>>"
            failures = io.StringIO()
            doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=failures.write)
            assert failures.getvalue() == ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (page.parent / link).exists()] == []


def test_every_command_has_a_line_in_the_readme():
    from accelsim.cli import COMMANDS

    text = PAGES[0].read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"`accelsim {name}" not in text] == []


def rewrite(page: Path) -> None:
    """Put today's output into the console blocks of a page."""

    def today(match: re.Match[str]) -> str:
        kind, name, content = match.groups()
        if name:
            Path(name).write_text(content, encoding="utf-8")
        if name or kind != "console":
            return match[0]
        lines = []
        for command, said in commands(content):
            printed = play(command)
            new = said if printed is None or not said else printed.rstrip().splitlines()
            if said and said[-1] == "..." and printed is not None:
                new = [*new[: len(said) - 1], "..."]
            lines += [f"$ {command}", *new, *([""] if said and not said[-1] else [])]
        return "```console\n" + "\n".join(lines) + "\n```"

    text = page.read_text(encoding="utf-8")
    page.write_text(BLOCK.sub(today, text), encoding="utf-8")


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"
    os.chdir(tempfile.mkdtemp())
    for each in PAGES:
        rewrite(each)
