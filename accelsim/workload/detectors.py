"""Networks that find objects in images. Suppression of double finds (NMS) is left to the host and not part of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from accelsim.base.errors import WorkloadError
from accelsim.workload.convnets import efficientnet_features, mobilenet_v1_features, residual
from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers
from accelsim.workload.ops import Gather, Tensor

# --- single-shot detectors ------------------------------------------------------------------------------------------


def ssd_resnet34(batch: int, params: Mapping[str, int]) -> Graph:
    """MLPerf's SSD-large: 1200 x 1200 pixels, 81 classes, 15,130 boxes.

    ResNet-34 up to its third stage, which keeps the second's resolution; five pairs of convolutions make smaller maps;
    heads of 3 x 3 with stride 3 on all six.
    """
    net = Layers(batch)
    x = net.conv_bn("conv1", net.input("images", 3, 1200, 1200), 64, 7, stride=2)
    x = net.pool("maxpool", x, 3, stride=2, pad=1)
    for stage, (depth, width, stride) in enumerate(((3, 64, 1), (4, 128, 2), (6, 256, 1)), start=1):
        for i in range(depth):
            x = residual(net, f"layer{stage}.{i}", x, width, width, 1 if i else stride)
    maps = [x]
    for i, (narrow, wide, stride, pad) in enumerate(
        ((256, 512, 2, 1), (256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 2, 0), (128, 256, 1, 0)), start=1
    ):
        x = net.elementwise(f"extra{i}.relu1", "relu", net.conv(f"extra{i}.conv1", x, narrow, 1, bias=True))
        x = net.conv(f"extra{i}.conv2", x, wide, 3, stride=stride, pad=pad, bias=True)
        x = net.elementwise(f"extra{i}.relu2", "relu", x)
        maps.append(x)
    for i, (x, boxes) in enumerate(zip(maps, (4, 6, 6, 6, 4, 4), strict=True), start=1):
        net.conv(f"locations{i}", x, boxes * 4, 3, stride=3, bias=True)
        net.conv(f"scores{i}", x, boxes * 81, 3, stride=3, bias=True)
    return net.graph(
        "ssd_resnet34", source="MLPerf inference v0.5 (SSD-ResNet34, COCO 1200 x 1200); Liu et al., ECCV 2016"
    )


def ssd_mobilenet_v1(batch: int, params: Mapping[str, int]) -> Graph:
    """MLPerf's SSD-small: 300 x 300 pixels, 91 classes, 1,917 boxes, with TensorFlow's padding and 1 x 1 heads."""
    net = Layers(batch)
    features = mobilenet_v1_features(net, net.input("images", 3, 300, 300))
    x, maps = features[12], [features[10], features[12]]
    for i, (narrow, wide) in enumerate(((256, 512), (128, 256), (128, 256), (64, 128)), start=1):
        x = net.conv_bn(f"extra{i}.conv1", x, narrow, 1, act="clip")
        x = net.conv_bn(f"extra{i}.conv2", x, wide, 3, stride=2, pad="same", act="clip")
        maps.append(x)
    for i, (x, boxes) in enumerate(zip(maps, (3, 6, 6, 6, 6, 6), strict=True), start=1):
        net.conv(f"locations{i}", x, boxes * 4, 1, bias=True)
        scores = net.conv(f"scores{i}", x, boxes * 91, 1, bias=True)
        net.elementwise(f"scores{i}.sigmoid", "sigmoid", scores)
    return net.graph(
        "ssd_mobilenet_v1", source="MLPerf inference v0.5 (ssd_mobilenet_v1_coco); Howard et al., arXiv 1704.04861"
    )


CLASSES = 91
"""Of COCO, numbers that no class has and the background included, in torchvision and TensorFlow."""


def ssd300_resnet50(batch: int, params: Mapping[str, int]) -> Graph:
    """NVIDIA's SSD300: ResNet-50 up to its third stage, whose stride is 1; 300 x 300 pixels, 81 classes."""
    net = Layers(batch)
    x = net.conv_bn("conv1", net.input("images", 3, 300, 300), 64, 7, stride=2)
    x = net.pool("maxpool", x, 3, stride=2, pad=1)
    for stage, (depth, stride) in enumerate(((3, 1), (4, 2), (6, 1))):
        for i in range(depth):
            x = residual(net, f"layer{stage + 1}.{i}", x, 64 << stage, 256 << stage, 1 if i else stride)
    maps = [x]
    for i, (narrow, wide, stride, pad) in enumerate(
        ((256, 512, 2, 1), (256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0)), start=1
    ):
        x = net.conv_bn(f"extra{i}.conv1", x, narrow, 1)
        x = net.conv_bn(f"extra{i}.conv2", x, wide, 3, stride=stride, pad=pad)
        maps.append(x)
    for i, (x, boxes) in enumerate(zip(maps, (4, 6, 6, 6, 4, 4), strict=True), start=1):
        net.conv(f"locations{i}", x, boxes * 4, 3, bias=True)
        net.conv(f"scores{i}", x, boxes * 81, 3, bias=True)
    return net.graph("ssd300_resnet50", source="Liu et al., ECCV 2016; NVIDIA DeepLearningExamples, SSD300 v1.1")


