"""``accelsim check``: whether a file is right."""

from __future__ import annotations

from collections.abc import Sequence

import click

from accelsim.base.errors import InputError


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
    if file.endswith(".toml"):
        from accelsim.hardware.files import read_toml
        from accelsim.hardware.loader import load_device

        if "core" not in read_toml(file, file) and "node_nm" in read_toml(file, file):
            from accelsim.hardware.energy import load_energy_table

            return f"an energy table, {load_energy_table(file).name}"
        return f"a device, {load_device(file).name}"
    from accelsim.workload.library import load_workload

    graph = load_workload(file)
    return f"a workload of {len(graph.ops)} ops, {graph.macs / 1e9:.3g} GMAC at batch {graph.batch}"
