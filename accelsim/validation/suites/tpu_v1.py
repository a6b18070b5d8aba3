"""TPU v1 against its paper: Jouppi et al., "In-Datacenter Performance Analysis of a Tensor Processing Unit", ISCA 2017.

Numbers are the paper's, not ours.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from statistics import fmean, geometric_mean

from accelsim.hardware.device import Device, SystolicArray
from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.validation.rows import Row, Suite
from accelsim.workload.graph import Graph
from accelsim.workload.scalesim import GemmLayer, Topology

ISCA17 = "Jouppi et al., ISCA 2017"
DEVICE = "tpu_v1"
row = partial(Row, suite=DEVICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An application of the paper's Table 1."""

    name: str
    tops: float
    """Table 3, measured with hardware counters."""
    model_error_pct: float
    """Table 7: how far the paper's own performance model is from the counters."""
    share: float
    """Of TPUs in use (Table 1, by kind of network); ASSUMED: half for each of the two of a kind."""
    tolerance_pct: float
    why: str

    @property
    def workload(self) -> str:
        """The shipped workload that stands for it."""
        return f"tpu_v1_{self.name.lower()}"


SHAPES = "the paper gives an application's layers, weights and operations per byte, not the layers' shapes"
APPS = (
    App(name="MLP0", tops=12.3, model_error_pct=6.8, share=0.305, tolerance_pct=10, why=SHAPES),
    App(name="MLP1", tops=9.7, model_error_pct=10.9, share=0.305, tolerance_pct=15, why=SHAPES),
    App(
        name="LSTM0", tops=3.7, model_error_pct=7.7, share=0.145, tolerance_pct=20,
        why=f"{SHAPES}; 14.6 % of its cycles wait for a result (Table 3, RAW stalls), which is not modelled",
    ),
    App(
        name="LSTM1", tops=2.8, model_error_pct=5.4, share=0.145, tolerance_pct=80,
        why=f"{SHAPES}: ours pads 600 x 600 matrices less than the paper's; RAW stalls (10.6 %) are not modelled",
    ),
    App(name="CNN0", tops=86.0, model_error_pct=8.2, share=0.025, tolerance_pct=15, why=SHAPES),
    App(
        name="CNN1", tops=14.1, model_error_pct=11.2, share=0.025, tolerance_pct=130,
        why=f"{SHAPES}; RAW stalls (22.8 %) and input stalls are not modelled, so four layers' weights are nearly all",
    ),
)  # fmt: skip

CLOCKED = ("accumulators", "weight_fifo", "unified_buffer")
"""Memories that run on the array's clock and are as wide as the array."""


@cache
def _nominal() -> Device:
    return load_device(DEVICE)


def _wider(times: float) -> dict[str, float]:
    """On-chip memories that keep up with an array that takes so many times as much."""
    rates: dict[str, float] = {}
    for name in CLOCKED:
        memory = _nominal().memory_named(name)
        rates[f"{name}.bandwidth_bytes_per_s"] = times * memory.bandwidth_bytes_per_s
        rates[f"{name}.write_bandwidth_bytes_per_s"] = times * memory.write_rate
    return rates


def _array() -> SystolicArray:
    unit = _nominal().core.matrix
    assert isinstance(unit, SystolicArray)
    return unit


def memory_x4() -> dict[str, float]:
    """Four times the bandwidth of the weights' DRAM."""
    return {"dram.bandwidth_bytes_per_s": 4 * _nominal().memory_named("dram").bandwidth_bytes_per_s}


def clock_x4(accumulators: int = 1) -> dict[str, float]:
    """Four times the clock of everything on the chip, with that many times the accumulators."""
    return {
        "core.matrix.freq_hz": 4 * _array().freq_hz,
        "core.vector.freq_hz": 4 * _nominal().core.vector.freq_hz,
        "accumulators.capacity_bytes": accumulators * _nominal().memory_named("accumulators").capacity_bytes,
        **_wider(4),
    }


def array_x2() -> dict[str, float]:
    """An array of 512 x 512, a FIFO of four of its tiles, and accumulators as deep as before."""
    double = {f"core.matrix.{side}": 2 * getattr(_array(), side) for side in ("rows", "cols")}
    capacity = _nominal().memory_named
    return {
        **double,
        "weight_fifo.capacity_bytes": 4 * capacity("weight_fifo").capacity_bytes,
        "accumulators.capacity_bytes": 2 * capacity("accumulators").capacity_bytes,
        **_wider(2),
    }


# --- rows ------------------------------------------------------------------------------------------------------------


def _headlines() -> Iterator[Row]:
    device = _nominal()
    peak = device.peak_macs_per_s("int8")
    yield row(
        name="peak", quantity="peak", unit="TOPS", reference=92, ours=2 * peak / 1e12, source=f"{ISCA17}, abstract",
        tolerance_pct=0.5, why="printed with two digits",
    )  # fmt: skip
    assert device.dram is not None
    yield row(
        name="ridge point", quantity="ridge", unit="MAC/B", reference=1350,
        ours=peak / device.dram.bandwidth_bytes_per_s, source=f"{ISCA17}, section 4 and Fig. 5", tolerance_pct=0.5,
        why="printed as about 1350",
    )  # fmt: skip


