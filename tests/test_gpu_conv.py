"""Convolutions and their gradients on GPUs: what physics and the papers of the algorithms say of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accelsim.hardware.device import Device, GpuExecution
from accelsim.hardware.loader import device_names, load_device
from accelsim.mapping import Placement, Task, map_op
from accelsim.mapping.gpu.conv import F2, F4
from accelsim.validation.silicon.calibrate import with_factors
from accelsim.validation.silicon.predict import power_w, whole
from accelsim.workload.gradients import FilterGradient, InputGradient
from accelsim.workload.ops import Conv2d, Tensor

DEVICES = st.sampled_from(
    [name for name in device_names() if isinstance(load_device(name).core.execution, GpuExecution)]
).map(load_device)


def convolution(
    batch: int = 8,
    c_in: int = 64,
    c_out: int = 64,
    size: int = 28,
    window: int = 3,
    stride: int = 1,
    groups: int = 1,
    dtype: str = "fp32",
    kind: type[Conv2d] = Conv2d,
    math: str = "",
) -> Conv2d:
    pad = window // 2
    out = (size + 2 * pad - window) // stride + 1
    image = Tensor(name="x", shape=(batch, c_in, size, size), dtype=dtype)
    filters = Tensor(name="w", shape=(c_out, c_in // groups, window, window), dtype=dtype, role="weight")
    result = Tensor(name="y", shape=(batch, c_out, out, out), dtype=dtype)
    inputs, output = {
        Conv2d: ((image, filters), result),
        InputGradient: ((result, filters), image),
        FilterGradient: ((result, image), filters),
    }[kind]
    return kind(
        name="conv", inputs=inputs, outputs=(output,), batch=batch, c_in=c_in, h_in=size, w_in=size, c_out=c_out,
        h_out=out, w_out=out, kh=window, kw=window, stride=(stride, stride), pad=(pad,) * 4, groups=groups, math=math,
    )  # fmt: skip


@st.composite
def convolutions(draw: st.DrawFn, dtypes: tuple[str, ...] = ("fp32", "fp16")) -> Conv2d:
    """Forward and both gradients, with and without a stride, groups and depthwise ones included."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 32]))
    deep, wide = draw(st.integers(1, 300)), draw(st.integers(1, 300))
    window = draw(st.sampled_from([1, 3, 5, 7]))
    return convolution(
        batch=draw(st.integers(1, 64)),
        c_in=deep * groups if groups < 32 else 32,
        c_out=wide * groups if groups < 32 else 32,
        size=draw(st.integers(7, 112)),
        window=window,
        stride=draw(st.integers(1, 2)),
        groups=groups,
        dtype=draw(st.sampled_from(dtypes)),
        kind=draw(st.sampled_from([Conv2d, InputGradient, FilterGradient])),
    )


def mapped(op: Conv2d, device: Device, *, warm: bool = False) -> Task:
    machine = whole(device)
    channel = None if warm else machine.backing("activation")
    return map_op(op, machine, Placement((channel,) * len(op.inputs), channel, machine.all_free))


def unlimited(device: Device) -> Device:
    return device.model_copy(update={"power": device.power.model_copy(update={"tdp_w": None})})


def runs(op: Conv2d, device: Device) -> bool:
    return device.computes(op.dtype)


@given(convolutions(), DEVICES, st.booleans())
def test_no_convolution_beats_the_roofline_of_what_it_executes(op: Conv2d, device: Device, warm: bool) -> None:
    if not runs(op, device):
        return
    task = mapped(op, device, warm=warm)
    seconds = task.duration_ps / 1e12
    vector = device.core.vector
    assert task.macs > 0
    assert seconds >= task.macs / device.peak_macs_per_s(op.dtype)
    adds = sum(count.amount for count in task.counts if count.action.startswith("add."))
    assert seconds >= adds / (vector.rate(op.dtype) * vector.freq_hz * device.core.count)
    assert device.dram is not None
    if not warm:
        assert seconds >= sum(t.bytes for t in (*op.inputs, *op.outputs)) / device.dram.bandwidth_bytes_per_s
    if device.power.tdp_w is not None:
        assert power_w([task], whole(device)) <= device.power.tdp_w * (1 + 1e-9)


