"""Pure functions from graph to graph: precision, fusion, attention in parts, folding of batch normalisation."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace

from accelsim.base.dtypes import DTYPES, PRECISIONS
from accelsim.base.errors import WorkloadError, nearest
from accelsim.workload.graph import Graph
from accelsim.workload.ops import Attention, Conv2d, Elementwise, Matmul, Op, Softmax, Tensor

Product = Matmul | Conv2d


# --- precision ------------------------------------------------------------------------------------------------------


def set_precision(graph: Graph, dtype: str) -> Graph:
    """Return the graph computed in ``dtype``: every tensor of numbers that are computed with.

    Positions, masks and counters in 32 and 64 bits stay as they are; what an integer product accumulates does not. In a
    mixed format the weights that products multiply with are in one of its two formats, all else is in the other.
    """
    if dtype not in PRECISIONS:
        raise WorkloadError(f"precision {dtype!r}: want one of {list(PRECISIONS)}{nearest(dtype, PRECISIONS)}")
    if dtype not in graph.derived:
        graph.derived[dtype] = _in_precision(graph, dtype)
    return graph.derived[dtype]


def _in_precision(graph: Graph, dtype: str) -> Graph:
    produced = {t.name for op in graph.ops if isinstance(op, Product) for t in op.outputs}
    inside = {t.name: t for op in graph.ops for fused in op.epilogue for t in (*fused.inputs, *fused.outputs)}
    activations, weights = DTYPES[dtype].operands or (dtype, dtype)
    multiplied = {op.inputs[1].name for op in graph.ops if isinstance(op, Product) and op.inputs[1].role == "weight"}
    tensors = {**inside, **graph.tensors}
    wanted = {name: weights if name in multiplied else activations for name in tensors}
    changed = {
        name: replace(tensor, dtype=wanted[name])
        for name, tensor in tensors.items()
        if tensor.dtype != wanted[name] and (tensor.dtype in PRECISIONS or name in produced)
    }
    if not changed:
        return graph
    ops = (op.with_tensors(changed) for op in graph.ops)
    return replace(graph, ops=tuple(replace(op, math="") if isinstance(op, Product) else op for op in ops))


# --- fusion ---------------------------------------------------------------------------------------------------------


def sparsify(graph: Graph, kept: int, of: int) -> Graph:
    """Keep ``kept`` of every ``of`` weights of each matrix product and convolution along its reduction.

    Which ones does not matter here: the pattern is the same everywhere. Biases, norms and tables stay whole.
    """
    changed = {
        tensor.name: replace(tensor, sparsity=(kept, of))
        for op in graph.ops
        if isinstance(op, Matmul | Conv2d)
        for tensor in (op.inputs[1],)
        if tensor.role == "weight"
    }
    return replace(graph, ops=tuple(op.with_tensors(changed) for op in graph.ops))


def fuse_epilogues(graph: Graph, functions: Collection[str] | None = None) -> Graph:
    """Return the graph with elementwise ops done by the matmul or convolution before them, as its epilogue.

    An elementwise op is fused where it is the only reader of that op's result and as large as it, so that the result
    need not be written and read again. Its further operands (a bias, a residual) go to the end of the op's inputs. Of
    two possible hosts the later one takes it. ``functions`` limits what is fused to what a device can do there. Nothing
    that is counted changes: multiply-accumulates, elementary operations and parameters stay.
    """
    fusion = _Fusion(graph, functions)
    for op in graph.ops:
        host = fusion.host(op)
        if host is not None and isinstance(op, Elementwise):
            fusion.fuse(host, op)
        else:
            fusion.keep(op)
    return replace(graph, ops=tuple(op for op in fusion.ops if op is not None))


@dataclass
class _Fusion:
    """The graph so far. An op that moves leaves a gap, so that places stay valid."""

    graph: Graph
    functions: Collection[str] | None
    ops: list[Op | None] = field(default_factory=list)
    place: dict[str, int] = field(default_factory=dict)
    """Where each tensor is made."""

    def host(self, op: Op) -> int | None:
        """Return the place of the op that can take ``op`` as its epilogue: the latest, where there are several."""
        if not isinstance(op, Elementwise) or len(op.outputs) != 1 or op.epilogue:
            return None
        if self.functions is not None and op.function not in self.functions:
            return None
        return max((self.place[t.name] for t in op.inputs if self._may_take(t, op)), default=None)

    def _may_take(self, tensor: Tensor, op: Op) -> bool:
        maker = self.ops[self.place[tensor.name]] if tensor.name in self.place else None
        return (
            isinstance(maker, Product)
            and len(maker.outputs) == 1
            and len(self.graph.consumers[tensor.name]) == 1
            and tensor.elements == op.outputs[0].elements
        )

    def fuse(self, place: int, op: Elementwise) -> None:
        """Put ``op`` into the epilogue of the op at ``place``, which moves down if an operand is made after it."""
        host = self.ops[place]
        assert host is not None
        made = host.outputs[0].name
        further = tuple(t for t in op.inputs if t.name != made)
        fused = replace(host, inputs=(*host.inputs, *further), outputs=op.outputs, epilogue=(*host.epilogue, op))
        if all(self.place.get(t.name, -1) < place for t in further):
            self.ops[place] = fused
            self.place[op.outputs[0].name] = place
        else:
            self.ops[place] = None
            self.keep(fused)

    def keep(self, op: Op) -> None:
        """Put ``op`` at the end."""
        self.place.update({t.name: len(self.ops) for t in op.outputs})
        self.ops.append(op)


# --- attention ------------------------------------------------------------------------------------------------------


def unfuse_attention(graph: Graph) -> Graph:
    """Return the graph with each attention as two products with scaling, mask and softmax between them.

    The heads are views of the projections (a strided batched product reads them in place), so no op moves them; query
    heads that share keys and values stand below each other in one product. Scores of masked pairs are computed too, and
    the keys that no window reaches are left out. A causal mask is added as one tensor for all heads and layers.
    """
    if not any(isinstance(op, Attention) for op in graph.ops):
        return graph
    return replace(graph, ops=tuple(part for op in graph.ops for part in _unfused(op)))


def _unfused(op: Op) -> Iterator[Op]:
    if not isinstance(op, Attention):
        yield op
        return
    query, key, value, *given = op.inputs
    repeats, rows, keys = op.batch * op.kv_heads, op.heads // op.kv_heads * op.q_len, op.keys_seen
    square = (op.batch, op.heads, op.q_len, keys)

    def made(part: str) -> Tensor:
        return Tensor(name=f"{op.name}.{part}.out", shape=square, dtype=query.dtype)

    yield Matmul(
        name=f"{op.name}.scores",
        batch=repeats,
        m=rows,
        k=op.head_dim,
        n=keys,
        inputs=(query, key),
        outputs=(made("scores"),),
    )
    yield Elementwise(name=f"{op.name}.scale", function="mul", inputs=(made("scores"),), outputs=(made("scale"),))
    scores = made("scale")
    mask = given or ([_causal_mask(op)] if op.causal and op.q_len > 1 else [])
    if mask:
        yield Elementwise(name=f"{op.name}.mask", function="add", inputs=(scores, *mask), outputs=(made("mask"),))
        scores = made("mask")
    yield Softmax(
        name=f"{op.name}.softmax",
        rows=op.batch * op.heads * op.q_len,
        cols=keys,
        inputs=(scores,),
        outputs=(made("softmax"),),
    )
    yield Matmul(
        name=f"{op.name}.context",
        batch=repeats,
        m=rows,
        k=keys,
        n=op.head_dim,
        inputs=(made("softmax"), value),
        outputs=op.outputs,
        epilogue=op.epilogue,
    )


def _causal_mask(op: Attention) -> Tensor:
    window = "" if op.window is None else f" in windows of {op.window}"
    name = f"causal mask {op.q_len} x {op.keys_seen}{window} {op.inputs[0].dtype}"
    return Tensor(name=name, shape=(1, 1, op.q_len, op.keys_seen), dtype=op.inputs[0].dtype)


# --- batch normalisation --------------------------------------------------------------------------------------------


def fold_batch_norm(graph: Graph) -> Graph:
    """Return the graph as an inference engine loads it: scales that follow a matmul or convolution are in its weights.

    A chain of per-channel scales and shifts by weights (an affine, or a multiplication and an addition) right after a
    product, each the only reader of the one before, is replaced with one bias addition, or with nothing where nothing
    is added. That changes the count of parameters: a bias per output channel is left of the two, three or four numbers
    per channel that the chain had. Count parameters that are to be compared with published ones before folding.
    """
    ops: list[Op] = []
    gone: set[str] = set()
    for op in graph.ops:
        if op.name in gone:
            continue
        chain = list(_linear_chain(graph, op)) if isinstance(op, Product) and not op.epilogue else []
        if any(step.function in ("affine", "mul") for step in chain):
            gone.update(step.name for step in chain)
            ops += _folded(op, chain)
        else:
            ops.append(op)
    return replace(graph, ops=tuple(ops)) if gone else graph


def _linear_chain(graph: Graph, product: Op) -> Iterator[Elementwise]:
    """Yield the scales and shifts by weights per channel that follow a product, one after another."""
    channels = product.c_out if isinstance(product, Conv2d) else product.n if isinstance(product, Matmul) else 0
    last = product
    while len(last.outputs) == 1:
        readers = graph.consumers[last.outputs[0].name]
        if len(readers) != 1:
            return
        (step,) = readers
        if not isinstance(step, Elementwise) or not _is_linear(step, last.outputs[0], channels):
            return
        yield step
        last = step


def _is_linear(step: Elementwise, data: Tensor, channels: int) -> bool:
    if step.function not in ("affine", "mul", "add", "sub") or step.outputs[0].elements != data.elements:
        return False
    if [t.name for t in step.activations] != [data.name]:
        return False
    return bool(step.weights) and all(t.elements == channels for t in step.weights)


def _folded(product: Op, chain: list[Elementwise]) -> Iterator[Op]:
    """Yield the product and, where the chain adds anything, one addition of what it adds last."""
    out = chain[-1].outputs[0]
    shift = next((step for step in reversed(chain) if _shift(step) is not None), None)
    if shift is None:
        yield replace(product, outputs=(out,))
        return
    bias = _shift(shift)
    assert bias is not None
    data = product.outputs[0]
    yield product
    yield Elementwise(name=shift.name, function="add", inputs=(data, bias), outputs=(out,))


def _shift(step: Elementwise) -> Tensor | None:
    """Return the weight that a step adds."""
    if step.function in ("add", "sub"):
        return step.weights[0]
    return step.weights[1] if step.function == "affine" and len(step.weights) > 1 else None
