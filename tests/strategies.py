"""Random devices and workloads that tests share."""

from hypothesis import strategies as st

from accelsim.hardware.device import Device
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Attention, Conv2d, Elementwise, Matmul, Pool, Softmax, Tensor

SOURCE = {"source": "ASSUMED: a test"}
ANY_TDP = st.one_of(st.none(), st.floats(20, 300))


@st.composite
def devices(draw, *, tdp=ANY_TDP):
    """A device with a systolic or spatial array, tensor cores or SIMD lanes, and one or two on-chip levels."""
    kind = draw(st.sampled_from(["systolic_array", "spatial_array", "tensor_core", "simd"]))
    freq = draw(st.floats(1e8, 3e9))
    gang = kind in {"tensor_core", "simd"}
    rate = draw(st.sampled_from([1.0, 0.5]))
    matrix = None
    if kind == "systolic_array":
        matrix = {
            "kind": kind, "rows": draw(st.sampled_from([4, 16, 100])), "cols": draw(st.sampled_from([4, 16, 128])),
            "dataflow": draw(st.sampled_from(["ws", "os", "is"])), "freq_hz": freq,
            "macs_per_cycle_per_cell": {"int8": rate}, "stationary_double_buffered": draw(st.booleans()), **SOURCE,
        }  # fmt: skip
    elif kind == "spatial_array":
        matrix = {
            "kind": kind, "rows": draw(st.sampled_from([{"c_in": 16}, {"c_in": 8, "w_out": 4}, {"h_out": 4}])),
            "cols": draw(st.sampled_from([{"c_out": 16}, {"c_out": 4, "kw": 3}])), "freq_hz": freq,
            "stationary": draw(st.sampled_from(["weight", "output", "input"])),
            "macs_per_cycle_per_cell": {"int8": rate}, "fill_cycles": draw(st.sampled_from([0.0, 20.0])), **SOURCE,
        }  # fmt: skip
    elif kind == "tensor_core":
        matrix = {
            "kind": kind, "freq_hz": freq, "macs_per_cycle_per_core": {"int8": 256.0 * rate},
            "tiles": [[64, 64, 32], [128, 64, 32], [32, 32, 32]], **SOURCE,
        }  # fmt: skip
    vector = {
        "freq_hz": freq, "ops_per_cycle": {"int8": 32.0, "int32": 16.0, "fp32": 16.0},
        "special_per_cycle": 4.0, **SOURCE,
    }  # fmt: skip
    if kind == "simd":
        vector["macs_per_cycle_per_core"] = {"int8": 64.0}
    bandwidth = st.floats(1e9, 1e12)
    memories = [
        {
            "name": "local", "kind": "sram", "scope": "core", "capacity_bytes": draw(st.integers(2**17, 2**21)),
            "bandwidth_bytes_per_s": draw(bandwidth), "double_buffered": draw(st.booleans()), **SOURCE,
        },
        {
            "name": "shared", "kind": "sram", "scope": "device", "capacity_bytes": draw(st.integers(2**18, 2**24)),
            "bandwidth_bytes_per_s": draw(bandwidth), **SOURCE,
        },
        {
            "name": "dram", "kind": "dram", "capacity_bytes": 2**34, "bandwidth_bytes_per_s": draw(bandwidth), **SOURCE,
        },
    ]  # fmt: skip
    if draw(st.booleans()):
        del memories[draw(st.integers(0, 1))]
    memories[-1] |= draw(st.sampled_from([{}, {"dram_type": "ddr4", "bank_timing": True}]))
    power = {"static_w": draw(st.floats(0, 15)), **SOURCE}
    limit = draw(tdp)
    if limit is not None:
        power["tdp_w"] = limit
    return Device.model_validate(
        {
            "name": "random", "description": "random", "process_nm": draw(st.sampled_from([45, 28, 16, 7])),
            "default_dtype": "int8", "fuses_epilogue": draw(st.booleans()),
            "prefetches_weights": draw(st.booleans()),
            "core": {"count": draw(st.sampled_from([1, 4])), "gang": gang, "matrix": matrix, "vector": vector,
            **SOURCE}, "memory": memories, "power": power,
            "calibration": {
                "launch_overhead_s": draw(st.sampled_from([0.0, 1e-6])),
                "window_bytes": draw(st.sampled_from([0.0, 0.0, 1000.0])),
                "dram_efficiency": draw(st.floats(0.5, 1)), "compute_efficiency": draw(st.floats(0.5, 1)), **SOURCE,
            },
            **SOURCE,
        }
    )  # fmt: skip


