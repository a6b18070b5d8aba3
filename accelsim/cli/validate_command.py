"""``accelsim validate``: errors against silicon and papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from accelsim.base.errors import InputError, LimitError
from accelsim.cli import options

if TYPE_CHECKING:
    from accelsim.validation import Row
    from accelsim.validation.silicon.judge import Judged
    from accelsim.validation.silicon.models import Judged as Network


@click.command("validate")
@click.argument("suites", nargs=-1)
@click.option(
    "--data",
    metavar="DIR|CSV",
    help="The measured files (else $ACCELSIM_DATA, else ../shared/validation); ops: or one.",
)
@click.option("--device", metavar="NAME", help="ops: only rows of this device.")
@click.option("--op", metavar="NAME", help="ops: only rows of this op.")
@click.option("--json", "json_file", metavar="FILE|-", help="Write summaries and rows.")
@click.option("--csv", "csv_file", metavar="FILE|-", help="Write the rows.")
@click.option("--write-docs", "docs_file", metavar="FILE", help="Write the page docs/validation.md.")
@click.option(
    "--top", type=click.IntRange(0), default=20, show_default=True, help="Rows of a suite to list, worst first."
)
@click.option("--list", "listing", is_flag=True, help="List the suites.")
def command(
    suites: Sequence[str],
    data: str | None,
    device: str | None,
    op: str | None,
    json_file: str | None,
    csv_file: str | None,
    docs_file: str | None,
    top: int,
    listing: bool,
) -> None:
    """Compare with silicon and papers: SUITES (all), each row with reference, ours, error and the peer's error.

    Exits 1 where an asserted bound is broken, and 2 for a suite that is unknown or lacks its measured files.
    """
    from accelsim.validation import broken, data_folder, run_suites, suite_names

    options.writable_files({"--json": json_file, "--csv": csv_file, "--write-docs": docs_file})
    if listing:
        _list()
        return
    if tuple(suites) == ("models",) and docs_file is None:
        if op is not None:
            raise InputError("--op chooses rows of the suite ops; want `accelsim validate ops`")
        _networks(data, device, json_file, csv_file, top)
        return
    if tuple(suites) == ("ops",) and docs_file is None:
        _kernels(data, device, op, json_file, csv_file, top)
        return
    if device is not None or op is not None:
        raise InputError("--device and --op choose rows of the suites ops and models; name one of these alone")
    ran, lacking = run_suites(list(dict.fromkeys(suites)) or suite_names(), data_folder(data))
    if lacking and docs_file is not None:
        raise InputError(*lacking)
    _write(ran, json_file, csv_file, docs_file, data_folder(data))
    if "-" not in (json_file, csv_file):
        _show(ran, top)
    if lacking:
        raise InputError(*lacking)
    violations = broken(row for rows in ran.values() for row in rows)
    if violations:
        raise LimitError("\n".join(violations))


def _kernels(
    data: str | None, device: str | None, op: str | None, json_file: str | None, csv_file: str | None, top: int
) -> None:
    """Errors of timed kernels by device, op and format, beside a plain roofline's."""
    from accelsim.validation.silicon import judge

    columns, judged = judge.judge(_measured_file(data, "ops"), device=device, op=op)
    if json_file is not None:
        options.write(judge.to_json(judged), json_file)
    if csv_file is not None:
        options.write(judge.to_csv(columns, judged), csv_file)
    if "-" not in (json_file, csv_file):
        _show_kernels(judged, top)


def _measured_file(data: str | None, suite: str) -> Path:
    """The file of a suite: the one that was named, or the one in the folder of measured files."""
    from accelsim.validation import data_folder, load_suite

    if data is not None and not Path(data).is_dir():
        return Path(data)
    (name,) = load_suite(suite).needs
    file = data_folder(data) / name
    if not file.is_file():
        raise InputError(f"suite {suite}: wants {name} in {file.parent}; say where with --data DIR or --data FILE.csv")
    return file


def _networks(data: str | None, device: str | None, json_file: str | None, csv_file: str | None, top: int) -> None:
    """Errors of whole networks by device, and what could not be run."""
    from accelsim.validation.silicon import models

    columns, judged = models.judge(_measured_file(data, "models"), device=device)
    if json_file is not None:
        options.write(models.to_json(judged), json_file)
    if csv_file is not None:
        options.write(models.to_csv(columns, judged), csv_file)
    if "-" not in (json_file, csv_file):
        _show_networks(judged, top)


