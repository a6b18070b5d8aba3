"""Perceiver IO for images: a few latents look at all pixels once, then at each other (Jaegle et al., ICLR 2022)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers, weight
from accelsim.workload.ops import Move, Tensor

PIXELS, LATENTS, WIDTH, BLOCKS, LAYERS, HEADS, CLASSES = 224, 512, 1024, 8, 6, 8, 1000
"""Latents of that width; a block of six layers is gone through eight times, with the same weights."""
SOURCE = "Jaegle et al., Perceiver IO, ICLR 2022; sizes as in transformers, deepmind/vision-perceiver-"


def perceiver(*, learned: bool) -> Callable[[int, Mapping[str, int]], Graph]:
    """Return a builder for 224 x 224 images.

    With ``learned`` places every pixel is one input, 256 numbers of it and 256 of its place; without, a convolution
    and a maximum pool leave 56 x 56 of 64 numbers, beside the 258 of a place (sines and cosines of 64 frequencies).
    """

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        images = net.input("images", 3, PIXELS, PIXELS)
        inputs = _pixels(net, images) if learned else _convolved(net, images)
        x = Tensor(name="latents", shape=(batch, LATENTS, WIDTH), role="activation")
        x = _attended(net, "cross", x, inputs, heads=1)
        for block in range(BLOCKS):
            for i in range(LAYERS):
                x = _attended(net, f"block{block}.{i}", x, None, heads=HEADS, shared=f"layer{i}")
        query = Tensor(name="query", shape=(batch, 1, WIDTH))
        x = _attended(net, "decoder", query, x, heads=1)
        net.dense("classes", x, CLASSES)
        kind = "learned" if learned else "conv"
        return net.graph(f"perceiver_{kind}", source=SOURCE + kind)

    return build


def _pixels(net: Layers, images: Tensor) -> Tensor:
    """Each pixel widened to 256 numbers, beside a learned place."""
    places = PIXELS * PIXELS
    x = net.conv("pixels", images, 256, 1, bias=True)
    x = net.add(Move, "pixels.last", (x,), (net.batch, places, 256))
    place = net.dense("places.project", weight("places.table", places, 256), 256, bias=False)
    return net.add(Move, "pixels.concat", (x, place), (net.batch, places, 512))


def _convolved(net: Layers, images: Tensor) -> Tensor:
    x = net.conv_bn("conv", images, 64, 7, stride=2, pad="same")
    x = net.pool("pool", x, 3, stride=2, pad="same")
    places = x.shape[2] * x.shape[3]
    angles = Tensor(name="sines of places", shape=(1, places, 258))
    return net.add(Move, "concat", (x, angles), (net.batch, places, 64 + 258))


def _attended(net: Layers, name: str, x: Tensor, other: Tensor | None, *, heads: int, shared: str = "") -> Tensor:
    """Attention to other inputs or itself, as wide as what it looks at, and a perceptron, both after a norm."""
    q = net.layer_norm(f"{name}.norm", x)
    kv = q if other is None else net.layer_norm(f"{name}.other_norm", other)
    width, own = kv.shape[-1], shared or name
    query = _dense(net, f"{name}.query", q, width, own)
    key, value = (_dense(net, f"{name}.{what}", kv, width, own) for what in ("key", "value"))
    y = _dense(net, f"{name}.output", net.attention(name, query, key, value, heads=heads), x.shape[-1], own)
    x = net.elementwise(f"{name}.residual", "add", y, x)
    y = _dense(net, f"{name}.up", net.layer_norm(f"{name}.mlp_norm", x), x.shape[-1], own)
    y = _dense(net, f"{name}.down", net.elementwise(f"{name}.gelu", "gelu", y), x.shape[-1], own)
    return net.elementwise(f"{name}.mlp_residual", "add", y, x)


def _dense(net: Layers, name: str, x: Tensor, width: int, own: str) -> Tensor:
    """A product with the weights of a layer that is gone through more than once."""
    return net.dense(name, x, width, shared=f"{own}.{name.rpartition('.')[2]}")
