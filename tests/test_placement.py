"""Workloads side by side on one device: they share its memory and power, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from accelsim import simulate
from accelsim.base.errors import InputError
from accelsim.cli import cli
from accelsim.hardware.loader import load_device
from accelsim.placement import Placed, read_placement, simulate_together
from accelsim.simulation import Options

DEVICE = "aws_inferentia1"
BATCH = Options(batch=4)


def test_alone_on_its_cores_a_workload_runs_as_ever() -> None:
    (placed,) = simulate_together(DEVICE, [Placed("resnet50", 0, 0)], options=BATCH)
    assert placed.latency_s == pytest.approx(simulate(DEVICE, "resnet50", batch=4).latency_s)


def test_a_neighbour_that_reads_memory_slows_and_never_speeds() -> None:
    (alone,) = simulate_together(DEVICE, [Placed("resnet50", 0, 0)], options=BATCH)
    beside, other = simulate_together(DEVICE, [Placed("resnet50", 0, 0), Placed("bert_base", 1, 1)], options=BATCH)
    assert beside.throughput_items_per_s <= alone.throughput_items_per_s * (1 + 1e-9)
    bandwidth = load_device(DEVICE).memory[-1].bandwidth_bytes_per_s
    moved = sum(r.dram_bytes / r.batch * r.throughput_items_per_s for r in (beside, other))
    assert moved <= bandwidth
    tdp_w = load_device(DEVICE).power.tdp_w
    if tdp_w is not None:
        assert beside.average_power_w + other.average_power_w <= tdp_w


def test_cores_are_those_that_were_asked_for() -> None:
    first, second = simulate_together(DEVICE, [Placed("resnet50", 0, 1), Placed("resnet18", 3, 3)], options=BATCH)
    assert {s.resource for s in first.trace.spans if s.device == DEVICE and s.kind != "transfer"} == {"core0", "core1"}
    assert {s.resource for s in second.trace.spans if s.device == DEVICE and s.kind != "transfer"} == {"core3"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("resnet50", "WORKLOAD:CORE"),
        ("resnet50:2-1", "before the last"),
        ("resnet50:0-1,bert_base:1-2", "core 1 is taken"),
        ("resnet50:4", "cores 0 to 3"),
        ("nonsense:0", "nonsense"),
    ],
)
def test_wrong_placements_are_one_message(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        simulate_together(DEVICE, read_placement(text), options=BATCH)


def test_the_command_line_takes_it(tmp_path: Path) -> None:
    file = tmp_path / "both.json"
    args = ["run", DEVICE, "--place", "resnet18:0,resnet50:1-2", "--batch", "4", "--json", str(file)]
    done = CliRunner().invoke(cli, args, catch_exceptions=False)
    assert done.exit_code == 0
    assert [one["workload"]["name"] for one in json.loads(file.read_text())] == ["resnet18", "resnet50"]
    assert CliRunner().invoke(cli, ["run", "nvidia_t4", "--place", "resnet50:0"]).exit_code
