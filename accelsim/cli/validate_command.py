"""``accelsim validate``: errors against silicon and papers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from accelsim.base.errors import InputError, LimitError
from accelsim.cli import options

if TYPE_CHECKING:
    from accelsim.validation import Row


@click.command("validate")
@click.argument("suites", nargs=-1)
@click.option("--data", metavar="DIR", help="The measured files (else $ACCELSIM_DATA, else ../shared/validation).")
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
    from accelsim.validation.document import page, to_csv, to_json

    options.writable_files({"--json": json_file, "--csv": csv_file, "--write-docs": docs_file})
    if listing:
        _list()
        return
    ran, lacking = run_suites(list(dict.fromkeys(suites)) or suite_names(), data_folder(data))
    if lacking and docs_file is not None:
        raise InputError(*lacking)
    for file, write in ((json_file, to_json), (csv_file, to_csv), (docs_file, page)):
        if file is not None:
            options.write(write(ran), file)
    if "-" not in (json_file, csv_file):
        _show(ran, top)
    if lacking:
        raise InputError(*lacking)
    violations = broken(row for rows in ran.values() for row in rows)
    if violations:
        raise LimitError("\n".join(violations))


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
