"""What runs the kernels: a library on a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from accelsim.base.errors import InputError
from accelsim.study.measure.cases import Case

Call = Callable[[], object]

BACKENDS = ("numpy", "torch")


class Backend(Protocol):
    """A library on a device, with so many threads."""

    @property
    def name(self) -> str:
        """``numpy`` or ``torch``."""

    @property
    def device(self) -> str:
        """The CPU's or GPU's name."""

    @property
    def framework(self) -> str:
        """The library and what it calls, with versions."""

    @property
    def dtypes(self) -> Sequence[str]:
        """Formats that it computes in."""

    @property
    def defaults(self) -> Sequence[str]:
        """Those that are measured unless the user says others."""

    @property
    def synchronised(self) -> str:
        """How it waits for kernels that run on, in words; empty where none do."""

    def warnings(self) -> Sequence[str]:
        """What the user should know before the measurement."""

    def threads_of(self, op: str) -> int:
        """Threads that such a kernel uses."""

    def prepare(self, case: Case) -> Call | None:
        """A call of the kernel on operands of its own; None where the library has no such kernel."""

    def wait(self) -> None:
        """Return when all calls are done."""


def backend(name: str, device: str, threads: int | None) -> Backend:
    """Open a backend. Raises InputError where it is not installed or has no such device."""
    if name == "numpy":
        from accelsim.study.measure.numpy_backend import NumpyBackend

        if device != "cpu":
            raise InputError(f"--device {device}: numpy computes on the CPU; want --device cpu or --backend torch")
        return NumpyBackend.open(threads)
    if name == "torch":
        from accelsim.study.measure.torch_backend import TorchBackend

        return TorchBackend.open(device, threads)
    raise InputError(f"--backend {name!r}: want one of {', '.join(BACKENDS)}")
