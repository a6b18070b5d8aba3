"""ONNX models as graphs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import accelsim.workload.onnx_attention
import accelsim.workload.onnx_ops  # noqa: F401 (registers the converters)
from accelsim.base.errors import WorkloadError
from accelsim.workload.graph import Graph
from accelsim.workload.onnx_file import read_onnx
from accelsim.workload.translate import translate


def import_onnx(path: str | Path, *, batch: int = 1, params: Mapping[str, int] | None = None) -> Graph:
    """Return the ONNX model in ``path`` at ``batch`` items a step.

    The batch is the first axis of the inputs, or the one whose symbol says so; sizes that are free besides it are taken
    from ``params``. Weights' values are not read, so that models with external data need their main file only.
    """
    params, path = params or {}, Path(path)
    try:
        net = read_onnx(path, batch=batch, params=params)
        return translate(net, name=path.stem, batch=batch, params=params, source=f"ONNX, {path.name}")
    except WorkloadError as error:
        named = (problem if path.name in problem else f"{path.name}: {problem}" for problem in error.problems)
        raise WorkloadError(*named) from None
