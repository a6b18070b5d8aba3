"""A small language for building networks: every method appends ops and returns the tensor that they leave behind.

::

    net = Layers(batch)
    x = net.input("images", 3, 224, 224)
    x = net.conv_bn("conv1", x, 64, 7, stride=2)
    x = net.pool("pool1", x, 3, stride=2, pad=1)
    x = net.dense("fc", net.global_pool("mean", x), 1000)
    return net.graph("my_network", source="...")

Images are ``[batch, channels, height, width]``, sequences ``[batch, length, width]``. Weights are named
``NAME.weight``; batch normalisation is a scale and a shift per channel, as at inference.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any, Literal

from accelsim.base.units import ceil_div
from accelsim.workload.graph import Graph
from accelsim.workload.ops import (
    Attention,
    Conv2d,
    Elementwise,
    Gather,
    Matmul,
    Move,
    Norm,
    Op,
    Pool,
    Reduction,
    Role,
    Softmax,
    Tensor,
)

Size = int | tuple[int, int]
Padding = Size | Literal["half", "same"]
"""Rows and columns on each side; ``half``: half the kernel, rounded down; ``same``: as TensorFlow, ``in / stride``."""


@dataclass
class Layers:
    """The ops so far, for ``batch`` items."""

    batch: int
    ops: list[Op] = field(default_factory=list)

    def graph(self, name: str, *, source: str, params: Mapping[str, int] | None = None) -> Graph:
        """Return what was built."""
        return Graph(name=name, ops=tuple(self.ops), batch=self.batch, params=dict(params or {}), source=source)

    # --- any tensor ---------------------------------------------------------------------------------------------

    def add(
        self, kind: type[Op], name: str, inputs: tuple[Tensor, ...], shape: tuple[int, ...], role: Role = "activation",
        **sizes: Any,
    ) -> Tensor:  # fmt: skip
        """Append one op with one result."""
        out = Tensor(name=f"{name}.out", shape=shape, role=role)
        self.ops.append(kind(name=name, inputs=inputs, outputs=(out,), **sizes))
        return out

    def input(self, name: str, *shape: int) -> Tensor:
        """What is given for every item."""
        return Tensor(name=name, shape=(self.batch, *shape))

    def elementwise(self, name: str, function: str, x: Tensor, *others: Tensor, role: Role = "activation") -> Tensor:
        """A function of every element of ``x``, and of others that are as large or broadcast."""
        return self.add(Elementwise, name, (x, *others), x.shape, role, function=function)

    def concat(self, name: str, *parts: Tensor) -> Tensor:
        """Parts side by side along the second axis."""
        first = parts[0].shape
        shape = (first[0], sum(part.shape[1] for part in parts), *first[2:])
        return self.add(Move, name, parts, shape)

    def softmax(self, name: str, x: Tensor) -> Tensor:
        """Over the last axis."""
        return self.add(Softmax, name, (x,), x.shape, rows=prod(x.shape[:-1]), cols=x.shape[-1])

    def biased(
        self, name: str, x: Tensor, width: int, *, shared: str | None = None, role: Role = "activation"
    ) -> Tensor:
        """A bias of so many numbers is added; ``shared`` as of ``conv``."""
        return self.elementwise(f"{name}.bias", "add", x, weight(f"{shared or name}.bias.weight", width), role=role)

    def dense(
        self, name: str, x: Tensor, width: int, *, bias: bool = True, role: Role = "activation",
        shared: str | None = None,
    ) -> Tensor:  # fmt: skip
        """``x W + b``: over the last axis of a sequence, over all numbers of an image; ``shared`` as of ``conv``."""
        rows = x.shape[:1] if len(x.shape) == 4 else x.shape[:-1]
        m, k = prod(rows), x.elements // prod(rows)
        operands, shape = (x, weight(f"{shared or name}.weight", k, width)), (*rows, width)
        if not bias:
            return self.add(Matmul, name, operands, shape, role, m=m, k=k, n=width)
        out = self.add(Matmul, name, operands, shape, m=m, k=k, n=width)
        return self.biased(name, out, width, shared=shared, role=role)

    # --- images -------------------------------------------------------------------------------------------------

    def conv(
        self, name: str, x: Tensor, channels: int, kernel: Size, *, stride: int = 1, pad: Padding = "half",
        groups: int = 1, dilation: int = 1, bias: bool = False, shared: str | None = None,
    ) -> Tensor:  # fmt: skip
        """A convolution to so many channels; ``shared`` names weights that other convolutions have too.

        A volume ``[batch, channels, depth, height, width]`` is convolved as its planes are: each plane of the result is
        an item, and the channels of the ``kernel`` planes that it sees stand side by side.
        """
        batch, c_in, *deep, h_in, w_in = x.shape
        kh, kw = pair(kernel)
        reach = (dilation * (kh - 1) + 1, dilation * (kw - 1) + 1)
        edges = padding(pad, (h_in, w_in), reach, stride)
        h_out = (h_in + edges[0] + edges[2] - reach[0]) // stride + 1
        w_out = (w_in + edges[1] + edges[3] - reach[1]) // stride + 1
        planes = [(depth + 2 * (kh // 2) - kh) // stride + 1 for depth in deep]
        taps = (kh,) * len(deep)
        assert not deep or (isinstance(kernel, int) and (pad, groups, dilation) == ("half", 1, 1)), name
        out = self.add(
            Conv2d, name, (x, weight(f"{shared or name}.weight", channels, c_in // groups, *taps, kh, kw)),
            (batch, channels, *planes, h_out, w_out), batch=batch * prod(planes), c_in=c_in * prod(taps), h_in=h_in,
            w_in=w_in, c_out=channels, h_out=h_out, w_out=w_out, kh=kh, kw=kw, stride=(stride, stride), pad=edges,
            dilation=(dilation, dilation), groups=groups,
        )  # fmt: skip
        return self.biased(name, out, channels, shared=shared) if bias else out

    def conv_transposed(
        self, name: str, x: Tensor, channels: int, kernel: int, factor: int, *, bias: bool = False
    ) -> Tensor:
        """``factor`` times as many places along every axis that is longer than one, in images and volumes.

        A product to ``kernel`` places along each of those for each of the input's, which are then moved, and added
        where they overlap.
        """
        batch, depth, *places = x.shape
        taps = channels * prod(kernel for length in places if length > 1)
        table = weight(f"{name}.weight", depth, taps)
        y = self.add(Matmul, name, (x, table), (batch, taps, *places), m=batch * prod(places), k=depth, n=taps)
        larger = (length * factor if length > 1 else 1 for length in places)
        y = self.add(Move, f"{name}.overlap", (y,), (batch, channels, *larger))
        return self.biased(name, y, channels) if bias else y

    def batch_norm(self, name: str, x: Tensor) -> Tensor:
        """A scale and a shift for every channel."""
        scale, shift = (weight(f"{name}.{part}", x.shape[1]) for part in ("scale", "shift"))
        return self.elementwise(name, "affine", x, scale, shift)

    def group_norm(self, name: str, x: Tensor, groups: int) -> Tensor:
        """Mean and variance of groups of channels of an item, a scale and a shift a channel (Wu and He, ECCV 2018)."""
        moments = self.add(Reduction, f"{name}.moments", (x,), (x.shape[0], groups, 2))
        scale, shift = (weight(f"{name}.{part}", x.shape[1]) for part in ("scale", "shift"))
        return self.elementwise(name, "affine", x, moments, scale, shift)

    def instance_norm(self, name: str, x: Tensor) -> Tensor:
        """The same of every channel by itself (Ulyanov et al., 2016)."""
        return self.group_norm(name, x, x.shape[1])

    def conv_bn(
        self, name: str, x: Tensor, channels: int, kernel: Size, *, act: str | None = "relu", **how: Any
    ) -> Tensor:
        """A convolution without bias, batch normalisation and (unless it is None) an activation function."""
        x = self.batch_norm(f"{name}.bn", self.conv(name, x, channels, kernel, **how))
        return self.elementwise(f"{name}.{act}", act, x) if act else x

    def pool(self, name: str, x: Tensor, kernel: int, *, stride: int | None = None, pad: Padding = 0) -> Tensor:
        """A maximum or mean over square windows."""
        stride = stride or kernel
        edges = padding(pad, (x.shape[2], x.shape[3]), (kernel, kernel), stride)
        plane = tuple((x.shape[2 + i] + edges[i] + edges[i + 2] - kernel) // stride + 1 for i in (0, 1))
        return self.add(Pool, name, (x,), (*x.shape[:2], *plane), window=kernel * kernel)

    def global_pool(self, name: str, x: Tensor) -> Tensor:
        """The mean of every channel, ``[batch, channels, 1, 1]``."""
        return self.add(Pool, name, (x,), (*x.shape[:2], 1, 1), window=x.shape[2] * x.shape[3])

    def squeeze_excite(self, name: str, x: Tensor, width: int, *, act: str = "relu") -> Tensor:
        """Channels weighted by two pointwise convolutions of their means (Hu et al., CVPR 2018)."""
        gate = self.conv(f"{name}.reduce", self.global_pool(f"{name}.mean", x), width, 1, bias=True)
        gate = self.conv(f"{name}.expand", self.elementwise(f"{name}.{act}", act, gate), x.shape[1], 1, bias=True)
        return self.elementwise(f"{name}.scale", "mul", x, self.elementwise(f"{name}.sigmoid", "sigmoid", gate))

    def upsample(self, name: str, x: Tensor, factor: int = 2) -> Tensor:
        """Every pixel ``factor`` times in each direction."""
        return self.add(Move, name, (x,), (*x.shape[:2], x.shape[2] * factor, x.shape[3] * factor))

    # --- sequences ----------------------------------------------------------------------------------------------

    def look_up(self, name: str, rows: int, width: int, shape: tuple[int, ...]) -> Tensor:
        """Rows of a table, for ids of that shape."""
        ids = Tensor(name=f"{name}_ids", shape=shape, dtype="int64")
        table = weight(f"embeddings.{name}.weight", rows, width)
        return self.add(Gather, f"embeddings.{name}", (table, ids), (*shape, width))

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        """Over the last axis, with a scale and a shift."""
        width = x.shape[-1]
        weights = (weight(f"{name}.gamma", width), weight(f"{name}.beta", width))
        return self.add(Norm, name, (x, *weights), x.shape, rows=x.elements // width, cols=width)

    def rms_norm(self, name: str, x: Tensor) -> Tensor:
        """Over the last axis, with a scale."""
        width = x.shape[-1]
        scale = weight(f"{name}.gamma", width)
        return self.add(Norm, name, (x, scale), x.shape, rows=x.elements // width, cols=width, rms=True)

    def attention(
        self, name: str, query: Tensor, key: Tensor, value: Tensor, *, heads: int, kv_heads: int | None = None,
        mask: Tensor | None = None, causal: bool = False, window: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Attention of ``[batch, q_len, heads * depth]`` to ``[batch, kv_len, kv_heads * depth]``."""
        inputs = (query, key, value, *([] if mask is None else [mask]))
        return self.add(
            Attention, name, inputs, query.shape, batch=query.shape[0], q_len=query.shape[1], kv_len=key.shape[1],
            heads=heads, kv_heads=kv_heads or heads, head_dim=query.shape[2] // heads, causal=causal, window=window,
        )  # fmt: skip

    def experts(self, name: str, x: Tensor, *, width: int, experts: int, chosen: int) -> Tensor:
        """A mixture of gated feed-forward networks, of which a router chooses some for each token.

        A token goes to ``chosen`` of ``experts``. Routing is taken as even: of ``t`` tokens ``E (1 - (1 - c / E)^t)``
        experts see some, the expected number where each token chooses at random, rounded, and each sees as many,
        rounded up. Tokens are gathered by expert, multiplied as one product for each expert that is touched, weighted
        and added. Of the weights, only those of touched experts are read (Fedus et al., JMLR 2022).
        """
        depth, tokens = x.shape[-1], x.elements // x.shape[-1]
        touched = max(1, min(experts, tokens * chosen, round(experts * (1 - (1 - chosen / experts) ** tokens))))
        rows = ceil_div(tokens * chosen, touched)
        shares = self.softmax(f"{name}.shares", self.dense(f"{name}.router", x, experts, bias=False))
        best = self.add(Reduction, f"{name}.choose", (shares,), (*x.shape[:-1], chosen))
        sorted_x = self.add(Gather, f"{name}.gather", (x, best), (touched, rows, depth))

        def product(part: str, a: Tensor, k: int, n: int) -> Tensor:
            operands = (a, weight(f"{name}.{part}.weight", experts, k, n))
            return self.add(Matmul, f"{name}.{part}", operands, (touched, rows, n), batch=touched, m=rows, k=k, n=n)

        gate = self.elementwise(f"{name}.silu", "silu", product("gate", sorted_x, depth, width))
        wide = self.elementwise(f"{name}.gated", "mul", product("up", sorted_x, depth, width), gate)
        parts = product("down", wide, width, depth)
        weighted = self.elementwise(f"{name}.weigh", "mul", parts, best)
        return self.add(Reduction, f"{name}.combine", (weighted,), x.shape)


def weight(name: str, *shape: int) -> Tensor:
    """A parameter of the network."""
    return Tensor(name=name, shape=shape, role="weight")


def pair(size: Size) -> tuple[int, int]:
    """Height and width.

    >>> pair(3), pair((1, 7))
    ((3, 3), (1, 7))
    """
    return (size, size) if isinstance(size, int) else size


def padding(pad: Padding, image: tuple[int, int], reach: tuple[int, int], stride: int) -> tuple[int, int, int, int]:
    """Top, left, bottom, right; of ``same`` an odd row or column goes to the end.

    >>> padding("half", (224, 224), (7, 7), 2), padding("same", (224, 224), (3, 3), 2)
    ((3, 3, 3, 3), (0, 0, 1, 1))
    """
    if pad == "half":
        return reach[0] // 2, reach[1] // 2, reach[0] // 2, reach[1] // 2
    if pad == "same":
        h, w = (max(0, (ceil_div(size, stride) - 1) * stride + r - size) for size, r in zip(image, reach, strict=True))
        return h // 2, w // 2, h - h // 2, w - w // 2
    assert not isinstance(pad, str)
    rows, columns = pair(pad)
    return rows, columns, rows, columns
