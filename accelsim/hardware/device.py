"""A device: cores of matrix and vector units, a memory hierarchy, links, power, all from one file.

Every class here is a section of a device file; a field's name carries its unit and is the file's key.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from accelsim.base.dtypes import DTYPES
from accelsim.hardware.cpu import CpuExecution, Licence
from accelsim.hardware.dram_curve import curve_names
from accelsim.hardware.family import Factors
from accelsim.hardware.part import (
    MAX_DIMENSION,
    Count,
    DTypeName,
    Flag,
    Fraction01,
    Name,
    NonNegative,
    Part,
    Positive,
    Rates,
    Text,
    Tiles,
)
from accelsim.hardware.spatial import SpatialArray

WIDE_BITS = 16
"""Formats below are too narrow for softmax, norms and the like."""
Role = Literal["activation", "weight", "partial_sum"]
OpKind = Literal[
    "matmul", "conv2d", "attention", "elementwise", "reduction", "softmax", "norm", "pool", "gather", "move", "opaque"
]  # fmt: skip
"""Kinds of op; a test holds them equal to the workload's."""
Function = Literal[
    "identity", "add", "sub", "mul", "div", "affine", "relu", "clip", "leaky_relu", "max", "min", "abs", "neg",
    "compare", "select", "exp", "log", "sqrt", "reciprocal", "pow", "erf", "tanh", "sigmoid", "hard_sigmoid",
    "silu", "gelu", "mish", "hard_swish", "rotary",
]  # fmt: skip
"""Elementwise functions; a test holds them equal to the workload's."""
RESERVED_NAMES = frozenset({"mac", "add", "mul", "special", "register", "array"})
"""What memories and links may not be called: actions in a trace begin with these."""


Sparsity = Annotated[str, Field(pattern=r"^[1-9][0-9]*:[1-9][0-9]*$")]


class SystolicArray(Part):
    """A grid of multiply-accumulate cells with one operand held still in it."""

    kind: Literal["systolic_array"]
    rows: Count
    cols: Count
    dataflow: Literal["ws", "os", "is"] = "ws"
    """Which operand is stationary: weights, outputs or inputs."""
    freq_hz: Positive
    macs_per_cycle_per_cell: Rates
    stationary_double_buffered: Flag = True
    """The next fold's stationary tile shifts in while this one streams."""
    arrays: Count = 1
    """Arrays of this size in a core; folds are dealt out to them."""
    packs_taps: bool = True
    """Taps of a filter share the rows (im2col); false: each tap is a product of its own, ``c_in`` deep."""
    packs_groups: bool = True
    """Groups of a convolution that are small against it stand side by side on its diagonal; false: they take turns."""
    whole_tiles: bool = False
    """Weights lie in memory as whole tiles of ``rows x cols``, padded where a matrix does not fill them."""
    sparsity: tuple[Sparsity, ...] = ()
    """Patterns of weights whose zeros it skips, as ``2:4``: two of four are kept."""
    prefers: Literal["latency", "dram"] = "latency"
    """What its mapper looks for: least time, or least traffic beyond the chip within one per cent of it."""
    energy_pj_per_mac: dict[DTypeName, Positive] = {}
    """Overrides the energy table's multiply + add, where a source gives it."""
    register_pj_per_bit: NonNegative | None = None
    """Moving one bit through a cell's pipeline register; default: the energy table's ``pipeline_register``."""

    def macs_per_cycle(self, dtype: str) -> float:
        """Peak rate of one core; 0 for a format that it lacks."""
        return self.arrays * self.rows * self.cols * self.macs_per_cycle_per_cell.get(dtype, 0.0)


class TensorCores(Part):
    """The tensor cores of one GPU core (streaming multiprocessor), fed by thread-block tiles."""

    kind: Literal["tensor_core"]
    freq_hz: Positive
    macs_per_cycle_per_core: Rates
    """Dense multiply-accumulates of one core in a cycle."""
    tiles: Tiles
    """Thread-block tiles (m, n, k) that its library has."""
    sparsity: tuple[Sparsity, ...] = ()
    """Patterns of weights whose zeros it skips, as ``2:4``: two of four are kept."""
    energy_pj_per_mac: dict[DTypeName, Positive] = {}
    register_pj_per_bit: NonNegative | None = None

    def macs_per_cycle(self, dtype: str) -> float:
        """Peak rate of one core; 0 for a format that it lacks."""
        return self.macs_per_cycle_per_core.get(dtype, 0.0)


