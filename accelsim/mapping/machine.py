"""What an op is mapped on: a device with its prices, the cores that it may use and its share of the power."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, get_args

from accelsim.base.units import PS_PER_S
from accelsim.hardware.device import Calibration, Device, Memory, Role
from accelsim.hardware.dram_curve import curve_efficiency
from accelsim.hardware.energy import OFF_CHIP, EnergyTable, component
from accelsim.hardware.family import ChosenKernel
from accelsim.trace import Count

LONG_RUN_BYTES = 2**20
"""A stream whose length no longer matters to DRAM."""

CLOCK_STEPS = 64
"""Clocks that a power limit chooses from, between the lowest and the nominal one."""


@dataclass(frozen=True, slots=True)
class Run:
    """What a time depends on beside the machine and the op."""

    activity: float = 1.0
    """Switching of the operands' bits against random ones: scales the energy of multiplying."""
    burst_s: float = 0.0
    """Time of each task in which no power counts: a limit that averages over longer than a short run lasts [s]."""
    library: float = 1.0
    """Speed of the products' main loops against the library that the family's factors were fitted on."""
    few_channels: bool = True
    """The library has kernels of tensor cores for convolutions of few channels."""
    on_lanes: tuple[str, ...] = ()
    """Formats that the library multiplies on SIMD lanes where they have them, though tensor cores would."""
    norm_threads: int = 128
    """Of a block that a layer norm gives a row to (PyTorch's own kernel: 128)."""
    stack: str = ""
    """Serving software whose attention kernels run, where they differ; empty: as the family's file says."""
    kernels: tuple[ChosenKernel, ...] = ()
    """Of products: the last one that fits is taken; where none does, the fastest that the family has."""


STEADY = Run()
"""Random operands, for long, with the family's library."""


