"""How a DRAM behaves under a stream of accesses: sustained bandwidth, row hits and energy, from its data sheet.

A stream is runs of contiguous bytes, at a stride or at random places. Addresses are interleaved over the channels in
granules of ``interleave_bytes``, hashed so that all channels carry the same load; one channel is simulated, the others
do the same. Inside it a granule lies in one row; the next granule lies in the next bank group, so that a sequential
stream keeps all groups busy; when the rows are read through, the next bank follows.
"""

from __future__ import annotations

import math
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, PrivateAttr, model_validator

from accelsim.base.errors import ConfigError, nearest
from accelsim.base.resources import resource_dir
from accelsim.base.units import BITS_PER_BYTE
from accelsim.hardware.files import read_toml, validate
from accelsim.hardware.part import Count, Name, NonNegative, Part, Positive, Text
from accelsim.kernels.dram import ACTIVATES, FIELDS, MISSES, SERVED, TIME, WRITES, idle_state, run

Ints = npt.NDArray[np.int64]
Cycles = Annotated[int, Field(ge=0, le=10**7, strict=True, description="a whole number of clock cycles, 0 to 10^7")]

STEADY_CYCLES = 7_800
"""The steady state is what happens after the first refresh, in as many refresh intervals as make up this time."""
EXACT_BURSTS = 2048
"""Streams up to this many bursts on a channel are simulated from start to end."""
PHASE_GRANULES = 64
"""After this many granules of a channel all operands but the first go on elsewhere, as from one tile to the next:
whether two operands meet in the same banks is chance, which one distance between them would decide for good."""
STEADY_BURSTS = 8192
"""Bursts simulated where a DRAM is not refreshed."""


class Organization(Part):
    """Channels, banks and rows."""

    channels: Count
    """Independent channels (pseudo-channels) of the shipped system; see ``sized``."""
    bank_groups: Count
    banks_per_group: Count
    rows: Count
    """Rows of a bank."""
    row_bytes: Count
    """Bytes that one activate opens in a channel, over all devices that make up its width."""
    burst_bytes: Count
    interleave_bytes: Count = 256
    """Contiguous bytes in one channel and row before the next channel follows."""
    queue_depth: Annotated[int, Field(ge=1, le=1024, strict=True, description="a whole number from 1 to 1024")] = 32
    """Requests that the controller of a channel chooses from."""

    @property
    def banks(self) -> int:
        """Banks of a channel."""
        return self.bank_groups * self.banks_per_group

    @property
    def granules_per_row(self) -> int:
        """Granules of the interleaving in a row."""
        return self.row_bytes // self.interleave_bytes

    @property
    def granules(self) -> int:
        """Granules of a channel."""
        return self.banks * self.rows * self.granules_per_row


class Timing(Part):
    """Times between commands in cycles of ``clock_hz``, rounded up as JEDEC does. A burst's start counts."""

    clock_hz: Positive
    burst_ck: Cycles
    """The data bus is busy for this long with one burst."""
    rcd_read_ck: Cycles
    rcd_write_ck: Cycles
    rp_ck: Cycles
    ras_ck: Cycles
    rc_ck: Cycles
    cl_ck: Cycles
    """Read command to first data."""
    cwl_ck: Cycles
    """Write command to first data."""
    ccd_s_ck: Cycles
    """Column command to column command, another bank group."""
    ccd_l_ck: Cycles
    """The same bank group."""
    rrd_s_ck: Cycles
    rrd_l_ck: Cycles
    faw_ck: Cycles
    """Window of at most four activates."""
    wr_ck: Cycles
    """End of write data to precharge."""
    wtr_s_ck: Cycles
    wtr_l_ck: Cycles
    """End of write data to read command."""
    rtp_ck: Cycles
    read_to_write_ck: Cycles
    refi_ck: Cycles
    """Every row group is refreshed once in this time on average; 0: no refresh."""
    rfc_ck: Cycles
    """A refresh of all banks."""
    rfc_bank_ck: Cycles = 0
    """A refresh of one bank; 0: it has none."""
    activate_command_ck: Cycles = 1
    precharge_command_ck: Cycles = 1
    column_command_ck: Cycles = 1
    row_command_bus: bool = False
    """Row commands have a bus of their own (HBM)."""


