"""What an action costs: energy tables, one per technology node, and the price of a device's actions by one."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from accelsim.base.dtypes import DTYPES
from accelsim.base.errors import ConfigError, nearest
from accelsim.base.resources import resource_dir
from accelsim.base.units import BITS_PER_BYTE
from accelsim.hardware.device import Device, Memory, RowStationary, SystolicArray
from accelsim.hardware.family import GpuFactors
from accelsim.hardware.files import read_toml, validate
from accelsim.hardware.part import Count, DTypeName, NonNegative, Part, Positive, Text
from accelsim.hardware.spatial import SpatialArray

BASE = "45nm"
"""The table that others are scaled from."""


class PerOp(Part):
    """An operation."""

    pj: Positive


class PerBit(Part):
    """Moving one bit."""

    pj_per_bit: NonNegative


class SramModel(Part):
    """An SRAM's energy as a function of its capacity and the width of an access.

    Up to a bank: ``reference_pj * (capacity / reference_bytes)**a * (bits / reference_bits)**b``, linear in the width
    below ``reference_bits``. A larger memory is one access to a bank and wires over the distance that it is wider.
    """

    reference_pj: Positive
    reference_bytes: Count
    reference_bits: Count
    capacity_exponent: NonNegative
    width_exponent: NonNegative
    bank_bytes: Count
    mm2_per_mib: Positive
    wire_pj_per_bit_mm: NonNegative

    def access_pj(self, capacity_bytes: int, access_bits: int) -> float:
        """One access of ``access_bits`` [pJ]."""
        bank_bytes = min(capacity_bytes, self.bank_bytes)
        width = access_bits / self.reference_bits
        bank_pj = self.reference_pj * math.pow(bank_bytes / self.reference_bytes, self.capacity_exponent)
        wire_mm = self._side_mm(capacity_bytes) - self._side_mm(bank_bytes)
        across_pj = self.wire_pj_per_bit_mm * wire_mm * access_bits
        return bank_pj * math.pow(width, self.width_exponent if width > 1 else 1) + across_pj

    def _side_mm(self, capacity_bytes: int) -> float:
        return math.sqrt(self.mm2_per_mib * capacity_bytes / 2**20)


Costs = dict[DTypeName, PerOp]


def _family_mac_pj(device: Device, dtype: str) -> float:
    """What a family of GPUs is fitted to: a format takes energy as it takes time; 0 where nothing was fitted [pJ]."""
    factors = device.factors
    if not isinstance(factors, GpuFactors):
        return 0.0
    matrix = device.core.matrix
    if matrix is not None and factors.tensor is not None and matrix.macs_per_cycle(dtype):
        rate = matrix.macs_per_cycle(dtype)
        return factors.tensor.pj_per_mac * (matrix.macs_per_cycle("fp16") or rate) / rate
    rate = device.core.vector.macs_per_cycle(dtype)
    return factors.simt.pj_per_mac * (device.core.vector.macs_per_cycle("fp32") or rate) / rate if rate else 0.0


class PriceList(dict[str, tuple[str, float]]):
    """By action: the component that its energy counts under, and the energy of one [pJ]."""

    def __init__(self, table: EnergyTable, device: Device) -> None:
        super().__init__()
        self.table, self.device = table, device

    def __missing__(self, action: str) -> tuple[str, float]:
        entry = self[action] = component(action, self.device), self.table.price_pj(action, self.device)
        return entry


class EnergyTable(Part):
    """Energy per action at one technology node; every row says where it comes from."""

    name: Text
    node_nm: Positive
    add: Costs
    mul: Costs
    special: Costs
    """Exponentials, divisions, roots."""
    register_file: PerBit
    pipeline_register: PerBit
    sram: SramModel
    dram: dict[str, PerBit]
    """By type of DRAM, and ``default``."""

    _prices: dict[int, PriceList] = PrivateAttr(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        lines = []
        for section in ("add", "mul", "special"):
            missing = [name for name in DTYPES if name not in getattr(self, section)]
            lines += [f"{section}.{name}: missing; want a table with pj, source" for name in missing]
        if "default" not in self.dram:
            lines.append("dram.default: missing; want a table with pj_per_bit, source")
        if lines:
            raise ValueError("\n".join(lines))
        return self

    def pj(self, action: str, device: Device) -> float:
        """Energy of one unit of an action, as ``accelsim.trace.Count`` defines them, on ``device`` [pJ]."""
        return self.prices(device)[action][1]

    def prices(self, device: Device) -> PriceList:
        """Component and energy of every action on ``device``, found when it is first asked for."""
        found = self._prices.get(id(device))
        if found is None or found.device is not device:
            if len(self._prices) > 64:
                self._prices.clear()
            found = self._prices[id(device)] = PriceList(self, device)
        return found

    def mac_pj(self, device: Device, dtype: str) -> float:
        """One multiply-accumulate: a product in ``dtype``, added up in its accumulator's format [pJ].

        On the matrix unit where it computes in ``dtype``, else on the vector unit; what the device's file says
        overrides what its family's says, and that the table.
        """
        matrix = device.core.matrix
        unit = matrix if matrix and matrix.macs_per_cycle(dtype) else device.core.vector
        return (
            unit.energy_pj_per_mac.get(dtype)
            or _family_mac_pj(device, dtype)
            or self.mul[dtype].pj + self.add[DTYPES[dtype].accumulator].pj
        )

    def register_pj_per_bit(self, device: Device) -> float:
        """Return a bit's cost through a register [pJ]: a pipeline's in an array of cells, else a register file's."""
        unit = device.core.matrix or device.core.vector
        if unit.register_pj_per_bit is not None:
            return unit.register_pj_per_bit
        row = self.pipeline_register if isinstance(unit, SystolicArray | SpatialArray) else self.register_file
        return row.pj_per_bit

    def memory_pj_per_bit(self, memory: Memory) -> float:
        """Return the cost of reading or writing one bit [pJ]."""
        if memory.energy_pj_per_bit is not None:
            return memory.energy_pj_per_bit
        if memory.kind == "dram":
            return self.dram[memory.dram_type or "default"].pj_per_bit
        return self.sram.access_pj(memory.capacity_bytes, memory.access_bits) / memory.access_bits

    def price_pj(self, action: str, device: Device) -> float:
        """Work out what one unit of an action costs on ``device`` [pJ]."""
        head, _, tail = action.partition(".")
        kind = component(action, device)
        if action == CORE_CYCLE:
            return device.factors.core_pj_per_cycle if isinstance(device.factors, GpuFactors) else 0.0
        if head == "mac":
            return self.mac_pj(device, tail)
        if kind == "mac":
            return {"add": self.add, "mul": self.mul, "special": self.special}[head][tail].pj
        if head == "array":
            unit = device.core.matrix
            return unit.array_pj_per_bit if isinstance(unit, RowStationary) else 0.0
        if kind == "register":
            return self.register_pj_per_bit(device)
        if kind == "link" and device.host:
            return device.host.link.energy_pj_per_bit * BITS_PER_BYTE
        return self.memory_pj_per_bit(device.memory_named(head)) * BITS_PER_BYTE


