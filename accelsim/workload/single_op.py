"""One op as a workload, its sizes as parameters: for sweeps of shapes, and for asking why a kernel takes so long."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accelsim.base.errors import WorkloadError
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Attention, Conv2d, Elementwise, Matmul, Norm, Op, Softmax, Tensor

MOST = 2**24
"""Of any one size."""

Params = Mapping[str, int]
Limits = Mapping[str, tuple[int, int, int]]
"""Default, least and greatest value of each parameter."""

MATMUL: Limits = {"m": (1024, 1, MOST), "n": (1024, 1, MOST), "k": (1024, 1, MOST)}
CONV2D: Limits = {
    "c_in": (64, 1, MOST), "h": (56, 1, MOST), "w": (56, 1, MOST), "c_out": (64, 1, MOST),
    "kh": (3, 1, 1024), "kw": (3, 1, 1024), "stride": (1, 1, 1024), "pad": (1, 0, 1024), "groups": (1, 1, MOST),
}  # fmt: skip
ROWS: Limits = {"rows": (4096, 1, MOST), "cols": (1024, 1, MOST)}
ATTENTION: Limits = {
    "q_len": (1024, 1, MOST), "kv_len": (1024, 1, MOST), "heads": (32, 1, 4096), "kv_heads": (32, 1, 4096),
    "head_dim": (128, 1, 4096), "causal": (1, 0, 1), "window": (0, 0, MOST),
}  # fmt: skip


def _alone(op: Op, batch: int, params: Params) -> Graph:
    return Graph(name=op.name, ops=(op,), batch=batch, params=dict(params), source="an op alone, sizes as asked")


def _activation(name: str, *shape: int) -> Tensor:
    return Tensor(name=name, shape=shape)


def matmul(batch: int, params: Params) -> Graph:
    """``[batch * m, k] @ [k, n]``: an item is ``m`` rows, B are weights."""
    m, k, n = batch * params["m"], params["k"], params["n"]
    weights = Tensor(name="b", shape=(k, n), role="weight")
    inputs, outputs = (_activation("a", m, k), weights), (_activation("c", m, n),)
    return _alone(Matmul(name="matmul", inputs=inputs, outputs=outputs, m=m, k=k, n=n), batch, params)


def conv2d(batch: int, params: Params) -> Graph:
    """A convolution of ``batch`` images. Raises WorkloadError where the window does not fit."""
    c_in, c_out, groups = params["c_in"], params["c_out"], params["groups"]
    size, window = (params["h"], params["w"]), (params["kh"], params["kw"])
    stride, pad = params["stride"], params["pad"]
    h, w = ((x + 2 * pad - f) // stride + 1 for x, f in zip(size, window, strict=True))
    if min(h, w) < 1:
        raise WorkloadError(f"conv2d: a window of {window[0]} x {window[1]} does not fit into {size[0]} x {size[1]}")
    weights = Tensor(name="w", shape=(c_out, max(1, c_in // groups), *window), role="weight")
    op = Conv2d(
        name="conv2d",
        inputs=(_activation("x", batch, c_in, *size), weights),
        outputs=(_activation("y", batch, c_out, h, w),),
        batch=batch,
        c_in=c_in,
        h_in=size[0],
        w_in=size[1],
        c_out=c_out,
        h_out=h,
        w_out=w,
        kh=window[0],
        kw=window[1],
        stride=(stride, stride),
        pad=(pad, pad, pad, pad),
        groups=groups,
    )
    return _alone(op, batch, params)


def softmax(batch: int, params: Params) -> Graph:
    """Over ``batch * rows`` rows of ``cols``."""
    rows, cols = batch * params["rows"], params["cols"]
    op = Softmax(
        name="softmax", inputs=(_activation("x", rows, cols),), outputs=(_activation("y", rows, cols),), rows=rows,
        cols=cols,
    )  # fmt: skip
    return _alone(op, batch, params)


def layernorm(batch: int, params: Params) -> Graph:
    """Over ``batch * rows`` rows of ``cols``."""
    rows, cols = batch * params["rows"], params["cols"]
    weights = (Tensor(name=name, shape=(cols,), role="weight") for name in ("gamma", "beta"))
    op = Norm(
        name="layernorm", inputs=(_activation("x", rows, cols), *weights), outputs=(_activation("y", rows, cols),),
        rows=rows, cols=cols,
    )  # fmt: skip
    return _alone(op, batch, params)


def elementwise(function: str, operands: int) -> Callable[[int, Params], Graph]:
    """An elementwise function of so many operands, on ``batch * rows`` rows of ``cols``."""

    def build(batch: int, params: Params) -> Graph:
        shape = (batch * params["rows"], params["cols"])
        inputs = tuple(_activation(name, *shape) for name in ("x", "z")[:operands])
        op = Elementwise(name=function, inputs=inputs, outputs=(_activation("y", *shape),), function=function)
        return _alone(op, batch, params)

    return build


def attention(batch: int, params: Params) -> Graph:
    """Fused attention of ``batch`` sequences; ``causal`` and ``window`` are 0 where there is none."""
    heads, kv_heads, head_dim = params["heads"], params["kv_heads"], params["head_dim"]
    q_len, kv_len = params["q_len"], params["kv_len"]
    q, y = (_activation(name, batch, q_len, heads * head_dim) for name in ("q", "y"))
    k, v = (
        Tensor(
            name=name, shape=(batch, kv_len, kv_heads * head_dim), role="kv_cache" if q_len < kv_len else "activation"
        )
        for name in ("k", "v")
    )
    op = Attention(
        name="attention",
        inputs=(q, k, v),
        outputs=(y,),
        batch=batch,
        q_len=q_len,
        kv_len=kv_len,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        causal=bool(params["causal"]),
        window=params["window"] or None,
    )
    return _alone(op, batch, params)


SINGLE_OPS: dict[str, tuple[str, Callable[[int, Params], Graph], Limits]] = {
    "matmul": ("one product: --param m=1024 n=1024 k=1024; an item is m rows", matmul, MATMUL),
    "conv2d": ("one convolution: --param c_in, h, w, c_out, kh, kw, stride, pad, groups", conv2d, CONV2D),
    "softmax": ("one softmax: --param rows, cols", softmax, ROWS),
    "layernorm": ("one layer norm: --param rows, cols", layernorm, ROWS),
    "gelu": ("one GELU: --param rows, cols", elementwise("gelu", 1), ROWS),
    "add": ("one addition of two tensors: --param rows, cols", elementwise("add", 2), ROWS),
    "attention": ("one fused attention: --param q_len, kv_len, heads, kv_heads, head_dim", attention, ATTENTION),
}
"""A description, the builder and the parameters of each."""
