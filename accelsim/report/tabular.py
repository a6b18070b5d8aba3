r"""Results for other programs: CSV with units in the headers, and JSON under schema ``accelsim.result/1``.

The same results give the same bytes: fixed columns, shortest exact floats, ``\n`` at the ends of lines.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accelsim.analysis.result import COMPONENTS, Result

if TYPE_CHECKING:
    from accelsim.hardware.energy import EnergyRow

OPS_COLUMNS = (
    "device",
    "workload",
    "batch",
    "precision",
    "op",
    "kind",
    "ran_on",
    "core",
    "dtype",
    "bound",
    "start_s",
    "end_s",
    "latency_s",
    "macs",
    "compute_cycles",
    "stall_cycles",
    "clock_hz",
    "dram_read_bytes",
    "dram_write_bytes",
    "energy_j",
)
"""Columns of :func:`ops_csv`: a row is one op on one core."""

_RUN_FIELDS = (
    "batch",
    "precision",
    "fidelity",
    "seed",
    "start",
    "cores",
    "parallel",
    "steps",
    "energy_table",
    "latency_s",
    "throughput_items_per_s",
    "roofline_latency_s",
    "naive_roofline_latency_s",
    "energy_j",
    "energy_per_item_j",
    "average_power_w",
    "host_energy_j",
    "tdp_w",
    "clock_hz",
    "macs",
    "dram_bytes",
    "mac_utilization",
    "peak_macs_per_s",
    "dram_bandwidth_bytes_per_s",
)

RUNS_COLUMNS = (
    "device",
    "device_overrides",
    "workload",
    "workload_params",
    *_RUN_FIELDS,
    *(f"energy_{component}_j" for component in COMPONENTS),
    "warnings",
    "device_sha256",
    "workload_sha256",
    "accelsim_version",
)
"""Columns of :func:`runs_csv`: a row is one run."""


def ops_csv(results: Result | Sequence[Result]) -> str:
    """Ops of one or more runs, a row each."""
    runs = [results] if isinstance(results, Result) else results
    return _csv(
        OPS_COLUMNS,
        (
            (
                run.device["name"],
                run.workload["name"],
                run.batch,
                run.precision,
                op.name,
                op.kind,
                op.device,
                op.core,
                op.dtype,
                op.bound,
                op.start_s,
                op.end_s,
                op.latency_s,
                op.macs,
                op.compute_cycles,
                op.stall_cycles,
                op.clock_hz,
                op.dram_read_bytes,
                op.dram_write_bytes,
                op.energy_j,
            )
            for run in runs
            for op in run.ops
        ),
    )


def runs_csv(results: Sequence[Result]) -> str:
    """One row for each run, with all that is needed to repeat it; overrides stand as ``key=value;key=value``."""
    return _csv(
        RUNS_COLUMNS,
        (
            (
                run.device["name"],
                _pairs(run.device.get("overrides") or {}),
                run.workload["name"],
                _pairs(run.workload.get("params") or {}),
                *(getattr(run, name) for name in _RUN_FIELDS),
                *(run.energy_breakdown_j.get(component, 0.0) for component in COMPONENTS),
                len(run.warnings),
                run.device.get("sha256", ""),
                run.workload.get("sha256", ""),
                run.accelsim_version,
            )
            for run in results
        ),
    )


def energy_csv(rows: Sequence[EnergyRow]) -> str:
    """Rows of an energy table."""
    columns = ("action", "bits", "energy_pj", "relative_to_int32_add", "source")
    return _csv(columns, ((row.name, row.bits, row.pj, row.relative, row.source) for row in rows))


def result_json(results: Result | Sequence[Result]) -> str:
    """One result as an object or several as a list, in the schema's order; numbers that are not finite are null."""
    plain = results.to_dict() if isinstance(results, Result) else [result.to_dict() for result in results]
    return json.dumps(_finite(plain), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def write_text(text: str, path: Path | str) -> Path:
    """Write ``text`` in UTF-8 with the line ends that it has."""
    target = Path(path)
    target.write_bytes(text.encode())
    return target


def _csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    sheet = io.StringIO()
    writer = csv.writer(sheet, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(value) for value in row] for row in rows)
    return sheet.getvalue()


def _plain(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    return repr(value) if isinstance(value, float) else value


def _pairs(values: Mapping[str, Any]) -> str:
    return ";".join(f"{key}={_plain(values[key])}" for key in sorted(values))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
