"""SCALE-Sim and accelsim on the same files in one run: AlexNet on a 32 x 32 weight-stationary array.

    python benchmarks/scalesim_alexnet.py [--peer-python PYTHON] [--json FILE]

SCALE-Sim (``scalesim==3.0.0 'numpy<2'``) gets an environment of its own in a temporary folder, made with uv where there
is one, else with venv; ``--peer-python`` names one that is there already. Both are run as a person runs them, from the
command line, and asked for the cycles of every layer, which are to be the same (SCALE-Sim counts from 0). CPU time and
peak memory are the operating system's for the whole process. In a warm process, the time is what one more simulation
takes (the median of 30); SCALE-Sim's whole run stands for its own, as start-up is less than a second of it.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PEER = ("scalesim==3.0.0", "numpy<2")
WARM_RUNS = 30


@dataclass(frozen=True)
class Cost:
    """What a process took."""

    cpu_s: float
    wall_s: float
    peak_rss_mb: float
    cycles: tuple[int, ...]
    """Of each layer."""


def spent(command: list[str], folder: Path, env: dict[str, str] | None = None) -> tuple[float, float, float]:
    """CPU and wall time [s] and peak memory [MB] of a process and its children."""
    with open(folder / "log.txt", "w") as log:
        started = time.perf_counter()
        child = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=env)
        _, status, usage = os.wait4(child.pid, 0)
        wall_s = time.perf_counter() - started
    if status:
        said = (folder / "log.txt").read_text()[-2000:]
        sys.exit(f"{' '.join(command)}: exit status {os.waitstatus_to_exitcode(status)}\n{said}")
    return usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024


def peer_python(folder: Path) -> str:
    """A Python that has SCALE-Sim."""
    python = folder / "peer" / "bin" / "python"
    uv = shutil.which("uv")
    if uv:
        subprocess.run([uv, "venv", "-q", str(folder / "peer")], check=True)
        subprocess.run([uv, "pip", "install", "-q", "--python", str(python), *PEER], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", str(folder / "peer")], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PEER], check=True)
    return str(python)


def read_cycles(report: Path) -> tuple[int, ...]:
    """``Total Cycles`` of each layer of a COMPUTE_REPORT.csv."""
    with report.open() as file:
        rows = list(csv.DictReader(file, skipinitialspace=True))
    return tuple(int(float(row["Total Cycles"])) for row in rows if row["LayerID"].isdigit())


def run_peer(python: str, folder: Path) -> Cost:
    (folder / "peer_out").mkdir()
    files = ("-c", HERE / "alexnet_32x32_ws.cfg", "-t", HERE / "alexnet.csv", "-l", layout(folder))
    command = [python, "-m", "scalesim.scale", *map(str, files), "-p", str(folder / "peer_out")]
    cost = spent(command, folder)
    (report,) = (folder / "peer_out").glob("*/COMPUTE_REPORT.csv")
    return Cost(*cost, tuple(n + 1 for n in read_cycles(report)))


def layout(folder: Path) -> Path:
    """The file of data layouts that SCALE-Sim 3 wants, unused here: 20 ones for each layer."""
    layers = [line.split(",")[0] for line in (HERE / "alexnet.csv").read_text().splitlines()]
    path = folder / "layout.csv"
    path.write_text("".join(f"{name}," + "1," * 20 + "\n" for name in layers))
    return path


def run_ours(folder: Path) -> Cost:
    command = [sys.executable, "-m", "accelsim", "run", str(HERE / "alexnet_32x32_ws.cfg"), str(HERE / "alexnet.csv"),
               "--reports", str(folder / "ours")]  # fmt: skip
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    cost = spent(command, folder, {**os.environ, "PYTHONPATH": os.pathsep.join(paths)})
    return Cost(*cost, read_cycles(folder / "ours" / "COMPUTE_REPORT.csv"))


def warm_s() -> tuple[float, float]:
    """CPU time of one more simulation [s]: with device and workload at hand, and from the files."""
    sys.path.insert(0, str(HERE.parent))
    from accelsim.hardware.loader import load_device
    from accelsim.simulation import simulate
    from accelsim.workload.library import load_workload

    device_file, workload_file = HERE / "alexnet_32x32_ws.cfg", str(HERE / "alexnet.csv")
    device, graph = load_device(device_file), load_workload(workload_file)

    def median(run: Callable[[], object]) -> float:
        times = []
        for _ in range(WARM_RUNS):
            before = time.process_time()
            run()
            times.append(time.process_time() - before)
        return sorted(times)[len(times) // 2]

    return median(lambda: simulate(device, graph)), median(lambda: simulate(device_file, workload_file))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer-python", help="a Python that has SCALE-Sim 3.0.0 already")
    parser.add_argument("--json", metavar="FILE", help="write the numbers")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        run_ours(folder)  # bytecode is compiled once
        ours = run_ours(folder)
        warm, warm_files = warm_s()
        peer = run_peer(args.peer_python or peer_python(folder), folder)
    print(f"AlexNet on 32 x 32 ws, {len(ours.cycles)} layers, {sum(ours.cycles)} cycles; "
          f"{'the same' if ours.cycles == peer.cycles else 'NOT the same'} in both")  # fmt: skip
    print(f"{'':34}{'CPU s':>10}{'peak MB':>10}{'less CPU':>12}")
    for name, cpu_s, rss_mb in (
        ("SCALE-Sim 3.0.0, whole process", peer.cpu_s, peer.peak_rss_mb),
        ("accelsim, whole process", ours.cpu_s, ours.peak_rss_mb),
        ("accelsim, warm, from the files", warm_files, None),
        ("accelsim, warm", warm, None),
    ):
        memory = "" if rss_mb is None else f"{rss_mb:.0f}"
        print(f"{name:34}{cpu_s:>10.4g}{memory:>10}{peer.cpu_s / cpu_s:>11,.0f}x")
    if args.json:
        said = {"peer": asdict(peer), "ours": asdict(ours), "warm_cpu_s": warm, "warm_from_files_cpu_s": warm_files,
                "peak_rss_of_this_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}  # fmt: skip
        Path(args.json).write_text(json.dumps(said, indent=2) + "\n")
    sys.exit(0 if ours.cycles == peer.cycles else 1)


if __name__ == "__main__":
    main()
