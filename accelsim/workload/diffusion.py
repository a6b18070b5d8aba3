"""Stable Diffusion: the U-Net that takes noise off in steps, and the decoder that makes pixels of what is left.

The text encoders, a hundredth of the work, are not part of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers
from accelsim.workload.ops import Move, Tensor

GROUPS, TOKENS, SHRINK = 32, 77, 8
"""Of normalisation; of a text; pixels to a place of what the U-Net works on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoiser:
    """A U-Net of residual blocks, some followed by transformers that look at the text (Rombach et al., CVPR 2022)."""

    name: str
    widths: tuple[int, ...] = (320, 640, 1280, 1280)
    depths: tuple[int, ...] = (1, 1, 1, 0)
    """Layers of the transformer after each residual block of a level."""
    middle: int = 1
    text: int = 768
    head_dim: int | None = None
    """Of attention; None for eight heads whatever the width."""
    pooled: int = 0
    """Numbers of the text and the picture's size that go in beside the time; none where 0."""
    size: int = 512
    source: str

    @property
    def params(self) -> Mapping[str, tuple[int, int, int]]:
        """``size`` in pixels; ``rows`` of a picture: with its text, and without (guidance)."""
        return {"size": (self.size, 64, 4096), "rows": (2, 1, 2)}

    def build(self, batch: int, params: Mapping[str, int]) -> Graph:
        """One step for ``batch`` pictures."""
        net = Layers(batch)
        rows, places = params["rows"] * batch, params["size"] // SHRINK
        text = Tensor(name="text", shape=(rows, TOKENS, self.text))
        wide = 4 * self.widths[0]
        time = self._embedding(net, "time", Tensor(name="time", shape=(rows, self.widths[0])), wide)
        if self.pooled:
            more = self._embedding(net, "pooled", Tensor(name="pooled", shape=(rows, self.pooled)), wide)
            time = net.elementwise("time.add", "add", time, more)
        time = net.elementwise("time.last", "silu", time)
        noise = Tensor(name="noise", shape=(rows, 4, places, places))
        x = net.conv("conv_in", noise, self.widths[0], 3, bias=True)
        kept = [x]
        for level, (width, depth) in enumerate(zip(self.widths, self.depths, strict=True)):
            for i in range(2):
                x = residual(net, f"down{level}.{i}", x, width, time)
                x = self._transformer(net, f"down{level}.{i}.text", x, text, depth)
                kept.append(x)
            if level < len(self.widths) - 1:
                x = net.conv(f"down{level}.halve", x, width, 3, stride=2, bias=True)
                kept.append(x)
        x = residual(net, "middle.0", x, self.widths[-1], time)
        x = self._transformer(net, "middle.text", x, text, self.middle)
        x = residual(net, "middle.1", x, self.widths[-1], time)
        for level in reversed(range(len(self.widths))):
            width, depth = self.widths[level], self.depths[level]
            for i in range(3):
                x = net.concat(f"up{level}.{i}.concat", x, kept.pop())
                x = residual(net, f"up{level}.{i}", x, width, time)
                x = self._transformer(net, f"up{level}.{i}.text", x, text, depth)
            if level:
                x = net.conv(f"up{level}.conv", net.upsample(f"up{level}.double", x), width, 3, bias=True)
        net.conv("conv_out", normed(net, "norm_out", x), 4, 3, bias=True)
        return net.graph(self.name, params=params, source=self.source)

    @staticmethod
    def _embedding(net: Layers, name: str, x: Tensor, width: int) -> Tensor:
        x = net.elementwise(f"{name}.silu", "silu", net.dense(f"{name}.1", x, width))
        return net.dense(f"{name}.2", x, width)

    def _transformer(self, net: Layers, name: str, image: Tensor, text: Tensor, depth: int) -> Tensor:
        """Attention within the picture, to the text, and a gated feed-forward, ``depth`` times; added to the image."""
        if not depth:
            return image
        rows, width, *places = image.shape
        heads = width // self.head_dim if self.head_dim else 8
        x = net.group_norm(f"{name}.norm", image, GROUPS)
        x = net.add(Move, f"{name}.flatten", (x,), (rows, places[0] * places[1], width))
        x = net.dense(f"{name}.in", x, width)
        for i in range(depth):
            for part in ("self", "cross"):
                label = f"{name}.{i}.{part}"
                y = net.layer_norm(f"{label}.norm", x)
                seen = y if part == "self" else text
                query = net.dense(f"{label}.query", y, width, bias=False)
                key, value = (net.dense(f"{label}.{what}", seen, width, bias=False) for what in ("key", "value"))
                y = net.dense(f"{label}.out", net.attention(label, query, key, value, heads=heads), width)
                x = net.elementwise(f"{label}.add", "add", y, x)
            label = f"{name}.{i}.ffn"
            y = net.dense(f"{label}.up", net.layer_norm(f"{label}.norm", x), 8 * width)
            half = (rows, places[0] * places[1], 4 * width)
            y, gate = (net.add(Move, f"{label}.{what}", (y,), half) for what in ("value", "gate"))
            y = net.elementwise(f"{label}.gated", "mul", net.elementwise(f"{label}.gelu", "gelu", gate), y)
            x = net.elementwise(f"{label}.add", "add", net.dense(f"{label}.down", y, width), x)
        x = net.add(Move, f"{name}.unflatten", (net.dense(f"{name}.out", x, width),), image.shape)
        return net.elementwise(f"{name}.add", "add", x, image)


