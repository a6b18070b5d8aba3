"""Networks that label every pixel or voxel: U-Nets in two and three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers
from accelsim.workload.ops import Move, Tensor

WINDOWS_PARAMS = {"windows": (61, 1, 4096)}
"""Windows of 128 x 128 x 128 voxels, each half over the next, that make a scan of KiTS19 in MLPerf.

The median scan is 128 x 248 x 248 voxels of 3.22 x 1.62 x 1.62 mm (Isensee and Maier-Hein, arXiv 1908.02182), so at
MLPerf's 1.6 x 1.2 x 1.2 mm, cut to multiples of 64, 256 x 320 x 320: 3 x 4 x 4 = 48. The mean is 1.28 times that: so
does the mean of MLPerf's single-stream latencies stand to their median, on whatever device (v2.0 to v3.0; ASSUMED to be
the windows' doing alone).
"""
FEATURES = (32, 64, 128, 256, 320, 320)
"""Channels of each level of nnU-Net in three dimensions (Isensee et al., Nature Methods 2021): no more than 320."""


def nnunet(
    name: str, *, channels: int, classes: int, size: tuple[int, ...], features: tuple[int, ...] = FEATURES,
    act: str = "leaky_relu", parts: str = "", source: str,
) -> Callable[[int, Mapping[str, int]], Graph]:  # fmt: skip
    """Return a builder of nnU-Net for patches of ``size`` pixels or voxels.

    Two convolutions of 3 x 3 (x 3) a level, each with instance normalisation; the first of a level takes every second
    place. Back up a transposed convolution of 2 x 2 (x 2), what the level had, and two convolutions. ``parts`` names
    the parameter that says of how many patches an item is.
    """

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        x = Tensor(name="patches", shape=(batch * params.get(parts, 1), channels, *size))
        kept: list[Tensor] = []
        for level, width in enumerate(features):
            x = _convolved(net, f"down{level}.1", x, width, act, stride=2 if level else 1)
            x = _convolved(net, f"down{level}.2", x, width, act)
            kept.append(x)
        for level in reversed(range(len(features) - 1)):
            x = net.conv_transposed(f"up{level}", x, features[level], 2, 2)
            x = net.concat(f"up{level}.concat", x, kept[level])
            for i in (1, 2):
                x = _convolved(net, f"up{level}.{i}", x, features[level], act)
        net.conv("classes", x, classes, 1, bias=True)
        return net.graph(name, params=params, source=source)

    return build


def _convolved(net: Layers, name: str, x: Tensor, width: int, act: str, *, stride: int = 1) -> Tensor:
    x = net.instance_norm(f"{name}.norm", net.conv(name, x, width, 3, stride=stride))
    return net.elementwise(f"{name}.{act}", act, x)


nnunet_2d = nnunet(
    "nnunet_2d", channels=4, classes=4, size=(192, 160), features=(32, 64, 128, 256, 512, 512),
    source="Isensee et al., Nature Methods 2021; NVIDIA DeepLearningExamples, nnUNet",
)  # fmt: skip
"""DeepLearningExamples' nnU-Net on slices of 192 x 160 pixels of brains: four pictures in, four labels out."""


def unet(name: str, *, channels: int, classes: int, size: int, padded: bool, source: str) -> Callable[
    [int, Mapping[str, int]], Graph
]:  # fmt: skip
    """Return a builder of the first U-Net (Ronneberger et al., MICCAI 2015): five levels of 64 to 1,024 channels.

    Two convolutions a level, as in the paper without padding and with a bias, or ``padded`` and normalised.
    """

    def convolved(net: Layers, label: str, x: Tensor, width: int) -> Tensor:
        if padded:
            return net.conv_bn(label, x, width, 3)
        return net.elementwise(f"{label}.relu", "relu", net.conv(label, x, width, 3, pad=0, bias=True))

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        x = net.input("images", channels, size, size)
        kept: list[Tensor] = []
        for level in range(5):
            x = net.pool(f"pool{level}", x, 2) if level else x
            for i in (1, 2):
                x = convolved(net, f"down{level}.{i}", x, 64 << level)
            kept.append(x)
        for level in reversed(range(4)):
            x = net.conv_transposed(f"up{level}", x, 64 << level, 2, 2, bias=True)
            beside = kept[level]
            if beside.shape != x.shape:
                beside = net.add(Move, f"up{level}.crop", (beside,), x.shape)
            x = net.concat(f"up{level}.concat", x, beside)
            for i in (1, 2):
                x = convolved(net, f"up{level}.{i}", x, 64 << level)
        net.conv("classes", x, classes, 1, bias=True)
        return net.graph(name, source=source)

    return build
