"""From a network's nodes to our ops: names, tensors and the order, with one converter per type of node elsewhere."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from accelsim.workload.graph import Graph
from accelsim.workload.network import MAKES_NO_SENSE, SHAPE_READERS, Network, Node, Shape
from accelsim.workload.ops import Elementwise, Op, Opaque, Tensor

MAX_NAMED = 5
"""How many ops a note names before it says how many more there are."""

Converter = Callable[["Translation", Node], Iterable[Op]]
CONVERTERS: dict[str, Converter] = {}
ALIASES: set[str] = set()
"""Ops that give numbers a new name or shape and move nothing."""


def converts(*op_types: str) -> Callable[[Converter], Converter]:
    """Register the converter of these types of node."""

    def register(function: Converter) -> Converter:
        CONVERTERS.update(dict.fromkeys(op_types, function))
        return function

    return register


@dataclass(frozen=True, slots=True)
class Step:
    """An elementwise function that follows an op, and what it reads besides that op's result."""

    suffix: str
    function: str
    operands: tuple[Tensor, ...] = ()


@dataclass
class Translation:
    """What converters ask of the network around a node."""

    net: Network
    root: dict[str, str] = field(default_factory=dict)
    """Tensors that are another one by a new name or shape."""
    notes: list[str] = field(default_factory=list)
    opaque: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def shape(self, name: str) -> Shape:
        """Return the shape in which a node sees a tensor."""
        return self.net.shape(name)

    def tensor(self, name: str) -> Tensor:
        """Return the tensor behind a name."""
        root = self.root.get(name, name)
        role = "weight" if self.net.kinds.get(root) == "weight" else "activation"
        return Tensor(name=root, shape=_at_least_one(self.net.shape(root)), dtype=self._dtype(root), role=role)  # type: ignore[arg-type]

    def index(self, name: str) -> Tensor:
        """Return a tensor of positions: given with the network, but no parameter of it."""
        tensor = self.tensor(name)
        return Tensor(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype)

    def result(self, name: str) -> Tensor:
        """Return the tensor that a node makes."""
        return Tensor(name=name, shape=_at_least_one(self.net.shape(name)), dtype=self._dtype(name))

    def results(self, node: Node) -> tuple[Tensor, ...]:
        """Return all that a node makes and somebody may want."""
        return tuple(self.result(name) for name in node.makes if name in self.net.shapes)

    def _dtype(self, name: str) -> str:
        return self.net.dtypes.get(name, "fp32")

    def is_data(self, name: str) -> bool:
        """Whether it hangs on an input of the network."""
        return self.net.kinds.get(name) == "data"

    def is_weight(self, name: str) -> bool:
        """Whether it hangs on weights alone."""
        return self.net.kinds.get(name) == "weight"

    def constant(self, node: Node, index: int) -> tuple[int | float, ...] | None:
        """Return the values of an input, where they are known and few."""
        return self.net.constants.get(node.optional_input(index))

    def operands(self, names: Iterable[str]) -> tuple[Tensor, ...]:
        """Tensors of a node's inputs, data first; constants of one number are part of the op."""
        there = [name for name in names if name and (self.is_data(name) or self.net.elements(name) > 1)]
        there.sort(key=lambda name: not self.is_data(name))
        return tuple(self.tensor(name) for name in there)

    def weights(self, node: Node, first: int, last: int) -> tuple[Tensor, ...]:
        """Tensors of the inputs ``first`` to ``last`` (inclusive) that are there."""
        return tuple(self.tensor(name) for name in node.inputs[first : last + 1] if name)

    def chain(self, node: Node, first: Callable[[str, Tensor], Op], steps: Sequence[Step]) -> Iterator[Op]:
        """Yield an op and the elementwise steps after it, the last of which makes the node's result.

        ``first`` takes the op's name and its result.
        """
        last = self.result(node.outputs[0])
        made = _between(last, "op") if steps else last
        yield first(node.name, made)
        for i, step in enumerate(steps):
            out = last if i == len(steps) - 1 else _between(last, step.suffix)
            yield Elementwise(
                name=f"{node.name}.{step.suffix}",
                function=step.function,
                inputs=(made, *step.operands),
                outputs=(out,),
            )
            made = out


def _between(last: Tensor, label: str) -> Tensor:
    return Tensor(name=f"{last.name}.{label}", shape=last.shape, dtype=last.dtype)