# --- feature pyramids -----------------------------------------------------------------------------------------------


def retinanet(
    name: str, classes: int, *, groups: int = 1, base: int = 64, pixels: int = 800, boxes: int = 9,
    source: str = "Lin et al., RetinaNet, ICCV 2017; sizes as in torchvision",
) -> Callable[[int, Mapping[str, int]], Graph]:  # fmt: skip
    """Return a builder of RetinaNet on ResNet-50, or on a ResNeXt-50 of ``groups`` of ``base`` channels in all.

    Maps of the last three stages and two coarser ones, 256 channels each; four convolutions and so many boxes a place
    for scores and for locations, the same on all maps (Lin et al., ICCV 2017; torchvision).
    """

    def build(batch: int, params: Mapping[str, int]) -> Graph:
        net = Layers(batch)
        stages = _resnet50_stages(net, net.input("images", 3, pixels, pixels), groups=groups, base=base)
        for i, x in enumerate(_pyramid(net, stages[1:]), start=3):
            for part, numbers in (("scores", classes), ("locations", 4)):
                y = x
                for j in range(1, 5):
                    y = net.conv(f"p{i}.{part}{j}", y, 256, 3, bias=True, shared=f"{part}{j}")
                    y = net.elementwise(f"p{i}.{part}{j}.relu", "relu", y)
                y = net.conv(f"p{i}.{part}", y, boxes * numbers, 3, bias=True, shared=part)
                if part == "scores":
                    net.elementwise(f"p{i}.{part}.sigmoid", "sigmoid", y)
        return net.graph(name, source=source)

    return build


def _resnet50_stages(net: Layers, images: Tensor, *, groups: int = 1, base: int = 64) -> list[Tensor]:
    """What each stage of ResNet-50 (or a ResNeXt-50) leaves."""
    x = net.pool("maxpool", net.conv_bn("conv1", images, 64, 7, stride=2), 3, stride=2, pad=1)
    stages = []
    for stage, depth in enumerate((3, 4, 6, 3)):
        for i in range(depth):
            stride = 2 if stage and not i else 1
            x = residual(net, f"layer{stage + 1}.{i}", x, base << stage, 256 << stage, stride, groups=groups)
        stages.append(x)
    return stages


def _merged(net: Layers, stages: list[Tensor]) -> list[Tensor]:
    """Maps from fine to coarse, of 256 channels: each stage's own and what is coarser."""
    merged = net.conv("fpn.inner5", stages[-1], 256, 1, bias=True)
    maps = [net.conv("fpn.layer5", merged, 256, 3, bias=True)]
    for i, stage in zip((4, 3, 2), reversed(stages[:-1]), strict=False):
        beside = net.conv(f"fpn.inner{i}", stage, 256, 1, bias=True)
        merged = net.elementwise(f"fpn.add{i}", "add", beside, net.upsample(f"fpn.upsample{i}", merged))
        maps.insert(0, net.conv(f"fpn.layer{i}", merged, 256, 3, bias=True))
    return maps


def _pyramid(net: Layers, stages: list[Tensor]) -> list[Tensor]:
    """The same, and two beyond the last."""
    maps = _merged(net, stages)
    coarse = net.conv("fpn.p6", maps[-1], 256, 3, stride=2, bias=True)
    coarser = net.conv("fpn.p7", net.elementwise("fpn.p6.relu", "relu", coarse), 256, 3, stride=2, bias=True)
    return [*maps, coarse, coarser]


