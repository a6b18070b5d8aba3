"""Convolutional networks, built from their blocks. Counts of each are tested against published ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers, Size
from accelsim.workload.ops import Tensor

CLASSES = 1000

# --- VGG ------------------------------------------------------------------------------------------------------------


def vgg16(batch: int, params: Mapping[str, int]) -> Graph:
    """Configuration D of Simonyan and Zisserman, ICLR 2015."""
    net = Layers(batch)
    x = net.input("images", 3, 224, 224)
    for block, (channels, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), start=1):
        for i in range(1, depth + 1):
            x = net.elementwise(f"relu{block}_{i}", "relu", net.conv(f"conv{block}_{i}", x, channels, 3, bias=True))
        x = net.pool(f"pool{block}", x, 2)
    for i in (6, 7):
        x = net.elementwise(f"relu{i}", "relu", net.dense(f"fc{i}", x, 4096))
    net.softmax("softmax", net.dense("fc8", x, CLASSES))
    return net.graph("vgg16", source="Simonyan and Zisserman, ICLR 2015, Table 1, configuration D")


# --- ResNet ---------------------------------------------------------------------------------------------------------


def residual(
    net: Layers, name: str, x: Tensor, width: int, out: int, stride: int, *, groups: int = 1, squeeze: int = 0,
    first: bool = False,
) -> Tensor:  # fmt: skip
    """A bottleneck with its stride in the 3 x 3 convolution (version 1.5), or a basic block where ``out == width``.

    ``first``: the bottleneck's stride is in its first convolution (version 1).
    """
    shortcut = x
    if x.shape[1] != out:
        shortcut = net.conv_bn(f"{name}.downsample", x, out, 1, stride=stride, act=None)
    elif stride > 1:
        shortcut = net.pool(f"{name}.downsample", x, 1, stride=stride)
    if out == width:
        y = net.conv_bn(f"{name}.conv1", x, width, 3, stride=stride)
        y = net.conv_bn(f"{name}.conv2", y, width, 3, act=None)
    else:
        y = net.conv_bn(f"{name}.conv1", x, width, 1, stride=stride if first else 1)
        y = net.conv_bn(f"{name}.conv2", y, width, 3, stride=1 if first else stride, groups=groups)
        y = net.conv_bn(f"{name}.conv3", y, out, 1, act=None)
    if squeeze:
        y = net.squeeze_excite(f"{name}.se", y, out // squeeze)
    return net.elementwise(f"{name}.relu", "relu", net.elementwise(f"{name}.add", "add", y, shortcut))


def resnet(
    name: str, depths: tuple[int, ...], *, bottleneck: bool = True, groups: int = 1, base: int = 64, squeeze: int = 0,
    version: Literal["1", "1.5", "slim"] = "1.5",
) -> Callable[[int, Mapping[str, int]], Graph]:  # fmt: skip
    """Return a builder; ``groups`` of ``base`` channels in all make a ResNeXt (Xie et al., CVPR 2017).

    A stage's stride is in its first block, of version 1.5 in the 3 x 3 convolution, of version 1 in the one before; as
    TF-Slim has it, in the 3 x 3 convolution of the last block of the stage before.
    """

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        x = net.conv_bn("conv1", net.input("images", 3, 224, 224), 64, 7, stride=2)
        x = net.pool("maxpool", x, 3, stride=2, pad=1)
        for stage, depth in enumerate(depths):
            width, out = base << stage, (256 if bottleneck else 64) << stage
            for i in range(depth):
                strided = i == depth - 1 and stage < 3 if version == "slim" else stage > 0 and i == 0
                x = residual(
                    net, f"layer{stage + 1}.{i}", x, width, out, 2 if strided else 1, groups=groups, squeeze=squeeze,
                    first=version == "1",
                )  # fmt: skip
        net.dense("fc", net.global_pool("avgpool", x), CLASSES)
        return net.graph(name, source=f"He et al., CVPR 2016, Table 1; strides of version {version}")

    return build


# --- Inception v3 ---------------------------------------------------------------------------------------------------

Branch = Sequence[tuple[int, Size]]
"""Convolutions one after another: channels and kernel."""


def inception_v3(batch: int, params: Mapping[str, int]) -> Graph:
    """Szegedy et al., CVPR 2016, as torchvision has it, without the auxiliary classifier: 299 x 299 pixels."""
    net = Layers(batch)
    x = net.conv_bn("conv1a", net.input("images", 3, 299, 299), 32, 3, stride=2, pad=0)
    x = net.conv_bn("conv2b", net.conv_bn("conv2a", x, 32, 3, pad=0), 64, 3)
    x = net.pool("pool1", x, 3, stride=2)
    x = net.conv_bn("conv4a", net.conv_bn("conv3b", x, 80, 1), 192, 3, pad=0)
    x = net.pool("pool2", x, 3, stride=2)
    for name, pooled in (("5b", 32), ("5c", 64), ("5d", 64)):
        x = _branches(net, f"mixed{name}", x, [(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)], pooled)
    x = _reduction(net, "mixed6a", x, [(384, 3)], [(64, 1), (96, 3), (96, 3)])
    for name, c in (("6b", 128), ("6c", 160), ("6d", 160), ("6e", 192)):
        seven: Branch = [(c, 1), (c, (1, 7)), (192, (7, 1))]
        double: Branch = [(c, 1), (c, (7, 1)), (c, (1, 7)), (c, (7, 1)), (192, (1, 7))]
        x = _branches(net, f"mixed{name}", x, [(192, 1)], seven, double, 192)
    x = _reduction(net, "mixed7a", x, [(192, 1), (320, 3)], [(192, 1), (192, (1, 7)), (192, (7, 1)), (192, 3)])
    for name in ("7b", "7c"):
        x = _fanned(net, f"mixed{name}", x, 320, [(384, 1)], [(448, 1), (384, 3)], 384, 192)
    net.dense("fc", net.global_pool("avgpool", x), CLASSES)
    return net.graph("inception_v3", source="Szegedy et al., CVPR 2016; sizes as in torchvision")


def inception_v1(batch: int, params: Mapping[str, int]) -> Graph:
    """Szegedy et al., CVPR 2015, with batch normalisation and 3 x 3 for 5 x 5, as TF-Slim and torchvision have it."""
    net = Layers(batch)
    x = net.conv_bn("conv1", net.input("images", 3, 224, 224), 64, 7, stride=2)
    x = net.conv_bn("conv2", net.pool("pool1", x, 3, stride=2, pad="same"), 64, 1)
    x = net.pool("pool2", net.conv_bn("conv3", x, 192, 3), 3, stride=2, pad="same")
    for name, one, (before3, three), (before5, five), pooled in (
        ("3a", 64, (96, 128), (16, 32), 32), ("3b", 128, (128, 192), (32, 96), 64),
        ("4a", 192, (96, 208), (16, 48), 64), ("4b", 160, (112, 224), (24, 64), 64),
        ("4c", 128, (128, 256), (24, 64), 64), ("4d", 112, (144, 288), (32, 64), 64),
        ("4e", 256, (160, 320), (32, 128), 128), ("5a", 256, (160, 320), (32, 128), 128),
        ("5b", 384, (192, 384), (48, 128), 128),
    ):  # fmt: skip
        if name in ("4a", "5a"):
            x = net.pool(f"pool{name}", x, 3, stride=2, pad="same")
        x = _branches(net, f"mixed{name}", x, [(one, 1)], [(before3, 1), (three, 3)], [(before5, 1), (five, 3)], pooled)
    net.dense("fc", net.global_pool("avgpool", x), CLASSES)
    return net.graph("inception_v1", source="Szegedy et al., CVPR 2015, Table 1; sizes as in torchvision's googlenet")


def inception_v4(batch: int, params: Mapping[str, int]) -> Graph:
    """Szegedy et al., AAAI 2017, Figures 3 to 9: 299 x 299 pixels."""
    net = Layers(batch)
    x = net.conv_bn("conv1", net.input("images", 3, 299, 299), 32, 3, stride=2, pad=0)
    x = net.conv_bn("conv3", net.conv_bn("conv2", x, 32, 3, pad=0), 64, 3)
    x = net.concat("stem1", net.pool("pool1", x, 3, stride=2), net.conv_bn("conv4", x, 96, 3, stride=2, pad=0))
    long = _chain(net, "stem2.b", x, [(64, 1), (64, (1, 7)), (64, (7, 1))])
    parts = (net.conv_bn("stem2.a.1", x, 64, 1), long)
    x = net.concat("stem2", *(net.conv_bn(f"stem2.{i}", part, 96, 3, pad=0) for i, part in enumerate(parts)))
    x = net.concat("stem3", net.conv_bn("conv5", x, 192, 3, stride=2, pad=0), net.pool("pool3", x, 3, stride=2))
    for i in range(4):
        x = _branches(net, f"a{i}", x, [(96, 1)], [(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)], 96)
    x = _reduction(net, "reduction_a", x, [(384, 3)], [(192, 1), (224, 3), (256, 3)])
    for i in range(7):
        seven: Branch = [(192, 1), (224, (1, 7)), (256, (7, 1))]
        double: Branch = [(192, 1), (192, (7, 1)), (224, (1, 7)), (224, (7, 1)), (256, (1, 7))]
        x = _branches(net, f"b{i}", x, [(384, 1)], seven, double, 128)
    x = _reduction(net, "reduction_b", x, [(192, 1), (192, 3)], [(256, 1), (256, (1, 7)), (320, (7, 1)), (320, 3)])
    for i in range(3):
        x = _fanned(net, f"c{i}", x, 256, [(384, 1)], [(384, 1), (448, (3, 1)), (512, (1, 3))], 256, 256)
    net.dense("fc", net.global_pool("avgpool", x), CLASSES)
    return net.graph("inception_v4", source="Szegedy et al., AAAI 2017, Figures 3 to 9")


def _chain(net: Layers, name: str, x: Tensor, branch: Branch) -> Tensor:
    for i, (channels, kernel) in enumerate(branch, start=1):
        x = net.conv_bn(f"{name}.{i}", x, channels, kernel)
    return x


def _branches(net: Layers, name: str, x: Tensor, one: Branch, two: Branch, three: Branch, pooled: int) -> Tensor:
    """Three chains and a mean pool with a pointwise convolution, side by side."""
    parts = [_chain(net, f"{name}.{label}", x, branch) for label, branch in zip("abc", (one, two, three), strict=True)]
    pool = net.conv_bn(f"{name}.d", net.pool(f"{name}.pool", x, 3, stride=1, pad=1), pooled, 1)
    return net.concat(f"{name}.concat", *parts, pool)


def _reduction(net: Layers, name: str, x: Tensor, *branches: Branch) -> Tensor:
    """Chains that end with a stride of two, and a maximum pool."""
    parts = []
    for label, (*first, (channels, kernel)) in zip("ab", branches, strict=True):
        y = _chain(net, f"{name}.{label}", x, first)
        parts.append(net.conv_bn(f"{name}.{label}.{len(first) + 1}", y, channels, kernel, stride=2, pad=0))
    return net.concat(f"{name}.concat", *parts, net.pool(f"{name}.pool", x, 3, stride=2))


def _fanned(net: Layers, name: str, x: Tensor, one: int, two: Branch, three: Branch, each: int, pooled: int) -> Tensor:
    """The last blocks: 3 x 3 convolutions as 1 x 3 beside 3 x 1, of so many channels ``each``."""
    parts = [net.conv_bn(f"{name}.a", x, one, 1)]
    for label, branch in (("b", two), ("c", three)):
        y = _chain(net, f"{name}.{label}", x, branch)
        parts += [
            net.conv_bn(f"{name}.{label}.wide", y, each, (1, 3)),
            net.conv_bn(f"{name}.{label}.high", y, each, (3, 1)),
        ]
    pool = net.conv_bn(f"{name}.d", net.pool(f"{name}.pool", x, 3, stride=1, pad=1), pooled, 1)
    return net.concat(f"{name}.concat", *parts, pool)


# --- ResNet, version 2 ----------------------------------------------------------------------------------------------


def resnet_v2(name: str, depths: tuple[int, ...], pixels: int = 299) -> Callable[[int, Mapping[str, int]], Graph]:
    """Return a builder of bottlenecks that normalise before they convolve (He et al., ECCV 2016), as TF-Slim has them.

    The last block of a stage, and not the first of the next, takes every second pixel.
    """

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        x = net.conv("conv1", net.input("images", 3, pixels, pixels), 64, 7, stride=2, pad="same", bias=True)
        x = net.pool("pool1", x, 3, stride=2, pad="same")
        for stage, depth in enumerate(depths):
            width, out = 64 << stage, 256 << stage
            for i in range(depth):
                stride = 2 if i == depth - 1 and stage < len(depths) - 1 else 1
                x = _preactivated(net, f"block{stage + 1}.{i}", x, width, out, stride)
        x = net.elementwise("postnorm.relu", "relu", net.batch_norm("postnorm", x))
        net.dense("logits", net.global_pool("mean", x), CLASSES + 1)
        return net.graph(name, source="He et al., ECCV 2016; sizes as in TF-Slim's resnet_v2")

    return build


def _preactivated(net: Layers, name: str, x: Tensor, width: int, out: int, stride: int) -> Tensor:
    before = net.elementwise(f"{name}.relu", "relu", net.batch_norm(f"{name}.preact", x))
    if x.shape[1] != out:
        shortcut = net.conv(f"{name}.shortcut", before, out, 1, stride=stride, bias=True)
    else:
        shortcut = net.pool(f"{name}.shortcut", x, 1, stride=stride) if stride > 1 else x
    y = net.conv_bn(f"{name}.conv1", before, width, 1)
    y = net.conv_bn(f"{name}.conv2", y, width, 3, stride=stride, pad="half" if stride > 1 else "same")
    return net.elementwise(f"{name}.add", "add", net.conv(f"{name}.conv3", y, out, 1, bias=True), shortcut)


# --- MobileNet ------------------------------------------------------------------------------------------------------

MOBILENET_V1 = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1),
)  # fmt: skip
"""Channels and stride of each depthwise separable convolution (Howard et al., 2017, Table 1)."""


MOBILENET_PARAMS = {"size": (224, 32, 4096), "width_percent": (100, 10, 200)}
"""Pixels of an image's side, and channels over those of the paper's width 1.0."""


def mobilenet_v1_features(net: Layers, images: Tensor, width_percent: int = 100) -> list[Tensor]:
    """Return what each separable convolution leaves, padded as TensorFlow does."""
    x = net.conv_bn("conv0", images, 32 * width_percent // 100, 3, stride=2, pad="same", act="clip")
    left = []
    for i, (channels, stride) in enumerate(MOBILENET_V1, start=1):
        x = net.conv_bn(
            f"conv{i}.depthwise", x, x.shape[1], 3, stride=stride, pad="same", groups=x.shape[1], act="clip"
        )
        x = net.conv_bn(f"conv{i}.pointwise", x, channels * width_percent // 100, 1, act="clip")
        left.append(x)
    return left


def mobilenet_v1(batch: int, params: Mapping[str, int]) -> Graph:
    """A thousand classes; its ReLU6 is a clip."""
    net = Layers(batch)
    images = net.input("images", 3, params["size"], params["size"])
    x = mobilenet_v1_features(net, images, params["width_percent"])[-1]
    net.softmax("softmax", net.dense("fc", net.global_pool("avgpool", x), CLASSES))
    return net.graph("mobilenet_v1", params=params, source="Howard et al., arXiv 1704.04861, Table 1")


def rounded_channels(count: float) -> int:
    """Return the multiple of 8 that is nearest, but no less than 90 % (Sandler et al.'s code, and Tan and Le's).

    >>> rounded_channels(32 * 0.35), rounded_channels(24 * 0.75)
    (16, 24)
    """
    rounded = max(8, int(count + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * count else rounded


def inverted_residual(
    net: Layers, name: str, x: Tensor, out: int, *, expand: int, kernel: int = 3, stride: int = 1, squeeze: int = 0,
    act: str = "clip", wide_squeeze: bool = False,
) -> Tensor:  # fmt: skip
    """Expansion, depthwise convolution, projection; added to its input where the shapes allow it.

    Squeezed channels are a part of the input's, or with ``wide_squeeze`` of the depthwise convolution's.
    """
    y = net.conv_bn(f"{name}.expand", x, x.shape[1] * expand, 1, act=act) if expand > 1 else x
    y = net.conv_bn(f"{name}.depthwise", y, y.shape[1], kernel, stride=stride, groups=y.shape[1], act=act)
    if squeeze:
        y = net.squeeze_excite(f"{name}.se", y, max(1, (y if wide_squeeze else x).shape[1] // squeeze), act=act)
    y = net.conv_bn(f"{name}.project", y, out, 1, act=None)
    return net.elementwise(f"{name}.add", "add", y, x) if stride == 1 and x.shape[1] == out else y


MOBILENET_V2 = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, repeats and first stride of each stage (Sandler et al., CVPR 2018, Table 2)."""


