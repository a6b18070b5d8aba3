"""Random workloads for hypothesis."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from accelsim.workload.graph import Graph
from accelsim.workload.ops import (
    FUNCTIONS,
    Attention,
    Conv2d,
    Elementwise,
    Gather,
    Matmul,
    Move,
    Norm,
    Opaque,
    Pool,
    Reduction,
    Softmax,
    Tensor,
)

NAMES = st.text(min_size=1, max_size=6)
SIZES = st.integers(1, 40)
SHAPES = st.lists(SIZES, max_size=4).map(tuple)
DTYPES = st.sampled_from(["fp32", "fp16", "int8", "int64", "int4"])


class _Names:
    def __init__(self, draw, names):
        self.draw, self.names, self.taken = draw, names, set()

    def new(self):
        name = self.draw(self.names.filter(lambda text: text not in self.taken))
        self.taken.add(name)
        return name


def _conv2d(draw, **common):
    groups, stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    kh, kw = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pad = tuple(draw(st.integers(0, 2)) for _ in range(4))
    h, w = draw(st.integers(5, 20)), draw(st.integers(5, 20))
    return Conv2d(
        batch=draw(SIZES),
        c_in=groups * draw(SIZES),
        c_out=groups * draw(SIZES),
        h_in=h,
        w_in=w,
        h_out=(h + pad[0] + pad[2] - dilation * (kh - 1) - 1) // stride + 1,
        w_out=(w + pad[1] + pad[3] - dilation * (kw - 1) - 1) // stride + 1,
        kh=kh,
        kw=kw,
        stride=(stride, stride),
        dilation=(dilation, dilation),
        pad=pad,
        groups=groups,
        **common,
    )


def _attention(draw, **common):
    kv_len, kv_heads, causal = draw(SIZES), draw(st.integers(1, 4)), draw(st.booleans())
    return Attention(
        batch=draw(SIZES),
        q_len=draw(st.integers(1, kv_len) if causal else SIZES),
        kv_len=kv_len,
        heads=kv_heads * draw(st.integers(1, 4)),
        kv_heads=kv_heads,
        head_dim=draw(SIZES),
        causal=causal,
        window=draw(st.none() | SIZES) if causal else None,
        **common,
    )


MAKERS = {
    "attention": _attention,
    "matmul": lambda draw, **c: Matmul(batch=draw(SIZES), m=draw(SIZES), k=draw(SIZES), n=draw(SIZES), **c),
    "conv2d": _conv2d,
    "elementwise": lambda draw, **c: Elementwise(function=draw(st.sampled_from(sorted(FUNCTIONS))), **c),
    "reduction": lambda draw, **c: Reduction(**c),
    "softmax": lambda draw, **c: Softmax(rows=draw(SIZES), cols=draw(SIZES), **c),
    "norm": lambda draw, **c: Norm(rows=draw(SIZES), cols=draw(SIZES), rms=draw(st.booleans()), **c),
    "pool": lambda draw, **c: Pool(window=draw(SIZES), **c),
    "gather": lambda draw, **c: Gather(**c),
    "move": lambda draw, **c: Move(**c),
    "opaque": lambda draw, **c: Opaque(op_type=draw(NAMES), **c),
}


SHAPES_OF = {
    "matmul": lambda op: ((op.batch, op.m, op.k), (op.batch, op.k, op.n), (op.batch, op.m, op.n)),
    "conv2d": lambda op: (
        (op.batch, op.c_in, op.h_in, op.w_in),
        (op.c_out, op.c_in // op.groups, op.kh, op.kw),
        (op.batch, op.c_out, op.h_out, op.w_out),
    ),
    "attention": lambda op: (
        (op.batch, op.q_len, op.heads * op.head_dim),
        *2 * ((op.batch, op.kv_len, op.kv_heads * op.head_dim),),
        (op.batch, op.q_len, op.heads * op.head_dim),
    ),
}
"""Shapes of the operands and of the result."""
LEAST_INPUTS = {"attention": 3, "matmul": 2, "conv2d": 2}


@st.composite
def graphs(draw, names=NAMES):
    """Ops of every kind over tensors of every role, with names of any letters; sizes need not fit each other."""
    op_names, tensor_names = _Names(draw, names), _Names(draw, names)
    known, ops = [], []
    for kind in draw(st.lists(st.sampled_from(sorted(MAKERS)), min_size=1, max_size=7)):
        new = [
            Tensor(
                name=tensor_names.new(),
                shape=draw(SHAPES),
                dtype=draw(DTYPES),
                role=draw(st.sampled_from(["weight", "activation", "kv_cache"])),
            )
            for _ in range(draw(st.integers(LEAST_INPUTS.get(kind, 1), LEAST_INPUTS.get(kind, 2))))
        ]
        old = [draw(st.sampled_from(known)) for _ in range(draw(st.integers(0, 2)) if known else 0)]
        made = [
            Tensor(name=tensor_names.new(), shape=draw(SHAPES), dtype=draw(DTYPES))
            for _ in range(draw(st.integers(1, 2)))
        ]
        inputs = draw(st.permutations(new + old))
        op = MAKERS[kind](draw, name=op_names.new(), inputs=tuple(inputs), outputs=tuple(made))
        if kind in SHAPES_OF:  # what is not there yet gets the shapes that the sizes want
            new = [replace(t, shape=shape) for t, shape in zip(new, SHAPES_OF[kind](op), strict=False)]
            made = [replace(made[0], shape=SHAPES_OF[kind](op)[-1]), *made[1:]]
            op = replace(op, inputs=(*new, *old), outputs=tuple(made))
        ops.append(op)
        known += new + made
    return Graph(
        name=draw(names),
        ops=tuple(ops),
        batch=draw(SIZES),
        params=draw(st.dictionaries(names, SIZES, max_size=2)),
        notes=tuple(draw(st.lists(st.text(max_size=9), max_size=2))),
        source=draw(st.text(max_size=9)),
    )


@st.composite
def networks(draw):
    """Chains of products and elementwise ops with residuals and forks, as fusion meets them; all sizes fit."""
    batch, width = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    shape = (batch, width)
    tensors = [Tensor(name="x", shape=shape)]
    ops = []
    for i in range(draw(st.integers(1, 14))):
        source = tensors[-1] if draw(st.booleans()) else draw(st.sampled_from(tensors))
        out = Tensor(name=f"t{i}", shape=shape)
        kind = draw(st.sampled_from(["matmul", "unary", "bias", "affine", "mul", "residual", "softmax"]))
        weights = [Tensor(name=f"w{i}.{j}", shape=(width,), role="weight") for j in range(2)]
        if kind == "matmul":
            weight = Tensor(name=f"w{i}", shape=(width, width), role="weight")
            op = Matmul(name=f"op{i}", m=batch, k=width, n=width, inputs=(source, weight), outputs=(out,))
        elif kind == "softmax":
            op = Softmax(name=f"op{i}", rows=batch, cols=width, inputs=(source,), outputs=(out,))
        else:
            function = {"unary": "relu", "bias": "add", "residual": "add"}.get(kind, kind)
            others = {"bias": weights[:1], "mul": weights[:1], "affine": weights}.get(kind, [])
            others = [draw(st.sampled_from(tensors))] if kind == "residual" else others
            op = Elementwise(name=f"op{i}", function=function, inputs=(source, *others), outputs=(out,))
        ops.append(op)
        tensors.append(out)
    return Graph(name="random", ops=tuple(ops), batch=batch)