PROPOSALS, FOUND = 1000, 100
"""Regions that the second half of Mask R-CNN looks at, and finds whose masks it draws."""


def mask_rcnn(batch: int, params: Mapping[str, int]) -> Graph:
    """Mask R-CNN on ResNet-50 with a feature pyramid (He et al., ICCV 2017; sizes as in torchvision).

    Proposals of three boxes a place on five maps; 1,000 regions of 7 x 7 through two layers of 1,024; masks of 28 x 28
    for 100 finds after four convolutions of 14 x 14. Sorting and suppression are the host's and no part of it.
    """
    net = Layers(batch)
    images = net.input("images", 3, params["height"], params["width"])
    maps = _merged(net, _resnet50_stages(net, images))
    for i, x in enumerate([*maps, net.pool("fpn.pool", maps[-1], 1, stride=2)], start=2):
        y = net.elementwise(f"rpn{i}.relu", "relu", net.conv(f"rpn{i}.conv", x, 256, 3, bias=True, shared="rpn"))
        for part, numbers in (("scores", 3), ("boxes", 12)):
            net.conv(f"rpn{i}.{part}", y, numbers, 1, bias=True, shared=f"rpn.{part}")
    x = net.add(Gather, "regions", (maps[0],), (batch * PROPOSALS, 256, 7, 7))
    for i in (6, 7):
        x = net.elementwise(f"fc{i}.relu", "relu", net.dense(f"fc{i}", x, 1024))
    net.softmax("softmax", net.dense("classes", x, CLASSES))
    net.dense("boxes", x, 4 * CLASSES)
    x = net.add(Gather, "finds", (maps[0],), (batch * FOUND, 256, 14, 14))
    for i in range(1, 5):
        x = net.elementwise(f"mask{i}.relu", "relu", net.conv(f"mask{i}", x, 256, 3, bias=True))
    x = net.elementwise("mask5.relu", "relu", net.conv_transposed("mask5", x, 256, 2, 2, bias=True))
    net.elementwise("masks.sigmoid", "sigmoid", net.conv("masks", x, CLASSES, 1, bias=True))
    return net.graph("mask_rcnn", params=params, source="He et al., Mask R-CNN, ICCV 2017; sizes as in torchvision")


def efficientdet_d0(batch: int, params: Mapping[str, int]) -> Graph:
    """EfficientNet-B0, three cells of a two-way pyramid of 64 channels, three separable convolutions a head.

    512 x 512 pixels, 90 classes, nine boxes a place on maps of strides 8 to 128 (Tan et al., CVPR 2020, Table 1).
    """
    net = Layers(batch)
    features = efficientnet_features(net, net.input("images", 3, 512, 512))
    maps = [features[2], features[4], features[6]]
    top = net.conv_bn("p6.reduce", features[6], 64, 1, act=None, bias=True)
    maps.append(net.pool("p6", top, 3, stride=2, pad="same"))
    maps.append(net.pool("p7", maps[-1], 3, stride=2, pad="same"))
    for cell in range(3):
        maps = _two_ways(net, f"cell{cell}", maps)
    for part, numbers in (("scores", 90), ("boxes", 4)):
        for i, x in enumerate(maps, start=3):
            for j in range(1, 4):
                x = _separable(net, f"p{i}.{part}{j}", x, 64, shared=f"{part}{j}")
                x = net.elementwise(f"p{i}.{part}{j}.silu", "silu", net.batch_norm(f"p{i}.{part}{j}.bn", x))
            x = _separable(net, f"p{i}.{part}", x, 9 * numbers, shared=part)
            if part == "scores":
                net.elementwise(f"p{i}.{part}.sigmoid", "sigmoid", x)
    return net.graph("efficientdet_d0", source="Tan et al., EfficientDet, CVPR 2020, Table 1 and 2")


def _separable(net: Layers, name: str, x: Tensor, channels: int, *, shared: str | None = None) -> Tensor:
    """A depthwise 3 x 3 convolution and a pointwise one with a bias."""
    x = net.conv(f"{name}.depthwise", x, x.shape[1], 3, groups=x.shape[1], shared=shared and f"{shared}.depthwise")
    return net.conv(f"{name}.pointwise", x, channels, 1, bias=True, shared=shared and f"{shared}.pointwise")


