"""``accelsim demo``: the tour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.cli.options import folder

if TYPE_CHECKING:
    from accelsim.study.sweep import Point

COMMAND = "accelsim demo"
"""What the page says how to make it again: no folder in it, so that two folders get the same bytes."""


@click.command("demo")
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    default="accelsim-demo",
    show_default=True,
    help="Folder to write; made if need be.",
)
def command(output: str) -> None:
    """Run two networks on four devices, and leave tables, figures, a trace and a report.

    resnet50 and bert_base on tpu_v1, nvidia_t4, aws_inferentia1 and xeon_8275cl, at batch 1 and 8 and in two
    precisions each. Takes less than half a minute.
    """
    from accelsim.study.demo import demo_points

    make_demo(demo_points(), output)


def make_demo(sweep: Sequence[Point], output: str) -> None:
    """Run ``sweep``, write its files to the folder ``output`` and say what is in them. Raises InputError."""
    target = folder(output)
    assert target is not None
    from accelsim.cli.run_command import run_all
    from accelsim.hardware.loader import load_device
    from accelsim.report import text

    results = run_all(sweep)
    from accelsim.report import demo

    devices = [load_device(name) for name in dict.fromkeys(point.device for point in sweep)]
    files = demo.demo_files(results, devices, COMMAND)
    write_all(files, target)
    text.show(text.Fitted(demo.summary_sheet(results)))
    click.echo(_guide(target, demo.lessons(results)))


def write_all(files: Mapping[str, bytes], folder: Path) -> None:
    """Write every file under a passing name, then give all of them theirs: never a half-written one."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {folder / f".{name}.part": folder / name for name in files}
    try:
        for part, data in zip(parts, files.values(), strict=True):
            part.write_bytes(data)
        for part, target in parts.items():
            part.replace(target)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _guide(folder: Path, lessons: Sequence[str]) -> str:
    """Say where things are and what to look at."""
    names = (
        ("report.html", "everything on one page: open it in a browser, it needs no network"),
        ("runs.csv, ops.csv", "a row for each run, and for each op of each run"),
        ("results.json", "all of it for programs"),
        ("trace.json", "one run op by op: open it at ui.perfetto.dev"),
        ("*.pdf, *.png", "four figures: throughput, energy, roofline, timeline"),
    )
    files = "\n".join(f"  {name:<18} {what}" for name, what in names)
    told = "\n".join(click.wrap_text(lesson, 96, "  - ", "    ") for lesson in lessons)
    return f"\nWhat to look at:\n{told}\n\nFiles in {folder}:\n{files}"