def _matmul(name, x, n):
    m, k = x.shape
    w = Tensor(name=f"{name}.w", shape=(k, n), dtype="int8", role="weight")
    y = Tensor(name=f"{name}.y", shape=(m, n), dtype="int8")
    return Matmul(name=name, inputs=(x, w), outputs=(y,), m=m, k=k, n=n)


def _unary(cls, name, x, **more):
    y = Tensor(name=f"{name}.y", shape=x.shape, dtype="int8")
    return cls(name=name, inputs=(x,), outputs=(y,), **more)


def _add(name, x, other):
    y = Tensor(name=f"{name}.y", shape=x.shape, dtype="int8")
    return Elementwise(name=name, inputs=(x, other), outputs=(y,), function="add")


def _attention(name, x, kv_heads, window):
    """Each row of ``x`` to those before it, two heads, with slices of it as queries, keys and values."""
    length, width = x.shape
    y = Tensor(name=f"{name}.y", shape=x.shape, dtype="int8")
    return Attention(
        name=name,
        inputs=(x, x, x),
        outputs=(y,),
        batch=1,
        q_len=length,
        kv_len=length,
        heads=2,
        kv_heads=kv_heads,
        head_dim=width // 2,
        causal=True,
        window=window,
    )


@st.composite
def graphs(draw, batch=None):
    """A chain of products and vector ops with now and then a residual connection; perhaps a convolution first."""
    size = draw(st.sampled_from([1, 8, 100, 700])) if batch is None else batch
    ops = []
    width = draw(st.sampled_from([8, 64, 300]))
    if draw(st.booleans()):
        side, channels, out = draw(st.sampled_from([8, 14])), draw(st.sampled_from([3, 16])), 32
        x = Tensor(name="image", shape=(size, channels, side, side), dtype="int8")
        w = Tensor(name="conv.w", shape=(out, channels, 3, 3), dtype="int8", role="weight")
        y = Tensor(name="conv.y", shape=(size, out, side, side), dtype="int8")
        ops.append(
            Conv2d(
                name="conv",
                inputs=(x, w),
                outputs=(y,),
                batch=size,
                c_in=channels,
                h_in=side,
                w_in=side,
                c_out=out,
                h_out=side,
                w_out=side,
                kh=3,
                kw=3,
                pad=(1, 1, 1, 1),
            )
        )
        flat = Tensor(name="pool.y", shape=(size, width), dtype="int8")
        ops.append(Pool(name="pool", inputs=(y,), outputs=(flat,), window=4))
        x = flat
    else:
        x = Tensor(name="x", shape=(size, width), dtype="int8")
    made = [x]
    for i in range(draw(st.integers(1, 5))):
        choice = draw(st.sampled_from(["matmul", "matmul", "relu", "softmax", "add", "attention"]))
        last = made[-1]
        if choice == "matmul":
            op = _matmul(f"op{i}", last, draw(st.sampled_from([10, 64, 300, 1000])))
        elif choice == "relu":
            op = _unary(Elementwise, f"op{i}", last, function="relu")
        elif choice == "attention" and last.shape[1] % 2 == 0:
            op = _attention(f"op{i}", last, draw(st.sampled_from([1, 2])), draw(st.sampled_from([None, 5, 1000])))
        elif choice == "softmax":
            op = _unary(Softmax, f"op{i}", last, rows=last.shape[0], cols=last.shape[1])
        else:
            alike = [t for t in made if t.shape == last.shape]
            op = _add(f"op{i}", last, draw(st.sampled_from(alike)))
        ops.append(op)
        made.append(op.outputs[0])
    return Graph(name="random", ops=tuple(ops), batch=size)
