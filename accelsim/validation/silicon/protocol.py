"""How a source of data measured: what its clock saw beside the kernel, and what was in the caches.

A protocol belongs to a source, never to a device or a shape; the files are ``hwconfigs/protocols/*.toml``.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated

from pydantic import Field

from accelsim.base.errors import InputError
from accelsim.base.resources import resource_dir
from accelsim.hardware.files import read_toml, validate
from accelsim.hardware.part import Flag, Name, NonNegative, Part, Text


class Protocol(Part):
    """One way of measuring."""

    name: Name
    source_repo: Text
    """Rows whose ``source_repo`` begins with this were measured so."""
    timing: Annotated[tuple[Text, ...], Field(description="a list of texts")] = ()
    """... and whose ``timing`` contains one of these (any, where there is none)."""
    about: Text
    host_s: NonNegative = 0.0
    """Of the host's work that the clock saw, before or after the kernel [s]."""
    floor_s: NonNegative = 0.0
    """Nothing shorter was measured [s]."""
    launches: Flag = False
    """The clock saw the gap between queued kernels."""
    resolution_s: NonNegative = 0.0
    """Times are whole multiples of this [s]."""
    weights_warm: Flag = True
    """Weights are in the last cache, where they fit."""
    activations_warm: Flag = True
    """The same of activations."""


@cache
def protocols() -> tuple[Protocol, ...]:
    """All that ship, by name."""
    files = sorted((resource_dir("hwconfigs") / "protocols").glob("*.toml"))
    return tuple(validate(Protocol, read_toml(file, file.name), file.name) for file in files)


@cache
def protocol_of(source_repo: str, timing: str) -> Protocol:
    """The protocol of a row; the more its ``source_repo`` and ``timing`` say, the better it fits.

    Raises InputError for a source that has none.
    """
    fitting = [
        (len(p.source_repo) + max((len(t) for t in p.timing if t in timing), default=0), p)
        for p in protocols()
        if source_repo.startswith(p.source_repo) and (not p.timing or any(t in timing for t in p.timing))
    ]
    if not fitting:
        known = ", ".join(dict.fromkeys(p.source_repo for p in protocols()))
        raise InputError(f"source_repo {source_repo!r}: no protocol says how it measured; known are {known}")
    return max(fitting, key=lambda pair: pair[0])[1]