def mobilenet_v2(batch: int, params: Mapping[str, int]) -> Graph:
    """A thousand classes; its ReLU6 is a clip; a width below 1.0 leaves the last 1,280 channels as they are."""
    net, width = Layers(batch), params["width_percent"] / 100
    images = net.input("images", 3, params["size"], params["size"])
    x = net.conv_bn("conv0", images, rounded_channels(32 * width), 3, stride=2, act="clip")
    for stage, (expand, count, repeats, stride) in enumerate(MOBILENET_V2, start=1):
        channels = rounded_channels(count * width)
        for i in range(repeats):
            x = inverted_residual(net, f"stage{stage}.{i}", x, channels, expand=expand, stride=1 if i else stride)
    x = net.conv_bn("conv_last", x, rounded_channels(1280 * max(1.0, width)), 1, act="clip")
    net.dense("fc", net.global_pool("avgpool", x), CLASSES)
    return net.graph("mobilenet_v2", params=params, source="Sandler et al., CVPR 2018, Table 2")


# --- EfficientNet ---------------------------------------------------------------------------------------------------

EFFICIENTNET = (
    (1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)  # fmt: skip
"""Expansion, channels, repeats, first stride and kernel of each stage of B0 (Tan and Le, ICML 2019, Table 1)."""


def efficientnet_features(
    net: Layers, images: Tensor, width: float = 1.0, depth: float = 1.0, *, wide_squeeze: bool = False,
    lite: bool = False,
) -> list[Tensor]:  # fmt: skip
    """Return what each stage leaves; ``lite`` as of ``efficientnet``."""
    act = "clip" if lite else "silu"
    x = net.conv_bn("stem", images, 32 if lite else rounded_channels(32 * width), 3, stride=2, act=act)
    left = []
    for stage, (expand, count, repeats, stride, kernel) in enumerate(EFFICIENTNET, start=1):
        for i in range(repeats if lite and stage in (1, 7) else -int(-repeats * depth // 1)):
            x = inverted_residual(
                net, f"stage{stage}.{i}", x, rounded_channels(count * width), expand=expand, kernel=kernel,
                stride=1 if i else stride, squeeze=0 if lite else 4, act=act, wide_squeeze=wide_squeeze,
            )  # fmt: skip
        left.append(x)
    return left


def efficientnet(
    name: str, pixels: int, width: float = 1.0, depth: float = 1.0, *, wide_squeeze: bool = False, lite: bool = False
) -> Callable[[int, Mapping[str, int]], Graph]:
    """Return a builder of B0 scaled in width and depth: channels to the nearest 8, repeats up.

    ``wide_squeeze``: NVIDIA's WideSE, whose squeezed channels follow the depthwise convolution's. ``lite``:
    TensorFlow's EfficientNet-Lite, without squeezes, ReLU6 for SiLU, first and last layers as in B0.
    """

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        images = net.input("images", 3, pixels, pixels)
        x = efficientnet_features(net, images, width, depth, wide_squeeze=wide_squeeze, lite=lite)[-1]
        head = 1280 if lite else rounded_channels(1280 * width)
        x = net.conv_bn("head", x, head, 1, act="clip" if lite else "silu")
        net.dense("fc", net.global_pool("avgpool", x), CLASSES)
        return net.graph(name, source="Tan and Le, ICML 2019, Table 1")

    return build


Stage = tuple[bool, int, int, int, int, int, int]
"""Whether it is fused; expansion, channels, repeats, first stride, kernel, and what its squeezes divide by (or 0)."""


def fused_efficientnet(
    name: str, pixels: int, stem: int, stages: Sequence[Stage], *, act: str, source: str, edge: bool = False
) -> Callable[[int, Mapping[str, int]], Graph]:
    """Return a builder of stages, some of blocks whose expansion and depthwise convolution are one (Gupta and Tan).

    ``edge``: as TensorFlow's EdgeTPU networks, whose strides are in the projections after the expansions, and whose
    first block expands as many channels as it leaves.
    """

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        x = net.conv_bn("stem", net.input("images", 3, pixels, pixels), stem, 3, stride=2, act=act)
        for stage, (fused, expand, out, repeats, stride, kernel, squeeze) in enumerate(stages, start=1):
            for i in range(repeats):
                block, stride_here = f"stage{stage}.{i}", 1 if i else stride
                if not fused:
                    x = inverted_residual(
                        net, block, x, out, expand=expand, kernel=kernel, stride=stride_here, squeeze=squeeze, act=act
                    )
                    continue
                inner = expand * (out if edge and stage == 1 else x.shape[1])
                early, late = (1, stride_here) if edge else (stride_here, 1)
                y = net.conv_bn(f"{block}.expand", x, inner, kernel, stride=early, act=act)
                y = net.conv_bn(f"{block}.project", y, out, 1, stride=late, act=None) if expand > 1 else y
                x = net.elementwise(f"{block}.add", "add", y, x) if y.shape == x.shape else y
        x = net.conv_bn("head", x, 1280, 1, act=act)
        net.dense("fc", net.global_pool("avgpool", x), CLASSES)
        return net.graph(name, source=source)

    return build


def edge_tpu_stages(depth: float = 1.0) -> list[Stage]:
    """EfficientNet-EdgeTPU (Gupta and Tan, 2019; TensorFlow's efficientnet/edgetpu), with so many times the repeats."""
    plain = (
        (True, 4, 24, 1, 1, 3), (True, 8, 32, 2, 2, 3), (True, 8, 48, 4, 2, 3), (False, 8, 96, 5, 2, 5),
        (False, 8, 144, 4, 1, 5), (False, 8, 192, 2, 2, 5),
    )  # fmt: skip
    return [
        (fused, expand, out, -int(-repeats * depth // 1), stride, kernel, 0)
        for fused, expand, out, repeats, stride, kernel in plain
    ]


EFFICIENTNET_V2_S: tuple[Stage, ...] = (
    (True, 1, 24, 2, 1, 3, 0), (True, 4, 48, 4, 2, 3, 0), (True, 4, 64, 4, 2, 3, 0), (False, 4, 128, 6, 2, 3, 4),
    (False, 6, 160, 9, 1, 3, 4), (False, 6, 256, 15, 2, 3, 4),
)  # fmt: skip
"""Tan and Le, ICML 2021, Table 4."""
