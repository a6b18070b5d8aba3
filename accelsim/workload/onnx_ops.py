"""How each type of ONNX node becomes ops of ours. Shapes are those at the batch asked for; values are not needed.

Choices that a reader may want to know:

- A bias is an elementwise add after its matmul or convolution; fusion puts it back into that op's epilogue.
- Batch normalisation at inference is a scale and a shift: its mean and variance are part of those two.
- A 1-D convolution has height 1; of a 3-D one the kernel's depth counts as input channels, the result's as batch.
- A transposed convolution is the matmul that makes all products, and a sum of those that fall on one another.
- LSTM, GRU and RNN are one input projection over all steps, then a recurrent matmul and the gates, step by step. Gate
  functions are counted as sigmoids over all gates.
- Trigonometric functions and their like cost as much as an exponential.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from math import prod

from accelsim.base.units import ceil_div
from accelsim.workload.network import Node, Shape
from accelsim.workload.ops import Conv2d, Elementwise, Gather, Matmul, Move, Norm, Op, Pool, Reduction, Softmax, Tensor
from accelsim.workload.translate import ALIASES, Step, Translation, converts

ALIASES |= {
    "Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Optional", "OptionalGetElement",
}  # fmt: skip

# --- products -------------------------------------------------------------------------------------------------------


@converts("Conv", "ConvInteger", "QLinearConv")
def _conv(net: Translation, node: Node) -> Iterator[Op]:
    weight_at, bias_at = (3, 8) if node.op_type == "QLinearConv" else (1, 2)
    x, w = node.inputs[0], node.inputs[weight_at]
    steps = []
    if node.op_type != "ConvInteger" and node.optional_input(bias_at):
        steps.append(Step("bias", "add", (net.tensor(node.inputs[bias_at]),)))
    if node.op_type == "QLinearConv":
        steps.append(Step("requantize", "affine"))
    build = partial(_convolution, node, net.shape(x), net.shape(w), net.shape(node.outputs[0]))
    yield from net.chain(node, lambda name, out: build(name, (net.tensor(x), net.tensor(w)), out), steps)


def _convolution(
    node: Node, x: Shape, w: Shape, y: Shape, name: str, inputs: tuple[Tensor, ...], out: Tensor
) -> Conv2d:
    """Height and width are the last two axes; a depth before them is folded."""
    spatial = len(x) - 2
    kernel, image, result = _plane(w[2:]), _plane(x[2:]), _plane(y[2:])
    stride, dilation = (_plane(node.integers(key, (1,) * spatial)) for key in ("strides", "dilations"))
    kernel_depth, result_depth = (w[2], y[2]) if spatial > 2 else (1, 1)
    return Conv2d(
        name=name,
        inputs=inputs,
        outputs=(out,),
        batch=y[0] * result_depth,
        c_in=x[1] * kernel_depth,
        h_in=image[0],
        w_in=image[1],
        c_out=w[0],
        h_out=result[0],
        w_out=result[1],
        kh=kernel[0],
        kw=kernel[1],
        stride=stride,
        dilation=dilation,
        pad=_padding(node, image, result, kernel, stride, dilation),
        groups=node.integer("group", 1),
    )


def _plane(sizes: Shape, missing: int = 1) -> tuple[int, int]:
    """Return the last two of the spatial sizes; height is ``missing`` where there is width alone."""
    height, width = (missing, missing, *sizes)[-2:]
    return height, width


def _padding(
    node: Node, image: Shape, result: Shape, kernel: Shape, stride: Shape, dilation: Shape
) -> tuple[int, int, int, int]:
    """Top, left, bottom, right; SAME_UPPER puts an odd one at the end, SAME_LOWER at the start."""
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        pads = node.integers("pads", (0, 0))
        half = len(pads) // 2
        return *_plane(pads[:half], 0), *_plane(pads[half:], 0)
    if auto == "VALID":
        return 0, 0, 0, 0
    total = [
        max(0, (out - 1) * s + (k - 1) * d + 1 - size)
        for out, s, k, d, size in zip(result, stride, kernel, dilation, image, strict=True)
    ]
    less, more = [t // 2 for t in total], [t - t // 2 for t in total]
    first, second = (less, more) if auto == "SAME_UPPER" else (more, less)
    return first[0], first[1], second[0], second[1]


@converts("ConvTranspose")
def _conv_transpose(net: Translation, node: Node) -> Iterator[Op]:
    x, w = net.shape(node.inputs[0]), net.shape(node.inputs[1])
    groups = node.integer("group", 1)
    m, k, n = x[0] * prod(x[2:]), x[1] // groups, prod(w[1:])
    out = net.result(node.outputs[0])
    products = Tensor(name=f"{out.name}.products", shape=(groups, m, n), dtype=out.dtype)
    inputs = (net.tensor(node.inputs[0]), net.tensor(node.inputs[1]))
    yield Matmul(name=f"{node.name}.products", batch=groups, m=m, k=k, n=n, inputs=inputs, outputs=(products,))
    steps = [Step("bias", "add", (net.tensor(node.inputs[2]),))] if node.optional_input(2) else []
    yield from net.chain(node, lambda name, made: Reduction(name=name, inputs=(products,), outputs=(made,)), steps)


@converts("MatMul", "MatMulInteger", "QLinearMatMul")
def _matmul(net: Translation, node: Node) -> Iterator[Op]:
    b_at = 3 if node.op_type == "QLinearMatMul" else 1
    a, b = node.inputs[0], node.inputs[b_at]
    steps = [Step("requantize", "affine")] if node.op_type == "QLinearMatMul" else []
    yield from product(net, node, a, b, net.shape(a), net.shape(b), steps)


def product(
    net: Translation, node: Node, a: str, b: str, a_shape: Shape, b_shape: Shape, steps: Sequence[Step]
) -> Iterator[Op]:
    """Yield ``a @ b`` with broadcasting and its steps, the weights (where one side is) as the second operand."""
    if len(a_shape) == 1:
        a_shape = (1, *a_shape)
    if len(b_shape) == 1:
        b_shape = (*b_shape, 1)
    first, second = net.tensor(a), net.tensor(b)
    (*_, m, k), n = a_shape, b_shape[-1]
    outer_a, outer_b = prod(a_shape[:-2]), prod(b_shape[:-2])
    if net.is_weight(a) and not net.is_weight(b):  # (A B)' = B' A'
        first, second, m, n, outer_a, outer_b = second, first, n, m, outer_b, outer_a
    batch = prod(broadcast(a_shape[:-2], b_shape[:-2]))
    if outer_b == 1:
        batch, m = 1, m * outer_a
    yield from net.chain(
        node,
        lambda name, out: Matmul(name=name, batch=batch, m=m, k=k, n=n, inputs=(first, second), outputs=(out,)),
        steps,
    )


def broadcast(a: Shape, b: Shape) -> Shape:
    """Return the shape that two broadcast to.

    >>> broadcast((8, 1, 3), (5, 1))
    (8, 5, 3)
    """
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + tuple(a), (1,) * (rank - len(b)) + tuple(b), strict=True)
    return tuple(max(pair) for pair in pairs)


@converts("Gemm")
def _gemm(net: Translation, node: Node) -> Iterator[Op]:
    def side(index: int, flag: str) -> Shape:
        shape = net.shape(node.inputs[index])
        return shape[::-1] if node.attributes.get(flag, 0) else shape

    steps = []
    if node.attributes.get("alpha", 1.0) != 1.0:
        steps.append(Step("alpha", "mul"))
    if node.optional_input(2) and node.attributes.get("beta", 1.0) != 0.0:
        steps.append(Step("bias", "add", (net.tensor(node.inputs[2]),)))
    a, b = node.inputs[:2]
    yield from product(net, node, a, b, side(0, "transA"), side(1, "transB"), steps)


@converts("Einsum")
def _einsum(net: Translation, node: Node) -> Iterator[Op]:
    """Two operands, their labels sorted into batch, m, k and n; anything else is not modelled."""
    terms, _, out = node.attributes["equation"].replace(" ", "").partition("->")
    labels = terms.split(",")
    if len(labels) != 2 or "." in terms or len(out) == 0 or any(len(set(t)) < len(t) for t in labels):
        return
    a, b = node.inputs
    if net.is_weight(a) and not net.is_weight(b):
        a, b, labels = b, a, labels[::-1]
    of_a, of_b, of_out = set(labels[0]), set(labels[1]), set(out)
    size = {**dict(zip(labels[0], net.shape(a), strict=True)), **dict(zip(labels[1], net.shape(b), strict=True))}
    if (of_a ^ of_b) - of_out:
        return

    def extent(which: set[str]) -> int:
        return prod(size[label] for label in which)

    yield Matmul(
        name=node.name,
        batch=extent(of_a & of_b & of_out),
        m=extent((of_a - of_b) & of_out),
        k=extent((of_a & of_b) - of_out),
        n=extent((of_b - of_a) & of_out),
        inputs=(net.tensor(a), net.tensor(b)),
        outputs=net.results(node)[:1],
    )


# --- elementwise ----------------------------------------------------------------------------------------------------

ELEMENTWISE: dict[str, str] = {
    "Relu": "relu", "ThresholdedRelu": "relu", "LeakyRelu": "leaky_relu", "PRelu": "leaky_relu", "Clip": "clip",
    "Sigmoid": "sigmoid", "HardSigmoid": "hard_sigmoid", "Tanh": "tanh", "Erf": "erf", "Gelu": "gelu",
    "FastGelu": "gelu", "BiasGelu": "gelu", "Swish": "silu", "QuickGelu": "silu", "Mish": "mish",
    "HardSwish": "hard_swish",
    "Exp": "exp", "Log": "log", "Sqrt": "sqrt", "Reciprocal": "reciprocal", "Abs": "abs", "Neg": "neg",
    "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "div", "Mod": "div", "Pow": "pow", "CumSum": "add",
    "Equal": "compare", "Greater": "compare", "Less": "compare", "GreaterOrEqual": "compare",
    "LessOrEqual": "compare", "Not": "compare", "And": "compare", "Or": "compare", "Xor": "compare",
    "BitShift": "compare", "BitwiseAnd": "compare", "BitwiseOr": "compare", "BitwiseXor": "compare",
    "BitwiseNot": "compare", "Sign": "compare", "Floor": "compare", "Ceil": "compare", "Round": "compare",
    "IsNaN": "compare", "IsInf": "compare", "Where": "select", "Shrink": "select", "Trilu": "select",
    "Cast": "identity", "CastLike": "identity", "DequantizeLinear": "affine",
    **dict.fromkeys(("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh"), "exp"),
}  # fmt: skip
"""Node types that are one function of each element."""


@converts(*ELEMENTWISE)
def _elementwise(net: Translation, node: Node) -> Iterator[Op]:
    names = (
        node.inputs[:1] if node.op_type in ("Clip", "Cast", "CastLike", "CumSum", "DequantizeLinear") else node.reads
    )
    inputs = net.operands(names)
    if node.op_type == "Where":  # it computes in the format of what it chooses from, not of the condition
        inputs = tuple(sorted(inputs, key=lambda t: t.name == net.tensor(node.inputs[0]).name))
    function = _power(net, node) if node.op_type == "Pow" else ELEMENTWISE[node.op_type]
    yield Elementwise(name=node.name, function=function, inputs=inputs, outputs=net.results(node)[:1])


def _power(net: Translation, node: Node) -> str:
    exponent = net.constant(node, 1)
    known = {2.0: "mul", 0.5: "sqrt", -1.0: "reciprocal", 1.0: "identity"}
    return known.get(float(exponent[0]), "pow") if exponent and len(exponent) == 1 else "pow"


COMPOSED: dict[str, tuple[str, ...]] = {
    "Softplus": ("exp", "log"),
    "Elu": ("exp", "select*"),
    "Selu": ("exp", "select*"),
    "Celu": ("exp", "select*"),
    "Softsign": ("abs", "div*"),
    "QuantizeLinear": ("affine", "clip"),
}
"""Node types that are several functions one after another; a star reads the node's input once more."""


