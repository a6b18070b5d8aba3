"""The DRAM curves that runs use: what the bank-level model says, and what follows from it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError
from accelsim.base.resources import resource_dir
from accelsim.hardware.dram_curve import FILE, RUNS, curve_names, played, read_efficiency
from accelsim.hardware.loader import load_device
from accelsim.simulation import simulate
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Gather, Tensor


def test_the_file_is_what_the_model_says():
    """If not: python -m accelsim.hardware.dram_curve > hwconfigs/dram_curves.toml."""
    assert (resource_dir("hwconfigs") / FILE).read_text(encoding="utf-8") == played()


@pytest.mark.parametrize("name", curve_names())
def test_long_runs_reach_the_known_85_to_96_percent(name):
    assert 0.85 <= read_efficiency(name, RUNS[-1]) <= 0.96


@given(st.sampled_from(curve_names()), st.floats(1, 1e9), st.floats(1, 10))
def test_longer_runs_never_hurt(name, run, factor):
    short, long = read_efficiency(name, run), read_efficiency(name, run * factor)
    assert 0 < short <= long <= 1


def lookup(width):
    """64 KiB of rows of that many bytes out of a large table."""
    rows = 2**16 // width
    table = Tensor(name="table", shape=(10**6, width), dtype="int8", role="weight")
    index = Tensor(name="index", shape=(rows,), dtype="int32")
    out = Tensor(name="out", shape=(rows, width), dtype="int8")
    return Graph(name="lookup", ops=(Gather(name="lookup", inputs=(table, index), outputs=(out,)),))


def test_short_rows_of_a_table_come_slower_than_long_ones():
    """DDR4 has bursts of 64 bytes: rows of 32 bytes reach 0.22 of the peak, of 1 KiB 0.95."""
    short, long = (simulate("xeon_8275cl", lookup(width), precision="int8") for width in (32, 1024))
    launch = load_device("xeon_8275cl").calibration.launch_overhead_s
    assert short.latency_s - launch > 1.5 * (long.latency_s - launch)


def test_timing_is_asked_for_only_where_there_is_some():
    with pytest.raises(ConfigError, match=r"dram.bank_timing: wants a dram_type with timing, one of ddr3.*got none"):
        load_device("tpu_v1", {"dram.bank_timing": True, "dram.dram_type": "none"})