class RowStationary(Part):
    """A grid of processing elements (PEs) with registers, each convolving rows (Chen et al., JSSC 2017).

    It is fed by the outermost on-chip memories that hold activations and weights. The first has a port of its bandwidth
    for images and one for sums that come, and one of its write bandwidth for sums that go.
    """

    kind: Literal["row_stationary"]
    rows: Count
    cols: Count
    freq_hz: Positive
    macs_per_cycle_per_cell: Rates
    ifmap_words: Count
    """Image words in a PE's registers."""
    filter_words: Count
    psum_words: Count
    """Sums in a PE's registers: filters that it takes at a time."""
    psum_bits: Count = 16
    """Width of a sum."""
    row_words: Count = MAX_DIMENSION
    """Longest row of outputs of a pass; longer rows are cut into equal parts."""
    pass_setup_cycles: NonNegative = 0.0
    """Of every processing pass, beside its work: configuration, first words in, last sums out."""
    run_length_coded: Flag = False
    """Activations cross the chip's edge in run-length code, where that is shorter."""
    gates_zeros: Flag = False
    """A zero in the image keeps multiplier, filter and sums still."""
    prefers: Literal["latency", "dram"] = "latency"
    """What its mapper looks for first: least time, or least traffic beyond the chip at good use of the PEs."""
    energy_pj_per_mac: dict[DTypeName, Positive] = {}
    register_pj_per_bit: NonNegative | None = None
    """Reading or writing one bit of a PE's registers."""
    array_pj_per_bit: NonNegative = 0.0
    """Moving one bit between a buffer and a PE, or between two PEs."""

    def macs_per_cycle(self, dtype: str) -> float:
        """Peak rate of one core; 0 for a format that it lacks."""
        return self.rows * self.cols * self.macs_per_cycle_per_cell.get(dtype, 0.0)


MatrixUnit = Annotated[SystolicArray | TensorCores | RowStationary | SpatialArray, Field(discriminator="kind")]


class VectorUnit(Part):
    """SIMD lanes of one core: elementwise work, and matrix products where it can multiply-accumulate."""

    freq_hz: Positive
    ops_per_cycle: Rates
    """Elementary operations (add, multiply, compare) of one core in a cycle, by format."""
    special_per_cycle: Positive
    """Exponentials, divisions, roots of one core in a cycle."""
    special_beside: bool = True
    """Special functions have lanes of their own; false: they take turns with the others."""
    macs_per_cycle_per_core: Rates = {}
    """Fused multiply-accumulates of one core in a cycle; empty where it computes no matrix products."""
    tiles: Tiles = ((64, 64, 16),)
    """Register- and cache-blocked tiles (m, n, k) of a matrix product on one core."""
    energy_pj_per_mac: dict[DTypeName, Positive] = {}
    register_pj_per_bit: NonNegative | None = None

    def macs_per_cycle(self, dtype: str) -> float:
        """Peak rate of one core; 0 for a format that it lacks."""
        return self.macs_per_cycle_per_core.get(dtype, 0.0)

    def rate(self, dtype: str) -> float:
        """Elementary operations a cycle; a format that is not listed is computed in the next wider one that is.

        0 where there is none.
        """
        if dtype in self.ops_per_cycle:
            return self.ops_per_cycle[dtype]
        wanted = DTYPES[dtype]
        wider = [
            (DTYPES[name].bits, rate)
            for name, rate in self.ops_per_cycle.items()
            if DTYPES[name].bits >= wanted.bits and (DTYPES[name].kind == wanted.kind or wanted.kind == "int")
        ]
        return min(wider)[1] if wider else 0.0


class GpuExecution(Part):
    """How a GPU core (streaming multiprocessor, compute unit) runs kernels: blocks of threads in warps."""

    kind: Literal["gpu"]
    warp_threads: Count = 32
    """Threads that step together: a warp, a wavefront."""
    max_warps: Count
    """Resident on a core."""
    max_blocks: Count
    """Resident on a core."""
    registers: Count = 65536
    """32-bit registers of a core."""
    max_registers_per_thread: Count = 255


Execution = Annotated[GpuExecution | CpuExecution, Field(discriminator="kind")]


