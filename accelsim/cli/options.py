"""Options that several commands share, and how their text is read."""

from __future__ import annotations

import operator
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from accelsim.base.errors import InputError, LimitError, meant, nearest

if TYPE_CHECKING:
    from accelsim.analysis.result import Result

Command = TypeVar("Command", bound=Callable[..., Any])

MAX_STEPS = 10_000
"""Of one run: a pipeline is steady long before, and time and memory grow with every step."""

PRECISIONS_HELP = "Format to compute in: fp32, tf32, bf16, fp16, fp8, fp4, int8, int4 ... (the device's default)."


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
            click.option(
                "--steps",
                type=click.IntRange(1, MAX_STEPS),
                metavar="N",
                help="Steps to run (1; in a pipeline, enough to be steady).",
            ),
            click.option(
                "--start",
                type=click.Choice(["warm", "cold"]),
                default="warm",
                show_default=True,
                help="Weights in device memory at first, or all loaded from the host.",
            ),
            click.option("--host", is_flag=True, help="Add the transfers of inputs and outputs over the host link."),
            click.option("--graph", is_flag=True, help="A GPU's kernels are launched from a captured graph."),
            click.option(
                "--sparsity", metavar="N:M", help="Keep N of every M weights, as 2:4, where the device skips zeros."
            ),
            click.option("--energy-table", metavar="NODE|FILE", help="Price actions with another energy table."),
            click.option(
                "--fidelity",
                type=click.Choice(["tile", "cycle"]),
                default="tile",
                show_default=True,
                help="cycle: play products on the functional array, cell by cell (small ones).",
            ),
            click.option(
                "--seed",
                type=click.IntRange(0),
                metavar="N",
                default=0,
                show_default=True,
                help="Of the numbers that --fidelity cycle multiplies.",
            ),
        )
    ):
        command = option(command)
    return command


def words(text: str, what: str) -> list[str]:
    """``"int8,int16"`` -> ``["int8", "int16"]``. Raises InputError for an empty one, and for one that stands twice."""
    found = [word.strip() for word in text.split(",")]
    if not all(found):
        raise InputError(f"{what}: got {text!r}; want values with single commas between them")
    for word in found:
        if found.count(word) > 1:
            raise InputError(f"{what}: {word} stands twice in {text}")
    return found


def integers(text: str | None, name: str) -> list[int] | None:
    """``"1,2,4"`` -> ``[1, 2, 4]``. Raises InputError."""
    if text is None:
        return None
    values = _whole(text, f"--{name} {text}", "want whole numbers >= 1, as 8 or 1,2,4,8")
    if min(values) < 1:
        raise InputError(f"--{name} {text}: want numbers >= 1")
    return values


def _whole(text: str, what: str, wanted: str) -> list[int]:
    if not re.fullmatch(r"\s*[-+]?[0-9]{1,40}\s*(,\s*[-+]?[0-9]{1,40}\s*)*", text):
        raise InputError(f"{what}: {wanted}")
    return [int(word) for word in words(text, what)]


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
    return {
        key: _whole(value, f"--param {key}={value}", "want whole numbers")
        for key, value in pairs(texts, "param").items()
    }


def param_values(texts: Sequence[str]) -> dict[str, int]:
    """``--param seq_len=128`` where there is no sweep. Raises InputError for a list."""
    lists = param_lists(texts)
    several = [f"--param {key}: got {len(values)} values; want one" for key, values in lists.items() if len(values) > 1]
    if several:
        raise InputError(*several)
    return {key: values[0] for key, values in lists.items()}


def override_lists(texts: Sequence[str], lists: Mapping[str, bool]) -> dict[str, list[str]]:
    """``--set dram.bandwidth_bytes_per_s=34e9,68e9``; a field that is itself a list takes all its values at once."""
    return {
        key: [value] if lists.get(key, False) or value.startswith(("[", "{", '"')) else words(value, f"--set {key}")
        for key, value in pairs(texts, "set").items()
    }


def is_device(name: str) -> bool:
    """Whether a name is a device's rather than a workload's. Raises InputError for a word that is neither's."""
    from accelsim.hardware.loader import device_names

    devices = device_names()
    if name in devices or name.endswith((".toml", ".cfg")):
        return True
    if not re.fullmatch(r"\w*", name) or os.path.lexists(name):
        return False
    from accelsim.workload.library import workload_names

    workloads = [known for known, _ in workload_names()]
    if name in workloads:
        return False
    raise InputError(
        f"{name!r}: no device or workload has this name{meant(name, [*devices, *workloads])}; "
        "want a path, or a name that 'accelsim list' shows"
    )


# --- files and folders
# ---------------------------------------------------------------------------------------------------