OFF_CHIP = ("dram", "link")
"""Components whose voltage does not follow the core clock."""


CORE_CYCLE = "core.cycle"
"""A cycle of one core of a GPU that has blocks of threads, whatever they do."""


def component(action: str, device: Device) -> str:
    """Where an action's energy goes: ``mac`` (all arithmetic), ``register``, ``sram``, ``dram`` or ``link``.

    Cycles of cores count with the arithmetic that they are spent on.
    """
    head, _, tail = action.partition(".")
    if action == CORE_CYCLE:
        return "mac"
    if head in {"mac", "add", "mul", "special"} and tail in DTYPES:
        return "mac"
    if action in {"register", "array"}:
        return "register"
    if device.host and action == f"{device.host.link.name}.transfer":
        return "link"
    for memory in device.memory:
        if memory.name == head and tail in {"read", "write"}:
            return memory.kind
    raise ValueError(f"{device.name} has no action {action!r}")


# Tables by name, node or path


class Curve(Part):
    """Factors against 45 nm by node, straight between points in log-log."""

    points: Annotated[tuple[tuple[Positive, Positive], ...], Field(min_length=2)]

    def at(self, node_nm: float) -> float:
        """Return the factor at a node between the first and the last point."""
        points = sorted(self.points)
        for (low, at_low), (high, at_high) in pairwise(points):
            if low <= node_nm <= high:
                share = math.log(node_nm / low) / math.log(high / low)
                return math.exp(math.log(at_low) + share * math.log(at_high / at_low))
        raise ConfigError(f"no energy table for {node_nm:g} nm; want {points[0][0]:g} to {points[-1][0]:g} nm")


