"""SCALE-Sim 3.0.0 on 28 products and convolutions, 7 arrays and 3 dataflows: cycles are to match exactly."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

from accelsim.hardware.device import Device
from accelsim.hardware.loader import Value, load_device
from accelsim.simulation import simulate
from accelsim.validation.measured import Line, read_rows
from accelsim.validation.rows import Row, Suite
from accelsim.workload.scalesim import ConvLayer, GemmLayer, Layer, Topology

FILE = "scalesim_cycles.csv"
CONV = ("ifmap_h", "ifmap_w", "filt_h", "filt_w", "channels", "num_filters", "stride")


@cache
def _array(rows: int, cols: int, dataflow: str) -> Device:
    sizes: dict[str, Value] = {"core.matrix.rows": rows, "core.matrix.cols": cols, "core.matrix.dataflow": dataflow}
    return load_device("ideal_systolic", sizes)


def _layer(line: Line) -> Layer:
    name = line.text("layer")
    if line.text("kind") == "gemm":
        return GemmLayer(name=name, m=line.integer("M"), n=line.integer("N"), k=line.integer("K"))
    h, w, filter_h, filter_w, channels, filters, stride = (line.integer(column) for column in CONV)
    return ConvLayer(
        name=name,
        ifmap_h=h,
        ifmap_w=w,
        filter_h=filter_h,
        filter_w=filter_w,
        channels=channels,
        filters=filters,
        stride_h=stride,
        stride_w=stride,
    )


def _row(line: Line) -> Row:
    rows, cols, dataflow = line.integer("rows"), line.integer("cols"), line.text("dataflow")
    device = _array(rows, cols, dataflow)
    assert device.core.matrix is not None
    result = simulate(device, Topology(line.text("layer"), (_layer(line),)).graph())
    return Row(
        suite="scalesim",
        name=f"{line.text('layer')} on {rows}x{cols} {dataflow}",
        quantity="latency",
        unit="cycles",
        reference=line.integer("total_cycles") + 1,
        ours=round(result.latency_s * device.core.matrix.freq_hz),
        source=f"{FILE}, line {line.number}: SCALE-Sim 3.0.0 without stalls; its last cycle's index, plus one",
        tolerance_pct=0.0,
    )


def rows(data: Path | None) -> Iterator[Row]:
    """Every row of the file."""
    assert data is not None
    columns = ("layer", "kind", "M", "N", "K", *CONV, "rows", "cols", "dataflow", "total_cycles")
    for line in read_rows(data / FILE, columns):
        yield _row(line)


SUITE = Suite(
    title="SCALE-Sim 3.0.0: cycles of systolic arrays",
    about=(
        "Matrix products and convolutions on `ideal_systolic`, set to the row's array and dataflow, against SCALE-Sim "
        "without bandwidth stalls. SCALE-Sim reports the index of the last cycle, which begins with 0: the reference "
        "is its `total_cycles` + 1. The size of a convolution's result is SCALE-Sim's here, `ceil((H - R + S) / S)`, "
        "as everywhere that a SCALE-Sim topology is read; ONNX files keep ONNX's rule, which rounds down. Ours is the "
        "latency of the whole run, end to end, in cycles of its clock."
    ),
    rows=rows,
    needs=(FILE,),
    cheap=False,
)
