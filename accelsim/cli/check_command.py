"""``accelsim check``: whether a file is right."""

from __future__ import annotations

from collections.abc import Sequence

import click

from accelsim.base.errors import InputError
from accelsim.cli import options


@click.command("check")
@click.argument("files", nargs=-1, required=True)
def command(files: Sequence[str]) -> None:
    """Check device, energy and workload FILES: every error at once, with file, key and what is wanted."""
    problems = [problem for file in files for problem in _problems(file)]
    if problems:
        raise InputError(*problems)


def _problems(file: str) -> list[str]:
    try:
        click.echo(f"{file}: {_summary(file)}")
    except InputError as error:
        return list(error.problems)
    return []


def _summary(file: str) -> str:
    if options.is_device(file):
        from accelsim.hardware.loader import load_device

        if not _is_energy_table(file):
            return f"a device, {load_device(file).name}"
        from accelsim.hardware.energy import load_energy_table

        return f"an energy table, {load_energy_table(file).name}"
    from accelsim.workload.library import load_workload

    graph = load_workload(file)
    return f"a workload of {len(graph.ops)} ops, {graph.macs / 1e9:.3g} GMAC at batch {graph.batch}"


def _is_energy_table(file: str) -> bool:
    if not file.endswith(".toml"):
        return False
    from accelsim.hardware.files import read_toml

    return "node_nm" in read_toml(file, file)
