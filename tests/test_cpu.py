"""CPUs: micro-kernels as BLIS has them, laws that no loop breaks, clocks by licence, rows that say their cores."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accelsim.base.errors import ConfigError, InputError
from accelsim.base.units import PS_PER_S
from accelsim.hardware.energy import energy_table_of
from accelsim.hardware.loader import device_names, load_device
from accelsim.mapping import Machine, Placement, map_op
from accelsim.mapping.cpu.micro import micro_kernels
from accelsim.validation.silicon.array_functions import in_array_functions
from accelsim.validation.silicon.predict import cores_of, predict
from accelsim.validation.silicon.rows import Measurement
from accelsim.workload.ops import Attention, Conv2d, Elementwise, Matmul, Norm, Softmax, Tensor

CPUS = sorted(
    name
    for name in device_names()
    if (execution := load_device(name).core.execution) is not None and execution.kind == "cpu"
)
SHARED = "amd_epyc_zen5_2core"


def machine(device, cores=None, power=True):
    limit = device.power.tdp_w
    budget = None if limit is None or not power else limit - device.power.static_w
    return Machine(device, energy_table_of(device), cores or device.core.count, budget)


def tensor(name, *shape, dtype="fp32", role="activation"):
    return Tensor(name=name, shape=shape, dtype=dtype, role=role)


def matmul(m, n, k, dtype="fp32", batch=1):
    a, b = tensor("a", batch, m, k, dtype=dtype), tensor("b", batch, k, n, dtype=dtype, role="weight")
    return Matmul(
        name="mm", inputs=(a, b), outputs=(tensor("c", batch, m, n, dtype=dtype),), m=m, n=n, k=k, batch=batch
    )


def conv(batch, c_in, size, c_out, window, stride=1, groups=1):
    out = (size + 2 * (window // 2) - window) // stride + 1
    x, w = tensor("x", batch, c_in, size, size), tensor("w", c_out, c_in // groups, window, window, role="weight")
    return Conv2d(
        name="conv", inputs=(x, w), outputs=(tensor("y", batch, c_out, out, out),), batch=batch, c_in=c_in, h_in=size,
        w_in=size, c_out=c_out, h_out=out, w_out=out, kh=window, kw=window, stride=(stride, stride),
        pad=(window // 2,) * 4, groups=groups,
    )  # fmt: skip


def far(op, on):
    """All operands beyond the caches."""
    where = on.backing("activation")
    return map_op(op, on, Placement((where,) * len(op.inputs), where, on.all_free))


def near(op, on):
    return map_op(op, on, Placement((None,) * len(op.inputs), None, on.all_free))


def seconds(task):
    return task.duration_ps / PS_PER_S


# --- micro-kernels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "shape"),
    [
        ("xeon_e5_2686v4", (6, 16)),  # BLIS, kernels/haswell: sgemm 6x16; 4x24 there too
        ("xeon_e5_2686v4", (4, 24)),
        ("xeon_8124m", (14, 32)),  # BLIS, kernels/skx: sgemm 32x12 and 12x32 of at most 14 rows; libxsmm, oneDNN: 14x32
        ("xeon_8124m", (6, 64)),  # oneDNN, gemm kernel of AVX-512: 6 x 4 vectors
        ("xeon_8480", (14, 32)),
    ],
)
def test_registers_allow_the_shapes_that_libraries_have(device, shape):
    core = load_device(device).core
    kernels = micro_kernels(core.vector, core.execution, "fp32", single=False)
    assert shape in {(kernel.rows, kernel.columns) for kernel in kernels}


def test_whole_micro_tile_keeps_all_ports_busy_and_a_single_row_waits_for_its_sums():
    core = load_device("xeon_8124m").core
    kernel = next(k for k in micro_kernels(core.vector, core.execution, "fp32", single=False) if k.rows == 14)
    lanes_a_cycle = core.vector.macs_per_cycle("fp32")
    assert 14 * 32 / kernel.step_cycles(14, 2) == lanes_a_cycle
    assert kernel.step_cycles(1, 2) == core.execution.fma_latency_cycles


def test_amx_tiles_reach_their_peak_where_they_are_full():
    core = load_device("xeon_8480").core
    kernel = next(k for k in micro_kernels(core.matrix, core.execution, "bf16", single=False) if k.rows == 32)
    macs = 32 * kernel.columns * kernel.packed
    assert macs / kernel.step_cycles(32, kernel.vectors) == core.matrix.macs_per_cycle("bf16")
    assert kernel.packed == 2  # TDPBF16PS adds pairs


def test_masked_edges_cost_whole_vectors():
    core = load_device("xeon_8124m").core
    kernel = next(k for k in micro_kernels(core.vector, core.execution, "fp32", single=False) if k.rows == 14)
    assert kernel.work_cycles(14, 1, 17) == kernel.work_cycles(14, 1, 32)
    assert kernel.work_cycles(7, 2, 32) >= kernel.work_cycles(14, 1, 32)  # rows of an image do not share a tile


# --- laws -------------------------------------------------------------------------------------------------------------

sizes = st.sampled_from([1, 2, 7, 16, 33, 100, 512, 1000, 4096])


@st.composite
def products(draw):
    if draw(st.booleans()):
        return matmul(draw(sizes), draw(sizes), draw(sizes), batch=draw(st.sampled_from([1, 1, 12, 100])))
    groups = draw(st.sampled_from(["none", "depthwise"]))
    c_in = draw(st.sampled_from([16, 64, 256]))
    c_out = c_in if groups == "depthwise" else draw(st.sampled_from([16, 64, 1000]))
    return conv(
        draw(st.sampled_from([1, 8])), c_in, draw(st.sampled_from([7, 28, 56])), c_out, draw(st.sampled_from([1, 3])),
        draw(st.sampled_from([1, 2])), c_in if groups == "depthwise" else 1,
    )  # fmt: skip


@st.composite
def streams(draw):
    rows, cols = draw(st.sampled_from([1, 64, 3000])), draw(st.sampled_from([8, 768, 30000]))
    x, y = tensor("x", rows, cols), tensor("y", rows, cols)
    return draw(
        st.sampled_from(
            [
                Softmax(name="s", inputs=(x,), outputs=(y,), rows=rows, cols=cols),
                Norm(name="n", inputs=(x, tensor("g", cols, role="weight")), outputs=(y,), rows=rows, cols=cols),
                Elementwise(name="e", function="add", inputs=(x, tensor("z", rows, cols)), outputs=(y,)),
                Elementwise(name="g", function="gelu", inputs=(x,), outputs=(y,)),
            ]
        )
    )


@st.composite
def attentions(draw):
    batch, heads, length = (
        draw(st.sampled_from([1, 8])),
        draw(st.sampled_from([1, 12])),
        draw(st.sampled_from([1, 500])),
    )
    causal = draw(st.booleans())
    q, y = (tensor(name, batch, 1 if causal else length, heads * 64) for name in "qy")
    k, v = (tensor(name, batch, length, heads * 64) for name in "kv")
    return Attention(
        name="a", inputs=(q, k, v), outputs=(y,), batch=batch, q_len=q.shape[1], kv_len=length, heads=heads,
        kv_heads=heads, head_dim=64, causal=causal,
    )  # fmt: skip


ops = st.one_of(products(), streams(), attentions())


@given(st.sampled_from(CPUS), ops, st.booleans(), st.integers(1, 68))
@settings(max_examples=150, deadline=None)
def test_nothing_beats_its_roofline(name, op, warm, cores):
    device = load_device(name)
    on = machine(device, min(cores, device.core.count))
    task = near(op, on) if warm else far(op, on)
    least = op.macs / device.peak_macs_per_s(op.dtype, on.cores) if op.macs else 0.0
    work, vector = op.elementary, device.core.vector
    hz = device.vector_hz(on.cores) * on.cores
    least = max(least, (work.add + work.mul) / vector.rate("fp32") / hz, work.special / vector.special_per_cycle / hz)
    if not warm:
        moved = sum(op.bytes_read(t) for t in op.inputs) + sum(t.bytes for t in op.outputs)
        least = max(least, moved / device.dram.bandwidth_bytes_per_s)
    assert seconds(task) >= least * (1 - 1e-9)
    for channel, size in task.channel_bytes:
        assert size / on.channels[channel] <= seconds(task) * (1 + 1e-6)


@given(st.sampled_from(CPUS), ops, st.booleans(), st.integers(1, 67))
@settings(max_examples=80, deadline=None)
def test_more_cores_never_slow_an_op(name, op, warm, cores):
    device = load_device(name)
    fewer = min(cores, device.core.count - 1)
    run = near if warm else far
    slow = run(op, machine(device, fewer, power=False)).duration_ps
    assert run(op, machine(device, fewer + 1, power=False)).duration_ps <= slow + 1


@given(st.sampled_from(CPUS), ops, st.booleans(), st.integers(0, 3), st.sampled_from([1.3, 2.0, 8.0]), st.booleans())
@settings(max_examples=120, deadline=None)
def test_more_bandwidth_or_cache_never_slows_an_op(name, op, warm, place, times, capacity):
    device = load_device(name)
    memory = device.memory[min(place, len(device.memory) - (2 if capacity else 1))]
    if capacity:
        bigger = load_device(name, {f"{memory.name}.capacity_bytes": int(memory.capacity_bytes * times)})
    else:
        bigger = load_device(
            name,
            {
                f"{memory.name}.bandwidth_bytes_per_s": memory.bandwidth_bytes_per_s * times,
                f"{memory.name}.write_bandwidth_bytes_per_s": memory.write_rate * times,
            }
            if memory.write_bandwidth_bytes_per_s
            else {f"{memory.name}.bandwidth_bytes_per_s": memory.bandwidth_bytes_per_s * times},
        )
    run = near if warm else far
    assert run(op, machine(bigger, power=False)).duration_ps <= run(op, machine(device, power=False)).duration_ps + 1


@given(st.sampled_from([name for name in CPUS if load_device(name).power.tdp_w]), ops, st.booleans())
@settings(max_examples=60, deadline=None)
def test_average_power_stays_within_the_limit(name, op, warm):
    device = load_device(name)
    on = machine(device)
    task = near(op, on) if warm else far(op, on)
    on_chip, off_chip = on.dynamic_pj(task.counts)
    power_w = device.power.static_w + (on_chip * task.energy_scale + off_chip) / task.duration_ps
    assert power_w <= device.power.tdp_w * (1 + 1e-6)


def test_large_product_comes_close_to_the_peak_of_all_cores():
    device = load_device("xeon_8124m")
    on = machine(device)
    peak_s = 4096**3 / device.peak_macs_per_s("fp32")
    assert 0.6 < peak_s / seconds(far(matmul(4096, 4096, 4096), on)) <= device.factors.fma_issue


def test_one_core_draws_no_more_from_dram_than_its_outstanding_lines_allow():
    """Little's law: lines in flight over latency."""
    device = load_device("xeon_8124m")
    execution, dram = device.core.execution, device.dram
    draws = execution.outstanding_lines * execution.line_bytes / dram.latency_s
    x, y = tensor("x", 2**26), tensor("y", 2**26)
    add = Elementwise(name="add", function="relu", inputs=(x,), outputs=(y,))
    moved = 2 * x.bytes  # read, and fetched for the write; nothing waits for what is written back
    one, everyone = (seconds(far(add, machine(device, cores))) for cores in (1, device.core.count))
    assert one >= moved / draws
    assert everyone < one / 3


