"""ONNX's attention, and that of ONNX Runtime (domain com.microsoft), as ``Attention`` ops.

A past that is given beside the keys and values is joined with them first, as a runtime without a shared buffer does;
``GroupQueryAttention`` writes into its cache in place. What is packed in five axes is not modelled.
"""

from __future__ import annotations

from collections.abc import Iterator

from accelsim.workload.network import Node, Shape
from accelsim.workload.ops import Attention, Elementwise, Matmul, Move, Op, Softmax, Tensor
from accelsim.workload.translate import Translation, converts


@converts("Attention")
def _attention(net: Translation, node: Node) -> Iterator[Op]:
    """ONNX's own (opset 23) takes Q, K, V; that of com.microsoft has ``num_heads`` and projects its input first."""
    return _projected(net, node) if "num_heads" in node.attributes else _given(net, node)


def _given(net: Translation, node: Node) -> Iterator[Op]:
    """Q, K, V of [batch, heads, length, depth], or of [batch, length, heads * depth]."""
    q, k, v = (net.shape(name) for name in node.inputs[:3])
    heads, kv_heads = node.integer("q_num_heads", q[1]), node.integer("kv_num_heads", k[1])
    depth, value_depth = _depth(q, heads), _depth(v, kv_heads)
    if any(node.outputs[3:]):
        return
    key, value = net.tensor(node.inputs[1]), net.tensor(node.inputs[2])
    past = node.optional_input(4)
    kv_len = k[-2] + (net.shape(past)[-2] if past else 0)
    if past:
        join = _joined(net, node, (q[0], kv_heads, kv_len), (depth, value_depth))
        yield from join
        key, value = (op.outputs[0] for op in join)
    left = node.integer("left_window_size", -1)
    causal = bool(node.integer("is_causal", 0)) or node.integer("right_window_size", -1) == 0
    inputs = (net.tensor(node.inputs[0]), key, value, *net.operands([node.optional_input(3)]))
    if depth != value_depth:
        yield from _in_parts(net, node, inputs, (q[0], heads, q[-2], kv_len), depth, value_depth)
        return
    yield Attention(
        name=node.name,
        batch=q[0],
        q_len=q[-2],
        kv_len=kv_len,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=depth,
        causal=causal and q[-2] <= kv_len,
        window=left + 1 if causal and left >= 0 and q[-2] <= kv_len else None,
        inputs=inputs,
        outputs=(net.result(node.outputs[0]),),
    )


def _joined(net: Translation, node: Node, shape: Shape, depths: tuple[int, int]) -> list[Move]:
    """Return the moves that put new keys and values behind those of the past."""
    moves = []
    for i, part in enumerate(("key", "value")):
        new = net.tensor(node.inputs[1 + i])
        name = node.optional_output(1 + i) or f"{node.outputs[0]}.{part}"
        joined = Tensor(name=name, shape=(*shape, depths[i]), dtype=new.dtype)
        inputs = (net.tensor(node.inputs[4 + i]), new)
        moves.append(Move(name=f"{node.name}.join_{part}", inputs=inputs, outputs=(joined,)))
    return moves


def _depth(shape: Shape, heads: int) -> int:
    return shape[-1] if len(shape) == 4 else shape[-1] // heads


def _in_parts(
    net: Translation, node: Node, inputs: tuple[Tensor, ...], square: Shape, depth: int, value_depth: int
) -> Iterator[Op]:
    """Scores, scale, mask, softmax, weighted sum: for values that are not as deep as keys."""
    query, key, value, *mask = inputs
    outer, heads, queries, keys = square
    out = net.result(node.outputs[0])
    scores, scaled, shares = (
        Tensor(name=f"{out.name}.{label}", shape=square, dtype=out.dtype) for label in ("scores", "scaled", "shares")
    )
    products = outer * heads
    yield Matmul(
        name=f"{node.name}.scores", batch=products, m=queries, k=depth, n=keys, inputs=(query, key), outputs=(scores,)
    )
    function = "affine" if mask else "mul"
    yield Elementwise(name=f"{node.name}.scale", function=function, inputs=(scores, *mask), outputs=(scaled,))
    yield Softmax(name=f"{node.name}.softmax", rows=products * queries, cols=keys, inputs=(scaled,), outputs=(shares,))
    yield Matmul(
        name=node.name, batch=products, m=queries, k=keys, n=value_depth, inputs=(shares, value), outputs=(out,)
    )


