"""Physics is the oracle: what holds for every device and every workload."""

from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from strategies import devices, graphs

from accelsim.analysis.energy import priced
from accelsim.base.errors import MappingError
from accelsim.hardware.device import Host, Link
from accelsim.hardware.energy import energy_table_of
from accelsim.simulation import simulate
from accelsim.workload.transforms import set_precision, unfuse_attention

SLACK = 1 + 1e-9
ROUNDING_S = 1e-11  # a task's end is rounded up to a picosecond, and a run here has at most a dozen tasks
NO_LIMIT = st.none()


def run(device, graph, **options):
    try:
        return simulate(device, graph, **options)
    except MappingError:
        assume(False)


def changed(device, name, **fields):
    """The device with one memory changed."""
    memory = tuple(m.model_copy(update=fields) if m.name == name else m for m in device.memory)
    return device.model_copy(update={"memory": memory})


@given(devices(), graphs())
def test_nothing_beats_its_roofline(device, graph):
    result = run(device, graph)
    assert result.latency_s * SLACK >= result.roofline_latency_s
    assert result.latency_s * SLACK >= result.macs / result.peak_macs_per_s
    assert result.mac_utilization <= SLACK


@given(devices(), graphs())
def test_work_and_bytes_are_conserved(device, graph):
    result = run(device, graph)
    assert result.macs == unfuse_attention(graph).macs >= graph.macs  # what is masked is multiplied too
    weights = sum(t.bytes for t in set_precision(graph, result.precision).weights)
    assert result.bytes_by_memory["dram"]["read"] >= weights  # the device keeps none between steps
    assert sum(op.dram_read_bytes for op in result.ops) == result.bytes_by_memory["dram"]["read"]
    assert sum(op.dram_write_bytes for op in result.ops) == result.bytes_by_memory["dram"]["write"]
    assert result.latency_s * SLACK >= weights / result.dram_bandwidth_bytes_per_s
    assert result.latency_s * SLACK >= result.dram_bytes / result.dram_bandwidth_bytes_per_s


@given(devices(), graphs())
def test_energy_parts_add_up_and_follow_from_counts(device, graph):
    result = run(device, graph)
    assert sum(result.energy_breakdown_j.values()) == pytest.approx(result.energy_j, rel=1e-12)
    table = energy_table_of(device)
    from_counts = sum(pj for span in result.trace.spans for _, _, pj in priced(span, device, table)) / 1e12
    static = device.power.static_w * result.latency_s
    assert from_counts + static == pytest.approx(result.energy_j, rel=1e-9)
    assert sum(op.energy_j for op in result.ops) == pytest.approx(from_counts, rel=1e-9)
    assert sum(result.energy_by_operand_j.values()) <= from_counts * SLACK


@given(devices(tdp=st.floats(20, 60)), graphs(), st.sampled_from([1, 3]))
def test_average_power_never_exceeds_tdp(device, graph, steps):
    result = run(device, graph, steps=steps)
    assert result.average_power_w <= device.power.tdp_w * SLACK


@given(devices(tdp=NO_LIMIT), graphs(), st.sampled_from(["dram", "local", "shared"]), st.floats(1, 8))
def test_more_bandwidth_never_slows_a_run(device, graph, name, factor):
    assume(any(m.name == name for m in device.memory))
    before = next(m for m in device.memory if m.name == name).bandwidth_bytes_per_s
    faster = changed(device, name, bandwidth_bytes_per_s=before * factor)
    assert run(faster, graph).latency_s <= run(device, graph).latency_s * SLACK + ROUNDING_S


@given(devices(tdp=NO_LIMIT), graphs(), st.sampled_from(["local", "shared"]), st.floats(1, 20))
def test_more_capacity_never_slows_a_run(device, graph, name, factor):
    assume(any(m.name == name for m in device.memory))
    before = next(m for m in device.memory if m.name == name).capacity_bytes
    larger = changed(device, name, capacity_bytes=int(before * factor))
    slower = run(device, graph).latency_s
    assert run(larger, graph).latency_s <= slower * SLACK + ROUNDING_S


