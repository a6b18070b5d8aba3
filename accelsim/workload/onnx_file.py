"""ONNX files as networks of plain values; the one module that imports onnx."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any

import onnx
import onnx.inliner
from google.protobuf.message import DecodeError  # type: ignore[import-untyped,unused-ignore]
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, numpy_helper

from accelsim.base.errors import WorkloadError, nearest
from accelsim.workload.batch_axis import RECURRENT, follow, recurrent_input_axes, scale
from accelsim.workload.files import content
from accelsim.workload.network import Network, Node, Shape

WANTED = "an ONNX model"
MAX_SIZE = 2**40
MAX_CONSTANT = 1024
"""Initializers of at most so many numbers keep their values; axes and shapes are among them, weights are not needed."""

FORMATS: dict[int, str] = {
    TensorProto.DOUBLE: "fp64",
    TensorProto.FLOAT: "fp32",
    TensorProto.FLOAT16: "fp16",
    TensorProto.BFLOAT16: "bf16",
    TensorProto.INT64: "int64",
    TensorProto.UINT64: "int64",
    TensorProto.INT32: "int32",
    TensorProto.UINT32: "int32",
    TensorProto.INT16: "int16",
    TensorProto.UINT16: "int16",
    TensorProto.INT8: "int8",
    TensorProto.UINT8: "int8",
    TensorProto.BOOL: "int8",
    TensorProto.STRING: "int64",
    TensorProto.COMPLEX64: "fp64",
    **{getattr(TensorProto, name): "int4" for name in ("INT4", "UINT4") if hasattr(TensorProto, name)},
    **{number: "fp8" for name, number in TensorProto.DataType.items() if name.startswith("FLOAT8")},
}
"""Number formats by ONNX's element type; unsigned is as wide as signed, a boolean has a byte, a string is a handle."""

BATCH_WORDS = ("batch", "bs", "n", "b", "bsz")

_ATTRIBUTE: dict[int, Callable[[AttributeProto], Any]] = {
    AttributeProto.INT: lambda a: a.i,
    AttributeProto.FLOAT: lambda a: a.f,
    AttributeProto.STRING: lambda a: a.s.decode("utf-8", "replace"),
    AttributeProto.INTS: lambda a: tuple(a.ints),
    AttributeProto.FLOATS: lambda a: tuple(a.floats),
    AttributeProto.TENSOR: lambda a: a.t,
}


def read_onnx(path: str | Path, *, batch: int, params: Mapping[str, int]) -> Network:
    """Read an ONNX file as a network at ``batch``; its other free sizes are in ``params``, weights' values unread."""
    path = Path(path)
    model = _load(path)
    graph = model.graph
    given = _given(graph)
    nodes = tuple(_nodes(graph))
    axes, own_batch = _bind_sizes(path.name, given, nodes, params)
    _check_sizes(path.name, graph)
    constants = _constants(graph)
    _forget_values(graph)
    _forget_shapes(graph)
    weights = frozenset(_weights(graph))
    _check_wiring(path.name, nodes, weights | {value.name for value in given})
    shapes, dtypes, assumed = _infer(path.name, model, nodes)
    net = Network(
        name=path.stem,
        nodes=nodes,
        opset=max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1),
        inputs=tuple(value.name for value in given),
        weights=weights,
        shapes=shapes,
        dtypes=dtypes,
        constants=constants,
        assumed=assumed,
    )
    if batch != 1 and not axes:
        raise WorkloadError(f"{path.name}: --batch {batch}: no input has a batch; want 1")
    batch_axes = follow(net, axes)
    scaled = {name: scale(shape, batch_axes.get(name), own_batch, batch) for name, shape in shapes.items()}
    notes = tuple(_fixed_batch(axes, own_batch, batch))
    return replace(net, shapes=scaled, batch_axes=batch_axes, notes=notes)


def _fixed_batch(axes: Mapping[str, int], own: int, batch: int) -> Iterator[str]:
    """Say so where a size that the file fixes was taken for the batch, and another one is run."""
    if own not in (1, batch):
        name, axis = next(iter(axes.items()))
        yield (
            f"axis {axis} of input {name} is fixed at {own} in the file and was taken for the batch: sizes are scaled "
            f"along it; want --batch {own} to run the file as it is or, where that axis is no batch, a file whose "
            "batch axis bears a symbol such as N"
        )


# --- the file -------------------------------------------------------------------------------------------------------


