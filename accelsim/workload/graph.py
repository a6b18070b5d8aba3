"""A workload: ops in an order in which they can run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from accelsim.base.errors import WorkloadError
from accelsim.workload.ops import Elementary, Op, Tensor


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Ops over named tensors, in a topological order.

    ``batch`` is the number of items (images, sequences) in one step; ``params`` are the workload's other parameters;
    ``notes`` are warnings of the import (ops that are not modelled, and the like).
    """

    name: str
    ops: tuple[Op, ...]
    batch: int = 1
    params: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    source: str = ""

    def __post_init__(self) -> None:
        problems = list(self._problems())
        if problems:
            raise WorkloadError(*(f"{self.name}: {problem}" for problem in problems))

    def _problems(self) -> Iterator[str]:
        if not self.ops:
            yield "no ops; want at least one"
        produced: set[str] = set()
        names: set[str] = set()
        later = {t.name for op in self.ops for t in op.outputs}
        tensors: dict[str, Tensor] = {}
        for op in self.ops:
            if op.name in names:
                yield f"op {op.name}: this name stands twice"
            names.add(op.name)
            for tensor in op.inputs:
                if tensor.name in later and tensor.name not in produced:
                    yield f"op {op.name}: reads {tensor.name} before it is made"
            for tensor in op.outputs:
                if tensor.name in produced:
                    yield f"op {op.name}: makes {tensor.name}, which is made already"
                produced.add(tensor.name)
            for tensor in (*op.inputs, *op.outputs):
                if tensors.setdefault(tensor.name, tensor) != tensor:
                    yield f"op {op.name}: tensor {tensor.name} differs from its other uses"

    @cached_property
    def derived(self) -> dict[object, Graph]:
        """Graphs that transforms made of this one, by what they were asked: studies ask the same again and again."""
        return {}

    @cached_property
    def sha256(self) -> str:
        """Of its name, batch and ops."""
        return hashlib.sha256(repr((self.name, self.batch, self.ops)).encode()).hexdigest()

    @cached_property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor, by name."""
        return {t.name: t for op in self.ops for t in (*op.inputs, *op.outputs)}

    @cached_property
    def producer(self) -> dict[str, Op]:
        """The op that makes each tensor; graph inputs and weights are absent."""
        return {t.name: op for op in self.ops for t in op.outputs}

    @cached_property
    def consumers(self) -> dict[str, tuple[Op, ...]]:
        """The ops that read each tensor."""
        readers: dict[str, list[Op]] = {name: [] for name in self.tensors}
        for op in self.ops:
            for name in dict.fromkeys(t.name for t in op.inputs):
                readers[name].append(op)
        return {name: tuple(ops) for name, ops in readers.items()}

    @cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """Activations and caches that are given, not made."""
        return tuple(t for t in self.tensors.values() if t.role != "weight" and t.name not in self.producer)

    @cached_property
    def outputs(self) -> tuple[Tensor, ...]:
        """Tensors that are made and not read again, and what a step adds to a cache."""
        made = (self.tensors[name] for name in self.producer)
        return tuple(t for t in made if t.role == "kv_cache" or not self.consumers[t.name])

    @cached_property
    def weights(self) -> tuple[Tensor, ...]:
        """All weights."""
        return tuple(t for t in self.tensors.values() if t.role == "weight")

    @cached_property
    def once_bytes(self) -> int:
        """Every tensor once, as far as an op reads it [bytes]."""
        once: dict[str, int] = {}
        for op in self.ops:
            for tensor in op.inputs:
                once[tensor.name] = max(once.get(tensor.name, 0), op.bytes_read(tensor))
        for name in self.producer:
            once.setdefault(name, self.tensors[name].bytes)
        return sum(once.values())

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates of one step."""
        return sum(op.macs for op in self.ops)

    @property
    def elementary(self) -> Elementary:
        """Elementary operations of one step, outside multiply-accumulates."""
        total = Elementary()
        for op in self.ops:
            total = total + op.elementary
        return total

    @property
    def parameters(self) -> int:
        """Weights, as numbers."""
        return sum(t.elements for t in self.weights)

    @property
    def weight_bytes(self) -> int:
        """Weights [bytes]."""
        return sum(t.bytes for t in self.weights)