def normed(net: Layers, name: str, x: Tensor) -> Tensor:
    """Group normalisation and SiLU."""
    return net.elementwise(f"{name}.silu", "silu", net.group_norm(name, x, GROUPS))


def residual(net: Layers, name: str, x: Tensor, width: int, time: Tensor | None = None) -> Tensor:
    """Two convolutions, each after a normalisation; what the step's time says is added between them."""
    y = net.conv(f"{name}.conv1", normed(net, f"{name}.norm1", x), width, 3, bias=True)
    if time is not None:
        y = net.elementwise(f"{name}.time.add", "add", y, net.dense(f"{name}.time", time, width))
    y = net.conv(f"{name}.conv2", normed(net, f"{name}.norm2", y), width, 3, bias=True)
    if x.shape[1] != width:
        x = net.conv(f"{name}.shortcut", x, width, 1, bias=True)
    return net.elementwise(f"{name}.add", "add", y, x)


def vae_decoder(batch: int, params: Mapping[str, int]) -> Graph:
    """Pixels of 4 numbers a place: residual blocks of 512 to 128 channels, with attention at the first size."""
    net, places = Layers(batch), params["size"] // SHRINK
    x = net.conv("post_quant", net.input("latents", 4, places, places), 4, 1, bias=True)
    x = residual(net, "middle.0", net.conv("conv_in", x, 512, 3, bias=True), 512)
    flat = net.add(Move, "attention.flatten", (net.group_norm("attention.norm", x, GROUPS),), (batch, places**2, 512))
    query, key, value = (net.dense(f"attention.{what}", flat, 512) for what in ("query", "key", "value"))
    y = net.dense("attention.out", net.attention("attention", query, key, value, heads=1), 512)
    x = net.elementwise("attention.add", "add", net.add(Move, "attention.unflatten", (y,), x.shape), x)
    x = residual(net, "middle.1", x, 512)
    for level, width in enumerate((512, 512, 256, 128)):
        for i in range(3):
            x = residual(net, f"up{level}.{i}", x, width)
        if level < 3:
            x = net.conv(f"up{level}.conv", net.upsample(f"up{level}.double", x), width, 3, bias=True)
    net.conv("conv_out", normed(net, "norm_out", x), 3, 3, bias=True)
    return net.graph("sd_vae_decoder", params=params, source="Rombach et al., CVPR 2022; diffusers' AutoencoderKL")


DENOISERS = (
    Denoiser(name="sd15_unet", source="Rombach et al., CVPR 2022; Stable Diffusion 1.5 as in diffusers"),
    Denoiser(
        name="sd21_unet", text=1024, head_dim=64,
        source="Rombach et al., CVPR 2022; Stable Diffusion 2.1 as in diffusers",
    ),
    Denoiser(
        name="sdxl_unet", widths=(320, 640, 1280), depths=(0, 2, 10), middle=10, text=2048, head_dim=64, pooled=2816,
        size=1024, source="Podell et al., SDXL, ICLR 2024, Table 1; sizes as in diffusers",
    ),
)  # fmt: skip