@given(convolutions(), DEVICES, st.sampled_from(["cores", "clock", "l2", "dram", "l2_bytes"]), st.floats(1, 4))
def test_more_of_anything_never_slows_a_convolution(op: Conv2d, device: Device, part: str, times: float) -> None:
    if not runs(op, device):
        return
    device = unlimited(device)
    core = device.core
    if part == "cores":
        more = device.model_copy(update={"core": core.model_copy(update={"count": round(core.count * times)})})
    elif part == "clock":
        units = {
            name: unit.model_copy(update={"freq_hz": unit.freq_hz * times})
            for name, unit in (("vector", core.vector), ("matrix", core.matrix))
            if unit is not None
        }
        more = device.model_copy(update={"core": core.model_copy(update=units)})
    else:
        field = "capacity_bytes" if part == "l2_bytes" else "bandwidth_bytes_per_s"
        name = "l2" if part == "l2_bytes" else part
        more = device.model_copy(
            update={
                "memory": tuple(
                    m.model_copy(update={field: type(getattr(m, field))(getattr(m, field) * times)})
                    if m.name == name
                    else m
                    for m in device.memory
                )
            }
        )
    assert mapped(op, more).duration_ps <= mapped(op, device).duration_ps + 1


def test_winograd_executes_fewer_products_than_it_stands_for() -> None:
    """F(4x4, 3x3) takes 36 products for 16 results of 9 each: 4 times fewer (Lavin and Gray, CVPR 2016)."""
    assert F2.points / F2.out**2 / 9 == pytest.approx(1 / 2.25)
    assert F4.points / F4.out**2 / 9 == pytest.approx(1 / 4)
    device = load_device("nvidia_v100_pcie_32gb")
    op = convolution(batch=64, c_in=256, c_out=256, size=56)
    task = mapped(op, device)
    assert "Winograd F(4x4" in task.tiling
    assert task.macs * 4 == op.macs
    direct_s = op.macs / device.peak_macs_per_s("fp32")
    assert task.duration_ps / 1e12 < direct_s  # a convolution may beat the roofline of the direct one, as cuDNN's do
    assert task.kernels == 4


@pytest.mark.parametrize(
    "op",
    [
        convolution(stride=2, c_in=256, c_out=256, size=56),
        convolution(window=1, c_in=256, c_out=256, size=56),
        convolution(dtype="fp16", c_in=256, c_out=256, size=56),
    ],
    ids=["stride", "1x1", "tensor cores"],
)
def test_winograd_is_for_3x3_without_a_stride_on_the_lanes(op: Conv2d) -> None:
    task = mapped(op, load_device("nvidia_v100_pcie_32gb"))
    assert "implicit" in task.tiling
    assert task.macs == op.macs