def _at_least_one(shape: Shape) -> Shape:
    return tuple(max(1, dim) for dim in shape)


def translate(net: Network, *, name: str, batch: int, params: Mapping[str, int], source: str) -> Graph:
    """Turn a network into a graph of our ops; what has no model becomes Opaque, with a note."""
    work = Translation(net)
    ops: list[Op] = []
    for node in net.nodes:
        try:
            ops += _translate(work, node)
        except MAKES_NO_SENSE as error:
            raise node.broken(error) from None
    return Graph(
        name=name,
        ops=tuple(_unique_names(ops)),
        batch=batch,
        params=dict(params),
        notes=tuple(_notes(work)),
        source=source,
    )


def _translate(work: Translation, node: Node) -> Iterable[Op]:
    kind = work.net.kinds.get(node.makes[0]) if node.makes else None
    if kind is None or node.op_type in SHAPE_READERS:
        return ()
    if kind != "data":
        _fold(work, node)
        return ()
    if node.op_type in ALIASES or _keeps_everything(work, node):
        _alias(work, node)
        return ()
    converter = CONVERTERS.get(node.op_type)
    if converter is not None:
        found = list(converter(work, node))
        if found:
            return found
    work.opaque[node.op_type].append(node.name)
    return [opaque(work, node)]


def opaque(work: Translation, node: Node) -> Op:
    """Return an op that only moves its bytes."""
    inputs = tuple(work.tensor(name) for name in node.reads if name in work.net.shapes)
    return Opaque(name=node.name, op_type=node.op_type, inputs=inputs, outputs=work.results(node))


def _alias(work: Translation, node: Node) -> None:
    source = next(name for name in node.inputs if work.is_data(name))
    work.root[node.outputs[0]] = work.root.get(source, source)


def _fold(work: Translation, node: Node) -> None:
    """Weights that are only reshaped or scaled before use stay the weights that they are."""
    if node.op_type == "ConstantOfShape" or not node.reads:
        return
    out, first = node.outputs[0], node.inputs[0]
    if work.is_weight(out) and first in work.net.shapes and out in work.net.shapes:
        source = max((name for name in node.reads if name in work.net.shapes), key=work.net.elements)
        if work.net.elements(source) == work.net.elements(out):
            work.root[out] = work.root.get(source, source)


def _keeps_everything(work: Translation, node: Node) -> bool:
    """Whether a move leaves its input as it is, so that nothing need be moved."""
    if node.op_type in ("Expand", "Tile", "Pad", "Slice", "Resize", "Upsample"):
        return node.outputs[0] in work.net.shapes and work.shape(node.inputs[0]) == work.shape(node.outputs[0])
    if node.op_type in ("Concat", "Sum", "Max", "Min", "Mean"):
        return len(node.reads) == 1
    return node.op_type == "Transpose" and _transposes_nothing(work, node)


def _transposes_nothing(work: Translation, node: Node) -> bool:
    """Whether only axes of size 1 change places; the batch's counts as longer, so that it is so at any batch."""
    shape = work.shape(node.inputs[0])
    batch_axis = work.net.batch_axes.get(node.inputs[0])
    order = node.attributes.get("perm", range(len(shape) - 1, -1, -1))
    long = [axis for axis in order if shape[axis] > 1 or axis == batch_axis]
    return long == sorted(long)


def _unique_names(ops: Iterable[Op]) -> Iterator[Op]:
    taken: set[str] = set()
    for op in ops:
        if op.name in taken:
            raise AssertionError(f"two ops named {op.name}")
        taken.add(op.name)
        yield op


def _notes(work: Translation) -> Iterator[str]:
    yield from work.net.notes
    yield from work.notes
    for op_type, names in work.opaque.items():
        which = f"1 op of type {op_type} is" if len(names) == 1 else f"{len(names)} ops of type {op_type} are"
        yield f"{which} not modelled: only {'its' if len(names) == 1 else 'their'} bytes are moved: {enumerated(names)}"
    for name in sorted(work.net.assumed):
        yield f"the shape of {name} depends on data or is not known; taken as {list(work.net.shapes[name])}"


def enumerated(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def elements(shape: Iterable[int]) -> int:
    """Numbers in a block of this shape."""
    return prod(shape)
