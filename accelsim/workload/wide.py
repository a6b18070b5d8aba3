"""What stays in a wide format when a network is computed in a narrow one.

Deployments in 8 bits and less multiply in the narrow format and keep softmax, normalisation and GELU in 16 or 32 bits:
their sums and exponentials do not survive 8 (Kim et al., I-BERT, ICML 2021, section 1; NVIDIA's and Intel's INT8 BERT
do so). Results of products come out of wide accumulators anyway; only what goes into a product has to be narrow.
"""

from __future__ import annotations

from dataclasses import replace

from accelsim.workload.graph import Graph
from accelsim.workload.ops import FUNCTIONS, Attention, Conv2d, Elementwise, Matmul, Norm, Op, Softmax, Tensor

Product = Matmul | Conv2d | Attention
CAST = "affine"
"""What a conversion costs an element: a scale and a shift."""


def keep_wide(graph: Graph, narrow: str, wide: str) -> Graph:
    """Return the graph with softmax, norms and functions of exponentials or roots in ``wide``, and casts to ``narrow``.

    What lies between them and the products around them follows: elementwise ops before, and all that is computed from
    their results until a product. A product's operand that is wide is cast to ``narrow`` by an op of its own, once for
    all its readers.
    """
    wide_ops = _wide_ops(graph)
    if not wide_ops:
        return graph
    touched = {t.name for op in graph.ops if op.name in wide_ops for t in (*op.inputs, *op.outputs)}
    changed = {
        name: replace(graph.tensors[name], dtype=wide) for name in touched if graph.tensors[name].dtype == narrow
    }
    ops: list[Op] = []
    casts: dict[str, Tensor] = {}
    for op in graph.ops:
        if not isinstance(op, Product):
            ops.append(op.with_tensors(changed))
            continue
        for tensor in op.activations:
            if tensor.name in changed and tensor.name not in casts:
                casts[tensor.name] = replace(tensor, name=f"{tensor.name} in {narrow}")
                ops.append(_cast(changed[tensor.name], casts[tensor.name]))
        outputs = tuple(changed.get(t.name, t) for t in op.outputs)
        ops.append(replace(op.with_tensors({name: casts[name] for name in casts if name in changed}), outputs=outputs))
    return replace(graph, ops=tuple(ops))


def _cast(source: Tensor, target: Tensor) -> Elementwise:
    return Elementwise(name=f"{target.name} (cast)", function=CAST, inputs=(source,), outputs=(target,))


def _wide_ops(graph: Graph) -> set[str]:
    """Names of the ops that compute in the wide format."""
    wide = {op.name for op in graph.ops if _needs_range(op)}
    size = -1
    while size != len(wide):
        size = len(wide)
        for op in graph.ops:
            made_wide = any(t.name in graph.producer and graph.producer[t.name].name in wide for t in op.activations)
            if made_wide and not isinstance(op, Product):
                wide.add(op.name)
        for op in reversed(graph.ops):
            if isinstance(op, Elementwise) and any(r.name in wide for t in op.outputs for r in graph.consumers[t.name]):
                wide.add(op.name)
    return wide


def _needs_range(op: Op) -> bool:
    return isinstance(op, Softmax | Norm) or (isinstance(op, Elementwise) and FUNCTIONS[op.function].special > 0)


def absorb_casts(graph: Graph) -> Graph:
    """Return the graph with each cast done by the op before it, where that is no product and nobody else reads it.

    A softmax then writes the narrow numbers that its reader wants. Products take casts as epilogues, with fusion.
    """
    casts = {
        op.inputs[0].name: op
        for op in graph.ops
        if isinstance(op, Elementwise) and op.name == f"{op.outputs[0].name} (cast)" and not op.epilogue
    }
    absorbed = {
        name: cast
        for name, cast in casts.items()
        if name in graph.producer
        and len(graph.consumers[name]) == 1
        and len(graph.producer[name].outputs) == 1
        and not isinstance(graph.producer[name], Product)
    }
    gone = {cast.name for cast in absorbed.values()}
    ops = []
    for op in graph.ops:
        cast = absorbed.get(op.outputs[0].name) if op.outputs else None
        if cast is not None:
            ops.append(replace(op, outputs=cast.outputs, epilogue=(*op.epilogue, cast)))
        elif op.name not in gone:
            ops.append(op)
    return replace(graph, ops=tuple(ops)) if gone else graph
