"""``accelsim report``: a study's figures, numbers and page, regenerated."""

from __future__ import annotations

import click

from accelsim.cli.options import folder


@click.command("report")
@click.argument("study")
@click.option("-o", "--output", metavar="DIR", help="Folder to write (the study's own).")
@click.option(
    "--check", is_flag=True, help="Write nothing; exit 1 where a file of the folder is not what would be written."
)
def command(study: str, output: str | None, check: bool) -> None:
    """Run STUDY and write its figures (PDF, PNG), numbers (CSV) and page: the same bytes every time.

    STUDY is a folder with a study.toml, such a file, or the name of a folder in reports/ (energy_table, batching,
    bus_and_sports_car, neuroncores, precision, fallback, choose, roofline).
    """
    from accelsim.base.errors import LimitError
    from accelsim.cli.demo_command import write_all
    from accelsim.report.study_files import study_files
    from accelsim.study.reports import run_study, study_file

    file = study_file(study)
    target = folder(output) if output is not None else file.parent
    assert target is not None
    files = study_files(run_study(file), f"accelsim report reports/{file.parent.name}")
    if check:
        stale = [name for name, data in files.items() if not _same(target / name, data)]
        if stale:
            raise LimitError(f"{target}: not what `accelsim report` writes: {', '.join(sorted(stale))}")
        click.echo(f"{target}: {len(files)} files are what `accelsim report` writes")
        return
    write_all(files, target)
    click.echo(f"{target}: {', '.join(sorted(files))}")


def _same(path: object, data: bytes) -> bool:
    from pathlib import Path

    file = Path(str(path))
    return file.is_file() and file.read_bytes() == data
