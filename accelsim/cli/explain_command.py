"""``accelsim explain``: why an op takes what it takes, and what would help."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from accelsim.base.errors import InputError
from accelsim.cli import options

if TYPE_CHECKING:
    from accelsim.study.explain import Explanation

WORTH_SAYING = 0.002
"""A change that gains less than this share of the op's time and of the step's is not listed."""


@click.command("explain")
@click.argument("device")
@click.argument("workload", metavar="WORKLOAD[:OP]")
@options.run_options
@click.option("--json", "json_file", metavar="FILE|-", help="Write it.")
def command(device: str, workload: str, json_file: str | None, **how: Any) -> None:
    """Take an op apart: tiles, what each resource alone would need, clock and power, and what would help.

    OP is the longest op unless it is named, as in resnet50:layer1.0.conv2. One op alone is a workload too:
    `accelsim explain nvidia_t4 matmul --param m=512`.
    """
    from accelsim.cli.run_command import points
    from accelsim.study.explain import explain

    options.writable_files({"--json": json_file})
    name, op = split_op(workload)
    sweep = points(device, name, how)
    if len(sweep) > 1:
        raise InputError(f"explain is of one run; the lists in the options make {len(sweep)}")
    explanation = explain(sweep[0], op)
    if json_file is not None:
        import json

        options.write(json.dumps(plain(explanation), indent=2, allow_nan=False) + "\n", json_file)
    if json_file != "-":
        _show(explanation)


def split_op(workload: str) -> tuple[str, str | None]:
    """Split ``resnet50:layer1.0.conv2`` into workload and op; ``onnx:light_resnet50`` and paths have none.

    >>> split_op("resnet50:conv1"), split_op("onnx:light_resnet50"), split_op("onnx:light_resnet50:Conv_3")
    (('resnet50', 'conv1'), ('onnx:light_resnet50', None), ('onnx:light_resnet50', 'Conv_3'))
    """
    prefix, rest = ("onnx:", workload.removeprefix("onnx:")) if workload.startswith("onnx:") else ("", workload)
    if not prefix and Path(workload).exists():
        return workload, None
    name, colon, op = rest.partition(":")
    return prefix + name, op if colon else None


def plain(explanation: Explanation) -> dict[str, Any]:
    """Plain values under names with units."""
    span = explanation.span
    return {
        "schema": "accelsim.explanation/1",
        "device": explanation.result.device,
        "workload": explanation.result.workload,
        "op": span.op,
        "kind": span.kind,
        "dtype": span.dtype,
        "runs_on": span.device,
        "op_s": explanation.op_s,
        "latency_s": explanation.result.latency_s,
        "tiling": span.tiling,
        "bound": span.bound,
        "bounds_s": dict(span.bounds_s),
        "clock_hz": span.clock_hz,
        "nominal_clock_hz": explanation.nominal_hz,
        "power_w": explanation.power_w,
        "energy_j": dict(explanation.energy_j),
        "what_if": [
            {"change": one.change, "set": dict(one.sets), "op_s": one.op_s, "latency_s": one.latency_s}
            for one in explanation.what_ifs
        ],
    }


def _show(explanation: Explanation) -> None:
    from accelsim.report import text
    from accelsim.report.scale import percent, si
    from accelsim.report.sheets import Column, Sheet

    span, result, op_s = explanation.span, explanation.result, explanation.op_s
    share = percent(op_s / result.latency_s)
    click.echo(f"{span.op} of {result.workload['name']} on {span.device}: {si(op_s, 's')}, {share} of the step\n")
    click.echo(f"  what      {span.kind} in {span.dtype}, {si(span.macs, 'MAC') if span.macs else 'no products'}")
    click.echo(f"  how       {span.tiling or 'as it comes'}")
    click.echo(f"  clock     {_clock(span.clock_hz, explanation)}")
    parts = ", ".join(
        f"{name} {si(joules, 'J')}"
        for name, joules in sorted(explanation.energy_j.items(), key=lambda p: -p[1])
        if joules
    )
    limit = f" of {result.tdp_w:g} W TDP" if result.tdp_w else ""
    click.echo(f"  power     {explanation.power_w:.3g} W{limit}; its energy: {parts or 'none'}\n")
    click.echo("What each resource alone would need:")
    bounds = sorted(span.bounds_s, key=lambda bound: -bound[1])
    rows = tuple((name, si(seconds, "s"), percent(seconds / op_s)) for name, seconds in bounds if seconds)
    text.show(text.Fitted(Sheet((Column("resource", left=True), Column("time"), Column("of the op")), rows)))
    click.echo(f"\n{_rest(explanation)}\n")
    helps = [
        one
        for one in explanation.what_ifs
        if op_s - one.op_s > WORTH_SAYING * op_s or result.latency_s - one.latency_s > WORTH_SAYING * result.latency_s
    ]
    if not helps:
        click.echo("No single number of the device, doubled, makes it faster.")
        return
    click.echo("What would help, one number changed and everything run again:")
    columns = (Column("change", left=True), Column("op"), Column("faster"), Column("step"), Column("faster"))
    text.show(
        text.Fitted(
            Sheet(
                columns,
                tuple(
                    (
                        one.change,
                        si(one.op_s, "s"),
                        f"{op_s / one.op_s:.2f}x",
                        si(one.latency_s, "s"),
                        f"{result.latency_s / one.latency_s:.2f}x",
                    )
                    for one in helps
                ),
            )
        )
    )


def _clock(clock_hz: float, explanation: Explanation) -> str:
    from accelsim.report.scale import percent, si

    if not clock_hz:
        return "none: a transfer"
    if clock_hz >= explanation.nominal_hz * (1 - 1e-9):
        return f"{si(clock_hz, 'Hz')}, nominal"
    return (
        f"{si(clock_hz, 'Hz')}, {percent(clock_hz / explanation.nominal_hz)} of nominal: held back by the power limit"
    )


def _rest(explanation: Explanation) -> str:
    """What the largest bound leaves open."""
    from accelsim.report.scale import percent, si

    bounds = dict(explanation.span.bounds_s)
    most = max(bounds.values(), default=0.0)
    gap_s = explanation.op_s - most
    if explanation.span.prefetched_bytes and gap_s < 0:
        return f"Some of its weights came before it began: alone it would run at its bound ({explanation.span.bound})."
    if gap_s <= 0.02 * explanation.op_s:
        return f"It runs at its bound ({explanation.span.bound})."
    return (
        f"{si(gap_s, 's')} ({percent(gap_s / explanation.op_s)}) is more than the largest of them: first loads and "
        "last stores, launches, tails of waves, edges, other ops on the same channel."
    )
