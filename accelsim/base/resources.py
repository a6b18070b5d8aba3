"""Where the files that ship with accelsim are, in a wheel and in a checkout alike."""

from __future__ import annotations

from pathlib import Path

from accelsim.base.errors import ConfigError

PACKAGE = Path(__file__).resolve().parent.parent


def resource_dir(name: str) -> Path:
    """Return the folder ``hwconfigs``, ``workloads`` or ``labs``: the installed package's own, else the checkout's.

    Raises ConfigError where neither is there.
    """
    places = (PACKAGE / "_data" / name, PACKAGE.parent / name)
    for place in places:
        if place.is_dir():
            return place
    raise ConfigError(f"{name}: this installation of accelsim lacks its files; looked in {places[0]} and {places[1]}")
