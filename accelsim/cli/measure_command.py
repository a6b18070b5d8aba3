"""``accelsim measure``: kernels timed on the user's own machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Literal

import click

from accelsim.base.errors import InputError
from accelsim.cli import options

if TYPE_CHECKING:
    from accelsim.study.measure import Budget, Case
    from accelsim.study.measure.backend import Backend

QUICK_S, FULL_S = 0.1, 0.5
"""Time for the samples of one kernel."""


@click.command("measure")
@click.option("--backend", "name", type=click.Choice(["numpy", "torch"]), default="numpy", show_default=True,
              help="What runs the kernels.")  # fmt: skip
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True, help="Where.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of a CPU (all cores).")
@click.option("--dtype", "dtypes", metavar="P[,P...]", help="Formats (fp32; with torch bf16 too, on a GPU fp16).")
@click.option("--op", "ops", metavar="OP[,OP...]", help="Only these: gemm, conv2d, softmax ... (all).")
@click.option("--quick", is_flag=True, help="A small grid, in a minute.")
@click.option("--clock", type=click.Choice(["wall", "cpu"]), default="wall", show_default=True,
              help="cpu: the process's own time, where other work disturbs; for one thread.")  # fmt: skip
@click.option("--take", type=click.Choice(["median", "least"]), default="median", show_default=True,
              help="Of a kernel's samples; least: where other work disturbs them.")  # fmt: skip
@click.option("--out", "out", metavar="FILE", default="measured.csv", show_default=True, help="The CSV file.")
def command(
    name: str,
    device: str,
    threads: int | None,
    dtypes: str | None,
    ops: str | None,
    quick: bool,
    clock: Literal["wall", "cpu"],
    take: Literal["median", "least"],
    out: str,
) -> None:
    """Time products, convolutions (torch), softmax, norms, elementwise functions and attention on this machine.

    Appends row by row to a CSV with the columns of ops.csv, which `accelsim validate ops --data FILE` and `accelsim
    calibrate` read. Interrupt it with Ctrl-C when you like: the same command goes on where it was.
    """
    from accelsim.study.measure import Budget, cases, machine, missing
    from accelsim.study.measure.backend import backend

    options.writable_files({"--out": out})
    if out == "-":
        raise InputError("--out -: want a file, which an interrupted measurement goes on with")
    if clock == "cpu" and (threads != 1 or device != "cpu"):
        raise InputError("--clock cpu: counts the time of one thread; want --device cpu --threads 1 with it")
    if threads is not None and threads > machine.cores():
        raise InputError(f"--threads {threads}: this process may use {machine.cores()} cores; want no more threads")
    opened = backend(name, device, threads)
    formats = options.words(dtypes, "--dtype") if dtypes is not None else list(opened.defaults)
    unknown = [one for one in formats if one not in opened.dtypes]
    if unknown:
        raise InputError(*(f"--dtype {one!r}: {name} computes in {', '.join(opened.dtypes)} here" for one in unknown))
    grid = cases(ops=options.words(ops, "--op") if ops is not None else (), dtypes=formats, quick=quick)
    left = missing(grid, opened, Path(out))
    click.echo(f"{opened.device}, {opened.framework}: {len(left)} of {len(grid)} kernels to measure into {out}")
    for warning in opened.warnings():
        click.echo(f"! {warning}")
    _run(left, opened, Path(out), Budget(QUICK_S if quick else FULL_S, take=take, clock=clock))


def _run(left: Sequence[Case], opened: Backend, out: Path, budget: Budget) -> None:
    """Measure, with progress on a terminal."""
    from accelsim.study.measure import Measured, measure

    done: list[Measured] = []
    started, quiet = time.monotonic(), not sys.stderr.isatty()
    try:
        for one in measure(left, opened, out, budget):
            done.append(one)
            if not quiet:
                to_go = (time.monotonic() - started) / len(done) * (len(left) - len(done))
                click.echo(f"\r{len(done)} of {len(left)} kernels, about {to_go:.0f} s to go ", nl=False, err=True)
    except KeyboardInterrupt:
        click.echo(f"\n{len(done)} kernels are in {out}; the same command goes on from there", err=True)
        raise
    finally:
        if done and not quiet:
            click.echo("", err=True)
    timed = [one for one in done if one.timing is not None]
    skipped = [one.case for one in done if one.timing is None]
    if timed:
        spreads = [one.timing.spread for one in timed if one.timing is not None]
        click.echo(
            f"{len(timed)} kernels measured; quartiles {100 * median(spreads):.1f} % apart in the median, "
            f"{100 * max(spreads):.0f} % at worst"
        )
    for op in dict.fromkeys(case.op for case in skipped):
        click.echo(f"! {sum(case.op == op for case in skipped)} x {op} not measured: no such kernel here, or no room")
