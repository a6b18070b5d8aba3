"""TOML files into validated values: every problem of a file at once, each in one line that says what is wanted."""

from __future__ import annotations

import os
import re
import tomllib
import types
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from accelsim.base.errors import ConfigError, nearest, shortened

Loc = tuple[str | int, ...]
M = TypeVar("M", bound=BaseModel)

_UNITS = {
    "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40,
    "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "hz": 1, "khz": 1e3, "mhz": 1e6, "ghz": 1e9,
    "s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "w": 1, "mw": 1e-3, "kw": 1e3, "nm": 1, "pj": 1,
}  # fmt: skip
_WITH_UNIT = re.compile(r"\s*([0-9][0-9_]*\.?[0-9]*(?:e[+-]?[0-9]+)?)\s*([a-zµ]+)(/s)?\s*", re.IGNORECASE)


def read_text(path: str | os.PathLike[str], label: str, wanted: str = "a text file") -> str:
    """Read a file in UTF-8; a ConfigError says in one line, after ``label``, why it cannot be read."""
    try:
        return Path(path).read_bytes().decode("utf-8")
    except FileNotFoundError:
        reason = "no such file"
    except IsADirectoryError:
        reason = f"is a folder; want {wanted}"
    except PermissionError:
        reason = "may not be read; want a file that you can read"
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"not a text file: byte {error.start} is not UTF-8; want {wanted}"
    except ValueError as error:  # a path with a null byte
        reason = f"cannot be read: {error}"
    raise ConfigError(f"{label}: {reason}")


def read_toml(path: str | os.PathLike[str], label: str) -> dict[str, Any]:
    """Read a TOML file; a ConfigError says in one line, after ``label``, why it cannot be read."""
    text = read_text(path, label, "a TOML file")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        reason = f"not TOML: {error}"
    except ValueError as error:  # a number of thousands of digits
        reason = f"cannot be read: {error}"
    except RecursionError:
        reason = "not TOML that can be read: nested too deeply"
    raise ConfigError(f"{label}: {reason}")


def validate(model: type[M], data: Mapping[str, Any], label: str) -> M:
    """Make a value of ``model``; all that is wrong goes into one ConfigError, each line after ``label``."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = problems(error, model, data)
    raise ConfigError(*(f"{label}: {line}" for line in lines))


def problems(error: ValidationError, model: type[BaseModel], data: Any) -> list[str]:
    """Return each problem as a line ``path: got X; want Y``, in the order of the model's fields."""
    found: list[str] = []
    details = error.errors(include_url=False)
    for detail in details:
        # Pydantic counts the items of a list that are right: one with wrong items only is said to be too short.
        within = any(d["loc"][: len(detail["loc"])] == detail["loc"] for d in details if d is not detail)
        if detail["type"] == "too_short" and within:
            continue
        loc, annotation = _walk(model, detail["loc"])
        found += _lines(dict(detail), loc, annotation, data)
    return list(dict.fromkeys(found))


def _lines(detail: dict[str, Any], loc: Loc, annotation: Any, data: Any) -> Iterable[str]:
    kind, got = detail["type"], detail["input"]
    path = spell(loc, data)
    if kind == "missing":
        return [f"{path}: missing; want {wanted(annotation)}"]
    if kind == "extra_forbidden":
        siblings = fields_at(annotation)
        guess = nearest(str(loc[-1]), siblings) or f"; want one of {', '.join(siblings)}"
        return [f"{path}: unknown key{guess}"]
    if kind == "union_tag_not_found":
        return [f"{path}.kind: missing; want one of {_either(_tags(annotation))}"]
    if kind == "union_tag_invalid":
        tag = detail["ctx"]["tag"]
        return [f"{path}.kind: got {tag!r}; want one of {_either(_tags(annotation))}{nearest(tag, _tags(annotation))}"]
    if kind == "value_error":
        said = str(detail["ctx"]["error"]).split("\n")
        if isinstance(got, Mapping | BaseModel):
            return [f"{path}.{line}" if path else line for line in said]
        return [f"{path}: got {show(got)}; {line}" for line in said]
    hint = without_unit(got, annotation) or _nearest_choice(got, annotation)
    return [f"{path}: got {show(got)}; want {wanted(annotation)}{hint}"]


def _nearest_choice(got: Any, annotation: Any) -> str:
    choices = get_args(bare(annotation)) if get_origin(bare(annotation)) is Literal else ()
    return nearest(got, choices) if isinstance(got, str) else ""


def spell(loc: Loc, data: Any) -> str:
    """Write a place as a person does: ``memory[dram].capacity_bytes``, list items by name where they have one."""
    text = ""
    for part in loc:
        inner = data[part] if _has(data, part) else None
        if isinstance(part, int):
            name = inner.get("name") if isinstance(inner, Mapping) else None
            text += f"[{name}]" if isinstance(name, str) else f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
        data = inner
    return text


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, Mapping):
        return part in data
    return isinstance(data, Sequence) and not isinstance(data, str) and isinstance(part, int) and part < len(data)