def test_result_written_in_place_is_not_fetched_first():
    x, y = tensor("x", 2**24), tensor("y", 2**24)
    on = machine(load_device(SHARED), 1)
    moved = [
        dict(far(Elementwise(name="relu", function="relu", inputs=(x,), outputs=(result,)), on).channel_bytes)["dram"]
        for result in (y, x)
    ]
    assert moved == [3 * x.bytes, 2 * x.bytes]


def test_sums_of_int8_products_become_results_on_the_lanes():
    """oneDNN: a 32-bit sum is made a float, scaled, made an integer and narrowed; tiles multiply, lanes do all that."""
    device = load_device("xeon_8480")
    on, op = machine(device, 1), matmul(4096, 4096, 64, dtype="int8")
    lanes = device.core.vector.rate("int32") * device.core.execution.stream_clock_hz[0][1]
    multiplied_s = op.macs / device.peak_macs_per_s("int8", 1)
    assert seconds(near(op, on)) > 4 * 4096**2 / lanes > multiplied_s
    deep = matmul(512, 512, 64 * 64, dtype="int8")
    assert deep.macs == op.macs
    assert seconds(near(deep, on)) < seconds(near(op, on)) / 2


def test_small_work_stays_on_one_thread():
    """Starting threads costs more than they save."""
    op = matmul(16, 16, 16)
    assert near(op, machine(load_device("xeon_8480"))).tiling.endswith("threads 1x1x1x1")


