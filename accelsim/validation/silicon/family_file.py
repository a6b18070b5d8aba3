"""A device's factors as the text of a family file, with what was fitted on what."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from accelsim.base.errors import InputError
from accelsim.hardware.device import Device

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def family_text(device: Device, sources: Mapping[str, str], about: Sequence[str]) -> str:
    """The file; ``sources`` replace those of its sections (``tensor``; empty: of the top), ``about`` stands above it.

    Raises InputError for a device without factors.
    """
    if device.factors is None:
        raise InputError(f"{device.name} has no factors")
    data = device.factors.model_dump(exclude_none=True, exclude_defaults=False)
    for section, source in sources.items():
        (data[section] if section else data)["source"] = source
    return "\n".join([*(f"# {line}" for line in about), *_lines(data, ()), ""])


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    """A table's own values, then its tables."""
    inner = {key: value for key, value in table.items() if isinstance(value, Mapping) and value}
    lines = ["", f"[{'.'.join(map(_key, path))}]"] if path else []
    lines += [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not isinstance(value, Mapping)]
    for key, value in inner.items():
        lines += _lines(value, (*path, key))
    return lines


def _key(text: str) -> str:
    return text if BARE_KEY.fullmatch(text) else json.dumps(text)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(float(f"{value:.6g}"))
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return f"[{', '.join(_value(one) for one in value)}]"
