"""The DRAM curves that runs use: what the bank-level model says, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.base.resources import resource_dir
from accelsim.hardware.dram import efficiency, load_dram
from accelsim.hardware.dram_curve import FILE, RUNS, curve_efficiency, curve_names, played
from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Elementwise, Gather, Matmul, Tensor


def test_the_file_is_what_the_model_says():
    """If not: python -m accelsim.hardware.dram_curve > hwconfigs/dram_curves.toml."""
    assert (resource_dir("hwconfigs") / FILE).read_text(encoding="utf-8") == played()


@pytest.mark.parametrize("name", curve_names())
def test_long_runs_reach_the_known_85_to_96_percent(name):
    assert 0.85 <= curve_efficiency(name, RUNS[-1]) <= 0.96


@given(st.sampled_from(curve_names()), st.floats(1, 1e9), st.floats(1, 10), st.floats(0, 1))
def test_longer_runs_never_hurt(name, run, factor, read):
    short, long = curve_efficiency(name, run, read), curve_efficiency(name, run * factor, read)
    assert 0 < short <= long * (1 + 1e-12) <= 1


@given(st.sampled_from(curve_names()), st.floats(1, 1e7), st.floats(0.001, 1), st.floats(0, 1))
def test_more_bytes_never_take_less_time(name, run, written, more):
    """Reads beside the same writes: the mix gets better with each of them, but never so much."""

    def time(read):
        return (read + written) / curve_efficiency(name, run, read / (read + written))

    assert time(1.0 - written) <= time(1.0 - written + more) * (1 + 1e-12)


@pytest.mark.parametrize("name", curve_names())
def test_reads_and_writes_in_turn_cost_turnarounds(name):
    """Of two operands in turn, one read and one written, 2 to 17 points are lost, as in the table of docs/dram.md."""
    alone, mixed = curve_efficiency(name, 2**20), curve_efficiency(name, 2**20, 0.5)
    assert 0.015 < alone - mixed < 0.17


@pytest.mark.parametrize("name", curve_names())
def test_the_curves_meet_the_model_at_their_points(name):
    for run in (64, 4096, 2**17):
        for read in (0.25, 0.5, 0.75):
            assert curve_efficiency(name, run, read) == pytest.approx(
                efficiency(load_dram(name), run, read, 2), abs=1e-4
            )


def product(m, k, n):
    a, b, c = (
        Tensor(name=name, shape=shape, dtype="int8", role=role)
        for name, shape, role in (("a", (m, k), "activation"), ("b", (k, n), "weight"), ("c", (m, n), "activation"))
    )
    return Graph(name="product", ops=(Matmul(name="product", m=m, k=k, n=n, inputs=(a, b), outputs=(c,)),))


def loss(graph):
    """How many times longer with the banks' timing than at the peak of the DRAM, which is all that is slow."""
    slow = {"dram.bandwidth_bytes_per_s": 1e8, "dram.dram_type": "ddr4"}
    banks, peak = (
        simulate("aws_inferentia1", graph, overrides={**slow, "dram.bank_timing": timed}) for timed in (True, False)
    )
    assert banks.dram_bytes == peak.dram_bytes
    return banks.latency_s / peak.latency_s


def test_an_op_that_writes_as_much_as_it_reads_loses_more_than_one_that_only_reads():
    """DDR4: 0.951 of the peak in long reads, 0.90 where a third or a half of the bytes is written."""
    reads, mixed = loss(product(64, 2**16, 256)), loss(product(2**12, 2**12, 2**12))
    assert reads == pytest.approx(1 / 0.951, rel=0.01)
    assert mixed > 1.03 * reads


def test_a_vector_op_pays_for_its_writes():
    x, y = (Tensor(name=name, shape=(2**10, 2**10), dtype="int8") for name in ("x", "y"))
    graph = Graph(name="relu", ops=(Elementwise(name="relu", function="relu", inputs=(x,), outputs=(y,)),))
    assert loss(graph) == pytest.approx(1 / curve_efficiency("ddr4", 2**20, 0.5), rel=0.01)


def lookup(width):
    """64 KiB of rows of that many bytes out of a large table."""
    rows = 2**16 // width
    table = Tensor(name="table", shape=(10**6, width), dtype="int8", role="weight")
    index = Tensor(name="index", shape=(rows,), dtype="int32")
    out = Tensor(name="out", shape=(rows, width), dtype="int8")
    return Graph(name="lookup", ops=(Gather(name="lookup", inputs=(table, index), outputs=(out,)),))


def test_short_rows_of_a_table_come_slower_than_long_ones():
    """DDR4 has bursts of 64 bytes: rows of 32 bytes reach 0.22 of the peak, of 1 KiB 0.95."""
    # Its DRAM is DDR4; without leave to go to the host, and in a format that its compiler lacks.
    device = load_device("aws_inferentia1", {"limits.ops": "none", "limits.compiler_lacks": "none"})
    short, long = (simulate(device, lookup(width), precision="int8") for width in (32, 1024))
    assert short.latency_s > 1.5 * long.latency_s


def test_timing_is_asked_for_only_where_there_is_some():
    with pytest.raises(ConfigError, match=r"dram.bank_timing: wants a dram_type with timing, one of ddr3.*got none"):
        load_device("tpu_v1", {"dram.bank_timing": True, "dram.dram_type": "none"})