def _two_ways(net: Layers, name: str, maps: list[Tensor]) -> list[Tensor]:
    """One cell: down from the coarsest map to the finest, and up again; maps are added with learned weights."""

    def narrow(label: str, x: Tensor) -> Tensor:
        return x if x.shape[1] == 64 else net.conv_bn(f"{name}.{label}", x, 64, 1, act=None, bias=True)

    def joined(label: str, *parts: Tensor) -> Tensor:
        y = net.elementwise(f"{name}.{label}.silu", "silu", net.elementwise(f"{name}.{label}.add", "add", *parts))
        return net.batch_norm(f"{name}.{label}.bn", _separable(net, f"{name}.{label}", y, 64))

    # Maps of strides 16 and 32 are made narrow anew for each of their two uses, as in the authors' code.
    down = [narrow("in3", maps[0]), *(narrow(f"in{i}", maps[i - 3]) for i in (4, 5)), *maps[3:]]
    again = [narrow(f"again{i}", maps[i - 3]) for i in (4, 5)]
    x = down[4]
    middle: list[Tensor] = []
    for i in (6, 5, 4):
        x = joined(f"down{i}", down[i - 3], net.upsample(f"{name}.up{i}", x))
        middle.insert(0, x)
    x = joined("down3", down[0], net.upsample(f"{name}.up3", x))
    left = [x]
    for i, (own, between) in enumerate(zip((*again, down[3]), middle, strict=True), start=4):
        x = joined(f"up{i}", own, between, net.pool(f"{name}.pool{i}", x, 3, stride=2, pad="same"))
        left.append(x)
    left.append(joined("up7", down[4], net.pool(f"{name}.pool7", x, 3, stride=2, pad="same")))
    return left


# --- points -----------------------------------------------------------------------------------------------------------


def superpoint(batch: int, params: Mapping[str, int]) -> Graph:
    """Eight convolutions as VGG's, a score for each of 8 x 8 pixels and none, and 256 numbers a cell; 640 x 480."""
    net = Layers(batch)
    x = net.input("images", 1, 480, 640)
    for block, channels in enumerate((64, 64, 128, 128), start=1):
        x = net.pool(f"pool{block - 1}", x, 2) if block > 1 else x
        for i in (1, 2):
            x = net.elementwise(f"relu{block}_{i}", "relu", net.conv(f"conv{block}_{i}", x, channels, 3, bias=True))
    for part, channels in (("scores", 65), ("descriptors", 256)):
        y = net.elementwise(f"{part}.relu", "relu", net.conv(f"{part}.1", x, 256, 3, bias=True))
        net.conv(f"{part}.2", y, channels, 1, bias=True)
    return net.graph("superpoint", source="DeTone et al., SuperPoint, CVPR Workshops 2018, section 3")


# --- YOLO -----------------------------------------------------------------------------------------------------------

YOLO_SIZE = 32
"""Pixels to a cell of the coarsest grid: sizes are multiples of it."""


def _square(net: Layers, name: str, params: Mapping[str, int]) -> Tensor:
    size = params["size"]
    if size % YOLO_SIZE:
        raise WorkloadError(f"{name}: --param size={size}: want a multiple of {YOLO_SIZE}, such as 416 or 608")
    return net.input("images", 3, size, size)