def test_depthwise_convolution_has_its_channels_along_the_vectors():
    """Else 15 of 16 lanes would idle (Zhang et al., ICML 2018, on direct convolution)."""
    on = machine(load_device("xeon_8124m"), 1)
    task = near(conv(1, 256, 28, 256, 3, groups=256), on)
    assert seconds(task) < 5 * conv(1, 256, 28, 256, 3, groups=256).macs / on.device.peak_macs_per_s("fp32", 1)


# --- clocks -----------------------------------------------------------------------------------------------------------


def test_clock_falls_with_active_cores_and_is_the_roofline_s():
    device = load_device("xeon_8180")
    execution = device.core.execution
    one, everyone = (execution.clock_hz("product", cores, 1.0) for cores in (1, 28))
    assert one > everyone
    assert device.peak_macs_per_s("fp32") == 28 * 32 * everyone
    assert device.peak_macs_per_s("fp32", 1) == 32 * one
    assert far(matmul(4096, 4096, 4096), machine(device)).clock_hz <= everyone


@pytest.mark.parametrize(
    ("clocks", "said"),
    [
        ([[4, 3e9], [2, 2e9]], "want more cores and no higher clocks after [4, 3e+09]"),
        ([[2, 2e9], [4, 3e9]], "want more cores and no higher clocks after [2, 2e+09]"),
        ([[10, 3e9], [18, 1e9]], "11 cores at 1e+09 do less than 10 at 3e+09"),
    ],
)
def test_clocks_that_no_cpu_has_are_refused(clocks, said):
    with pytest.raises(ConfigError) as error:
        load_device("xeon_8124m", {"core.execution.product_clock_hz": clocks})
    assert said in str(error.value)