class Core(Part):
    """What is there ``count`` times."""

    count: Count
    gang: Flag
    """True: one op is spread over all cores in use (CPU, GPU); false: an op runs on one core."""
    execution: Execution | None = None
    """How ops become kernels of many threads; absent where tiles of an op are moved to and from buffers."""
    matrix: MatrixUnit | None = None
    vector: VectorUnit


class Memory(Part):
    """One level of the hierarchy. ``scope = "core"``: every core has its own, with this capacity and bandwidth."""

    name: Name
    kind: Literal["sram", "dram"]
    scope: Literal["core", "device"] = "device"
    capacity_bytes: Count
    bandwidth_bytes_per_s: Positive
    write_bandwidth_bytes_per_s: Positive | None = None
    """A write port of its own; absent: reads and writes share ``bandwidth_bytes_per_s``."""
    ports: Count = 1
    """Ports of that bandwidth; a stream of one operand goes through one port at a time. Of on-chip memories."""
    latency_s: NonNegative = 0.0
    """From asking for the first bytes to their coming; those that follow come behind them."""
    holds: tuple[Role, ...] = ("activation", "weight", "partial_sum")
    double_buffered: Flag = True
    """Half of it takes what comes next while the other half is used."""
    keeps_between_steps: Flag = False
    """Weights that fit stay in it from one step to the next."""
    access_bits: Count = 64
    """Width of one access; sets an SRAM's energy."""
    dram_type: str | None = None
    """``ddr3``, ``ddr4``, ``lpddr4``, ``gddr6``, ``hbm2``, ...: sets a DRAM's energy."""
    bank_timing: Flag = False
    """A DRAM's sustained bandwidth follows from the bank-level timing of its ``dram_type``."""
    energy_pj_per_bit: Positive | None = None
    """Overrides the energy table."""

    @property
    def write_rate(self) -> float:
        """Bandwidth of writes [bytes/s]."""
        return self.write_bandwidth_bytes_per_s or self.bandwidth_bytes_per_s


class Link(Part):
    """A connection to the outside."""

    name: Name
    bandwidth_bytes_per_s: Positive
    latency_s: NonNegative
    energy_pj_per_bit: NonNegative


class Host(Part):
    """The computer that a device hangs on: it runs the ops that the device lacks."""

    device: Text
    """The name of its device file."""
    link: Link


class Power(Part):
    """Power limit and what flows anyway."""

    tdp_w: Positive | None = None
    """Absent: not published, no limit is applied and the result says so."""
    static_w: NonNegative
    """Leakage, clocks and idle DRAM: what flows when nothing is computed [W]."""
    min_clock_fraction: Fraction01 = 0.4
    """Lowest clock over nominal clock that a power limit can reach."""
    min_voltage_fraction: Fraction01 = 0.7
    """Voltage at that clock over nominal voltage; linear between."""

    @model_validator(mode="after")
    def _static_below_tdp(self) -> Self:
        if self.tdp_w is not None and self.static_w >= self.tdp_w:
            raise ValueError(f"static_w: want less than tdp_w = {self.tdp_w:g}, got {self.static_w:g}")
        return self


class Limits(Part):
    """What it can run; an absent list is no limit."""

    ops: tuple[OpKind, ...] | None = None
    """Kinds of op that it runs; others go to the host."""
    functions: tuple[Function, ...] | None = None
    """Elementwise functions that it runs."""
    compiler_lacks: tuple[DTypeName, ...] | None = None
    """Formats that its units have and its compiler does not offer."""


class Price(Part):
    """What renting it costs."""

    instance: Text
    devices: Count = 1
    """Of this kind in the instance."""
    usd_per_hour: Positive
    date: Text
    """When that was the price, as ``2024-06``."""


class Calibration(Part):
    """The few factors that are fitted or measured rather than known."""

    launch_overhead_s: NonNegative = 0.0
    """From one op's end to the next one's start."""
    step_overhead_s: NonNegative = 0.0
    """From a step's start to its first op."""
    result_latency_s: NonNegative = 0.0
    """From an op's end until an op that reads its result may start: the way back to the buffer, and synchronisation.

    Images are worked on one after another, so between two ops on several of them nothing waits.
    """
    window_bytes: NonNegative = 0.0
    """Operands that must have come before an op starts, and results that leave after it ends (all, if fewer)."""
    dram_efficiency: Fraction01 = 1.0
    """Share of the DRAM bandwidth that a long stream reaches; with ``bank_timing``, what is lost outside the DRAM."""
    compute_efficiency: Fraction01 = 1.0
    """Share of the peak rate that a matrix unit reaches on whole tiles."""


