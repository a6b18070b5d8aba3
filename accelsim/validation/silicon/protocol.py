"""How a source of data measured: what its clock saw beside the kernel, and what was in the caches.

A protocol belongs to a source, never to a device or a shape; the files are ``hwconfigs/protocols/*.toml``.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import Annotated

from pydantic import Field

from accelsim.base.errors import InputError
from accelsim.base.resources import resource_dir
from accelsim.hardware.family import ChosenKernel
from accelsim.hardware.files import read_toml, validate
from accelsim.hardware.part import Count, DTypeName, Flag, Fraction01, Name, NonNegative, Part, Text
from accelsim.mapping.machine import Run
from accelsim.validation.silicon.meter import Meter
from accelsim.validation.silicon.rows import Measurement
from accelsim.workload.ops import Matmul, Op


class Quantising(Part):
    """What a stack does beside a product in a narrow format: it scales and rounds the activations first."""

    call_s: NonNegative = 0.0
    """Of every call: further kernels, and the host where it does not keep up [s]."""
    element_s: NonNegative = 0.0
    """Of every element of the activations [s]."""
    block: Count = 1
    """Scales are for blocks of so many weights along n and k ..."""
    ragged_s: NonNegative = 0.0
    """... and a call whose weights do not come in whole blocks takes longer by this [s]."""

    def seconds(self, op: Op) -> float:
        """Beside an op [s]."""
        ragged = isinstance(op, Matmul) and (op.n % self.block or op.k % self.block)
        return self.call_s + self.element_s * op.inputs[0].elements + (self.ragged_s if ragged else 0.0)


class Protocol(Part):
    """One way of measuring."""

    name: Name
    source_repo: Text
    """Rows whose ``source_repo`` begins with this were measured so."""
    timing: Annotated[tuple[Text, ...], Field(description="a list of texts")] = ()
    """... and whose ``timing`` contains one of these (any, where there is none)."""
    framework: Text = ""
    """... and whose ``framework`` begins with this."""
    maker: Text = ""
    """... and whose ``device`` begins with this: its maker's software stack is another."""
    stack: Text = ""
    """Serving software whose attention kernels were measured, as families' files name them."""
    about: Text
    host_s: NonNegative = 0.0
    """The host's work on one call that the clock saw [s]."""
    host_ahead: Fraction01 = 1.0
    """Share of it before the kernel can start; the rest goes on while the kernel runs."""
    host_ahead_of: Annotated[dict[str, Fraction01], Field(default_factory=dict)]
    """By a row's ``op``: the same of such a call, where it differs."""
    host_multiples: Annotated[dict[str, NonNegative], Field(default_factory=dict)]
    """By a row's ``op``: times ``host_s`` that such a call takes the host (one, where it does not stand here)."""
    hosts: Annotated[dict[str, NonNegative], Field(default_factory=dict)]
    """By how a row's ``device`` begins: times that ``host_s`` and ``host_kernel_s`` are on the host of the machine that
    held it, where a source measured on machines with different ones."""
    host_kernel_s: NonNegative = 0.0
    """The host's work on each further kernel of a call, none of which is hidden behind short kernels [s]."""
    floor_s: NonNegative = 0.0
    """Nothing shorter was measured [s]."""
    launches: Flag = False
    """The clock saw the gap between queued kernels."""
    resolution_s: NonNegative = 0.0
    """Times are whole multiples of this [s]."""
    weights_warm: Flag = True
    """Weights are in the last cache, where they fit."""
    weight_copies: Count = 1
    """Copies of the weights that calls use in turn."""
    activations_warm: Flag = True
    """The same of activations."""
    array_functions: Flag = False
    """Softmax, norms, GELU and attention are sequences of array functions, each over whole arrays."""
    local_experts: Flag = False
    """Of a mixture of experts spread over devices, all tokens choose among the experts of the device that was timed."""
    activity: Annotated[float, Field(gt=0, le=2, strict=True, description="a number > 0 and <= 2")] = 1.0
    """Switching of the operands' bits, and so energy of multiplying, against random operands."""
    burst_s: NonNegative = 0.0
    """Of a call's time in which no power counts, as a run of a few calls ends before the power limit averages over it:
    the limit's window over the calls of a run [s]."""
    few_channels: Flag = True
    """Its library has kernels of tensor cores for convolutions of few channels (cuDNN from version 8 on)."""
    half_convolutions: Flag = False
    """Its library multiplies convolutions of numbers kept in FP16 in FP16 where lanes are faster in it, whatever format
    the row names."""
    on_lanes: tuple[DTypeName, ...] = ()
    """Formats that its library multiplies on SIMD lanes (INT8 by DP4A), though the device has tensor cores for them."""
    norm_threads: Annotated[int, Field(ge=32, le=1024, strict=True, description="a whole number from 32 to 1024")] = 128
    """Threads that its software's layer norm gives a row to."""
    library: Annotated[float, Field(gt=0, le=2, strict=True, description="a number > 0 and <= 2")] = 1.0
    """Speed of the products' main loops against the library that the family's factors were fitted on: older ones are
    slower."""

    kernels: Annotated[tuple[ChosenKernel, ...], Field(description="a list of tables")] = ()
    """That its software takes for products by their shape: of those that fit, the last."""
    quantising: Annotated[dict[str, Quantising], Field(default_factory=dict)]
    """By a row's ``dtype``, as the file spells it."""
    meter: Meter | None = None
    """How its power was read; absent: a kernel's own mean power is what was noted."""

    def quantising_s(self, dtype: str, op: Op) -> float:
        """What a row in this format does beside its op [s]."""
        one = self.quantising.get(dtype)
        return one.seconds(op) if one else 0.0

    def run(self, dtype: str, family: str | None) -> Run:
        """How its kernels of a row in this format ran on a device of a family."""
        key = (dtype, family)
        if key not in self._runs:
            self._runs[key] = Run(
                activity=self.activity,
                burst_s=self.burst_s,
                library=self.library,
                few_channels=self.few_channels,
                on_lanes=self.on_lanes,
                norm_threads=self.norm_threads,
                stack=self.stack,
                kernels=tuple(kernel for kernel in self.kernels if (kernel.dtype, kernel.family) == key),
            )
        return self._runs[key]

    @cached_property
    def _runs(self) -> dict[tuple[str, str | None], Run]:
        return {}

    def seen_s(self, op: str, busy_s: float, further: int = 0, device: str = "") -> float:
        """What the clock shows of a row of kind ``op`` whose kernels, one and ``further`` ones, take ``busy_s``."""
        host = next((times for begin, times in self.hosts.items() if device.startswith(begin)), 1.0)
        host_s = host * self.host_s * self.host_multiples.get(op, 1.0)
        ahead_s = self.host_ahead_of.get(op, self.host_ahead) * host_s
        seen = max(busy_s + ahead_s + further * host * self.host_kernel_s, host_s, self.floor_s)
        if self.resolution_s:
            seen = max(1, round(seen / self.resolution_s)) * self.resolution_s
        return seen


