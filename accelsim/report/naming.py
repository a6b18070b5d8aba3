"""What tells runs apart, and short names for them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from accelsim.analysis.result import OpResult, Result

IDENTITY = (
    "device",
    "workload",
    "batch",
    "precision",
    "cores",
    "parallel",
    "start",
    "fidelity",
    "energy_table",
    "steps",
)
"""What a run is, apart from its overrides and parameters, in the order in which it is named."""

_NATURAL = re.compile(r"(\d+)")


def facets(result: Result) -> dict[str, str]:
    """Everything that a user can vary, by the name of its option or key.

    Overrides of the device stand under their dotted key, parameters of the workload as ``param.seq_len``.
    """
    values = {
        "device": result.device["name"],
        "workload": result.workload["name"],
        "batch": result.batch,
        "precision": result.precision,
        "cores": result.cores,
        "parallel": result.parallel or "none",
        "start": result.start,
        "fidelity": result.fidelity,
        "energy_table": result.energy_table,
        "steps": result.steps,
    }
    overrides: dict[str, Any] = result.device.get("overrides") or {}
    params: dict[str, Any] = result.workload.get("params") or {}
    return {
        **{name: str(value) for name, value in values.items()},
        **{key: _number(overrides[key]) for key in sorted(overrides)},
        **{f"param.{key}": _number(params[key]) for key in sorted(params)},
    }


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def varied(results: Sequence[Result]) -> tuple[str, ...]:
    """Names of the facets in which the results differ.

    ``cores``, ``steps`` and the energy table count only at equal devices, parameters only at equal workloads.
    """
    rows = [facets(result) for result in results]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return tuple(name for name in names if _differs(name, rows))


def _differs(name: str, rows: Sequence[dict[str, str]]) -> bool:
    owner = "workload" if name.startswith("param.") else "device"
    if name not in {"cores", "steps", "energy_table"} and owner == "device":
        return len({row.get(name) for row in rows}) > 1
    values: dict[str, set[str | None]] = {}
    for row in rows:
        values.setdefault(row[owner], set()).add(row.get(name))
    return any(len(seen) > 1 for seen in values.values())


def label(result: Result, names: Iterable[str]) -> str:
    """Join the values of those facets, short (``tpu_v1 b8 int8``); without names, give the device."""
    values = facets(result)
    return " ".join(_short(name, values[name]) for name in names if name in values) or values["device"]


def _short(name: str, value: str) -> str:
    if name == "batch":
        return f"b{value}"
    if name == "cores":
        return f"{value} core" if value == "1" else f"{value} cores"
    if name == "parallel":
        return "" if value == "none" else value
    if name == "steps":
        return f"{value} steps"
    if "." in name:
        return f"{name.removeprefix('param.')}={value}"
    return value


def labels(results: Sequence[Result], *, without: Iterable[str] = ()) -> list[str]:
    """Name each result by what differs between them; the device is always in it."""
    left_out = set(without)
    names = [name for name in varied(results) if name not in left_out]
    if "device" not in names:
        names.insert(0, "device")
    return [" ".join(label(result, names).split()) for result in results]


def ellipsis(text: str, length: int) -> str:
    """At most ``length`` characters, the middle left out.

    >>> ellipsis("resnetv17_stage4_conv9_fwd", 15)
    'resnetv…nv9_fwd'
    """
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}…{text[len(text) - (length - head - 1) :]}"


def natural(text: str) -> list[tuple[int, int, str]]:
    """Sort key in which ``core2`` comes before ``core10``."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _NATURAL.split(text) if part]


def op_utilization(op: OpResult, result: Result) -> float | None:
    """MACs over what its core's nominal peak could do in its time; None for ops without MACs or off the device."""
    on_device = op.device == result.device["name"]
    if not op.macs or not on_device or op.dtype != result.precision or op.latency_s <= 0 or not result.peak_macs_per_s:
        return None
    cores = 1 if op.core == "cores" else result.cores
    return op.macs / (op.latency_s * result.peak_macs_per_s / cores)


def weighty_operand(result: Result) -> str:
    """Operand that moves most bytes to and from DRAM in spans that DRAM bounds; empty where none does."""
    moved: dict[str, int] = {}
    for span in result.trace.spans:
        if span.bound == "dram":
            for count in span.counts:
                if count.action.startswith("dram."):
                    moved[count.operand] = moved.get(count.operand, 0) + count.amount
    return max(moved, key=lambda operand: (moved[operand], operand)) if moved else ""


def bottleneck(result: Result) -> str:
    """Say what limits the run, in one sentence."""
    shares = result.bound_share
    if not result.ops or not shares:
        return "No op takes any time."
    bound, share = next(iter(shares.items()))
    operand = weighty_operand(result) if bound == "dram" else ""
    of_what = {"weight": " (weights)", "input": " (inputs)", "output": " (outputs)"}.get(operand, "")
    name, seconds, its_bound = slowest_op(result)
    total = sum(op.latency_s for op in result.ops) or 1.0
    return (
        f"{share:.0%} of the time is bound by {bound}{of_what}; "
        f"the longest op is {name}: {seconds / total:.0%}, bound by {its_bound}."
    )


def slowest_op(result: Result) -> tuple[str, float, str]:
    """Name, time over all cores [s] and bound of the op that takes longest."""
    seconds: dict[tuple[str, str], float] = {}
    bounds: dict[tuple[str, str], str] = {}
    for op in result.ops:
        key = (op.name, op.kind)
        seconds[key] = seconds.get(key, 0.0) + op.latency_s
        bounds.setdefault(key, op.bound)
    key = max(seconds, key=lambda each: seconds[each])
    return key[0], seconds[key], bounds[key]