@converts(*COMPOSED)
def _composed(net: Translation, node: Node) -> Iterator[Op]:
    x = net.tensor(node.inputs[0])
    first, *rest = COMPOSED[node.op_type]
    steps = [
        Step(f"{i}", function.rstrip("*"), (x,) if function.endswith("*") else ())
        for i, function in enumerate(rest, start=1)
    ]
    yield from net.chain(
        node, lambda name, out: Elementwise(name=name, function=first, inputs=(x,), outputs=(out,)), steps
    )


@converts("Sum", "Max", "Min", "Mean")
def _variadic(net: Translation, node: Node) -> Iterator[Op]:
    function = {"Sum": "add", "Mean": "add", "Max": "max", "Min": "min"}[node.op_type]
    operands = net.operands(node.reads)
    steps = [Step(f"{i}", function, (operand,)) for i, operand in enumerate(operands[2:], start=2)]
    if node.op_type == "Mean":
        steps.append(Step("scale", "mul"))
    yield from net.chain(
        node, lambda name, out: Elementwise(name=name, function=function, inputs=operands[:2], outputs=(out,)), steps
    )


@converts("BatchNormalization")
def _batch_norm(net: Translation, node: Node) -> Iterator[Op]:
    inputs = (net.tensor(node.inputs[0]), *net.weights(node, 1, 2))
    yield Elementwise(name=node.name, function="affine", inputs=inputs, outputs=(net.result(node.outputs[0]),))