@cache
def protocols() -> tuple[Protocol, ...]:
    """All that ship, by name."""
    files = sorted((resource_dir("hwconfigs") / "protocols").glob("*.toml"))
    return tuple(validate(Protocol, read_toml(file, file.name), file.name) for file in files)


def protocol_for(row: Measurement) -> Protocol:
    """The protocol of a row. Raises InputError, with its line, for a source that has none."""
    try:
        return protocol_of(*map(row.text, ("source_repo", "timing", "framework", "device")))
    except InputError as error:
        raise InputError(*(f"line {row.number}, {problem}" for problem in error.problems)) from None


@cache
def protocol_of(source_repo: str, timing: str, framework: str = "", device: str = "") -> Protocol:
    """The protocol of a row; the more of it a protocol names, the better it fits.

    Raises InputError for a source that has none.
    """
    fitting = [
        (
            sum(
                map(
                    len,
                    (
                        p.source_repo,
                        p.framework,
                        p.maker,
                        max((t for t in p.timing if t in timing), key=len, default=""),
                    ),
                )
            ),
            p,
        )
        for p in protocols()
        if source_repo.startswith(p.source_repo)
        and (not p.timing or any(t in timing for t in p.timing))
        and framework.startswith(p.framework)
        and device.startswith(p.maker)
    ]
    if not fitting:
        known = ", ".join(dict.fromkeys(p.source_repo for p in protocols()))
        raise InputError(f"source_repo {source_repo!r}: no protocol says how it measured; known are {known}")
    return max(fitting, key=lambda pair: pair[0])[1]