@dataclass(frozen=True)
class Machine:
    """A device as an op sees it; ``power_w`` is the dynamic power that it may draw, None without a limit."""

    device: Device
    energy: EnergyTable
    cores: int
    power_w: float | None
    count_cycles: bool = False
    """Play products on the functional array instead of using its closed form (``--fidelity cycle``)."""
    seed: int = 0
    """Of the numbers that are played."""
    run: Run = STEADY
    """How kernels are run."""
    captured: bool = False
    """Kernels were captured in a graph, and are launched from there."""
    prefix: str = ""
    """In front of its channels' names, where several machines run side by side."""

    @cached_property
    def calibration(self) -> Calibration:
        """The device's, or one that changes nothing."""
        return self.device.calibration or Calibration(source="none")

    def in_run(self, run: Run) -> Machine:
        """The same machine in another kind of run."""
        if run == self.run:
            return self
        if run not in self._runs:
            self._runs[run] = replace(self, run=run, device=self.device.on_lanes(run.on_lanes))
        return self._runs[run]

    @cached_property
    def _runs(self) -> dict[Run, Machine]:
        return {}

    @property
    def launch_s(self) -> float:
        """From one op's end to the next one's start [s]."""
        factors = self.device.factors
        if factors is None:
            return self.calibration.launch_overhead_s
        return factors.kernel.graph_launch_s if self.captured and factors.kind == "gpu" else factors.launch_s

    @cached_property
    def searches(self) -> dict[int, Any]:
        """What mapping has looked for on this machine, to be continued where more or less is free."""
        return {}

    def latency_ps(self, sources: Iterable[str | None]) -> float:
        """From asking for operands to the first of them coming, where one comes from the DRAM [ps]."""
        dram = self.device.dram
        if dram is None or not any(source is not None and self.is_dram(source) for source in sources):
            return 0.0
        return dram.latency_s * PS_PER_S

    @cached_property
    def channels(self) -> dict[str, float]:
        """Every shared channel and what it sustains [bytes/s]: the DRAM and the host link."""
        rates = {}
        if self.device.dram is not None:
            factors = self.device.factors
            efficiency = self.calibration.dram_efficiency * self.dram_efficiency(LONG_RUN_BYTES)
            if factors is not None:
                efficiency = factors.dram_share
            rates[self.prefix + self.device.dram.name] = self.device.dram.bandwidth_bytes_per_s * efficiency
        if self.device.host is not None:
            rates[self.prefix + self.device.host.link.name] = self.device.host.link.bandwidth_bytes_per_s
        return rates

    @property
    def dram_runs(self) -> bool:
        """Whether the DRAM's banks say how fast it is."""
        dram = self.device.dram
        return dram is not None and dram.bank_timing and dram.dram_type is not None

    def dram_efficiency(self, run_bytes: float, read_share: float = 1.0) -> float:
        """Share of the peak that such runs reach, so much of the bytes being read, from the banks' timing.

        1 where that is not asked for.
        """
        dram = self.device.dram
        if dram is None or not dram.bank_timing or dram.dram_type is None:
            return 1.0
        return curve_efficiency(dram.dram_type, run_bytes, read_share)

    def slower(self, channel: str, run_bytes: float = LONG_RUN_BYTES, read_share: float = 1.0) -> float:
        """How many times longer than in one long read the same bytes take, in such runs and such a mix.

        Reads and writes in turn cost the DRAM's bus its turnarounds, short runs at random places its banks their rows.
        """
        if not self.dram_runs or not self.is_dram(channel):
            return 1.0
        return max(1.0, self.dram_efficiency(LONG_RUN_BYTES) / self.dram_efficiency(run_bytes, read_share))

    @cached_property
    def sram(self) -> dict[str, Memory]:
        """On-chip memories by name, nearest first."""
        return {m.name: m for m in self.device.memory if m.kind == "sram"}

    @cached_property
    def all_free(self) -> tuple[tuple[str, int], ...]:
        """Every on-chip memory with all of its bytes, as ``Placement.free_bytes`` has them."""
        return tuple((memory.name, self.capacity_bytes(memory)) for memory in self.sram.values())

    def buffer(self, role: Role) -> Memory | None:
        """The outermost on-chip memory that holds operands of this role."""
        return self._buffers[role]

    @cached_property
    def _buffers(self) -> dict[Role, Memory | None]:
        return {
            role: next((m for m in reversed(self.device.path(role)) if m.kind == "sram"), None)
            for role in get_args(Role)
        }

    def backing(self, role: Role) -> str | None:
        """The channel over which operands of this role come from beyond the chip; None where there is no beyond."""
        if role not in self._backings:
            outermost, host = self.device.path(role)[-1], self.device.host
            behind = outermost.name if outermost.kind == "dram" else host.link.name if host else None
            self._backings[role] = None if behind is None else self.prefix + behind
        return self._backings[role]

    @cached_property
    def _backings(self) -> dict[Role, str | None]:
        return {}

    def capacity_bytes(self, memory: Memory) -> int:
        """Capacity of a memory to the cores in use together."""
        return memory.capacity_bytes * (self.cores if memory.scope == "core" else 1)

    def is_dram(self, channel: str) -> bool:
        """Whether a channel is the DRAM's (else it is a link's)."""
        return channel == self._dram_channel

    @cached_property
    def _dram_channel(self) -> str | None:
        return None if self.device.dram is None else self.prefix + self.device.dram.name

    def local(self, channel: str) -> str:
        """A channel's name in the device's own words."""
        return channel.removeprefix(self.prefix)

    def count(self, channel: str, operand: str, read_bytes: int, write_bytes: int) -> Iterable[Count]:
        """The actions of moving bytes over a channel."""
        name = self.local(channel)
        if self.is_dram(channel):
            yield Count(f"{name}.read", operand, read_bytes)
            yield Count(f"{name}.write", operand, write_bytes)
        else:
            yield Count(f"{name}.transfer", operand, read_bytes + write_bytes)

    @cached_property
    def _prices(self) -> dict[str, tuple[float, bool]]:
        """Energy of an action at nominal voltage [pJ], and whether it is off the chip; filled as they come."""
        return {}

    def _price(self, action: str) -> tuple[float, bool]:
        if action not in self._prices:
            pj = self.energy.pj(action, self.device) * (self.run.activity if action.startswith("mac.") else 1.0)
            self._prices[action] = pj, component(action, self.device) in OFF_CHIP
        return self._prices[action]

    def price_pj(self, action: str) -> float:
        """Energy of an action at nominal voltage [pJ]."""
        return self._price(action)[0]

    def dynamic_pj(self, counts: Iterable[Count]) -> tuple[float, float]:
        """Energy of counts on the chip at nominal voltage, and off it [pJ]."""
        on_chip = off_chip = 0.0
        for count in counts:
            pj, beyond = self._price(count.action)
            if beyond:
                off_chip += count.amount * pj
            else:
                on_chip += count.amount * pj
        return on_chip, off_chip

    @cached_property
    def clocks(self) -> tuple[float, ...]:
        """Fractions of the nominal clock to choose from, lowest first."""
        low = self.device.power.min_clock_fraction
        return tuple(low + (1 - low) * step / CLOCK_STEPS for step in range(CLOCK_STEPS + 1))

    @cached_property
    def energy_scales(self) -> tuple[float, ...]:
        """(V / V_nominal)**2 at each of ``clocks``."""
        return tuple(self.device.voltage_scale(clock) ** 2 for clock in self.clocks)
