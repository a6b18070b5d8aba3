"""SCALE-Sim's ``.cfg`` files as devices: an array, three SRAMs and the interface behind them."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.errors import ConfigError, nearest
from accelsim.base.resources import resource_dir
from accelsim.hardware.files import read_text, read_toml
from accelsim.hardware.part import MAX_DIMENSION

IDEAL = "ideal_systolic"
DATAFLOWS = ("os", "ws", "is")
MODES = ("CALC", "USER")
SRAMS = {"ifmap_sram": "IfmapSramSzkB", "filter_sram": "FilterSramSzkB", "ofmap_sram": "OfmapSramSzkB"}
INTERFACES = 3
"""Image, filters and results each have one of ``Bandwidth`` words a cycle."""

WORD_BYTES = 1
"""Of a word, as SCALE-Sim counts them."""

_KNOWN = ("ArrayHeight", "ArrayWidth", "Dataflow", "Bandwidth", "InterfaceBandwidth", *SRAMS.values())


def device_data(path: Path, label: str) -> dict[str, Any]:
    """What a device file would say that describes the accelerator of a SCALE-Sim configuration.

    ``InterfaceBandwidth = CALC`` asks for a machine that never waits for memory, whatever its SRAMs hold: that is
    ``ideal_systolic``. With ``USER`` the SRAMs have their sizes, half of each filling while the other is used, before
    one DRAM that is as wide as the three interfaces together. Its clock is ``ideal_systolic``'s, 1 GHz, for SCALE-Sim
    has none. ``SparsitySupport = false`` makes an array that refuses sparse filters. Raises ConfigError with a line for
    each thing that is wrong.
    """
    entries = _Entries(label, read_text(path, label))
    rows, cols = entries.number("ArrayHeight"), entries.number("ArrayWidth")
    dataflow = entries.choice("Dataflow", DATAFLOWS, str.lower)
    mode = entries.choice("InterfaceBandwidth", MODES, str.upper, "CALC")
    sizes_kb = {name: entries.number(key, key.removesuffix("kB")) for name, key in SRAMS.items()}
    words = entries.numbers("Bandwidth") if mode == "USER" else [0]
    sparse = entries.choice("SparsitySupport", ("true", "false"), str.lower, "true")
    entries.finish()

    shipped = resource_dir("hwconfigs") / "devices" / f"{IDEAL}.toml"
    data: dict[str, Any] = copy.deepcopy(read_toml(shipped, shipped.name))
    held = "/".join(str(size) for size in sizes_kb.values())
    data["name"] = _name(entries.text("run_name", path.stem))
    data["description"] = f"SCALE-Sim's {rows} x {cols} {dataflow} array, SRAMs of {held} kB, InterfaceBandwidth {mode}"
    data["core"]["matrix"] |= {"rows": rows, "cols": cols, "dataflow": dataflow, "source": label}
    if sparse == "false":
        data["core"]["matrix"]["sparsity"] = []
    if mode == "USER":
        total = sum(words) if len(words) > 1 else INTERFACES * words[0]
        for memory in data["memory"]:
            memory |= {"capacity_bytes": sizes_kb[memory["name"]] * 1024, "double_buffered": True, "source": label}
        data["memory"].append(_dram(total * WORD_BYTES * data["core"]["matrix"]["freq_hz"], label))
    return data


def _dram(bandwidth_bytes_per_s: float, label: str) -> dict[str, Any]:
    return {
        "name": "dram",
        "kind": "dram",
        "scope": "device",
        "capacity_bytes": MAX_DIMENSION,
        "bandwidth_bytes_per_s": float(bandwidth_bytes_per_s),
        "holds": ["activation", "weight"],
        "energy_pj_per_bit": 20.0,
        "source": f"{label}: Bandwidth words a cycle on each of three interfaces, added up; energy: arXiv 1506.02626",
    }


def _name(run_name: str) -> str:
    """A device's name out of whatever a run is called."""
    name = re.sub(r"[^a-z0-9_]+", "_", run_name.strip("\"' ").lower()).strip("_")
    return name if re.match(r"[a-z]", name) else f"scale_{name}".rstrip("_")


@dataclass
class _Entries:
    """The keys of a file, wherever they stand in it, and everything that is wrong with them."""

    label: str
    said: str
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.found: dict[str, tuple[int, str, str]] = {}
        for line, raw in enumerate(self.said.splitlines(), start=1):
            text = raw.strip()
            if not text or text[0] in "#;[":
                if text.startswith("[") and not text.endswith("]"):
                    self.problems.append(f"{self.label}, line {line}: {text!r}: want a section such as [general]")
                continue
            match = re.fullmatch(r"([^:=]+?)\s*[:=]\s*(.*)", text)
            if match is None:
                self.problems.append(f"{self.label}, line {line}: {text!r}: want KEY : VALUE")
                continue
            key, value = match.groups()
            if key.lower() in self.found:
                other = self.found[key.lower()][0]
                self.problems.append(f"{self.label}, line {line}, {key}: stands on line {other} too")
            self.found.setdefault(key.lower(), (line, key, value.strip()))

    def finish(self) -> None:
        if self.problems:
            raise ConfigError(*self.problems)

    def text(self, key: str, default: str) -> str:
        return self.found.get(key.lower(), (0, key, default))[2]

    def _entry(self, *keys: str) -> tuple[int, str, str] | None:
        for key in keys:
            if key.lower() in self.found:
                return self.found[key.lower()]
        others = {key for _, key, _ in self.found.values()} - {*_KNOWN}
        hint = nearest(keys[0], others).replace("did you mean", "is it meant by")
        self.problems.append(f"{self.label}: {keys[0]}: missing{hint}")
        return None

    def number(self, *keys: str) -> int:
        """A whole number under the first of several spellings."""
        entry = self._entry(*keys)
        return self._whole(*entry) if entry else 1

    def numbers(self, key: str) -> list[int]:
        entry = self._entry(key)
        return [self._whole(entry[0], entry[1], word.strip()) for word in entry[2].split(",")] if entry else [1]

    def _whole(self, line: int, key: str, text: str) -> int:
        number = int(text) if re.fullmatch(r"[0-9]{1,20}", text) else 0
        if not 1 <= number <= MAX_DIMENSION // 1024:
            self.problems.append(f"{self.label}, line {line}, {key}: {text!r}: want a whole number from 1 to 2^30")
            return 1
        return number

    def choice(self, key: str, known: tuple[str, ...], fold: Callable[[str], str], default: str | None = None) -> str:
        entry = (0, key, default) if default and key.lower() not in self.found else self._entry(key)
        if entry is None:
            return known[0]
        line, key, text = entry
        if fold(text) not in known:
            wanted = f"want one of {', '.join(known)}{nearest(fold(text), known)}"
            self.problems.append(f"{self.label}, line {line}, {key}: {text!r}: {wanted}")
            return known[0]
        return fold(text)