@given(devices(tdp=st.floats(20, 60)), graphs(), st.sampled_from(["local", "shared"]), st.floats(1, 20))
def test_more_capacity_never_slows_a_run_under_a_power_limit_where_an_access_costs_the_same(
    device, graph, name, factor
):
    """A larger SRAM has longer wires, and an access costs more: this is the one thing that may lower a clock."""
    assume(any(m.name == name for m in device.memory))
    before = next(m for m in device.memory if m.name == name).capacity_bytes
    device = changed(device, name, energy_pj_per_bit=0.1)
    larger = changed(device, name, capacity_bytes=int(before * factor))
    slower = run(device, graph).latency_s
    assert run(larger, graph).latency_s <= slower * SLACK + ROUNDING_S


def linked(device, bandwidth_bytes_per_s):
    """The device behind a link to a host."""
    link = Link(
        name="pcie",
        bandwidth_bytes_per_s=bandwidth_bytes_per_s,
        latency_s=1e-6,
        energy_pj_per_bit=10.0,
        source="ASSUMED",
    )
    return device.model_copy(update={"host": Host(device="xeon_8275cl", link=link, source="ASSUMED: a test")})


@given(devices(tdp=st.floats(20, 60)), graphs(), st.floats(1e9, 2e11), st.floats(1, 8), st.booleans())
def test_a_faster_link_to_the_host_never_slows_a_run_under_a_power_limit(device, graph, bandwidth, factor, host):
    """Nor does power exceed its limit; a link that carries nothing draws nothing."""
    slow, fast = (run(linked(device, bandwidth * x), graph, host=host) for x in (1, factor))
    assert fast.latency_s <= slow.latency_s * SLACK + ROUNDING_S
    assert fast.average_power_w <= device.power.tdp_w * SLACK
    if not host:
        assert fast.latency_s == run(device, graph).latency_s


@given(devices(tdp=st.floats(20, 60)), graphs(), st.floats(1, 4))
def test_more_power_never_slows_a_run(device, graph, factor):
    power = device.power.model_copy(update={"tdp_w": device.power.tdp_w * factor})
    richer = device.model_copy(update={"power": power})
    assert run(richer, graph).latency_s <= run(device, graph).latency_s * SLACK + ROUNDING_S


@given(devices(tdp=NO_LIMIT), graphs())
def test_double_buffering_never_hurts_where_there_is_room(device, graph):
    """With memory twice as large, two buffers hold what one held before.

    To ten parts in a million: of tilings that are equally fast the search may take another, whose weights come early
    with a slightly different gain.
    """
    single = device
    double = device
    for memory in device.memory[:-1]:
        single = changed(single, memory.name, double_buffered=False)
        double = changed(double, memory.name, double_buffered=True, capacity_bytes=memory.capacity_bytes * 2)
    assert run(double, graph).latency_s <= run(single, graph).latency_s * (1 + 1e-5) + ROUNDING_S


@given(devices(), graphs())
def test_the_same_input_gives_the_same_result(device, graph):
    assert run(device, graph).to_dict() == run(device, graph).to_dict()


@given(devices(), graphs())
def test_one_resource_does_one_thing_at_a_time(device, graph):
    spans = run(device, graph, steps=2).trace.spans
    for resource in {span.resource for span in spans}:
        mine = sorted((s for s in spans if s.resource == resource), key=lambda s: (s.start_ps, s.end_ps))
        assert all(a.end_ps <= b.start_ps for a, b in pairwise(mine))


@given(devices(), graphs(batch=8), st.sampled_from(["data", "pipeline"]))
def test_parallel_runs_obey_the_same_laws(device, graph, parallel):
    assume(device.core.count == 4)
    assume(parallel == "data" or len(graph.ops) >= 8)

    def build(batch):
        return graph if batch == 8 else assume(False)

    try:
        result = simulate(device, build, batch=8, parallel=parallel, cores=4 if parallel == "pipeline" else 1)
    except MappingError:
        assume(False)
    assert result.latency_s * SLACK >= result.roofline_latency_s
    assert result.mac_utilization <= SLACK
    assert result.macs == unfuse_attention(graph).macs
