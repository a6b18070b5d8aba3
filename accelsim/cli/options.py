"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from accelsim.base.errors import InputError, LimitError, nearest

Command = TypeVar("Command", bound=Callable[..., Any])

PRECISIONS_HELP = "Format to compute in: fp32, tf32, bf16, fp16, fp8, int8, int4 ... (the device's default)."


def run_options(command: Command) -> Command:
    """How to run: batch, precision, parameters, overrides, cores. Lists make a sweep."""
    for option in reversed(
        (
            click.option("--batch", metavar="N[,N...]", help="Items in one step (1, or the workload's own)."),
            click.option("--precision", metavar="P[,P...]", help=PRECISIONS_HELP),
            click.option(
                "--param", "params", multiple=True, metavar="KEY=VALUE[,VALUE...]", help="A workload's parameter."
            ),
            click.option(
                "--set",
                "sets",
                multiple=True,
                metavar="KEY=VALUE[,VALUE...]",
                help="Any field of the device, as dram.bandwidth_bytes_per_s=180e9: the what-if.",
            ),
            click.option("--cores", metavar="N[,N...]", help="Cores to use (all of a CPU or GPU, else one)."),
            click.option(
                "--parallel", type=click.Choice(["data", "pipeline"]), help="A replica, or a stage, on each core."
            ),
            click.option("--steps", type=int, help="Steps to run (1; in a pipeline, enough to be steady)."),
            click.option(
                "--start",
                type=click.Choice(["warm", "cold"]),
                default="warm",
                show_default=True,
                help="Weights in device memory at first, or all loaded from the host.",
            ),
            click.option("--host", is_flag=True, help="Add the transfers of inputs and outputs over the host link."),
            click.option("--energy-table", metavar="NODE|FILE", help="Price actions with another energy table."),
            click.option("--fidelity", type=click.Choice(["tile"]), default="tile", show_default=True),
            click.option(
                "--seed", type=int, default=0, show_default=True, help="Kept in the result; nothing is random yet."
            ),
        )
    ):
        command = option(command)
    return command


def integers(text: str | None, name: str) -> list[int] | None:
    """``"1,2,4"`` -> ``[1, 2, 4]``. Raises InputError."""
    if text is None:
        return None
    try:
        values = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"--{name} {text}: want whole numbers, as 8 or 1,2,4,8") from None
    if min(values) < 1:
        raise InputError(f"--{name} {text}: want numbers >= 1")
    return values


def pairs(texts: Sequence[str], name: str) -> dict[str, str]:
    """``["a=1"]`` -> ``{"a": "1"}``. Raises InputError for what has no ``=``, and for a key that stands twice."""
    found: dict[str, str] = {}
    problems = []
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip() or not value.strip():
            problems.append(f"--{name} {text}: want KEY=VALUE")
        elif key.strip() in found:
            problems.append(f"--{name} {text}: {key.strip()} is set twice")
        found[key.strip()] = value.strip()
    if problems:
        raise InputError(*problems)
    return found


def param_lists(texts: Sequence[str]) -> dict[str, list[int]]:
    """``--param seq_len=128,512``."""
    lists = {}
    for key, value in pairs(texts, "param").items():
        try:
            lists[key] = [int(part) for part in value.split(",")]
        except ValueError:
            raise InputError(f"--param {key}={value}: want whole numbers") from None
    return lists


def override_lists(texts: Sequence[str], lists: Mapping[str, bool]) -> dict[str, list[str]]:
    """``--set dram.bandwidth_bytes_per_s=34e9,68e9``; a field that is itself a list takes all its values at once."""
    return {
        key: [value] if lists.get(key, False) or value.startswith(("[", "{", '"')) else value.split(",")
        for key, value in pairs(texts, "set").items()
    }


def in_existing_folder(*paths: str | None) -> None:
    """Refuse output files whose folder does not exist, before anything is computed."""
    problems = []
    for path in paths:
        if path is None or path == "-":
            continue
        target = Path(path)
        if target.is_dir():
            problems.append(f"{path}: is a folder; want a file")
        elif not target.absolute().parent.is_dir():
            problems.append(f"{path}: its folder does not exist")
    if problems:
        raise InputError(*problems)


def folder(path: str | None) -> Path | None:
    """Refuse an output folder that is a file."""
    if path is None:
        return None
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise InputError(f"{path}: is a file; want a folder")
    return target


def write(text: str, path: str) -> None:
    """Write to a file, whole or not at all, or to standard output for ``-``."""
    if path == "-":
        click.echo(text, nl=False)
        return
    target = Path(path)
    part = target.with_name(f".{target.name}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


# --- asserted limits
# ---------------------------------------------------------------------------------------------------

_LIMIT = re.compile(r"\s*([a-z_0-9]+)\s*(<=|>=|<|>)\s*([-+0-9.eE]+)\s*")
_SCALES = {
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "j": {"j": 1.0, "mj": 1e-3, "uj": 1e-6},
    "w": {"w": 1.0, "mw": 1e-3, "kw": 1e3},
    "hz": {"hz": 1.0, "mhz": 1e6, "ghz": 1e9},
    "bytes": {"bytes": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9},
}


def check_limits(limits: Sequence[str], results: Sequence[Any]) -> None:
    """``latency_ms<5``: raise LimitError where a result breaks it, InputError where it cannot be read."""
    broken = []
    for limit in limits:
        match = _LIMIT.fullmatch(limit)
        if match is None:
            raise InputError(f"--assert {limit}: want FIELD<NUMBER, as latency_ms<5 (or <=, >, >=)")
        name, sign, number = match.groups()
        try:
            bound = float(number)
        except ValueError:
            raise InputError(f"--assert {limit}: {number!r} is no number") from None
        for result in results:
            value = _field(result, name, limit)
            holds = {"<": value < bound, "<=": value <= bound, ">": value > bound, ">=": value >= bound}[sign]
            if not holds:
                broken.append(
                    f"{limit} does not hold: {name} is {value:.6g} "
                    f"({result.workload['name']} on {result.device['name']}, batch {result.batch})"
                )
    if broken:
        raise LimitError("\n".join(broken))


def read_limits(limits: Sequence[str]) -> None:
    """Refuse limits that cannot be read, before anything is computed."""
    for limit in limits:
        if _LIMIT.fullmatch(limit) is None:
            raise InputError(f"--assert {limit}: want FIELD<NUMBER, as latency_ms<5 (or <=, >, >=)")


def _field(result: Any, name: str, limit: str) -> float:
    """A number of a result, by its name or with its unit scaled (``latency_ms`` for ``latency_s``)."""
    numbers = {
        key: value
        for key, value in result.to_dict().items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    if name in numbers:
        return float(numbers[name])
    for base, scales in _SCALES.items():
        for unit, scale in scales.items():
            stem = name.removesuffix(f"_{unit}")
            if stem != name and f"{stem}_{base}" in numbers:
                return float(numbers[f"{stem}_{base}"]) / scale
    raise InputError(
        f"--assert {limit}: {name} unknown{nearest(name, numbers)}; want one of {', '.join(sorted(numbers))}"
    )