class Scaling(BaseModel):
    """What takes the 45 nm table to another node."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    logic: Curve
    sram: Curve
    area: Curve


def energy_table_names() -> list[str]:
    """Nodes that have a table of their own, sorted; others are scaled from 45 nm."""
    return sorted(p.stem for p in (resource_dir("hwconfigs") / "energy").glob("*nm.toml"))


def load_energy_table(name_or_node: str | float | os.PathLike[str]) -> EnergyTable:
    """Load the table of a node (``45``, ``"45nm"``, ``"28"``), or the one in a file.

    A node without a table of its own gets the 45 nm one scaled. Raises ConfigError.
    """
    if isinstance(name_or_node, int | float):
        return _of_node(float(name_or_node))
    text = os.fspath(name_or_node)
    number = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*(?:nm)?\s*", text)
    if number:
        return _of_node(float(number[1]))
    path = Path(text)
    if text.endswith(".toml") or path.name != text:
        return validate(EnergyTable, read_toml(path, text), text)
    names = energy_table_names()
    raise ConfigError(
        f"energy table {text!r}: unknown{nearest(text, names)}; want a node such as 28nm, or a path to a table (.toml)"
    )


def energy_table_of(device: Device) -> EnergyTable:
    """Return the table that a device names, else that of its process."""
    return load_energy_table(device.energy_node or device.process_nm)


@lru_cache(maxsize=64)
def _of_node(node_nm: float) -> EnergyTable:
    own = f"{node_nm:g}nm"
    if own in energy_table_names():
        return _shipped(own)
    return scaled(_shipped(BASE), node_nm)


@cache
def _shipped(name: str) -> EnergyTable:
    return validate(EnergyTable, read_toml(resource_dir("hwconfigs") / "energy" / f"{name}.toml", f"{name}.toml"), name)


@cache
def scaling() -> Scaling:
    """Load the shipped factors between nodes."""
    label = "scaling.toml"
    return validate(Scaling, read_toml(resource_dir("hwconfigs") / "energy" / label, label), label)


def scaled(table: EnergyTable, node_nm: float) -> EnergyTable:
    """Take a 45 nm table to another node: logic and SRAM by factors of their own, DRAM and wires per mm unchanged."""
    by = scaling()
    logic, sram, area = by.logic.at(node_nm), by.sram.at(node_nm), by.area.at(node_nm)

    def ops(costs: Costs) -> Costs:
        return {name: row.model_copy(update={"pj": row.pj * logic}) for name, row in costs.items()}

    def bits(row: PerBit) -> PerBit:
        return row.model_copy(update={"pj_per_bit": row.pj_per_bit * logic})

    changes = {"reference_pj": table.sram.reference_pj * sram, "mm2_per_mib": table.sram.mm2_per_mib * area}
    return EnergyTable(
        name=f"{node_nm:g}nm (scaled from {table.name})",
        node_nm=node_nm,
        source=f"{table.source}; scaled: {by.logic.source}; SRAM: {by.sram.source}",
        add=ops(table.add),
        mul=ops(table.mul),
        special=ops(table.special),
        register_file=bits(table.register_file),
        pipeline_register=bits(table.pipeline_register),
        sram=table.sram.model_copy(update=changes),
        dram=table.dram,
    )


def check_energy_file(path: str | os.PathLike[str]) -> list[str]:
    """Return all that is wrong with an energy table, one line each; empty where nothing is."""
    try:
        validate(EnergyTable, read_toml(path, os.fspath(path)), os.fspath(path))
    except ConfigError as error:
        return list(error.problems)
    return []


def table_problems(device: Device) -> list[str]:
    """Return what keeps a device from being priced, one line each."""
    key = "energy_node" if device.energy_node else "process_nm"
    try:
        table = energy_table_of(device)
    except ConfigError as error:
        return [f"{key}: {problem}" for problem in error.problems]
    types = [m for m in device.memory if m.dram_type is not None and m.dram_type not in table.dram]
    return [
        f"memory[{m.name}].dram_type: got {m.dram_type!r}; want one of {', '.join(table.dram)}"
        f"{nearest(m.dram_type or '', table.dram)}"
        for m in types
    ]


# Printing a table


@dataclass(frozen=True, slots=True)
class EnergyRow:
    """A line of a printed table."""

    name: str
    bits: int
    """Width of what is computed or moved."""
    pj: float
    relative: float
    """Against one 32-bit integer addition of the same table."""
    source: str


def table_rows(table: EnergyTable, dtypes: Sequence[str] = ()) -> list[EnergyRow]:
    """Return a table as rows to print: arithmetic (of ``dtypes``, all unless said), registers, SRAM, DRAM."""
    chosen = [name for name in DTYPES if not dtypes or name in dtypes]
    unit = table.add["int32"].pj
    rows: list[EnergyRow] = []

    def row(name: str, width: int, pj: float, source: str) -> None:
        rows.append(EnergyRow(name, width, pj, pj / unit, source))

    for what, costs in (("add", table.add), ("mul", table.mul), ("special", table.special)):
        for name in chosen:
            row(f"{what}.{name}", DTYPES[name].bits, costs[name].pj, costs[name].source)
    for name in chosen:
        total = table.mul[name].pj + table.add[DTYPES[name].accumulator].pj
        row(f"mac.{name}", DTYPES[name].bits, total, f"mul.{name} + add.{DTYPES[name].accumulator}")
    row("register_file", 32, 32 * table.register_file.pj_per_bit, table.register_file.source)
    row("pipeline_register", 32, 32 * table.pipeline_register.pj_per_bit, table.pipeline_register.source)
    for kib, width in ((8, 32), (8, 64), (32, 64), (1024, 64)):
        row(f"sram {kib} KiB", width, table.sram.access_pj(kib * 1024, width), table.sram.source)
    for name, cost in table.dram.items():
        row("dram" if name == "default" else f"dram {name}", 32, 32 * cost.pj_per_bit, cost.source)
    return rows