def _show_networks(judged: Sequence[Network], top: int) -> None:
    from accelsim.report import text
    from accelsim.report.sheets import Column, Sheet
    from accelsim.validation.silicon import models

    lines = [models.cells(group) for group in models.groups(judged)]
    columns = tuple(Column(name, left=name == "device", shrink=name == "device") for name in lines[0])
    text.show(text.Fitted(Sheet(columns, tuple(tuple(line.values()) for line in lines))))
    click.echo(
        "\nrun: rows whose network and device are built; judged: those that measured the device, not its software"
    )
    counted = [one for one in judged if one.ours is not None and not one.ours.software]
    for one in sorted(counted, key=lambda one: -abs(one.error_pct))[:top]:
        assert one.ours is not None
        click.echo(
            f"  {one.error_pct:+7.0f} %  {one.ours.reference:.4g} {one.ours.unit} measured, {one.ours.value:.4g} ours "
            f"({one.ours.bound}): {models.name_of(one)}"
        )
    for (name, why), n in sorted(models.unmodelled(judged).items()):
        click.echo(f"not run, {name}, {n} rows: {why}")


def _show_kernels(judged: Sequence[Judged], top: int) -> None:
    from accelsim.report import text
    from accelsim.report.sheets import Column, Sheet
    from accelsim.validation.silicon import judge

    lines = [judge.cells(group) for group in judge.groups(judged)]
    if lines:
        left = {"device", "op", "format"}
        names = dict.fromkeys(name for line in lines for name in line)
        columns = tuple(Column(name, left=name in left, shrink=name == "device") for name in names)
        text.show(text.Fitted(Sheet(columns, tuple(tuple(line.get(name, "") for name in names) for line in lines))))
    worst = sorted((one for one in judged if one.ours is not None), key=lambda one: -abs(one.error_pct))[:top]
    if worst:
        click.echo("\nworst rows:")
    for one in worst:
        assert one.ours is not None
        click.echo(
            f"  {one.error_pct:+7.0f} %  {one.row.latency_us:.4g} us measured, {one.ours.predicted_us:.4g} ours "
            f"({one.ours.bound}): {judge.name_of(one.row)}"
        )
    for why, n in sorted(judge.unmodelled(judged).items()):
        click.echo(f"not modelled, {n} rows: {why}")
    said = judge.overall(judged)
    if said["n"]:
        click.echo(
            f"\n{said['n']} of {said['rows']} rows: mean error {said['mape_pct']:.1f} %, "
            f"median {said['median_ape_pct']:.1f} %, bias {said['bias_pct']:+.1f} %; "
            f"a plain roofline: {said['roofline_mape_pct']:.1f} %"
        )
    if said.get("power_rows"):
        click.echo(
            f"mean power of {said['power_rows']} rows: mean error {said['power_mape_pct']:.1f} %, "
            f"median {said['power_median_ape_pct']:.1f} %, bias {said['power_bias_pct']:+.1f} %"
        )


def _write(
    ran: Mapping[str, Sequence[Row]], json_file: str | None, csv_file: str | None, docs_file: str | None, data: Path
) -> None:
    from accelsim.validation.document import page, to_csv, to_json

    for file, write in ((json_file, to_json), (csv_file, to_csv), (docs_file, partial(page, data=data))):
        if file is not None:
            options.write(write(ran), file)


def _list() -> None:
    from accelsim.validation import load_suite, suite_names

    for name in suite_names():
        suite = load_suite(name)
        wants = f" (wants {', '.join(suite.needs)})" if suite.needs else ""
        click.echo(f"{name:16} {suite.title}{wants}")


def _show(ran: Mapping[str, Sequence[Row]], top: int) -> None:
    """A table of the worst rows for each suite, and what all of them add up to."""
    from accelsim.report import text
    from accelsim.report.sheets import Column, Sheet
    from accelsim.validation import load_suite, summary
    from accelsim.validation.document import cells

    columns = (
        Column("row", left=True, shrink=True),
        Column("quantity", left=True, rank=2),
        Column("reference"),
        Column("ours"),
        Column("unit", left=True, rank=1),
        Column("error %"),
        Column("peer %"),
        Column("asserted %", rank=3),
    )
    for name, rows in ran.items():
        listed = rows if len(rows) <= top else sorted(rows, key=lambda row: -abs(row.error_pct))[:top]
        said = summary(name, rows)
        click.echo(f"{name}: {load_suite(name).title}\n")
        if listed:
            text.show(text.Fitted(Sheet(columns, tuple(cells(row) for row in listed))))
        if len(listed) < len(rows):
            click.echo(f"... and {len(rows) - len(listed)} more rows, none of them worse")
        click.echo(
            f"\n{said['n']} rows: mean error {said['mape_pct']:.1f} %, median {said['median_ape_pct']:.1f} %, "
            f"bias {said['bias_pct']:+.1f} %, worst {said['worst']['error_pct']:+.1f} % ({said['worst']['name']})\n"
        )
