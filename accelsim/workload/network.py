"""A network read from a file, as plain values: nothing of protobuf, nothing of our ops yet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal

from accelsim.base.errors import WorkloadError

Shape = tuple[int, ...]
Kind = Literal["data", "weight", "static"]
"""What a tensor hangs on: an input of the network, weights alone, or shapes (known before anything runs)."""

MAKES_NO_SENSE = (LookupError, ArithmeticError, ValueError, TypeError)
"""What reading a node raises whose attributes, inputs and shapes do not fit each other."""

SHAPE_READERS = frozenset({"Shape", "Size"})


@dataclass(frozen=True, slots=True)
class Node:
    """One step as the file has it; an input that is left out is named ``""``."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def broken(self, error: Exception) -> WorkloadError:
        """Return the error that says that this node makes no sense."""
        detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return WorkloadError(
            f"node {self.name} ({self.op_type}): its attributes, inputs and shapes do not fit ({detail})"
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """The inputs that are there."""
        return tuple(name for name in self.inputs if name)

    @property
    def makes(self) -> tuple[str, ...]:
        """The outputs that are there."""
        return tuple(name for name in self.outputs if name)

    def optional_input(self, index: int) -> str:
        """Return the name of an input that may be left out, else ``""``."""
        return self.inputs[index] if index < len(self.inputs) else ""

    def optional_output(self, index: int) -> str:
        """Return the name of an output that may be left out, else ``""``."""
        return self.outputs[index] if index < len(self.outputs) else ""

    def integer(self, attribute: str, default: int) -> int:
        """Return an attribute that is a number."""
        return int(self.attributes.get(attribute, default))

    def integers(self, attribute: str, default: Iterable[int]) -> tuple[int, ...]:
        """Return an attribute that is a row of numbers."""
        return tuple(self.attributes.get(attribute, default))


@dataclass(frozen=True, kw_only=True)
class Network:
    """Nodes in a topological order, with the shape and number format of every tensor."""

    name: str
    nodes: tuple[Node, ...]
    opset: int
    inputs: tuple[str, ...]
    """What is given with each step; weights apart."""
    weights: frozenset[str]
    shapes: Mapping[str, Shape]
    dtypes: Mapping[str, str]
    constants: Mapping[str, tuple[int | float, ...]] = field(default_factory=dict)
    """Values of the small constants: axes, shapes, scalars."""
    assumed: frozenset[str] = frozenset()
    """Tensors whose shape the file leaves open: it was taken from what is known, and a note says so."""
    batch_axes: Mapping[str, int] = field(default_factory=dict)
    """The axis along which a tensor holds the items of a batch; absent where there is none."""
    notes: tuple[str, ...] = ()
    """What a reader of results should know of how the file was read."""

    def shape(self, name: str) -> Shape:
        """Return a tensor's shape, or say that it is not known."""
        try:
            return self.shapes[name]
        except KeyError:
            raise WorkloadError(f"the shape of {name} cannot be inferred from the file") from None

    def elements(self, name: str) -> int:
        """Numbers in a tensor."""
        return prod(self.shape(name))

    def axes(self, node: Node, index: int = 1) -> tuple[int, ...] | None:
        """Axes as an attribute (older opsets) or as constant input ``index`` (newer ones); None where not given."""
        if "axes" in node.attributes:
            return tuple(node.attributes["axes"])
        values = self.constants.get(node.optional_input(index))
        return None if values is None else tuple(int(v) for v in values)

    @cached_property
    def kinds(self) -> Mapping[str, Kind]:
        """What each tensor hangs on."""
        kinds: dict[str, Kind] = dict.fromkeys(self.weights, "weight")
        kinds.update(dict.fromkeys(self.inputs, "data"))
        for node in self.nodes:
            kinds.update(dict.fromkeys(node.makes, _kind(node, kinds)))
        return kinds


def _kind(node: Node, kinds: Mapping[str, Kind]) -> Kind:
    if node.op_type in SHAPE_READERS:
        return "static"
    of_inputs = {kinds[name] for name in node.reads if name in kinds}
    if "data" in of_inputs:
        return "data"
    return "static" if "static" in of_inputs or (not of_inputs and node.op_type != "Constant") else "weight"