@converts("DynamicQuantizeLinear")
def _dynamic_quantize(net: Translation, node: Node) -> Iterator[Op]:
    """Find the extremes of the whole tensor, which give a scale; then scale every element."""
    x, (y, scale, *_) = net.tensor(node.inputs[0]), net.results(node)
    yield Reduction(name=f"{node.name}.range", inputs=(x,), outputs=net.results(node)[1:])
    yield Elementwise(name=node.name, function="affine", inputs=(x, scale), outputs=(y,))


# --- rows and windows -----------------------------------------------------------------------------------------------


def _rows(net: Translation, node: Node, cols: int) -> int:
    return max(1, net.net.elements(node.inputs[0]) // cols)


@converts("Softmax", "LogSoftmax", "Hardmax")
def _softmax(net: Translation, node: Node) -> Iterator[Op]:
    """Up to opset 12 all axes from ``axis`` on form one row; from 13 on, that axis alone."""
    shape = net.shape(node.inputs[0])
    axis = node.integer("axis", 1 if net.net.opset < 13 else -1) % max(1, len(shape))
    cols = prod(shape[axis:]) if net.net.opset < 13 else (shape or (1,))[axis]
    inputs = (net.tensor(node.inputs[0]),)
    yield Softmax(name=node.name, inputs=inputs, outputs=net.results(node)[:1], rows=_rows(net, node, cols), cols=cols)


@converts("LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
def _layer_norm(net: Translation, node: Node) -> Iterator[Op]:
    shape = net.shape(node.inputs[0])
    yield _norm(net, node, prod(shape[node.integer("axis", -1) % len(shape) :]))


@converts("InstanceNormalization", "MeanVarianceNormalization")
def _instance_norm(net: Translation, node: Node) -> Iterator[Op]:
    yield _norm(net, node, prod(net.shape(node.inputs[0])[2:]))


@converts("GroupNormalization")
def _group_norm(net: Translation, node: Node) -> Iterator[Op]:
    shape = net.shape(node.inputs[0])
    yield _norm(net, node, prod(shape[1:]) // node.integer("num_groups", 1))


@converts("LRN")
def _local_response_norm(net: Translation, node: Node) -> Iterator[Op]:
    yield _norm(net, node, net.shape(node.inputs[0])[1])


@converts("LpNormalization")
def _lp_norm(net: Translation, node: Node) -> Iterator[Op]:
    yield _norm(net, node, net.shape(node.inputs[0])[node.integer("axis", -1)])


def _norm(net: Translation, node: Node, cols: int) -> Norm:
    inputs = (net.tensor(node.inputs[0]), *net.weights(node, 1, 2))
    rows, rms = _rows(net, node, cols), node.op_type in ("RMSNormalization", "SimplifiedLayerNormalization")
    return Norm(name=node.name, inputs=inputs, outputs=net.results(node)[:1], rows=rows, cols=cols, rms=rms)


@converts("MaxPool", "AveragePool", "LpPool")
def _pool(net: Translation, node: Node) -> Iterator[Op]:
    yield _pooled(net, node, prod(node.attributes["kernel_shape"]))


@converts("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(net: Translation, node: Node) -> Iterator[Op]:
    yield _pooled(net, node, prod(net.shape(node.inputs[0])[2:]))


def _pooled(net: Translation, node: Node, window: int) -> Pool:
    return Pool(name=node.name, window=window, inputs=(net.tensor(node.inputs[0]),), outputs=net.results(node))


@converts(
    "ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceSumSquare", "ArgMax", "ArgMin",
)  # fmt: skip
def _reduction(net: Translation, node: Node) -> Iterator[Op]:
    yield Reduction(name=node.name, inputs=(net.tensor(node.inputs[0]),), outputs=net.results(node)[:1])


# --- data on the move -----------------------------------------------------------------------------------------------


@converts("Gather", "GatherElements", "GatherND")
def _gather(net: Translation, node: Node) -> Iterator[Op]:
    table, places = node.inputs[:2]
    indices = (net.index(places),) if net.is_data(places) or net.net.elements(places) > 1 else ()
    yield Gather(name=node.name, inputs=(net.tensor(table), *indices), outputs=net.results(node)[:1])


@converts(
    "Transpose", "Slice", "Pad", "Resize", "Upsample", "Split", "Expand", "Tile", "DepthToSpace", "SpaceToDepth",
    "ReverseSequence", "OneHot", "CenterCropPad", "Range",
)  # fmt: skip
def _move(net: Translation, node: Node) -> Iterator[Op]:
    yield Move(name=node.name, inputs=(net.tensor(node.inputs[0]),), outputs=net.results(node))


@converts("Concat", "ScatterND", "ScatterElements", "Scatter")
def _join(net: Translation, node: Node) -> Iterator[Op]:
    yield Move(name=node.name, inputs=net.operands(node.reads), outputs=net.results(node))


# --- recurrent cells ------------------------------------------------------------------------------------------------

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
MAX_UNROLLED = 1024
"""Steps (times directions) up to which a recurrence is unrolled; a longer one is counted as one product over all."""


@converts(*GATES)
def _recurrent(net: Translation, node: Node) -> Iterator[Op]:
    x = net.shape(node.inputs[0])
    steps, batch, width = (x[1], x[0], x[2]) if node.integer("layout", 0) else x
    directions = net.shape(node.inputs[1])[0]
    gates = GATES[node.op_type]
    hidden = net.shape(node.inputs[2])[-1]
    dtype = net.tensor(node.inputs[0]).dtype

    def tensor(label: str, *shape: int) -> Tensor:
        return Tensor(name=f"{node.name}.{label}", shape=shape, dtype=dtype)

    columns = directions * gates * hidden
    projected = tensor("projected", steps, batch, columns)
    yield Matmul(
        name=f"{node.name}.project",
        m=steps * batch,
        k=width,
        n=columns,
        inputs=(net.tensor(node.inputs[0]), net.tensor(node.inputs[1])),
        outputs=(projected,),
    )
    if node.optional_input(3):
        biased = tensor("biased", steps, batch, columns)
        yield Elementwise(
            name=f"{node.name}.bias",
            function="add",
            inputs=(projected, net.tensor(node.inputs[3])),
            outputs=(biased,),
        )
        projected = biased
    repeat = steps * directions
    folded = repeat > MAX_UNROLLED
    if folded:
        net.notes.append(
            f"{node.name}: {repeat} recurrent steps are more than {MAX_UNROLLED}: counted as one product over all "
            "steps, their dependence on one another and repeated reads of weights left out"
        )
        repeat, batch = 1, batch * repeat
    parts = [tensor(f"x{i}", batch, gates * hidden) for i in range(repeat)]
    yield Move(name=f"{node.name}.split", inputs=(projected,), outputs=tuple(parts))
    state, cell = tensor("h", batch, hidden), tensor("c", batch, hidden)
    weight = net.tensor(node.inputs[2])
    start_h, start_c = (net.tensor(node.optional_input(i)) if node.optional_input(i) else None for i in (5, 6))
    per_direction = repeat if folded else ceil_div(repeat, directions)
    made = []
    for i, part in enumerate(parts):
        if i % per_direction == 0:
            state = start_h or tensor(f"h{i}.start", batch, hidden)
            cell = start_c or tensor(f"c{i}.start", batch, hidden)
        run = _Cell(f"{node.name}.{i}", part, state, cell, weight)
        yield from CELLS[node.op_type](run)
        state, cell = run.tensor("h", batch, hidden), run.tensor("c", batch, hidden)
        made.append(state)
    yield Move(name=node.name, inputs=tuple(made), outputs=net.results(node))


class _Cell:
    """One step of a recurrence: names, and the operands that it starts from."""

    def __init__(self, name: str, x: Tensor, h: Tensor, c: Tensor, weight: Tensor) -> None:
        self.name, self.x, self.h, self.c, self.weight = name, x, h, c, weight
        self.batch, self.columns = x.shape
        self.hidden = h.shape[-1]

    def tensor(self, label: str, *shape: int) -> Tensor:
        return Tensor(name=f"{self.name}.{label}", shape=shape, dtype=self.x.dtype)

    def sums(self) -> tuple[list[Op], Tensor]:
        """``h R' + x``, over all gates."""
        product, sums = self.tensor("product", self.batch, self.columns), self.tensor("sums", self.batch, self.columns)
        matmul = Matmul(
            name=f"{self.name}.recur",
            m=self.batch,
            k=self.hidden,
            n=self.columns,
            inputs=(self.h, self.weight),
            outputs=(product,),
        )
        return [matmul, self.apply("add", "add", (product, self.x), sums)], sums

    def apply(self, label: str, function: str, inputs: tuple[Tensor, ...], out: Tensor) -> Op:
        return Elementwise(name=f"{self.name}.{label}", function=function, inputs=inputs, outputs=(out,))

    def state(self, label: str) -> Tensor:
        return self.tensor(label, self.batch, self.hidden)


def _lstm(cell: _Cell) -> Iterator[Op]:
    """``c = f * c + i * g; h = o * tanh(c)``."""
    ops, sums = cell.sums()
    gates, new, c, squashed = cell.tensor("gates", *sums.shape), cell.state("new"), cell.state("c"), cell.state("tanh")
    yield from ops
    yield cell.apply("sigmoid", "sigmoid", (sums,), gates)
    yield cell.apply("input", "mul", (gates,), new)
    yield cell.apply("forget", "affine", (new, gates, cell.c), c)
    yield cell.apply("tanh", "tanh", (c,), squashed)
    yield cell.apply("output", "mul", (squashed, gates), cell.state("h"))


def _gru(cell: _Cell) -> Iterator[Op]:
    """``n = tanh(x_n + r * h_n); h = n + z * (h - n)``."""
    ops, sums = cell.sums()
    gates, mixed, new = cell.tensor("gates", *sums.shape), cell.state("mixed"), cell.state("new")
    change = cell.state("change")
    yield from ops
    yield cell.apply("sigmoid", "sigmoid", (sums,), gates)
    yield cell.apply("reset", "affine", (gates, cell.x), mixed)
    yield cell.apply("tanh", "tanh", (mixed,), new)
    yield cell.apply("change", "sub", (cell.h, new), change)
    yield cell.apply("update", "affine", (change, gates, new), cell.state("h"))


def _rnn(cell: _Cell) -> Iterator[Op]:
    """``h = tanh(x + h R')``."""
    ops, sums = cell.sums()
    yield from ops
    yield cell.apply("tanh", "tanh", (sums,), cell.state("h"))


CELLS = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