class Device(Part):
    """A whole accelerator, GPU or CPU."""

    name: Name
    description: str
    aliases: tuple[Text, ...] = ()
    """Other names that measured files call it by."""
    process_nm: Positive
    default_dtype: DTypeName
    autocast: dict[DTypeName, DTypeName] = {}
    """Formats that it lacks and what its compiler turns them into."""
    fuses_epilogue: Flag = True
    """Elementwise ops after a matrix product are applied before its result is written."""
    fuses_attention: Flag = False
    """Attention is one kernel; false: products and a softmax, with the scores in memory between them."""
    prefetches_weights: Flag = False
    """The next op's weights are fetched while an op computes."""
    core: Core
    memory: Annotated[tuple[Memory, ...], Field(min_length=1)]
    """Nearest to the compute units first, DRAM last."""
    host: Host | None = None
    power: Power
    limits: Limits | None = None
    price: Price | None = None
    """What it costs to rent."""
    calibration: Calibration | None = None
    family: Name | None = None
    """A file of ``hwconfigs/families`` that has the ``factors`` of such devices."""
    factors: Factors | None = None
    """Fitted once for a family of devices; as the family's file says, unless they stand here."""
    energy_node: str = ""
    """Energy table; empty: the one of ``process_nm``."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        names = [m.name for m in self.memory]
        problems += [f"memory[{n}]: stands twice" for n in sorted({n for n in names if names.count(n) > 1})]
        problems += [f"memory[{m.name}]: is a DRAM; want it last" for m in self.memory[:-1] if m.kind == "dram"]
        named = {"memory": names, "host.link": [self.host.link.name] if self.host else []}
        taken = RESERVED_NAMES | set(type(self).model_fields) | set(named["host.link"])
        problems += [f"memory[{n}].name: is taken; want another name than {n!r}" for n in names if n in taken]
        if RESERVED_NAMES.union(type(self).model_fields).intersection(named["host.link"]):
            problems.append(f"host.link.name: is taken; want another name than {named['host.link'][0]!r}")
        if not self.path("weight"):
            problems.append("memory: want at least one that holds 'weight'")
        if not self.path("activation"):
            problems.append("memory: want at least one that holds 'activation'")
        if not self.computes(self.default_dtype):
            problems.append(
                f"default_dtype: no unit of core computes {self.default_dtype!r}; "
                f"want one of {', '.join(self.dtypes) or 'none'}"
            )
        problems += self._execution_problems()
        problems += [
            f"{m.name}.ports: got {m.ports}; want 1 of a DRAM" for m in self.memory if m.kind == "dram" and m.ports > 1
        ]
        for memory in self.memory:
            if memory.bank_timing and memory.dram_type not in curve_names():
                problems.append(
                    f"{memory.name}.bank_timing: wants a dram_type with timing, one of {', '.join(curve_names())}; "
                    f"got {memory.dram_type or 'none'}"
                )
        if self.core.gang and isinstance(self.core.matrix, SystolicArray | SpatialArray) and self.core.count > 1:
            problems.append("core.gang: one op is not spread over the arrays of several cores; want false")
        for lacking, instead in self.autocast.items():
            if not self.computes(instead):
                problems.append(f"autocast.{lacking}: no unit of core computes {instead!r}")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def _execution_problems(self) -> list[str]:
        execution, factors = self.core.execution, self.factors
        if execution is None:
            return [] if factors is None else ["factors: nothing uses them without core.execution"]
        problems = [] if self.core.gang else [f"core.gang: a {execution.kind} runs one op on all its cores; want true"]
        if execution.kind == "cpu" and not (self.memory[0].kind == "sram" and self.memory[0].scope == "core"):
            problems.append(f"{self.memory[0].name}: want a cache of every core (kind sram, scope core) first")
        if factors is None:
            problems.append(f"family: missing; a {execution.kind} wants the name of a family, or a section [factors]")
        elif factors.kind != execution.kind:
            problems.append(f"factors.kind: got {factors.kind!r}; core.execution.kind is {execution.kind!r}")
        return problems

    def path(self, role: Role) -> tuple[Memory, ...]:
        """Return the memories that an operand of this role passes through, nearest first."""
        return tuple(m for m in self.memory if role in m.holds)

    def on_lanes(self, dtypes: Collection[str]) -> Device:
        """The device as software sees it that multiplies in these formats on SIMD lanes, where they do that at all."""
        matrix, lanes = self.core.matrix, self.core.vector.macs_per_cycle_per_core
        left = {dtype for dtype in dtypes if lanes.get(dtype)}
        if not isinstance(matrix, TensorCores) or not left & {*matrix.macs_per_cycle_per_core}:
            return self
        rates = {dtype: rate for dtype, rate in matrix.macs_per_cycle_per_core.items() if dtype not in left}
        unit = matrix.model_copy(update={"macs_per_cycle_per_core": rates})
        return self.model_copy(update={"core": self.core.model_copy(update={"matrix": unit})})

    def computes(self, dtype: str) -> bool:
        """Whether a unit multiplies in this format."""
        return self.peak_macs_per_cycle(dtype) > 0

    def wide_format(self, dtype: str) -> str | None:
        """Return the narrowest float of 16 bits or more that vectors are computed in, beside a narrower ``dtype``.

        None where ``dtype`` is as wide itself, or where the vector unit knows no float.
        """
        rates = self.core.vector.ops_per_cycle
        floats = [name for name in rates if DTYPES[name].kind == "float" and DTYPES[name].bits >= WIDE_BITS]
        if DTYPES[dtype].bits >= WIDE_BITS or not floats:
            return None
        return min(floats, key=lambda name: (DTYPES[name].bits, -rates[name], name))

    def peak_macs_per_cycle(self, dtype: str) -> float:
        """Peak rate of one core's faster unit [MAC/cycle]."""
        matrix = self.core.matrix.macs_per_cycle(dtype) if self.core.matrix else 0.0
        return matrix or self.core.vector.macs_per_cycle(dtype)

    def peak_macs_per_s(self, dtype: str, cores: int | None = None) -> float:
        """Nominal peak of ``cores`` cores (all, unless said) [MAC/s]."""
        cores = cores or self.core.count
        matrix, execution = self.core.matrix, self.core.execution
        in_matrix = matrix is not None and matrix.macs_per_cycle(dtype) > 0
        freq_hz = matrix.freq_hz if matrix is not None and in_matrix else self.core.vector.freq_hz
        if isinstance(execution, CpuExecution):
            licence: Licence = "tile" if in_matrix else "product"
            freq_hz = execution.clock_hz(licence, cores, freq_hz)
        return self.peak_macs_per_cycle(dtype) * freq_hz * cores

    def vector_hz(self, cores: int) -> float:
        """Clock of the SIMD lanes of so many cores, the highest that a CPU's licences allow [Hz]."""
        nominal_hz, execution = self.core.vector.freq_hz, self.core.execution
        if not isinstance(execution, CpuExecution):
            return nominal_hz
        licences: tuple[Licence, ...] = ("stream", "product", "tile")
        return max(execution.clock_hz(licence, cores, nominal_hz) for licence in licences)

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Formats that a unit multiplies in, widest first."""
        names = {*self.core.vector.macs_per_cycle_per_core}
        if isinstance(self.core.matrix, SystolicArray | SpatialArray | RowStationary):
            names |= {*self.core.matrix.macs_per_cycle_per_cell}
        elif isinstance(self.core.matrix, TensorCores):
            names |= {*self.core.matrix.macs_per_cycle_per_core}
        return tuple(name for name in DTYPES if name in names)

    @property
    def dram(self) -> Memory | None:
        """The outermost memory, where it is a DRAM."""
        return self.memory[-1] if self.memory[-1].kind == "dram" else None

    def memory_named(self, name: str) -> Memory:
        """Return the memory of that name."""
        return next(m for m in self.memory if m.name == name)

    def voltage_scale(self, clock_fraction: float) -> float:
        """``V / V_nominal`` at a fraction of the nominal clock: linear above the lowest clock.

        ASSUMED shape; Horowitz, ISSCC 2014: energy goes with the square of the voltage.
        """
        low, v_low = self.power.min_clock_fraction, self.power.min_voltage_fraction
        if clock_fraction >= 1 or math.isclose(low, 1.0):
            return 1.0
        return v_low + (1 - v_low) * (max(clock_fraction, low) - low) / (1 - low)
