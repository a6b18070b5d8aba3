"""A batch whose activations do not stay on chip is done in parts."""

from __future__ import annotations

import itertools

import pytest

from accelsim import load_workload, simulate
from accelsim.simulation import Options


@pytest.mark.parametrize("device", ["aws_inferentia1", "tpu_v1", "tpu_v4i"])
def test_twice_the_batch_never_takes_longer_than_two_of_them(device: str) -> None:
    latencies = [simulate(device, "resnet18", batch=batch).latency_s for batch in (4, 8, 16, 32, 64)]
    for once, twice in itertools.pairwise(latencies):
        assert twice <= 2 * once * (1 + 1e-9)


def test_parts_do_all_the_work_and_say_so() -> None:
    whole = simulate("tpu_v1", "resnet18", batch=64)
    parts = {op.name: sum(1 for other in whole.ops if other.name == op.name) for op in whole.ops}
    assert max(parts.values()) > 1
    assert any("parts of" in warning for warning in whole.warnings)
    assert whole.macs == load_workload("resnet18", batch=64).macs
    assert whole.latency_s >= whole.roofline_latency_s


def test_a_step_pays_its_overhead_once() -> None:
    plain = simulate("tpu_v1", "resnet18", batch=64)
    late = simulate("tpu_v1", "resnet18", batch=64, overrides={"calibration.step_overhead_s": 1e-3})
    assert late.latency_s - plain.latency_s == pytest.approx(1e-3, rel=1e-6)


def test_a_graph_that_was_given_is_run_as_it_is() -> None:
    graph = load_workload("resnet18", batch=64)
    given = simulate("tpu_v1", graph, options=Options())
    assert given.latency_s >= simulate("tpu_v1", "resnet18", batch=64).latency_s


def test_more_on_chip_memory_never_slows_a_batch_in_parts() -> None:
    sizes = [2**23, 2**24, 2**25, 2**26]
    times = [
        simulate("tpu_v1", "resnet18", batch=32, overrides={"unified_buffer.capacity_bytes": size}).latency_s
        for size in sizes
    ]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in itertools.pairwise(times))