def test_cpu_without_a_cache_of_its_cores_is_refused():
    with pytest.raises(ConfigError) as error:
        load_device("xeon_8124m", {"l1.scope": "device", "l2.scope": "device"})
    assert "want a cache of every core" in str(error.value)


# --- rows -------------------------------------------------------------------------------------------------------------


def row(**cells):
    return Measurement(7, {"device": "xeon_8180", "op": "gemm", "dtype": "float32", **cells})


def test_rows_say_how_many_cores_ran():
    assert cores_of(row(extra="threads=3;spread=0.1")) == 3
    assert cores_of(row(device="Intel Xeon Platinum 8180 (AVX-512, 1 core)")) == 1
    assert cores_of(row()) is None
    with pytest.raises(InputError, match="line 7, extra, threads: 'no': want a whole number"):
        cores_of(row(extra="threads=no"))


def test_one_core_is_slower_than_all():
    sizes = {"M": "512", "N": "512", "K": "512", "source_repo": "accelsim measure", "latency_us": "1"}
    assert predict(row(extra="threads=1", **sizes)).predicted_us > 8 * predict(row(**sizes)).predicted_us


def test_numpy_s_softmax_is_five_functions_and_attention_ends_in_the_product_with_v():
    x, y = tensor("x", 8, 64), tensor("y", 8, 64)
    softmax = Softmax(name="s", inputs=(x,), outputs=(y,), rows=8, cols=64)
    assert [op.kind for op in in_array_functions([softmax])] == [
        "reduction", "elementwise", "elementwise", "reduction", "elementwise",
    ]  # fmt: skip
    heads = [tensor(name, 1, 16, 64) for name in "qkvy"]
    attention = Attention(
        name="a", inputs=tuple(heads[:3]), outputs=(heads[3],), batch=1, q_len=16, kv_len=16, heads=1, kv_heads=1,
        head_dim=64, causal=True,
    )  # fmt: skip
    parts = in_array_functions([attention])
    assert parts[0].kind == parts[-1].kind == "matmul"
    assert parts[-1].outputs == attention.outputs
    assert sum(op.macs for op in parts) == 2 * 16 * 16 * 64  # of masked pairs too
    assert in_array_functions([matmul(1, 2, 3)]) == (matmul(1, 2, 3),)


def test_fork_and_join_take_as_long_as_the_tree_is_deep():
    """The same work at the same clock, cut in two: half the work, one level of the tree."""
    slow = load_device(SHARED, {"factors.fork_join_s": 1e-3})
    op = matmul(2048, 2048, 2048)
    one = seconds(far(op, machine(slow, 1)))
    two = seconds(far(op, machine(slow, 2)))
    assert two == pytest.approx(one / 2 + 1e-3, rel=0.05)
    assert math.isclose(
        seconds(far(matmul(8, 8, 8), machine(slow, 2))), seconds(far(matmul(8, 8, 8), machine(slow, 1)))
    )
