"""What a measurement should say of the machine that it was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

CPU = Path("/sys/devices/system/cpu")


def cpu_name() -> str:
    """The CPU's name; where that says no model (a rented machine's may not), its family, model and cores.

    Written as the maker does, without the marks that ``/proc/cpuinfo`` has.
    """
    facts = _cpuinfo()
    name = facts.get("model name") or platform.processor() or platform.machine() or "unknown CPU"
    name = " ".join(name.replace("(R)", "").replace("(TM)", "").split())
    if any(c.isdigit() for c in name):
        return name
    return f"{name} (family {facts.get('cpu family', '?')}, model {facts.get('model', '?')}, {cores()} cores)"


def cores() -> int:
    """Logical cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        return os.cpu_count() or 1


def flags() -> frozenset[str]:
    """Instruction sets that the CPU names; empty where the system does not tell."""
    return frozenset(_cpuinfo().get("flags", "").split())


def facts() -> dict[str, str]:
    """Everything else: cores, caches, governor, memory, system."""
    info = _cpuinfo()
    found = {
        "cores": str(cores()),
        "cpu_family": info.get("cpu family", ""),
        "cpu_model": info.get("model", ""),
        "simd": " ".join(sorted(f for f in flags() if f.startswith(("avx2", "avx512_", "avx512f", "amx", "fma")))),
        **_caches(),
        "governor": _read(CPU / "cpu0/cpufreq/scaling_governor") or "unknown",
        "memory_kib": _memory_kib(),
        "hypervisor": "yes" if "hypervisor" in flags() else "no",
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }
    return {key: value.replace(";", ",").replace("=", ":") for key, value in found.items() if value}


def _cpuinfo() -> dict[str, str]:
    text = _read(Path("/proc/cpuinfo"))
    lines = (line.partition(":") for line in text.split("\n\n", 1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in lines}


def _caches() -> dict[str, str]:
    found = {}
    for index in sorted(CPU.glob("cpu0/cache/index*")):
        kind, level = _read(index / "type"), _read(index / "level")
        if kind in {"Data", "Unified"} and level:
            found[f"l{level}"] = _read(index / "size")
    return found


def _memory_kib() -> str:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemTotal:"):
            return line.split()[1]
    return ""


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return ""