def _applications() -> Iterator[Row]:
    for app in APPS:
        result = simulate(DEVICE, app.workload)
        yield row(
            name=f"{app.name}, batch {result.batch}", quantity="throughput", unit="TOPS", reference=app.tops,
            ours=2 * result.macs / result.latency_s / 1e12, source=f"{ISCA17}, Table 3; peer: Table 7",
            peer_error_pct=app.model_error_pct, tolerance_pct=app.tolerance_pct, why=app.why,
        )  # fmt: skip


def _batches() -> Iterator[Row]:
    per_s = {batch: simulate(DEVICE, "tpu_v1_mlp0", batch=batch).throughput_items_per_s for batch in (200, 250)}
    yield row(
        name="MLP0, batch 250 over 200", quantity="speedup", unit="x", reference=280_000 / 225_000,
        ours=per_s[250] / per_s[200], source=f"{ISCA17}, Table 4: 225,000 and 280,000 inferences a second",
        tolerance_pct=5, why="printed with two or three digits",
    )  # fmt: skip


def _speedups(overrides: Mapping[str, float]) -> dict[str, float]:
    """By application; without the power limit, which the paper's model has not."""
    no_limit = {"power.tdp_w": "none"}
    return {
        app.name: simulate(DEVICE, app.workload, overrides=no_limit).latency_s
        / simulate(DEVICE, app.workload, overrides=no_limit | dict(overrides)).latency_s
        for app in APPS
    }


def _weighted(speedups: Mapping[str, float]) -> float:
    return sum(app.share * speedups[app.name] for app in APPS) / sum(app.share for app in APPS)


def _what_ifs() -> Iterator[Row]:
    section7 = f"{ISCA17}, section 7"
    what_if = partial(row, quantity="speedup", unit="x")
    memory = _speedups(memory_x4())
    printed = "printed as 3X on average; which CNN layers are bound by weights depends on the shapes assumed"
    more = f"{section7} and Fig. 11: bandwidth x4 gives 3X on average"
    yield what_if(
        name="memory bandwidth x4, weighted mean", reference=3.0, ours=_weighted(memory), source=more,
        tolerance_pct=25, why=printed,
    )  # fmt: skip
    yield what_if(
        name="memory bandwidth x4, geometric mean", reference=3.0, ours=geometric_mean(memory.values()), source=more,
        tolerance_pct=20, why=printed,
    )  # fmt: skip
    clock = _speedups(clock_x4())
    yield what_if(
        name="clock x4, MLPs and LSTMs", reference=1.0,
        ours=fmean(v for k, v in clock.items() if not k.startswith("CNN")),
        source=f"{section7}: almost no impact on MLPs and LSTMs", tolerance_pct=5, why="printed in words",
    )  # fmt: skip
    deep = _speedups(clock_x4(accumulators=4))
    yield what_if(
        name="clock and accumulators x4, CNNs", reference=2.0,
        ours=fmean(v for k, v in deep.items() if k.startswith("CNN")),
        source=f"{section7}: improves CNNs by about 2X", tolerance_pct=25, why="printed as about 2X",
    )  # fmt: skip
    yield what_if(
        name="array of 512 x 512, weighted mean", reference=1.0, ours=_weighted(_speedups(array_x2())),
        source=f"{section7}: slightly degrades", tolerance_pct=20, why="printed in words: no more than 1",
    )  # fmt: skip
    small, large = (simulate(DEVICE, _matrix(), overrides=what).latency_s for what in ({}, array_x2()))
    yield what_if(
        name="array of 512 x 512, one 600 x 600 matrix", reference=18 / 32, ours=small / large,
        source=f"{section7}: 9 tiles of 256 x 256 take 18 us, 4 of 512 x 512 take 32 us", tolerance_pct=5,
        why="printed with two digits; ours adds what fills and drains the array",
    )  # fmt: skip


def _matrix() -> Graph:
    """One of LSTM1's matrices, at its batch."""
    return Topology("matrix", (GemmLayer(name="matrix", m=96, n=600, k=600),)).graph()


def rows(data: Path | None) -> Iterator[Row]:
    """Headline figures, applications, batch, and the what-ifs of section 7."""
    yield from _headlines()
    yield from _applications()
    yield from _batches()
    yield from _what_ifs()


SUITE = Suite(
    title="TPU v1: Jouppi et al., ISCA 2017",
    about=(
        "The paper's tables against `tpu_v1` and the workloads `tpu_v1_mlp0` to `tpu_v1_cnn1` at the paper's batches. "
        "The paper gives each application's kinds and numbers of layers, weights and operations per byte, not the "
        "layers' shapes: those are assumed, as the workloads' files say, and what they leave open is in the errors. "
        "The peer is the paper's own performance model (Table 7). Host time is in neither. Means of section 7 are over "
        "the applications, weighted by their share of the TPUs in use, or geometric."
    ),
    rows=rows,
)