def yolov3(batch: int, params: Mapping[str, int]) -> Graph:
    """Darknet-53 and three heads for 80 classes; ``size`` pixels."""
    net = Layers(batch)
    x = net.conv_bn("conv0", _square(net, "yolov3", params), 32, 3, act="leaky_relu")
    stages = []
    for i, (channels, depth) in enumerate(((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)), start=1):
        x = net.conv_bn(f"stage{i}.down", x, channels, 3, stride=2, act="leaky_relu")
        for block in range(depth):
            y = _alternating(net, f"stage{i}.{block}", x, channels // 2, 2)
            x = net.elementwise(f"stage{i}.{block}.add", "add", y, x)
        stages.append(x)
    x = _alternating(net, "neck1", x, 512, 5)
    _head(net, "head1", x)
    for i, (channels, finer) in enumerate(((256, stages[3]), (128, stages[2])), start=2):
        x = net.conv_bn(f"neck{i}.narrow", x, channels, 1, act="leaky_relu")
        x = net.concat(f"neck{i}.concat", net.upsample(f"neck{i}.upsample", x), finer)
        x = _alternating(net, f"neck{i}", x, channels, 5)
        _head(net, f"head{i}", x)
    return net.graph("yolov3", params=params, source="Redmon and Farhadi, arXiv 1804.02767; yolov3.cfg of darknet")


def yolov4(batch: int, params: Mapping[str, int]) -> Graph:
    """CSPDarknet-53, spatial pyramid pooling, path aggregation and three heads for 80 classes; ``size`` pixels.

    Without ``mish`` its backbone has leaky ReLU, as devices that have no Mish run it.
    """
    net, act = Layers(batch), "mish" if params["mish"] else "leaky_relu"
    x = net.conv_bn("conv0", _square(net, "yolov4", params), 32, 3, act=act)
    stages = []
    for i, (channels, depth) in enumerate(((64, 1), (128, 2), (256, 8), (512, 8), (1024, 4)), start=1):
        x = _cross_stage(net, f"stage{i}", x, channels, depth, act)
        stages.append(x)
    x = _alternating(net, "spp.before", x, 512, 3)
    pools = [net.pool(f"spp.pool{kernel}", x, kernel, stride=1, pad="half") for kernel in (13, 9, 5)]
    coarse = _alternating(net, "spp.after", net.concat("spp.concat", *pools, x), 512, 3)
    middle = _merged_up(net, "up1", coarse, stages[3], 256)
    fine = _merged_up(net, "up2", middle, stages[2], 128)
    _head(net, "head1", fine)
    x = net.conv_bn("down1", fine, 256, 3, stride=2, act="leaky_relu")
    middle = _alternating(net, "pan1", net.concat("pan1.concat", x, middle), 256, 5)
    _head(net, "head2", middle)
    x = net.conv_bn("down2", middle, 512, 3, stride=2, act="leaky_relu")
    _head(net, "head3", _alternating(net, "pan2", net.concat("pan2.concat", x, coarse), 512, 5))
    shown = params if not params["mish"] else {"size": params["size"]}
    return net.graph("yolov4", params=shown, source="Bochkovskiy et al., arXiv 2004.10934; yolov4.cfg of darknet")


def _cross_stage(net: Layers, name: str, x: Tensor, channels: int, depth: int, act: str) -> Tensor:
    """Half of the channels go through residual blocks, half beside them; the first stage keeps all in both."""
    half = channels // 2 if depth > 1 else channels
    x = net.conv_bn(f"{name}.down", x, channels, 3, stride=2, act=act)
    beside = net.conv_bn(f"{name}.beside", x, half, 1, act=act)
    x = net.conv_bn(f"{name}.through", x, half, 1, act=act)
    for i in range(depth):
        y = net.conv_bn(f"{name}.{i}.conv1", x, channels // 2, 1, act=act)
        x = net.elementwise(f"{name}.{i}.add", "add", net.conv_bn(f"{name}.{i}.conv2", y, half, 3, act=act), x)
    x = net.conv_bn(f"{name}.after", x, half, 1, act=act)
    return net.conv_bn(f"{name}.merge", net.concat(f"{name}.concat", x, beside), channels, 1, act=act)


def _alternating(net: Layers, name: str, x: Tensor, channels: int, count: int) -> Tensor:
    """Pointwise convolutions and 3 x 3 ones of twice the channels, in turn."""
    for i in range(count):
        wide = i % 2
        x = net.conv_bn(f"{name}.conv{i + 1}", x, channels << wide, 3 if wide else 1, act="leaky_relu")
    return x


def _merged_up(net: Layers, name: str, x: Tensor, finer: Tensor, channels: int) -> Tensor:
    x = net.upsample(f"{name}.upsample", net.conv_bn(f"{name}.narrow", x, channels, 1, act="leaky_relu"))
    beside = net.conv_bn(f"{name}.beside", finer, channels, 1, act="leaky_relu")
    return _alternating(net, name, net.concat(f"{name}.concat", beside, x), channels, 5)


def _head(net: Layers, name: str, x: Tensor) -> None:
    """Three boxes of 80 classes, four numbers and a score for each cell."""
    x = net.conv_bn(f"{name}.conv1", x, x.shape[1] * 2, 3, act="leaky_relu")
    net.elementwise(f"{name}.sigmoid", "sigmoid", net.conv(f"{name}.conv2", x, 3 * 85, 1, bias=True))