def show(value: Any) -> str:
    """Write a value as in the file, cut where it is long."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a table"
    text = repr(value) if isinstance(value, str | int | float | list | tuple) else f"{value} ({type(value).__name__})"
    return shortened(text)


def without_unit(got: Any, annotation: Any) -> str:
    """Return ``", without a unit: 25165824"`` where ``got`` is ``24MiB`` and a number is wanted, else nothing."""
    match = _WITH_UNIT.fullmatch(got) if isinstance(got, str) and is_number(annotation) else None
    if not match or match[2].lower() not in _UNITS:
        return ""
    number = float(match[1]) * _UNITS[match[2].lower()]
    return f", without a unit: {int(number) if number.is_integer() and number < 2**53 else f'{number:g}'}"


# A model's annotations are its schema: what a place is, what it may hold and what to tell who gets it wrong.


@cache
def fields_of(model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of a section with their annotations, descriptions included."""
    hints = get_type_hints(model, include_extras=True)
    return {name: hints[name] for name in model.model_fields}


def bare(annotation: Any) -> Any:
    """Take ``Annotated`` and ``| None`` off; a union of sections stays one."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    if is_union(annotation):
        rest = [arg for arg in get_args(annotation) if arg is not type(None)]
        return bare(rest[0]) if len(rest) == 1 else Union[tuple(rest)]  # noqa: UP007 - made at run time
    return annotation


def is_union(annotation: Any) -> bool:
    """Whether it is written ``A | B``."""
    return get_origin(annotation) in (Union, types.UnionType)


def is_optional(annotation: Any) -> bool:
    """Whether it may be absent: ``A | None``."""
    return is_union(annotation) and type(None) in get_args(annotation)


def is_number(annotation: Any) -> bool:
    """Whether it is a whole or a real number."""
    return bare(annotation) in (int, float)


def sections(annotation: Any) -> tuple[type[BaseModel], ...]:
    """Return the models that may stand there; empty for anything but a section."""
    inner = bare(annotation)
    members = get_args(inner) if is_union(inner) else (inner,)
    return tuple(m for m in members if isinstance(m, type) and issubclass(m, BaseModel))


def fields_at(annotation: Any) -> dict[str, Any]:
    """Return the fields of a section; of all its kinds where there are several, the first with a name defines it."""
    found: dict[str, Any] = {}
    for model in sections(annotation):
        found |= {name: field for name, field in fields_of(model).items() if name not in found}
    return found


def wanted(annotation: Any) -> str:
    """Say what may stand there: a type's own description where it has one."""
    if is_optional(annotation):
        return wanted(next(arg for arg in get_args(annotation) if arg is not type(None)))
    if get_origin(annotation) is Annotated:
        described = [m.description for m in get_args(annotation)[1:] if isinstance(m, FieldInfo) and m.description]
        return described[0] if described else wanted(get_args(annotation)[0])
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return f"one of {_either(arguments)}" if len(arguments) > 1 else repr(arguments[0])
    if origin is tuple:
        items = arguments[:1] if arguments[-1] is Ellipsis else arguments
        count = "" if arguments[-1] is Ellipsis else f"{len(items)} times "
        return f"a list, each item {count}{wanted(items[0])}"
    if origin is dict:
        return f"a table, each value {wanted(arguments[1])}"
    if sections(annotation):
        return f"a section with {', '.join(fields_at(annotation))}"
    return {bool: "true or false", str: "text"}.get(annotation, "another value")


def _either(words: Iterable[str]) -> str:
    return ", ".join(repr(word) for word in words)


def _tags(annotation: Any) -> list[str]:
    return [get_args(fields_of(model)["kind"])[0] for model in sections(annotation)]


def _walk(model: type[BaseModel], loc: Sequence[str | int]) -> tuple[Loc, Any]:
    """Pydantic's place as (place in the file, annotation there); for an unknown key that of its section."""
    annotation: Any = model
    clean: list[str | int] = []
    for part in loc:
        inner = bare(annotation)
        if is_union(inner) and part in _tags(inner):
            annotation = sections(inner)[_tags(inner).index(str(part))]
            continue
        if part == "[key]":
            annotation = get_args(inner)[0] if get_origin(inner) is dict else annotation
            continue
        clean.append(part)
        annotation = _step(inner, part)
    return tuple(clean), annotation


def _step(inner: Any, part: str | int) -> Any:
    """Go one step down."""
    if get_origin(inner) is dict:
        return get_args(inner)[1]
    if get_origin(inner) is tuple:
        arguments = get_args(inner)
        return arguments[0] if arguments[-1] is Ellipsis else arguments[min(int(part), len(arguments) - 1)]
    return fields_at(inner).get(str(part), inner)
