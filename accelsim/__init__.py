"""accelsim: a cycle-approximate, discrete-event simulator of deep-learning accelerators.

>>> import accelsim
>>> result = accelsim.simulate("tpu_v1", "tpu_v1_mlp0", batch=200)
>>> result.latency_s >= result.roofline_latency_s
True
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelsim.analysis.result import Result
    from accelsim.base.errors import AccelsimError, InputError
    from accelsim.hardware.device import Device
    from accelsim.hardware.loader import load_device
    from accelsim.simulation import Options, simulate
    from accelsim.workload.graph import Graph
    from accelsim.workload.library import load_workload

__all__ = [
    "AccelsimError",
    "Device",
    "Graph",
    "InputError",
    "Options",
    "Result",
    "load_device",
    "load_workload",
    "simulate",
]

_HOMES = {
    "AccelsimError": "accelsim.base.errors",
    "Device": "accelsim.hardware.device",
    "Graph": "accelsim.workload.graph",
    "InputError": "accelsim.base.errors",
    "Options": "accelsim.simulation",
    "Result": "accelsim.analysis.result",
    "load_device": "accelsim.hardware.loader",
    "load_workload": "accelsim.workload.library",
    "simulate": "accelsim.simulation",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for: ``accelsim --help`` loads none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'accelsim' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
