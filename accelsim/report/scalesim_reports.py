"""Reports in the form of SCALE-Sim's, with the layers' names and a row of totals.

A cycle is one of the array's clock. ``Total Cycles`` is all that a layer takes, stalls and first fill included, counted
from 1 (SCALE-Sim gives the last cycle's index). Words are elements; those of DRAM are counted once for each time that
they really cross, not once for each window that has them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from accelsim.analysis.result import OpResult, Result
from accelsim.base.dtypes import DTYPES, bits
from accelsim.base.errors import InputError
from accelsim.base.units import BITS_PER_BYTE, ceil_div
from accelsim.hardware.device import Device, Role, SystolicArray
from accelsim.trace import Count
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Conv2d, Matmul, Op

COMPUTE_COLUMNS = (
    "LayerID",
    "Layer name",
    "Total Cycles",
    "Stall Cycles",
    "Overall Util %",
    "Mapping Efficiency %",
    "Compute Util %",
)
BANDWIDTH_COLUMNS = (
    "LayerID",
    "Layer name",
    "Avg IFMAP SRAM BW",
    "Avg FILTER SRAM BW",
    "Avg OFMAP SRAM BW",
    "Avg IFMAP DRAM BW",
    "Avg FILTER DRAM BW",
    "Avg OFMAP DRAM BW",
)
TOTAL = "total"


@dataclass(frozen=True, slots=True)
class _Layer:
    """A product as it ran."""

    result: OpResult
    op: Conv2d | Matmul
    counts: tuple[Count, ...]

    @property
    def cycles(self) -> int:
        return self.result.compute_cycles + self.result.stall_cycles


def write_reports(result: Result, device: Device, graph: Graph, folder: Path) -> list[Path]:
    """Write ``COMPUTE_REPORT.csv`` and ``BANDWIDTH_REPORT.csv``."""
    texts = {
        "COMPUTE_REPORT.csv": compute_report(result, device, graph),
        "BANDWIDTH_REPORT.csv": bandwidth_report(result, device, graph),
    }
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8", newline="\n")
        paths.append(folder / name)
    return paths


def compute_report(result: Result, device: Device, graph: Graph) -> str:
    """Cycles and utilisation of every product. Raises InputError for a device that has no systolic array.

    Overall utilisation is MACs over cells and all cycles, compute utilisation over cells and compute cycles; mapping
    efficiency is the share of cells that have work while a fold streams.
    """
    unit = _array(device)
    cells = unit.rows * unit.cols * unit.arrays
    layers = _layers(result, graph)
    rows = [
        (
            layer.result.name,
            layer.cycles,
            layer.result.stall_cycles,
            _percent(layer.result.macs, layer.cycles * cells),
            _percent(layer.result.macs, _offered(layer.op, unit)),
            _percent(layer.result.macs, layer.result.compute_cycles * cells),
        )
        for layer in layers
    ]
    macs, cycles = sum(x.result.macs for x in layers), sum(x.cycles for x in layers)
    offered = sum(_offered(x.op, unit) for x in layers)
    computed = sum(x.result.compute_cycles for x in layers)
    total = (
        "",
        cycles,
        sum(x.result.stall_cycles for x in layers),
        _percent(macs, cycles * cells),
        _percent(macs, offered),
        _percent(macs, computed * cells),
    )
    return _csv(COMPUTE_COLUMNS, rows, total)


def bandwidth_report(result: Result, device: Device, graph: Graph) -> str:
    """Words a cycle to and from SRAM and DRAM, averaged over all of a layer's cycles.

    On a device without DRAM, what one would have to give: every word once.
    """
    _array(device)
    layers = _layers(result, graph)
    words = [(*_words(layer, device),) for layer in layers]
    rows: list[tuple[str | float, ...]] = [
        (layer.result.name, *(n / max(1, layer.cycles) for n in each))
        for layer, each in zip(layers, words, strict=True)
    ]
    cycles = max(1, sum(layer.cycles for layer in layers))
    return _csv(BANDWIDTH_COLUMNS, rows, ("", *(sum(column) / cycles for column in zip(*words, strict=True))))


def _array(device: Device) -> SystolicArray:
    unit = device.core.matrix
    if not isinstance(unit, SystolicArray):
        raise InputError(f"{device.name} has no systolic array; SCALE-Sim's reports want one")
    return unit


def _layers(result: Result, graph: Graph) -> list[_Layer]:
    """The products of the first step on the array, in their order."""
    ops: dict[str, Op] = {op.name: op for op in graph.ops}
    counts = {(span.op, span.resource): span.counts for span in reversed(result.trace.spans)}
    return [
        _Layer(row, op, counts[row.name, row.core])
        for row in result.ops
        if isinstance(op := ops.get(row.name), Conv2d | Matmul) and row.device == result.device["name"]
    ]


def _offered(op: Conv2d | Matmul, unit: SystolicArray) -> int:
    """MACs that the array could do in the folds of a product: all cells, as long as one streams."""
    product = op.gemm if isinstance(op, Conv2d) else op
    kept, of = product.inputs[1].sparsity
    m, k, n = product.m, ceil_div(product.k * kept, of), product.n
    rows, cols, stream = {"ws": (k, n, m), "os": (m, n, k), "is": (k, m, n)}[unit.dataflow]
    packed = 1
    if unit.packs_groups and unit.dataflow == "ws":
        packed = max(1, min(unit.rows // k, unit.cols // n, product.batch))
    folds = ceil_div(product.batch, packed) * ceil_div(rows * packed, unit.rows) * ceil_div(cols * packed, unit.cols)
    return folds * stream * unit.rows * unit.cols


def _words(layer: _Layer, device: Device) -> Iterator[float]:
    """Words of image, filters and results: of SRAM, then of DRAM."""
    dtype = layer.result.dtype
    width, sums = bits(dtype), bits(DTYPES[dtype].accumulator)

    def moved(action: str, operand: str, element_bits: int) -> float:
        size = sum(c.amount for c in layer.counts if (c.action, c.operand) == (action, operand))
        return size * BITS_PER_BYTE / element_bits

    def nearest(role: Role) -> str:
        return next((m.name for m in device.path(role) if m.kind == "sram"), "")

    yield moved(f"{nearest('activation')}.read", "input", width)
    yield moved(f"{nearest('weight')}.read", "weight", width)
    yield moved(f"{nearest('partial_sum')}.write", "output", sums)
    if device.dram is None:
        yield from (t.elements for t in (layer.op.inputs[0], layer.op.inputs[1], layer.op.outputs[0]))
        return
    yield moved(f"{device.dram.name}.read", "input", width)
    yield moved(f"{device.dram.name}.read", "weight", width)
    yield moved(f"{device.dram.name}.write", "output", width)


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole if whole else 0.0


def _csv(columns: Sequence[str], rows: Iterable[Sequence[str | float]], total: Sequence[str | float]) -> str:
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(columns)
    lines.writerows((i, *row) for i, row in enumerate(rows))
    lines.writerow((TOTAL, *total))
    return out.getvalue()
