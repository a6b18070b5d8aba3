"""``accelsim lab``: labs to run, and answers to check."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from accelsim.study.labs import Lab, Verdict


@click.command("lab")
@click.argument("words", nargs=-1, metavar="[N | check [N] FILE]")
def command(words: Sequence[str]) -> int:
    r"""List labs, run lab N, or check the answers in FILE.

    \b
    accelsim lab                       what there is
    accelsim lab 1                     run lab 1
    accelsim lab check answers.toml    right, wrong or missing; exits 1 unless all are right
    """
    from accelsim.study import labs

    if not words:
        _list(labs.labs())
        return 0
    if words[0] == "check":
        return _check(words[1:])
    if len(words) > 1:
        raise click.UsageError(f"got {' '.join(words)!r}; want a lab's number, or check and a file of answers")
    labs.run(labs.lab_of(words[0]))
    return 0


def _list(found: Sequence[Lab]) -> None:
    for lab in found:
        click.echo(f"{lab.number}  {lab.title}\n    {lab.folder}")
    click.echo("\nRun one with `accelsim lab N`; its folder has a README, a notebook and answers.toml to fill in.")


def _check(words: Sequence[str]) -> int:
    from accelsim.base.errors import InputError
    from accelsim.study import labs

    if not 1 <= len(words) <= 2:
        raise click.UsageError("want `accelsim lab check [N] FILE`")
    file = words[-1]
    answers = labs.read_answers(file)
    number = words[0] if len(words) == 2 else answers.get("lab")
    if number is None:
        raise InputError(f'{file}: lab: missing; want a line such as lab = "01", or its number before the file')
    verdicts = labs.check(answers, labs.lab_of(str(number)), file)
    for verdict in verdicts:
        click.echo(_line(verdict))
    right = sum(verdict.word == "right" for verdict in verdicts)
    click.echo(f"\n{right} of {len(verdicts)} right")
    return 0 if right == len(verdicts) else 1


def _line(verdict: Verdict) -> str:
    hint = f"  (hint: {verdict.question.hint})" if verdict.word == "wrong" else ""
    given = "" if verdict.given is None else f" = {verdict.given:g}"
    return f"{verdict.word:<8} {verdict.question.key}{given}{hint}"