class Rail(Part):
    """Currents of one supply of one device, as IDD specifications name them."""

    volts: Positive
    idd0_ma: NonNegative
    """Activate and precharge, one every tRC."""
    idd2n_ma: NonNegative
    """All banks closed."""
    idd3n_ma: NonNegative
    """A row open."""
    idd4r_ma: NonNegative
    idd4w_ma: NonNegative
    idd5_ma: NonNegative
    """Refresh, one every tRFC."""


class CurrentEnergy(Part):
    """Energy from supply currents, as Micron TN-41-01 and TN-40-07 compute it."""

    kind: Literal["currents"]
    devices: Count
    """Devices that together are one channel."""
    rail: Annotated[tuple[Rail, ...], Field(min_length=1)]
    io_read_pj_per_bit: NonNegative
    """Drivers and termination, which the currents leave out."""
    io_write_pj_per_bit: NonNegative


class ActionEnergy(Part):
    """Energy per action, where no currents are published."""

    kind: Literal["actions"]
    activate_pj: NonNegative
    """One row of one channel opened and closed."""
    read_pj_per_bit: NonNegative
    write_pj_per_bit: NonNegative
    refresh_pj: NonNegative
    """One refresh of all banks of a channel."""
    background_w: NonNegative
    """Standby of a channel."""


