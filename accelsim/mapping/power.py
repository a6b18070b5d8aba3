"""A power limit sets the clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from accelsim.base.units import PS_PER_S
from accelsim.mapping.machine import Machine
from accelsim.mapping.memo import Memo


@dataclass(frozen=True, slots=True)
class Clocked:
    """A task at the clock that its power allows; times in ps."""

    duration: float
    floor: float
    """What the power limit alone asks for."""
    fraction: float
    """Of the nominal clock."""
    energy_scale: float
    """(V / V_nominal)**2."""


def clocked(
    machine: Machine, energy_pj: tuple[float, float], time: Callable[[float], float], core_w: float = 0.0
) -> Clocked:
    """Run at the highest clock whose average dynamic power fits; below the lowest clock, memory is throttled.

    ``energy_pj`` is dynamic energy on and off the chip at nominal voltage, ``time(fraction)`` the duration at a
    fraction of the clock [ps]. As 1 pJ/ps is 1 W, energy over power is the time that the limit asks for. Energy falls
    and time grows with a falling clock, so one crossing exists and bisection finds it; of the two clocks around it the
    faster outcome is taken. ``machine.run.burst_s`` is time that the limit does not yet see. ``core_w`` is what the
    cores' own cycles draw at the nominal clock and voltage [W]: with the clock there are fewer of them.
    """
    on_chip, off_chip = energy_pj
    times = Memo(time)
    burst = machine.run.burst_s * PS_PER_S

    def needed(fraction: float, scale: float) -> float:
        own = core_w * fraction * times[fraction] if core_w else 0.0
        return ((on_chip + own) * scale + off_chip) / machine.power_w - burst  # type: ignore[operator]

    def at(fraction: float) -> Clocked:
        scale = machine.device.voltage_scale(fraction) ** 2
        floor = needed(fraction, scale)
        return Clocked(max(times[fraction], floor), floor, fraction, scale)

    def fits(fraction: float) -> bool:
        scale = machine.device.voltage_scale(fraction) ** 2
        return needed(fraction, scale) <= times[fraction]

    if machine.power_w is None:
        return Clocked(times[1.0], 0.0, 1.0, 1.0)
    if fits(1.0):
        return at(1.0)
    clocks = machine.clocks
    low, high = 0, len(clocks) - 1
    if not fits(clocks[low]):
        return min(at(clocks[low]), at(clocks[high]), key=lambda c: c.duration)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(clocks[middle]) else (low, middle)
    return min(at(clocks[low]), at(clocks[high]), key=lambda c: c.duration)