@given(convolutions())
def test_gradients_do_as_many_products_as_the_convolution(op: Conv2d) -> None:
    """Each weight meets each result once, on all three ways."""
    forward = op.batch * op.h_out * op.w_out * op.c_out * (op.c_in // op.groups) * op.kh * op.kw
    assert op.macs == forward  # windows of odd size, padded: as many results as pixels


def test_a_depthwise_convolution_streams() -> None:
    """MobileNet's depthwise layers move bytes: nine products a pixel hide behind its load."""
    device = load_device("nvidia_v100_pcie_32gb")
    op = convolution(batch=64, c_in=512, c_out=512, size=28, groups=512)
    task = mapped(op, device)
    assert task.tiling == "direct"
    assert task.bound == "dram"
    whole_one = convolution(batch=64, c_in=512, c_out=512, size=28)
    assert mapped(whole_one, device).duration_ps > 10 * task.duration_ps


def test_long_filters_go_through_fourier_transforms_where_channels_are_many() -> None:
    """cuDNN has FFT tiling for large filters: a 13 x 13 filter's 169 products a pixel become a few."""
    device = load_device("nvidia_v100_pcie_32gb")
    op = convolution(batch=32, c_in=256, c_out=256, size=64, window=13)
    task = mapped(op, device)
    assert "Fourier" in task.tiling
    assert task.macs < op.macs / 4


def test_small_images_go_through_small_fourier_tiles() -> None:
    """A 7 x 7 image with its border fits into a tile of 16 x 16, whose transforms are 144 complex numbers, not 544."""
    task = mapped(convolution(batch=16, c_in=832, c_out=128, size=7, window=5), unlimited(load_device("nvidia_t4")))
    assert "Fourier 16x16" in task.tiling
    assert task.macs == 16 * 9 * (16 * (2 * 832) * (2 * 128))


def test_small_images_with_many_filters_wait_for_the_transforms_of_filters() -> None:
    """Winograd's filters are 16 numbers for 9 and are written and read once more, however few pixels there are."""
    device = load_device("nvidia_v100_pcie_32gb")
    task = mapped(convolution(batch=1, c_in=512, c_out=512, size=7), device)
    assert task.kernels in {1, 2}
    task = mapped(convolution(batch=4, c_in=64, c_out=64, size=56), device)
    assert "Winograd F(2x2" in task.tiling
    assert task.kernels == 2


def test_libraries_without_small_tiles_waste_more() -> None:
    """cuDNN's and TensorRT's kernels for Turing make 16,384 results a block: 392 x 512 are 16 blocks for 40 cores."""
    device = load_device("nvidia_t4")
    op = convolution(batch=8, c_in=512, c_out=512, size=7, dtype="fp16")
    large = mapped(op, device, warm=True)
    small = mapped(op, with_factors(device, {"conv.least_tile": 1}), warm=True)
    assert large.duration_ps > 1.2 * small.duration_ps
    assert large.macs == small.macs


def test_a_framework_s_depthwise_kernel_is_bound_by_its_instructions() -> None:
    """PyTorch's kernel works out address and bounds of each tap: the 25 taps of a 5 x 5 window outweigh its bytes."""
    device = load_device("nvidia_a100_sxm_80gb")
    slow = with_factors(device, {"conv.direct_ops": 12.0})
    for window, bound in ((5, "compute"), (1, "dram")):
        op = convolution(batch=128, c_in=96, c_out=96, size=112, window=window, groups=96, dtype="fp16")
        task = mapped(op, slow)
        assert task.bound == bound
        lanes = device.core.vector.rate("fp32") * device.core.vector.freq_hz * device.core.count
        assert task.duration_ps / 1e12 >= 12 * op.macs / lanes
        assert task.duration_ps >= mapped(op, device).duration_ps


def test_tensor_cores_want_channels_in_blocks() -> None:
    """A layer of twelve channels takes as long as one of 32: the others are zeros."""
    device = load_device("nvidia_t4")
    twelve, many = (
        mapped(convolution(batch=16, c_in=c_in, c_out=64, size=224, dtype="fp16"), device) for c_in in (12, 32)
    )
    assert twelve.duration_ps > 0.6 * many.duration_ps
    assert twelve.macs * 32 == many.macs * 12


def test_a_first_layer_has_kernels_of_its_own() -> None:
    """Three channels of several taps stand side by side, filled up to four (CUTLASS's few-channels iterators)."""
    device = load_device("nvidia_a100_sxm_80gb")
    first, many = (
        mapped(convolution(batch=16, c_in=c_in, c_out=64, size=224, window=7, dtype="fp16"), device) for c_in in (3, 32)
    )
    assert "few channels" in first.tiling
    assert first.duration_ps < 0.5 * many.duration_ps


def test_kept_in_16_bits_and_multiplied_in_32() -> None:
    device = load_device("nvidia_p100_pcie_16gb")
    wide, narrow = mapped(convolution(), device), mapped(convolution(dtype="fp16", math="fp32"), device)
    assert narrow.duration_ps <= wide.duration_ps
    assert narrow.dtype == "fp32"