def _projected(net: Translation, node: Node) -> Iterator[Op]:
    """com.microsoft: ``x W + b`` makes Q, K and V side by side; without a past."""
    (batch, length, width), (_, columns) = net.shape(node.inputs[0]), net.shape(node.inputs[1])
    heads, out = node.integer("num_heads", 1), net.result(node.outputs[0])
    if node.optional_input(4) or columns % (3 * heads) or any(node.outputs[1:]):
        return
    projected = Tensor(name=f"{out.name}.qkv", shape=(batch, length, columns), dtype=out.dtype)
    product = Tensor(name=f"{out.name}.product", shape=projected.shape, dtype=out.dtype)
    bias = net.operands([node.optional_input(2)])
    yield Matmul(
        name=f"{node.name}.project",
        m=batch * length,
        k=width,
        n=columns,
        inputs=(net.tensor(node.inputs[0]), net.tensor(node.inputs[1])),
        outputs=(product if bias else projected,),
    )
    if bias:
        yield Elementwise(name=f"{node.name}.bias", function="add", inputs=(product, *bias), outputs=(projected,))
    yield Attention(
        name=node.name,
        batch=batch,
        q_len=length,
        kv_len=length,
        heads=heads,
        kv_heads=heads,
        head_dim=columns // (3 * heads),
        causal=bool(node.integer("unidirectional", 0)),
        inputs=(projected, projected, projected, *net.operands([node.optional_input(5)])),
        outputs=(out,),
    )


@converts("MultiHeadAttention")
def _multi_head(net: Translation, node: Node) -> Iterator[Op]:
    """com.microsoft: Q, K, V projected already; without a past."""
    names = node.inputs[:3]
    if len(names) < 3 or not all(names) or node.optional_input(6):
        return
    q, k = net.shape(names[0]), net.shape(names[1])
    if len(q) != 3 or len(k) not in (3, 4):
        return
    heads = node.integer("num_heads", 1)
    inputs = [net.tensor(name) for name in names]
    bias = net.operands([node.optional_input(3)])
    if bias:
        for i, part in enumerate(("query", "key", "value")):
            out = Tensor(name=f"{node.outputs[0]}.{part}", shape=inputs[i].shape, dtype=inputs[i].dtype)
            yield Elementwise(
                name=f"{node.name}.{part}_bias", function="add", inputs=(inputs[i], *bias), outputs=(out,)
            )
            inputs[i] = out
    yield Attention(
        name=node.name,
        batch=q[0],
        q_len=q[1],
        kv_len=k[-2],
        heads=heads,
        kv_heads=heads,
        head_dim=q[2] // heads,
        causal=bool(node.integer("unidirectional", 0)) and q[1] <= k[-2],
        inputs=(*inputs, *net.operands([node.optional_input(5)])),
        outputs=(net.result(node.outputs[0]),),
    )


@converts("GroupQueryAttention")
def _group_query(net: Translation, node: Node) -> Iterator[Op]:
    """com.microsoft: causal, with a cache that new keys and values are written into."""
    names = node.inputs[:3]
    if len(names) < 3 or not all(names):
        return
    heads, kv_heads = node.integer("num_heads", 1), node.integer("kv_num_heads", 1)
    (batch, length, width), past = net.shape(names[0]), node.optional_input(3)
    depth = width // heads
    inputs = [net.tensor(name) for name in names]
    if node.integer("do_rotary", 0):
        for i, part in enumerate(("query", "key")):
            out = Tensor(name=f"{node.outputs[0]}.{part}", shape=inputs[i].shape, dtype=inputs[i].dtype)
            yield Elementwise(name=f"{node.name}.rotary_{part}", function="rotary", inputs=(inputs[i],), outputs=(out,))
            inputs[i] = out
    kv_len = length + (net.shape(past)[-2] if past else 0)
    if past:
        for i, part in enumerate(("key", "value")):
            added = Tensor(
                name=f"{node.outputs[0]}.new_{part}", shape=inputs[1 + i].shape, dtype=inputs[1 + i].dtype,
                role="kv_cache",
            )  # fmt: skip
            yield Move(name=f"{node.name}.append_{part}", inputs=(inputs[1 + i],), outputs=(added,))
            cache = net.tensor(node.inputs[3 + i])
            shape = (batch, kv_heads, kv_len, depth)
            inputs[1 + i] = Tensor(name=cache.name, shape=shape, dtype=cache.dtype, role="kv_cache")
    local = node.integer("local_window_size", -1)
    yield Attention(
        name=node.name,
        batch=batch,
        q_len=length,
        kv_len=kv_len,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=depth,
        causal=True,
        window=local if local > 0 else None,
        inputs=tuple(inputs),
        outputs=(net.result(node.outputs[0]),),
    )