def writable_files(paths: Mapping[str, str | None]) -> None:
    """Refuse output files that cannot be written, before anything is computed; ``paths`` are by option (``--json``).

    Their folders must exist, standard output (``-``) takes one of them, and no two are the same file.
    """
    problems: list[str] = []
    taken: dict[str, str] = {}
    for option, path in paths.items():
        if path is None:
            continue
        where = path if path == "-" else os.path.abspath(path)
        problem = "" if path == "-" else _unwritable(path)
        if not problem and where in taken and where != os.devnull:
            problem = f"{taken[where]} goes there already"
        taken[where] = option
        if problem:
            problems.append(f"{option} {path}: {problem}")
    if problems:
        raise InputError(*problems)


def _unwritable(path: str) -> str:
    """What keeps a file from being written, or ``""``."""
    if not path or "\0" in path:
        return "want the name of a file"
    target = Path(path)
    try:
        if os.path.isdir(path):
            return "is a folder; want a file"
        if not os.path.isdir(target.absolute().parent):
            return "its folder does not exist"
        os.stat(path)
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, a folder that may not be entered
        return f"cannot be written: {error.strerror}"
    if not os.access(target.absolute().parent, os.W_OK | os.X_OK) and not _is_special(target):
        return "its folder cannot be written to"
    return ""


def _is_special(target: Path) -> bool:
    """Whether it is a device or a pipe: such a thing is written to, not replaced."""
    return target.exists() and not target.is_file()


def folder(path: str | None) -> Path | None:
    """Refuse an output folder that cannot be made or written to, before anything is computed."""
    if path is None:
        return None
    if not path or "\0" in path:
        raise InputError(f"{path!r}: want the name of a folder")
    target = Path(path)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:
        raise InputError(f"{path}: cannot be made: {error.strerror}") from None
    there = next(place for place in (target.absolute(), *target.absolute().parents) if place.exists())
    if not there.is_dir():
        raise InputError(f"{path}: {'' if there == target.absolute() else f'{there} '}is a file; want a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(f"{path}: {there} cannot be written to; want another folder")
    return target


def write(text: str, path: str) -> None:
    """Write to a file, whole or not at all, or to standard output for ``-``."""
    if path == "-":
        click.echo(text, nl=False)
        return
    target = Path(path)
    try:
        if _is_special(target):
            target.write_text(text, encoding="utf-8", newline="\n")
        else:
            _replace(target, text)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror}") from None


def _replace(target: Path, text: str) -> None:
    """Write beside the file, then give it its name."""
    target = target.resolve()
    part = target.with_name(f".accelsim-{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


# --- asserted limits
# ---------------------------------------------------------------------------------------------------

_SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_LIMIT = re.compile(r"\s*([a-z_0-9]+)\s*(<=|>=|<|>)\s*([-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*")
_SCALES = {
    "s": {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9},
    "j": {"j": 1.0, "mj": 1e-3, "uj": 1e-6},
    "w": {"w": 1.0, "mw": 1e-3, "kw": 1e3},
    "hz": {"hz": 1.0, "mhz": 1e6, "ghz": 1e9},
    "bytes": {"bytes": 1.0, "kb": 1e3, "mb": 1e6, "gb": 1e9},
}


@dataclass(frozen=True)
class Limit:
    """``latency_ms<5``: a field of a result, times a scale, against a bound."""

    text: str
    name: str
    field: str
    scale: float
    sign: str
    bound: float

    def broken_by(self, result: Result) -> str:
        """Say how a result breaks it, or ``""``."""
        value = getattr(result, self.field)
        run = f"({result.workload['name']} on {result.device['name']}, batch {result.batch})"
        if value is None:
            return f"{self.text} does not hold: {self.name} is not known {run}"
        if _SIGNS[self.sign](value / self.scale, self.bound):
            return ""
        return f"{self.text} does not hold: {self.name} is {value / self.scale:.6g} {run}"


def read_limits(texts: Sequence[str]) -> list[Limit]:
    """Read limits, before anything is computed. Raises InputError for what cannot be read."""
    return [_limit(text) for text in texts]


def _limit(text: str) -> Limit:
    match = _LIMIT.fullmatch(text)
    if match is None:
        raise InputError(f"--assert {text}: want FIELD<NUMBER, as latency_ms<5 (or <=, >, >=)")
    name, sign, number = match.groups()
    known = _number_fields()
    for base, scales in {"": {"": 1.0}, **_SCALES}.items():
        for unit, scale in scales.items():
            field = name.removesuffix(unit) + base if name.endswith(f"_{unit}") or not unit else ""
            if field in known:
                return Limit(text, name, field, scale, sign, float(number))
    raise InputError(f"--assert {text}: {name} unknown{nearest(name, known)}; want one of {', '.join(known)}")


def _number_fields() -> list[str]:
    """Fields of a result that are numbers."""
    from accelsim.analysis.result import Result

    return [f.name for f in fields(Result) if f.type in ("int", "float", "float | None")]


def check_limits(limits: Sequence[Limit], results: Sequence[Result]) -> None:
    """Raise LimitError where a result breaks a limit."""
    broken = [said for limit in limits for result in results if (said := limit.broken_by(result))]
    if broken:
        raise LimitError("\n".join(broken))