def _load(path: Path) -> ModelProto:
    whole = content(path, WANTED)
    if not whole:
        raise WorkloadError(f"{path}: an empty file; want {WANTED}")
    try:
        model = onnx.load_model_from_string(whole)
    except DecodeError:
        raise WorkloadError(f"{path}: not an ONNX model, or cut short; want {WANTED}") from None
    if not model.graph.node:
        raise WorkloadError(f"{path}: holds no graph; want {WANTED}")
    names = (name for node in model.graph.node for name in (*node.input, *node.output, node.op_type, node.name))
    if any(isinstance(name, bytes) for name in names):
        raise WorkloadError(f"{path}: holds names that are not text; want {WANTED}")
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    return model


def _given(graph: GraphProto) -> list[ValueInfoProto]:
    """Return the true inputs: those that are read and are no weights (older files list weights as inputs too)."""
    weights = set(_weights(graph))
    read = {name for node in graph.node for name in _reads(node)}
    return [value for value in graph.input if value.name not in weights and value.name in read]


def _reads(node: NodeProto) -> Iterator[str]:
    """Yield what a node reads, the bodies of its loops and branches included."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        if attribute.type == AttributeProto.GRAPH:
            for inner in attribute.g.node:
                yield from _reads(inner)


def _weights(graph: GraphProto) -> Iterator[str]:
    yield from (tensor.name for tensor in graph.initializer)
    yield from (tensor.values.name for tensor in graph.sparse_initializer)


def _nodes(graph: GraphProto) -> Iterator[Node]:
    taken: set[str] = set()
    for proto in graph.node:
        outputs = tuple(proto.output)
        name = proto.name or next((name for name in outputs if name), "") or proto.op_type
        while name in taken:
            name += "'"
        taken.add(name)
        attributes = {a.name: _ATTRIBUTE[a.type](a) for a in proto.attribute if a.type in _ATTRIBUTE}
        # A loop's or branch's body reads tensors of the graph around it: they are inputs of the node as a whole.
        known = set(proto.input)
        captured = tuple(dict.fromkeys(n for n in _reads(proto) if n not in known)) if _has_body(proto) else ()
        yield Node(name, proto.op_type, (*proto.input, *_outer(proto, captured)), outputs, attributes)


def _has_body(proto: NodeProto) -> bool:
    return any(attribute.type == AttributeProto.GRAPH for attribute in proto.attribute)


def _outer(proto: NodeProto, captured: Iterable[str]) -> tuple[str, ...]:
    """Of the names that bodies read, those that the bodies do not make themselves."""
    made: set[str] = set()
    stack = [proto]
    while stack:
        for attribute in stack.pop().attribute:
            if attribute.type == AttributeProto.GRAPH:
                body = attribute.g
                made.update(value.name for value in body.input)
                made.update(tensor.name for tensor in body.initializer)
                made.update(name for inner in body.node for name in inner.output)
                stack.extend(body.node)
    return tuple(name for name in captured if name not in made)


def _check_wiring(file: str, nodes: Iterable[Node], known: Iterable[str]) -> None:
    made = set(known)
    problems = []
    for node in nodes:
        problems += [
            f"{file}: node {node.name}: reads {name!r}, which nothing makes before it"
            for name in node.reads
            if name not in made
        ]
        made.update(node.makes)
    if problems:
        raise WorkloadError(*problems)


def _check_sizes(file: str, graph: GraphProto) -> None:
    """Refuse sizes that are negative or larger than anything."""
    sizes = [(tensor.name, dim) for tensor in graph.initializer for dim in tensor.dims]
    sizes += [(v.name, d.dim_value) for v in graph.input for d in v.type.tensor_type.shape.dim]
    problems = [f"{file}: tensor {name}: size {dim}: want 0 to 2^40" for name, dim in sizes if not 0 <= dim <= MAX_SIZE]
    if problems:
        raise WorkloadError(*problems)


# --- free sizes -----------------------------------------------------------------------------------------------------


def _bind_sizes(
    file: str, given: list[ValueInfoProto], nodes: Iterable[Node], params: Mapping[str, int]
) -> tuple[dict[str, int], int]:
    """Fix every free size of the inputs; return the batch axis of each input, and the batch that the file is made for.

    A batch that is symbolic, zero or not said counts as 1.
    """
    _check_have_shapes(file, given)
    axes = _batch_axes(given, nodes, params)
    main = next((value for value in given if value.name in axes), None)
    own = _fixed(_dims(main)[axes[main.name]]) if main is not None else 1
    batch_symbols = {_dims(v)[axes[v.name]].dim_param for v in given if v.name in axes} - {""}
    free: dict[str, list[Any]] = {}
    for value in given:
        for axis, dim in enumerate(_dims(value)):
            if axes.get(value.name) == axis or dim.dim_param in batch_symbols:
                dim.dim_value = own
            elif dim.dim_value < 1:
                free.setdefault(dim.dim_param or f"{value.name}_dim{axis}", []).append(dim)
    _check_params(file, free, params, batch_symbols)
    for symbol, dims in free.items():
        for dim in dims:
            dim.dim_value = params[symbol]
    return axes, own


def _dims(value: ValueInfoProto) -> Any:
    return value.type.tensor_type.shape.dim


def _fixed(dim: Any) -> int:
    return max(1, int(dim.dim_value))


def _check_have_shapes(file: str, given: Iterable[ValueInfoProto]) -> None:
    problems = [
        f"{file}: input {value.name}: the file does not say its shape; want a tensor with a shape"
        for value in given
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape")
    ]
    if problems:
        raise WorkloadError(*problems)


def _says_batch(symbol: str) -> bool:
    word = symbol.lower()
    return word in BATCH_WORDS or "batch" in word


def _batch_axes(given: Iterable[ValueInfoProto], nodes: Iterable[Node], params: Mapping[str, int]) -> dict[str, int]:
    """Choose the batch axis of each input: one whose symbol says so, else where a recurrent node that reads it has it.

    Else it is the first axis of those of rank two and more. A vector is a batch where it is all that is given, or where
    its size bears the batch's symbol. A first axis whose symbol is among ``params`` is none.
    """
    values = [value for value in given if len(_dims(value))]
    named = {
        v.name: axis for v in values for axis, dim in reversed(list(enumerate(_dims(v)))) if _says_batch(dim.dim_param)
    }
    if named:
        symbols = {_dims(v)[named[v.name]].dim_param for v in values if v.name in named}
        first = {v.name: 0 for v in values if v.name not in named and _dims(v)[0].dim_param in symbols}
        return {**first, **named}
    read = {k: a for n in nodes if n.op_type in RECURRENT for k, a in recurrent_input_axes(n).items()}
    recurrent = {v.name: read[v.name] for v in values if v.name in read and read[v.name] < len(_dims(v))}
    if recurrent:
        return recurrent
    matrices = [v for v in values if len(_dims(v)) > 1] or values
    if not matrices:
        return {}
    main = _dims(matrices[0])[0]
    if main.dim_param in params:
        return {}
    like = (main.dim_value, main.dim_param)
    return {v.name: 0 for v in matrices if (_dims(v)[0].dim_value, _dims(v)[0].dim_param) == like}


def _check_params(
    file: str, free: Mapping[str, object], params: Mapping[str, int], batch_symbols: Iterable[str]
) -> None:
    known = f"want one of {sorted(free)}" if free else "this model takes none"
    problems = [
        f"{file}: --param {name}: this is the batch; want --batch {value}"
        if name in batch_symbols
        else f"{file}: --param {name}: unknown; {known}{nearest(name, free)}"
        for name, value in params.items()
        if name not in free
    ]
    problems += [
        f"{file}: the size {symbol} is free; want --param {symbol}=VALUE" for symbol in free if symbol not in params
    ]
    if problems:
        raise WorkloadError(*problems)


# --- shapes ---------------------------------------------------------------------------------------------------------


def _constants(graph: GraphProto) -> dict[str, tuple[int | float, ...]]:
    """Return the values of small integer tensors and of scalars."""
    values: dict[str, tuple[int | float, ...]] = {}
    for tensor in graph.initializer:
        _keep(values, tensor.name, tensor)
    for node in graph.node:
        if node.op_type == "Constant":
            for attribute in node.attribute:
                if attribute.type == AttributeProto.TENSOR:
                    _keep(values, node.output[0], attribute.t)
                elif attribute.name.startswith("value_") and attribute.type in _ATTRIBUTE:
                    value = _ATTRIBUTE[attribute.type](attribute)
                    values[node.output[0]] = value if isinstance(value, tuple) else (value,)
    return values


def _keep(values: dict[str, tuple[int | float, ...]], name: str, tensor: TensorProto) -> None:
    elements = prod(tensor.dims)
    limit = MAX_CONSTANT if tensor.data_type in (TensorProto.INT64, TensorProto.INT32) else 1
    known = FORMATS.get(tensor.data_type, "").startswith(("int", "fp")) and tensor.data_type != TensorProto.STRING
    if elements <= limit and known and tensor.data_location != TensorProto.EXTERNAL:
        try:
            values[name] = tuple(numpy_helper.to_array(tensor).ravel().tolist())
        except (ValueError, TypeError):
            raise WorkloadError(f"tensor {name}: its numbers do not fit its shape {list(tensor.dims)}") from None


def _forget_values(graph: GraphProto) -> None:
    """Drop the numbers of large weights, so that inference need not carry them."""
    for tensor in graph.initializer:
        if prod(tensor.dims) > MAX_CONSTANT:
            for numbers in ("raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
                tensor.ClearField(numbers)  # type: ignore[arg-type,unused-ignore]


def _forget_shapes(graph: GraphProto) -> None:
    """Drop what the file says of shapes inside: it was written for another batch."""
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")


def _infer(
    file: str, model: ModelProto, nodes: tuple[Node, ...]
) -> tuple[dict[str, Shape], dict[str, str], frozenset[str]]:
    """Infer every shape, helping out after nodes whose result depends on data or that ONNX does not know."""
    assumed: set[str] = set()
    while True:
        shapes, dtypes, partial = _collect(_run_inference(file, model).graph)
        blocked = list(_blocked(model.graph, nodes, shapes))
        stuck = [name for _, name in blocked if name in assumed]
        if stuck:
            raise WorkloadError(*(f"{file}: the shape of {name} cannot be inferred" for name in stuck))
        if not blocked:
            return shapes, dtypes, frozenset(assumed)
        for node, name in blocked:
            _assume(model.graph, node, name, shapes, dtypes, partial)
            assumed.add(name)


def _run_inference(file: str, model: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except (onnx.shape_inference.InferenceError, onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()
        raise WorkloadError(f"{file}: shapes cannot be inferred: {reason[-1] if reason else 'broken model'}") from None


def _collect(graph: GraphProto) -> tuple[dict[str, Shape], dict[str, str], dict[str, list[int]]]:
    """Return full shapes, number formats, and shapes of which a part is known (0 for what is not)."""
    shapes: dict[str, Shape] = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    dtypes = {tensor.name: FORMATS.get(tensor.data_type, "fp32") for tensor in graph.initializer}
    shapes.update({t.values.name: tuple(t.dims) for t in graph.sparse_initializer})
    partial: dict[str, list[int]] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if value.name in shapes or not value.type.HasField("tensor_type"):
            continue
        dtypes[value.name] = FORMATS.get(tensor.elem_type, "fp32")
        if tensor.HasField("shape"):
            dims = [int(dim.dim_value) for dim in tensor.shape.dim]
            if 0 in dims:
                partial[value.name] = dims
            else:
                shapes[value.name] = tuple(dims)
    return shapes, dtypes, partial


def _blocked(graph: GraphProto, nodes: Iterable[Node], shapes: Mapping[str, Shape]) -> Iterator[tuple[Node, str]]:
    """Yield the first outputs without a shape: those whose node's inputs all have one."""
    wanted = {name for node in nodes for name in node.reads} | {value.name for value in graph.output}
    for node in nodes:
        if all(name in shapes for name in node.reads):
            yield from ((node, name) for name in node.makes if name in wanted and name not in shapes)


def _assume(
    graph: GraphProto,
    node: Node,
    name: str,
    shapes: Mapping[str, Shape],
    dtypes: Mapping[str, str],
    partial: Mapping[str, list[int]],
) -> None:
    """Give an output the shape that is known of it, 1 for each size that is not, else its first input's."""
    first = next(iter(node.reads), "")
    dims = [max(1, dim) for dim in partial[name]] if name in partial else list(shapes.get(first, ()))
    by_format = {text: number for number, text in reversed(FORMATS.items())}
    dtype = by_format[dtypes.get(name, dtypes.get(first, "fp32"))]
    for values in (graph.value_info, graph.output):
        for value in [value for value in values if value.name == name]:
            value.CopyFrom(onnx.helper.make_tensor_value_info(name, dtype, dims))
    if not any(value.name == name for value in graph.output):
        graph.value_info.append(onnx.helper.make_tensor_value_info(name, dtype, dims))