class DramTiming(Part):
    """A type of DRAM: its organisation, timing and energy."""

    name: Name
    description: Text
    organization: Organization
    timing: Timing
    energy: Annotated[CurrentEnergy | ActionEnergy, Field(discriminator="kind")]
    refresh: Literal["all_bank", "per_bank"] = "all_bank"

    _key: int | None = PrivateAttr(default=None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        o, t = self.organization, self.timing
        found = []
        if o.interleave_bytes % o.burst_bytes:
            found.append(f"organization.interleave_bytes: want a multiple of burst_bytes = {o.burst_bytes}")
        if o.row_bytes % o.interleave_bytes:
            found.append(f"organization.row_bytes: want a multiple of interleave_bytes = {o.interleave_bytes}")
        if t.burst_ck < 1:
            found.append("timing.burst_ck: want at least 1")
        floors = (
            ("ccd_s_ck", "burst_ck"), ("ccd_l_ck", "ccd_s_ck"), ("rrd_l_ck", "rrd_s_ck"), ("wtr_l_ck", "wtr_s_ck"),
            ("rc_ck", "ras_ck"), ("ras_ck", "rcd_read_ck"), ("read_to_write_ck", "ccd_l_ck"),
        )  # fmt: skip
        for name, floor in floors:
            if getattr(t, name) < getattr(t, floor):
                found.append(f"timing.{name}: got {getattr(t, name)}; want at least {floor} = {getattr(t, floor)}")
        if t.refi_ck and t.refi_ck <= 2 * t.rfc_ck:
            found.append(f"timing.refi_ck: got {t.refi_ck}; want more than twice rfc_ck = {t.rfc_ck}")
        if self.refresh == "per_bank" and not t.rfc_bank_ck:
            found.append("timing.rfc_bank_ck: missing; want it where refresh is 'per_bank'")
        if self.refresh == "per_bank" and 0 < t.refi_ck <= o.banks * (t.rfc_bank_ck // o.banks + t.rrd_s_ck):
            found.append("timing.refi_ck: too short to refresh bank after bank")
        if found:
            raise ValueError("\n".join(found))
        return self

    def __hash__(self) -> int:
        """Hash of all fields, computed once: a table of efficiencies is looked up by it."""
        if self._key is None:
            self._key = hash((self.name, self.organization, self.timing, self.energy, self.refresh))
        return self._key

    @property
    def channel_bytes_per_s(self) -> float:
        """Peak bandwidth of a channel."""
        return self.organization.burst_bytes * self.timing.clock_hz / self.timing.burst_ck

    @property
    def bandwidth_bytes_per_s(self) -> float:
        """Peak bandwidth of all channels."""
        return self.organization.channels * self.channel_bytes_per_s

    @property
    def latency_s(self) -> float:
        """One read from a closed row: activate, read, burst."""
        return (self.timing.rcd_read_ck + self.timing.cl_ck + self.timing.burst_ck) / self.timing.clock_hz

    def sized(self, bandwidth_bytes_per_s: float) -> DramTiming:
        """Return the same DRAM with as many channels as come nearest to a device's nominal bandwidth."""
        channels = max(1, round(bandwidth_bytes_per_s / self.channel_bytes_per_s))
        return self.with_(channels=channels)

    def with_(self, **changes: object) -> DramTiming:
        """Return a copy with fields of itself, its organisation or its timing changed, checked anew."""
        data = self.model_dump()
        for name, value in changes.items():
            part = next((data[p] for p in ("organization", "timing") if name in data[p]), data)
            part[name] = value
        return DramTiming.model_validate(data)


def dram_names() -> list[str]:
    """Names of the DRAM types that ship with accelsim, sorted."""
    return sorted(path.stem for path in (resource_dir("hwconfigs") / "dram").glob("*.toml"))


def load_dram(name_or_path: str | os.PathLike[str]) -> DramTiming:
    """Load a shipped DRAM type by name, or a file by path. Raises ConfigError with a line for each problem."""
    text = os.fspath(name_or_path)
    if text.endswith(".toml") or Path(text).name != text:
        return validate(DramTiming, read_toml(text, text), text)
    if text not in dram_names():
        names = dram_names()
        hint = nearest(text, names)
        raise ConfigError(f"dram {text!r}: unknown{hint}; want one of {', '.join(names)}, or a path to a .toml file")
    path = resource_dir("hwconfigs") / "dram" / f"{text}.toml"
    return validate(DramTiming, read_toml(path, path.name), path.name)


# Streams and what becomes of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """``total_bytes`` in runs of ``run_bytes``, read and written by ``streams`` operands in turn."""

    total_bytes: int
    run_bytes: int
    stride_bytes: int | None = None
    """From the start of a run to the start of the next one; ``run_bytes``: contiguous; None: random places."""
    read_fraction: float = 1.0
    """Of the bytes; where there are several streams, the last one takes the writes."""
    streams: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("total_bytes", "run_bytes", "streams"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: got {getattr(self, name)}; want at least 1")
        if self.stride_bytes is not None and self.stride_bytes < self.run_bytes:
            raise ValueError(f"stride_bytes: got {self.stride_bytes}; want at least run_bytes = {self.run_bytes}")
        if not 0 <= self.read_fraction <= 1:
            raise ValueError(f"read_fraction: got {self.read_fraction}; want 0 to 1")
        if self.seed < 0:
            raise ValueError(f"seed: got {self.seed}; want at least 0")

    @property
    def contiguous(self) -> bool:
        """Whether each run begins where the one before ends."""
        return self.stride_bytes == self.run_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Energy by part [pJ], or [pJ/bit]."""

    activate: float
    read: float
    write: float
    refresh: float
    background: float

    @property
    def total(self) -> float:
        """All parts."""
        return self.activate + self.read + self.write + self.refresh + self.background


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamResult:
    """What a stream takes on all channels together."""

    time_s: float
    efficiency: float
    """Useful bytes over what the peak bandwidth moves in that time."""
    row_hit_rate: float
    """Share of bursts for which no row had to be opened."""
    moved_bytes: int
    """Whole bursts; more than the useful bytes where runs do not fill them."""
    activates: int
    refreshes: int
    """Of all banks of a channel (or that many single ones)."""
    energy_pj: Energy
    energy_pj_per_bit: Energy
    """By useful bit."""


@dataclass(frozen=True, slots=True)
class _Rates:
    """A stream on one channel, per burst."""

    cycles: float
    activates: float
    misses: float
    writes: float


def stream(dram: DramTiming, pattern: Stream) -> StreamResult:
    """Send a stream through a DRAM."""
    o, t = dram.organization, dram.timing
    useful = pattern.total_bytes
    moved, per_channel = _bursts(o, pattern)
    if per_channel <= EXACT_BURSTS:
        rates = _exact(dram, _shape(pattern), per_channel)
        cycles = rates.cycles * per_channel
    else:
        rates = _steady(dram, _shape(pattern))
        cycles = rates.cycles * per_channel + t.rcd_read_ck + t.cl_ck
    time_s = cycles / t.clock_hz
    refreshes = int(cycles // t.refi_ck) * o.channels if t.refi_ck else 0
    activates = round(rates.activates * moved)
    energy = _energy(dram, activates, moved, rates.writes, cycles)
    per_bit = Energy(**{part: getattr(energy, part) / (useful * BITS_PER_BYTE) for part in Energy.__slots__})
    return StreamResult(
        time_s=time_s,
        efficiency=useful / (time_s * dram.bandwidth_bytes_per_s),
        row_hit_rate=1 - rates.misses,
        moved_bytes=moved * o.burst_bytes,
        activates=activates,
        refreshes=refreshes,
        energy_pj=energy,
        energy_pj_per_bit=per_bit,
    )


def random_bound(dram: DramTiming, run_bytes: int) -> float:
    """Efficiency that random reads of at most a granule cannot exceed: banks, activates, commands or the data bus.

    But for the few that find their row open by chance.
    """
    o, t = dram.organization, dram.timing
    bursts = math.ceil(run_bytes / o.burst_bytes)
    row_bus = t.activate_command_ck + t.precharge_command_ck
    column_bus = bursts * t.column_command_ck
    commands = max(row_bus, column_bus) if t.row_command_bus else row_bus + column_bus
    data = bursts * t.ccd_s_ck
    cycles = max(t.rc_ck / o.banks, t.faw_ck / 4, t.rrd_s_ck, data, commands)
    busy = 1 - t.rfc_ck / t.refi_ck if t.refi_ck and dram.refresh == "all_bank" else 1.0
    return run_bytes / o.burst_bytes * t.burst_ck / cycles * busy


def _bursts(o: Organization, pattern: Stream) -> tuple[int, int]:
    """Bursts of a stream in all, and on the channel that has most."""
    if pattern.contiguous:
        total = math.ceil(pattern.total_bytes / o.burst_bytes)
    else:
        whole, rest = divmod(pattern.total_bytes, pattern.run_bytes)
        total = whole * math.ceil(pattern.run_bytes / o.burst_bytes) + math.ceil(rest / o.burst_bytes)
    piece = min(total, math.ceil(min(pattern.run_bytes, o.interleave_bytes) / o.burst_bytes))
    return total, max(piece, math.ceil(total / o.channels))


def _shape(pattern: Stream) -> Stream:
    """A stream without its length: what the steady state depends on."""
    return Stream(
        total_bytes=1,
        run_bytes=1 if pattern.contiguous else pattern.run_bytes,
        stride_bytes=1 if pattern.contiguous else pattern.stride_bytes,
        read_fraction=pattern.read_fraction,
        streams=pattern.streams,
        seed=pattern.seed,
    )


@lru_cache(maxsize=4096)
def _steady(dram: DramTiming, shape: Stream) -> _Rates:
    """Simulate a window of an endless stream, from refresh to refresh."""
    t, o = dram.timing, dram.organization
    per_bank = o.banks if dram.refresh == "per_bank" else 1
    last = 1 + math.ceil(STEADY_CYCLES / t.refi_ck) if t.refi_ck else 1
    n = (last + 1) * t.refi_ck // t.burst_ck + o.queue_depth if t.refi_ck else STEADY_BURSTS
    state = idle_state(o.banks, o.bank_groups)
    requests = _requests(o, shape, n)
    marks = run(_table(dram), requests, state, o.queue_depth, per_bank, last * per_bank)
    begin, end = (marks[0], marks[1]) if t.refi_ck else (marks[0], marks[2])
    served = int(end[SERVED] - begin[SERVED])
    return _Rates(*(float(end[i] - begin[i]) / served for i in (TIME, ACTIVATES, MISSES, WRITES)))


@lru_cache(maxsize=4096)
def _exact(dram: DramTiming, shape: Stream, bursts: int) -> _Rates:
    """Simulate a short stream from an idle DRAM to its last data."""
    o = dram.organization
    end = run(_table(dram), _requests(o, shape, bursts), idle_state(o.banks, o.bank_groups), o.queue_depth)[2]
    return _Rates(*(float(end[i]) / bursts for i in (TIME, ACTIVATES, MISSES, WRITES)))


@lru_cache(maxsize=64)
def _table(dram: DramTiming) -> Ints:
    """Timing as the kernel takes it."""
    t = dram.timing
    values = t.model_dump(exclude={"source", "clock_hz"})
    values = {name.removesuffix("_ck"): int(value) for name, value in values.items()}
    single = dram.refresh == "per_bank"
    values |= {
        "rtw": t.read_to_write_ck,
        "refi": t.refi_ck // dram.organization.banks if single else t.refi_ck,
        "rfc": t.rfc_bank_ck if single else t.rfc_ck,
        "refresh_bank": int(single),
        "act_cmd": t.activate_command_ck,
        "pre_cmd": t.precharge_command_ck,
        "col_cmd": t.column_command_ck,
        "row_bus": int(t.row_command_bus),
    }
    return np.array([values[name] for name in FIELDS], np.int64)


# The requests that one channel sees


def _requests(o: Organization, shape: Stream, n: int) -> tuple[Ints, Ints, Ints]:
    """Bank, row and direction of the first ``n`` bursts of a stream on a channel."""
    per_piece = _bursts_per_piece(o, shape)
    pieces = math.ceil(n / per_piece) + 1
    slot = np.arange(pieces + 1)
    write = np.diff(np.floor(slot * (1 - shape.read_fraction) + 1e-9)).astype(np.int64)
    granule = np.zeros(pieces, np.int64)
    for lane, chosen in enumerate(_lanes(shape.streams, write)):
        granule[chosen] = _granules(o, shape, len(chosen), lane)
    bursts = np.diff(np.floor(slot * per_piece + 1e-9)).astype(np.int64)
    bank, row = _place(o, granule)
    return tuple(np.repeat(column, bursts)[:n] for column in (bank, row, write))  # type: ignore[return-value]


def _bursts_per_piece(o: Organization, shape: Stream) -> float:
    """Bursts of a stream in a granule that it visits."""
    full = float(o.interleave_bytes // o.burst_bytes)
    if shape.contiguous:
        return full
    per_run = math.ceil(shape.run_bytes / o.burst_bytes)
    if shape.stride_bytes is not None and shape.stride_bytes < o.interleave_bytes:
        return min(full, per_run * o.interleave_bytes / shape.stride_bytes)
    return per_run / math.ceil(shape.run_bytes / o.interleave_bytes)


def _lanes(streams: int, write: Ints) -> list[Ints]:
    """Return the slots of each stream: the last one has the writes, the others take turns in reading."""
    reads, writes = np.flatnonzero(write == 0), np.flatnonzero(write)
    if streams == 1:
        return [np.arange(len(write))]
    if not len(writes) or not len(reads):
        return [np.arange(lane, len(write), streams) for lane in range(streams)]
    return [reads[lane :: streams - 1] for lane in range(streams - 1)] + [writes]


def _granules(o: Organization, shape: Stream, n: int, lane: int) -> Ints:
    """Granules of a channel that a stream's first ``n`` pieces on it lie in.

    Of all granules that the stream visits, in order, every ``channels``-th is this channel's.
    """
    index = np.arange(n, dtype=np.int64)
    base = lane * (1 + index // PHASE_GRANULES) * (o.granules * 34 // 89)
    stride = shape.stride_bytes
    if shape.contiguous or (stride is not None and stride < o.interleave_bytes):
        dense: Ints = (base + index) % o.granules
        return dense
    per_run = math.ceil(shape.run_bytes / o.interleave_bytes)
    which, inside = np.divmod(index * o.channels, per_run)
    if stride is not None:
        strided: Ints = (base + (which * stride // o.interleave_bytes + inside) // o.channels) % o.granules
        return strided
    # Runs that this channel has no part in need no place.
    own = np.cumsum(np.diff(which, prepend=-1) > 0) - 1
    start = np.random.default_rng([shape.seed, lane]).integers(0, o.granules, size=n)
    places: Ints = (start[own] + inside // o.channels) % o.granules
    return places


def _place(o: Organization, granule: Ints) -> tuple[Ints, Ints]:
    """Bank and row of a granule; groups and banks are rotated by what stands above them, so that strides spread."""
    line, group = np.divmod(granule, o.bank_groups)
    row, bank = np.divmod(line // o.granules_per_row, o.banks_per_group)
    group = (group + _digits(line, o.bank_groups, slope=0)) % o.bank_groups
    bank = (bank + _digits(row, o.banks_per_group, slope=1)) % o.banks_per_group
    return group * o.banks_per_group + bank, row


def _digits(number: Ints, base: int, slope: int) -> Ints:
    """Sum of a number's digits, the k-th of them (0, 1, ...) weighted by ``1 + slope * (k - 1)``.

    Without a slope for groups, with one for banks: where one digit makes both go, they go in different steps.
    """
    total = np.zeros_like(number)
    weight = 1 - slope
    while base > 1 and number.any():
        number, digit = np.divmod(number, base)
        total += weight * digit
        weight += slope
    return total


# Energy


def _energy(dram: DramTiming, activates: int, bursts: int, write_share: float, cycles: float) -> Energy:
    """Energy of a stream on all channels [pJ]; rows are open all the time, as the open-page policy has them."""
    o, t = dram.organization, dram.timing
    actions = action_energy(dram)
    bits = bursts * o.burst_bytes * BITS_PER_BYTE
    seconds = cycles / t.clock_hz
    refreshes = cycles / t.refi_ck * o.channels if t.refi_ck else 0.0
    return Energy(
        activate=activates * actions.activate_pj,
        read=bits * (1 - write_share) * actions.read_pj_per_bit,
        write=bits * write_share * actions.write_pj_per_bit,
        refresh=refreshes * actions.refresh_pj,
        background=actions.background_w * seconds * o.channels * 1e12,
    )


def action_energy(dram: DramTiming) -> ActionEnergy:
    """Energy per action of a channel; from currents as in Micron's technical notes, each above what flows anyway."""
    e, o, t = dram.energy, dram.organization, dram.timing
    if isinstance(e, ActionEnergy):
        return e
    ns = 1e9 / t.clock_hz
    bits = o.burst_bytes * BITS_PER_BYTE

    def devices_pj(each: Sequence[float]) -> float:  # mA x V x ns = pJ
        return e.devices * math.fsum(each)

    idle = [r.idd3n_ma * t.ras_ck + r.idd2n_ma * (t.rc_ck - t.ras_ck) for r in e.rail]
    activate = devices_pj([r.volts * (r.idd0_ma * t.rc_ck - i) * ns for r, i in zip(e.rail, idle, strict=True)])
    read = devices_pj([r.volts * (r.idd4r_ma - r.idd3n_ma) * t.burst_ck * ns for r in e.rail])
    write = devices_pj([r.volts * (r.idd4w_ma - r.idd3n_ma) * t.burst_ck * ns for r in e.rail])
    refresh = devices_pj([r.volts * (r.idd5_ma - r.idd3n_ma) * t.rfc_ck * ns for r in e.rail])
    return ActionEnergy(
        kind="actions",
        source=e.source,
        activate_pj=max(0.0, activate),
        read_pj_per_bit=read / bits + e.io_read_pj_per_bit,
        write_pj_per_bit=write / bits + e.io_write_pj_per_bit,
        refresh_pj=max(0.0, refresh),
        background_w=devices_pj([r.volts * r.idd3n_ma for r in e.rail]) * 1e-3,
    )


# What a mapper asks for

READ_FRACTIONS = (0.0, 0.25, 0.5, 0.75, 1.0)


def efficiency(dram: DramTiming, run_bytes: float, read_fraction: float = 1.0, streams: int = 1) -> float:
    """Share of the peak bandwidth that long streams of ``run_bytes`` at random places reach.

    Never falls as runs get longer: simulated at powers of two, the largest so far kept, straight in log2 between them.
    """
    if run_bytes <= 0 or not 0 <= read_fraction <= 1:
        raise ValueError(f"want run_bytes > 0 and read_fraction 0 to 1, got {run_bytes} and {read_fraction}")
    position = read_fraction * (len(READ_FRACTIONS) - 1)
    low = min(int(position), len(READ_FRACTIONS) - 2)
    at_low = _along(dram, run_bytes, READ_FRACTIONS[low], streams)
    if position == low:
        return at_low
    at_high = _along(dram, run_bytes, READ_FRACTIONS[low + 1], streams)
    return at_low + (position - low) * (at_high - at_low)


def _along(dram: DramTiming, run_bytes: float, read_fraction: float, streams: int) -> float:
    """Efficiency at a run length between the simulated ones."""
    lengths, values = _envelope(dram, read_fraction, streams)
    if run_bytes <= lengths[0]:
        return values[0] * run_bytes / lengths[0]  # the rest of the burst is thrown away
    i = bisect_right(lengths, run_bytes) - 1
    if i == len(lengths) - 1:
        return values[-1]
    return values[i] + math.log2(run_bytes / lengths[i]) * (values[i + 1] - values[i])


@lru_cache(maxsize=512)
def _envelope(dram: DramTiming, read_fraction: float, streams: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Run lengths (a burst times powers of two, until every channel reads whole rows of all banks) and efficiencies."""
    o, t = dram.organization, dram.timing
    end = 2 * o.row_bytes * o.bank_groups * o.channels
    lengths = [o.burst_bytes]
    while lengths[-1] < end:
        lengths.append(2 * lengths[-1])
    shapes = [
        Stream(total_bytes=1, run_bytes=length, read_fraction=read_fraction, streams=streams) for length in lengths
    ]
    values = [t.burst_ck / _steady(dram, shape).cycles for shape in shapes]
    return tuple(lengths), tuple(accumulate(values, max))
