"""Device files into devices: shipped ones by name, others by path, any field overridden."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from accelsim.base.errors import ConfigError, meant, nearest
from accelsim.base.resources import resource_dir
from accelsim.hardware.device import Device
from accelsim.hardware.energy import table_problems
from accelsim.hardware.files import (
    Loc,
    bare,
    fields_at,
    is_number,
    is_optional,
    problems,
    read_toml,
    sections,
    spell,
    validate,
)
from accelsim.hardware.scalesim import device_data

Value = str | int | float | bool | list[Any] | tuple[Any, ...]
"""What a field can be set to; text is read as on the command line."""

FROM_SET = "set by the user (--set)"
"""The source of a section that only overrides made."""


def _shipped_folder() -> Path:
    return resource_dir("hwconfigs") / "devices"


def device_names() -> list[str]:
    """Names of the devices that ship with accelsim, sorted."""
    return sorted(path.stem for path in (resource_dir("hwconfigs") / "devices").glob("*.toml"))


@cache
def aliases() -> dict[str, str]:
    """Other names of the devices that ship, as measured files spell them, and the device that each means."""
    found: dict[str, str] = {}
    for name in device_names():
        data = read_toml(resource_dir("hwconfigs") / "devices" / f"{name}.toml", f"{name}.toml")
        found |= {str(alias): name for alias in data.get("aliases", [])}
    return found


def load_device(name_or_path: str | os.PathLike[str], overrides: Mapping[str, Value] | None = None) -> Device:
    """Load a shipped device by name, or a device file (or SCALE-Sim's .cfg) by path, with fields set to other values.

    ``overrides`` names fields as ``--set`` does: ``core.matrix.rows``, ``dram.bandwidth_bytes_per_s`` (memories and
    the host's link by their names). Raises ConfigError with one line for each thing that is wrong.
    """
    path, label = _find(name_or_path)
    if not overrides and path.parent == _shipped_folder() and path.is_file():
        return _shipped(path, label, path.stat().st_mtime_ns)
    return _loaded(path, label, overrides or {})


@cache
def _shipped(path: Path, label: str, changed_ns: int) -> Device:
    """A shipped device, read once for as long as its file does not change."""
    return _loaded(path, label, {})


def _loaded(path: Path, label: str, overrides: Mapping[str, Value]) -> Device:
    data = _read(path, label)
    device = validate(Device, data, label)
    if overrides:
        changed = _override(device, data, overrides, path, label)
        idle = [*_idle(changed, overrides)]
        if idle:
            raise ConfigError(*idle)
        return changed
    device = _beside(device, path)
    found = _cross_problems(device)
    if found:
        raise ConfigError(*(f"{label}: {problem}" for problem in found))
    return device


def check_device_file(path: str | os.PathLike[str]) -> list[str]:
    """All that is wrong with a device file, one line each; empty where nothing is."""
    try:
        load_device(path)
    except ConfigError as error:
        return list(error.problems)
    return []


def device_sha256(device: Device) -> str:
    """Hash of all that a device says after overrides, independent of the order of keys in its file."""
    said = device.model_dump(mode="json")
    said["energy_node"] = Path(device.energy_node).name  # where a checkout lies is no part of a device
    if device.host:
        said["host"]["device"] = Path(device.host.device).name
    text = json.dumps(said, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path, label: str) -> dict[str, Any]:
    """Return what a device file and its family's say, or what one would say of a SCALE-Sim configuration."""
    if path.suffix.lower() == ".cfg":
        return device_data(path, label)
    data = read_toml(path, label)
    if isinstance(data.get("family"), str) and "factors" not in data:
        data["factors"] = _family(data["family"], path, f"{label}: family")
    return data


def family_names() -> list[str]:
    """Names of the families whose factors ship with accelsim, sorted."""
    return sorted(path.stem for path in (resource_dir("hwconfigs") / "families").glob("*.toml"))


def _family(name: str, device: Path, where: str) -> dict[str, Any]:
    """The factors of a family: from a file beside the device's (as `accelsim calibrate` writes), else a shipped one."""
    names = family_names()
    beside = device.parent / f"{name}.toml"
    if re.fullmatch(r"\w+", name) and beside != device and beside.is_file():
        return read_toml(beside, beside.name)
    if name not in names:
        raise ConfigError(f"{where}: got {name!r}; want one of {', '.join(names)}{nearest(name, names)}")
    return read_toml(resource_dir("hwconfigs") / "families" / f"{name}.toml", f"{name}.toml")


def _find(name_or_path: str | os.PathLike[str]) -> tuple[Path, str]:
    """Find the file of a device and how to call it in messages."""
    text = os.fspath(name_or_path)
    if re.fullmatch(r"\w+", text) and (_shipped_folder() / f"{text}.toml").is_file():
        return _shipped_folder() / f"{text}.toml", f"{text}.toml"
    names = device_names()
    if text not in names:
        text = aliases().get(text, text)
    if text in names:
        return resource_dir("hwconfigs") / "devices" / f"{text}.toml", f"{text}.toml"
    path = Path(text)
    if text.endswith((".toml", ".cfg")) or path.name != text or (text and "\0" not in text and path.exists()):
        return path, text
    raise ConfigError(
        f"device {text!r}: unknown{meant(text, names)}; want a path to a device file, or a name that "
        "`accelsim list devices` shows"
    )


def _beside(device: Device, path: Path) -> Device:
    """Let the names of other files in a device file be relative to it."""
    changes: dict[str, Any] = {}
    if device.energy_node.endswith(".toml") and (path.parent / device.energy_node).exists():
        changes["energy_node"] = str(path.parent / device.energy_node)
    if device.host and device.host.device.endswith(".toml") and (path.parent / device.host.device).exists():
        changes["host"] = device.host.model_copy(update={"device": str(path.parent / device.host.device)})
    return device.model_copy(update=changes) if changes else device


def _idle(device: Device, overrides: Mapping[str, Value]) -> Iterator[str]:
    """Overrides that change nothing, because the file says something stronger."""
    for key in overrides:
        name = key.removeprefix("memory.").removesuffix(".dram_type")
        if name == key.removeprefix("memory."):
            continue
        memory = device.memory_named(name)
        if memory.energy_pj_per_bit is not None and not memory.bank_timing:
            yield (
                f"--set {key}: changes nothing, for {name}.energy_pj_per_bit = {memory.energy_pj_per_bit:g} goes "
                f"before the type's; want --set {name}.energy_pj_per_bit=none with it"
            )


def _cross_problems(device: Device) -> list[str]:
    """Say what is wrong between files: the host's device and the energy table."""
    found = table_problems(device)
    if device.host:
        found += [f"host.device: {problem}" for problem in _host_problems(device.host.device)]
    return found


def _host_problems(name: str) -> list[str]:
    try:
        path, label = _find(name)
        host = validate(Device, _read(path, label), label)
    except ConfigError as error:
        return list(error.problems)
    return [f"{name!r} has a host of its own; want a device without [host]"] if host.host else []


# Overrides


def field_values(device: Device) -> dict[str, Any]:
    """Return every field of a device by the path that ``--set`` takes, parts by their names, with its value."""
    return dict(_field_values(device))


def _field_values(device: Device) -> Iterator[tuple[str, Any]]:
    yield from _leaves("", device, skip=("memory",))
    for memory in device.memory:
        yield from _leaves(memory.name, memory)


def _leaves(prefix: str, section: BaseModel, skip: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        path = f"{prefix}.{name}" if prefix else name
        if name in skip:
            continue
        if isinstance(value, BaseModel):
            yield from _leaves(path, value)
        elif isinstance(value, dict):
            yield from ((f"{path}.{key}", item) for key, item in value.items())
        else:
            yield path, value


def _override(device: Device, data: dict[str, Any], overrides: Mapping[str, Value], path: Path, label: str) -> Device:
    """Return the device with fields set; ``data`` is its file's content, known to be right."""
    changed = copy.deepcopy(data)
    places: dict[Loc, str] = {}
    wrong: list[str] = []
    # A family says all factors, and a kind decides which fields there are.
    for key in sorted(overrides, key=lambda k: (k != "family", not k.endswith(".kind"))):
        try:
            loc, annotation = _resolve(key, device, changed)
            value = _read_value(overrides[key], annotation)
            _put(changed, loc, value)
            if key == "family" and isinstance(value, str):
                changed["factors"] = _family(value, path, "--set family")
            places[loc] = key
        except ConfigError as error:
            wrong += error.problems
    if wrong:
        raise ConfigError(*wrong)
    try:
        device = _beside(Device.model_validate(changed), path)
        wrong = _cross_problems(device)
    except ValidationError as error:
        wrong = problems(error, Device, changed)
    if wrong:
        keys = {spell(loc, changed): key for loc, key in places.items()}
        raise ConfigError(*(_blame(line, keys, label) for line in wrong))
    return device


def _blame(line: str, keys: Mapping[str, str], label: str) -> str:
    """Return a line ``path: what is wrong`` as one about the ``--set`` that it is about."""
    path, said = line.split(": ", 1)
    for spelled, key in keys.items():
        if path == spelled or path.startswith((f"{spelled}.", f"{spelled}[")):
            return f"--set {key}{path.removeprefix(spelled)}: {said}"
    return f"{label} with --set {', '.join(keys.values())}: {line}"


def _resolve(key: str, device: Device, data: Mapping[str, Any]) -> tuple[Loc, Any]:
    """Find the place that ``key`` names, and its annotation."""
    parts = key.split(".")
    loc, rest = _start(parts, device)
    annotation = _annotation_at(loc, data)
    for part in rest:
        inner = bare(annotation)
        siblings = fields_at(_kind_of(annotation, _value_at(data, loc)))
        if get_origin(inner) is dict and part:
            annotation = get_args(inner)[1]
        elif part in siblings:
            annotation = siblings[part]
        else:
            raise ConfigError(_unknown(key, loc, siblings, device))
        loc = (*loc, part)
    if sections(annotation) or get_origin(bare(annotation)) is dict or loc == ("memory",):
        inside = fields_at(annotation) or _value_at(data, loc) or ()
        entries = ", ".join(item["name"] if isinstance(item, dict) else str(item) for item in inside)
        raise ConfigError(f"--set {key}: is a section; set one of its fields: {entries}")
    return loc, annotation


def _start(parts: list[str], device: Device) -> tuple[Loc, list[str]]:
    """Where the path begins: a memory or link by its name, or the device."""
    names = [m.name for m in device.memory]
    if parts[0] == "memory" and len(parts) > 1 and parts[1] in names:
        return ("memory", names.index(parts[1])), parts[2:]
    if parts[0] in Device.model_fields:
        return (), parts
    if parts[0] in names:
        return ("memory", names.index(parts[0])), parts[1:]
    if device.host and parts[0] == device.host.link.name:
        return ("host", "link"), parts[1:]
    return (), parts


def _annotation_at(loc: Loc, data: Mapping[str, Any]) -> Any:
    annotation: Any = Device
    for part in loc:
        annotation = get_args(bare(annotation))[0] if isinstance(part, int) else fields_at(annotation)[part]
    return annotation


def _value_at(data: Any, loc: Loc) -> Any:
    for part in loc:
        if isinstance(data, Mapping) and part not in data:
            return None
        data = data[part]
    return data


def _kind_of(annotation: Any, value: Any) -> Any:
    """Choose the one section of a union that ``value`` says it is, else all of them."""
    kind = value.get("kind") if isinstance(value, Mapping) else None
    for model in sections(annotation):
        if (
            kind is not None
            and len(sections(annotation)) > 1
            and kind in get_args(model.model_fields["kind"].annotation)
        ):
            return model
    return annotation


def _unknown(key: str, loc: Loc, siblings: Mapping[str, Any], device: Device) -> str:
    guess = nearest(key, field_values(device))
    if loc and loc != ("memory",):
        return f"--set {key}: unknown field{guess}; known here: {', '.join(siblings) or 'nothing below it'}"
    parts = [m.name for m in device.memory]
    if not loc:
        parts = [*Device.model_fields, *parts] + ([device.host.link.name] if device.host else [])
        guess = guess or nearest(key.split(".")[0], parts)
    return f"--set {key}: unknown field{guess}; {device.name} has {', '.join(parts)}"


def _put(data: dict[str, Any], loc: Loc, value: Any) -> None:
    """Set a place; sections on the way are made. None takes the key away."""
    where: Any = data
    annotation: Any = Device
    for part in loc[:-1]:
        annotation = get_args(bare(annotation))[0] if isinstance(part, int) else fields_at(annotation)[part]
        if isinstance(where, dict) and part not in where:
            where[part] = {"source": FROM_SET} if sections(annotation) else {}
        where = where[part]
    if value is None:
        where.pop(loc[-1], None)
    else:
        where[loc[-1]] = value


def _read_value(value: Value, annotation: Any) -> Any:
    """Return a value as the file would hold it; text that is none of these is left for the model to refuse."""
    if not isinstance(value, str):
        return list(value) if isinstance(value, tuple) else value
    text = value.strip()
    if text == "none" and is_optional(annotation):
        return None
    if is_number(annotation):
        return _read_number(text)
    inner = bare(annotation)
    if inner is bool:
        return {"true": True, "false": False}.get(text, text)
    if get_origin(inner) is tuple:
        return _read_list(text, annotation)
    return text


def _read_number(text: str) -> int | float | str:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return text


def _read_list(text: str, annotation: Any) -> Any:
    if not text.startswith("["):
        return [item.strip() for item in text.split(",")] if text else []
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text
