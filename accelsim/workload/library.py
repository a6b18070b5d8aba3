"""Workloads by name or path: those that ship, the graphs inside the onnx package, ONNX files and op tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from accelsim.base.errors import WorkloadError, nearest
from accelsim.base.resources import resource_dir
from accelsim.workload import convnets, detectors, diffusion, perceiver, recommenders, segmentation, speech, translation
from accelsim.workload.files import is_there
from accelsim.workload.graph import Graph
from accelsim.workload.hf_config import read_config
from accelsim.workload.scalesim import is_topology, parse_topology
from accelsim.workload.single_op import SINGLE_OPS
from accelsim.workload.table import parse_table, read_header, read_table, table_text
from accelsim.workload.table_form import MAX_BATCH, MAX_SIZE
from accelsim.workload.transformer_xl import TRANSFORMER_XL
from accelsim.workload.transformers import DECODERS, ENCODERS, Decoder

ONNX_PREFIX = "onnx:"
LIGHT = "light_"
LIST = "'accelsim list workloads' names all"


@dataclass(frozen=True, slots=True)
class Builder:
    """A workload that is built by a function rather than read from a table."""

    description: str
    build: Callable[[int, Mapping[str, int]], Graph]
    params: Mapping[str, tuple[int, int, int]]
    """Default, least and greatest value of each parameter."""


def _image(description: str, build: Callable[[int, Mapping[str, int]], Graph]) -> Builder:
    return Builder(description, build, {})


def _decoder(model: Decoder) -> Builder:
    what = "one decoder layer" if not model.vocabulary else "decoder"
    return Builder(f"{what}, {model.source}; --param seq_len, past_len, tensor_parallel", model.build, model.params)


BUILDERS: dict[str, Builder] = {
    **{
        model.name: Builder(f"encoder, {model.source.partition(':')[0]}; --param seq_len", model.build, model.params)
        for model in ENCODERS
    },
    **{model.name: _decoder(model) for model in DECODERS},
    **{
        model.name: Builder("Transformer-XL; --param seq_len, mem_len", model.build, model.params)
        for model in TRANSFORMER_XL
    },
    "vgg16": _image("VGG-16 for 224 x 224 images", convnets.vgg16),
    "resnet50_v1": _image("ResNet-50 v1", convnets.resnet("resnet50_v1", (3, 4, 6, 3), version="1")),
    "resnet50_slim": _image("ResNet-50 of TF-Slim", convnets.resnet("resnet50_slim", (3, 4, 6, 3), version="slim")),
    "resnet101_slim": _image("ResNet-101 of TF-Slim", convnets.resnet("resnet101_slim", (3, 4, 23, 3), version="slim")),
    "resnet152_slim": _image("ResNet-152 of TF-Slim", convnets.resnet("resnet152_slim", (3, 8, 36, 3), version="slim")),
    "resnet34": _image("ResNet-34", convnets.resnet("resnet34", (3, 4, 6, 3), bottleneck=False)),
    "resnet101": _image("ResNet-101 v1.5", convnets.resnet("resnet101", (3, 4, 23, 3))),
    "resnet152": _image("ResNet-152 v1.5", convnets.resnet("resnet152", (3, 8, 36, 3))),
    "resnet50_v2": _image("ResNet-50 v2 for 299 x 299 images", convnets.resnet_v2("resnet50_v2", (3, 4, 6, 3))),
    "resnet101_v2": _image("ResNet-101 v2", convnets.resnet_v2("resnet101_v2", (3, 4, 23, 3))),
    "resnet152_v2": _image("ResNet-152 v2", convnets.resnet_v2("resnet152_v2", (3, 8, 36, 3))),
    "resnext101_32x4d": _image(
        "ResNeXt-101 of 32 groups", convnets.resnet("resnext101_32x4d", (3, 4, 23, 3), groups=32, base=128)
    ),
    "se_resnext101_32x4d": _image(
        "the same with squeeze and excitation",
        convnets.resnet("se_resnext101_32x4d", (3, 4, 23, 3), groups=32, base=128, squeeze=16),
    ),
    "inception_v1": _image("Inception v1 (GoogLeNet)", convnets.inception_v1),
    "inception_v4": _image("Inception v4 for 299 x 299 images", convnets.inception_v4),
    "inception_v3": _image("Inception v3 for 299 x 299 images", convnets.inception_v3),
    "mobilenet_v1": Builder(
        "MobileNet v1; --param size, width_percent", convnets.mobilenet_v1, convnets.MOBILENET_PARAMS
    ),
    "mobilenet_v2": Builder(
        "MobileNet v2; --param size, width_percent", convnets.mobilenet_v2, convnets.MOBILENET_PARAMS
    ),
    "efficientnet_b0": _image("EfficientNet-B0", convnets.efficientnet("efficientnet_b0", 224)),
    "efficientnet_b4": _image("EfficientNet-B4, 380 x 380", convnets.efficientnet("efficientnet_b4", 380, 1.4, 1.8)),
    "efficientnet_widese_b0": _image(
        "EfficientNet-B0 with wider squeezes", convnets.efficientnet("efficientnet_widese_b0", 224, wide_squeeze=True)
    ),
    "efficientnet_widese_b4": _image(
        "EfficientNet-B4 with wider squeezes",
        convnets.efficientnet("efficientnet_widese_b4", 380, 1.4, 1.8, wide_squeeze=True),
    ),
    **{
        f"efficientnet_lite{i}": _image(
            f"EfficientNet-Lite{i}", convnets.efficientnet(f"efficientnet_lite{i}", pixels, width, depth, lite=True)
        )
        for i, pixels, width, depth in ((0, 224, 1.0, 1.0), (3, 280, 1.2, 1.4), (4, 300, 1.4, 1.8))
    },
    **{
        f"efficientnet_edgetpu_{size}": _image(
            f"EfficientNet-EdgeTPU-{size.upper()}",
            convnets.fused_efficientnet(
                f"efficientnet_edgetpu_{size}",
                pixels,
                32,
                convnets.edge_tpu_stages(depth),
                act="relu",
                edge=True,
                source="Gupta and Tan, 2019; TensorFlow's efficientnet/edgetpu",
            ),
        )
        for size, pixels, depth in (("s", 224, 1.0), ("m", 240, 1.1))
    },
    "efficientnet_v2_s": _image(
        "EfficientNetV2-S for 384 x 384 images",
        convnets.fused_efficientnet(
            "efficientnet_v2_s",
            384,
            24,
            convnets.EFFICIENTNET_V2_S,
            act="silu",
            source="Tan and Le, ICML 2021, Table 4",
        ),
    ),
    "retinanet": _image(
        "MLPerf's RetinaNet on ResNeXt-50, 800 x 800", detectors.retinanet("retinanet", 264, groups=32, base=128)
    ),
    "ssd_resnet50_fpn": _image(
        "TensorFlow's SSD on ResNet-50 with a feature pyramid, 320 x 320",
        detectors.retinanet(
            "ssd_resnet50_fpn",
            91,
            pixels=320,
            boxes=6,
            source="TensorFlow's object detection, ssd_resnet50_v1_fpn; NVIDIA DeepLearningExamples, SSD320 v1.2",
        ),
    ),
    "ssd300_resnet50": _image("NVIDIA's SSD300 on ResNet-50", detectors.ssd300_resnet50),
    "mask_rcnn": Builder(
        "Mask R-CNN on ResNet-50; --param height, width",
        detectors.mask_rcnn,
        {"height": (800, 64, 4096), "width": (1344, 64, 4096)},
    ),
    "ncf": _image("NeuMF on MovieLens 20M, a pair of a user and a film", recommenders.ncf),
    "efficientdet_d0": _image("EfficientDet-D0, 512 x 512", detectors.efficientdet_d0),
    "superpoint": _image("SuperPoint for 640 x 480 images", detectors.superpoint),
    "dlrm": Builder("MLPerf's DLRM, pairs of a sample; --param pairs", recommenders.dlrm, recommenders.PARAMS),
    "dlrm_v2": Builder("MLPerf's DLRM-DCNv2; --param pairs", recommenders.dlrm_v2, recommenders.PARAMS),
    "perceiver_learned": _image("Perceiver IO on pixels, learned places", perceiver.perceiver(learned=True)),
    "perceiver_conv": _image("Perceiver IO on a convolution's result", perceiver.perceiver(learned=False)),
    "rnnt": Builder("MLPerf's RNN-T; --param frames, symbols", speech.rnnt, speech.RNNT_PARAMS),
    **{
        model.name: Builder("one step of Stable Diffusion; --param size, rows", model.build, model.params)
        for model in diffusion.DENOISERS
    },
    "sd_vae_decoder": Builder(
        "Stable Diffusion's decoder; --param size", diffusion.vae_decoder, {"size": (512, 64, 4096)}
    ),
    "gnmt": Builder("GNMT, a translation; --param source, target, beam", translation.gnmt, translation.GNMT_PARAMS),
    "fastpitch": Builder("FastPitch; --param characters, frames", speech.fastpitch, speech.FASTPITCH_PARAMS),
    "hifigan": Builder("HiFi-GAN's generator V1; --param frames", speech.hifigan, speech.HIFIGAN_PARAMS),
    "unet3d_brats": _image(
        "MLPerf's 3D U-Net up to v1.1, a volume of BraTS 2019",
        segmentation.nnunet(
            "unet3d_brats",
            channels=4,
            classes=4,
            size=(224, 224, 160),
            source="MLPerf inference v0.7, 3d-unet-brats19; Isensee et al., Nature Methods 2021",
        ),
    ),
    "nnunet_3d": _image(
        "nnU-Net for 128 x 128 x 128 voxels",
        segmentation.nnunet(
            "nnunet_3d",
            channels=4,
            classes=4,
            size=(128,) * 3,
            source="Isensee et al., Nature Methods 2021; NVIDIA DeepLearningExamples, nnUNet",
        ),
    ),
    "nnunet_2d": _image("nnU-Net for 192 x 160 pixels", segmentation.nnunet_2d),
    "unet_medical": _image(
        "U-Net for 572 x 572 pixels, as in its paper",
        segmentation.unet(
            "unet_medical", channels=1, classes=2, size=572, padded=False, source="Ronneberger et al., MICCAI 2015"
        ),
    ),
    "unet_224": _image(
        "U-Net for 224 x 224 pixels, padded",
        segmentation.unet(
            "unet_224",
            channels=3,
            classes=2,
            size=224,
            padded=True,
            source="Ronneberger et al., MICCAI 2015; sizes as in milesial/Pytorch-UNet",
        ),
    ),
    "unet3d_kits": Builder(
        "MLPerf's 3D U-Net from v2.0, a scan of KiTS19; --param windows",
        segmentation.nnunet(
            "unet3d_kits",
            channels=1,
            classes=3,
            size=(128,) * 3,
            act="relu",
            parts="windows",
            source="MLPerf inference v2.0, 3d-unet-kits19; Isensee et al., Nature Methods 2021",
        ),
        segmentation.WINDOWS_PARAMS,
    ),
    "ssd_resnet34": _image("MLPerf's SSD-large, 1200 x 1200", detectors.ssd_resnet34),
    "ssd_mobilenet_v1": _image("MLPerf's SSD-small, 300 x 300", detectors.ssd_mobilenet_v1),
    "yolov3": Builder("YOLO v3; --param size=608", detectors.yolov3, {"size": (416, 32, 4096)}),
    "yolov4": Builder(
        "YOLO v4; --param size=608, mish=0 for leaky ReLU",
        detectors.yolov4,
        {"size": (416, 32, 4096), "mish": (1, 0, 1)},
    ),
    **{name: Builder(*parts) for name, parts in SINGLE_OPS.items()},
}


def load_workload(name_or_path: str, *, batch: int | None = None, params: Mapping[str, int] | None = None) -> Graph:
    """Return a workload by name (``resnet50``, ``onnx:vgg19``) or by path (``.onnx``, ``.csv``, ``.json``).

    A CSV file is an op table or, where its header begins with ``Layer``, a SCALE-Sim topology; a JSON file is a Hugging
    Face configuration.

    ``batch`` is the items in one step, by default the workload's own; ``params`` are its other free sizes.
    """
    name_or_path, params = str(name_or_path), dict(params or {})
    _check_numbers(name_or_path, batch, params)
    if name_or_path.startswith(ONNX_PREFIX):
        return _from_onnx(_onnx_path(name_or_path.removeprefix(ONNX_PREFIX)), batch, params)
    if name_or_path in BUILDERS:
        return _built(name_or_path, BUILDERS[name_or_path], batch, params)
    if name_or_path in _tables():
        return read_table(_tables()[name_or_path], batch=batch, params=params)
    return _from_path(name_or_path, batch, params)


def workload_names() -> list[tuple[str, str]]:
    """Return the name and a description of every workload that can be had by name."""
    own = {name: builder.description for name, builder in BUILDERS.items()}
    own |= {name: read_header(path).description for name, path in _tables().items()}
    light = [(ONNX_PREFIX + name, "graph inside the onnx package") for name in _onnx_models()]
    return [*sorted(own.items()), *light]


def _check_numbers(workload: str, batch: int | None, params: Mapping[str, int]) -> None:
    problems = []
    whole = isinstance(batch, int) and not isinstance(batch, bool)
    if batch is not None and not (whole and 1 <= batch <= MAX_BATCH):
        problems.append(f"{workload}: --batch {batch}: want a whole number from 1 to {MAX_BATCH}")
    # Those of a builder have limits of their own.
    built = workload in BUILDERS or workload.endswith(".json")
    problems += [
        f"{workload}: --param {name}={value}: want a whole number{'' if built else ' from 1 to 2^40'}"
        for name, value in params.items()
        if isinstance(value, bool) or not isinstance(value, int) or not (built or 1 <= value <= MAX_SIZE)
    ]
    if problems:
        raise WorkloadError(*problems)


def _tables() -> dict[str, Path]:
    return {path.stem: path for path in sorted(resource_dir("workloads").glob("*.csv"))}


def _built(name: str, builder: Builder, batch: int | None, params: Mapping[str, int]) -> Graph:
    known = sorted(builder.params)
    wanted = f"want one of {known}" if known else "this workload takes none"
    problems = [
        f"{name}: --param {given}={value}: unknown; {wanted}{nearest(given, known)}"
        for given, value in params.items()
        if given not in builder.params
    ]
    values = {param: params.get(param, default) for param, (default, _, _) in builder.params.items()}
    problems += [
        f"{name}: --param {param}={values[param]}: want a whole number from {least} to {most}"
        for param, (_, least, most) in builder.params.items()
        if not least <= values[param] <= most
    ]
    if problems:
        raise WorkloadError(*problems)
    items = 1 if batch is None else batch
    if BUILDERS.get(name) is not builder:
        return builder.build(items, values)
    return _once(name, items, tuple(values.items()))


@lru_cache(maxsize=64)
def _once(name: str, batch: int, params: tuple[tuple[str, int], ...]) -> Graph:
    """A graph is a value: what was built once serves every run."""
    return BUILDERS[name].build(batch, dict(params))


def _from_path(text: str, batch: int | None, params: Mapping[str, int]) -> Graph:
    path = Path(text)
    suffix = path.suffix.lower()
    if suffix == ".onnx":
        return _from_onnx(path, batch, params)
    if suffix == ".csv":
        return _from_csv(path, batch, params)
    if suffix == ".json":
        model = read_config(path)
        return _built(text, Builder(model.source, model.build, model.params), batch, params)
    if text and is_there(path):
        raise WorkloadError(
            f"{text}: want a file that ends in .onnx, .csv or .json (a Hugging Face configuration), or the name of a "
            f"workload; {LIST}"
        )
    names = [*BUILDERS, *_tables(), *(ONNX_PREFIX + name for name in _onnx_models())]
    short = {name.removeprefix(LIGHT): ONNX_PREFIX + name.removeprefix(LIGHT) for name in _onnx_models()}
    hint = _suggestion(text, {**short, **{name: name for name in names}})
    raise WorkloadError(f"{text or repr(text)}: no workload has this name, and there is no such file{hint}; {LIST}")


def _from_csv(path: Path, batch: int | None, params: Mapping[str, int]) -> Graph:
    """Read an op table, or a SCALE-Sim topology, whose header tells it apart."""
    text = table_text(path)
    if not is_topology(text):
        return parse_table(text, file=str(path), batch=batch, params=params)
    if params:
        raise WorkloadError(
            *(f"{path}: --param {name}={value}: a SCALE-Sim topology takes none" for name, value in params.items())
        )
    return parse_topology(text, file=str(path)).graph(1 if batch is None else batch)


def _suggestion(word: str, known: Mapping[str, str]) -> str:
    """Return ``"; did you mean 'x'?"`` for what is meant by the known word nearest to ``word``, or ``""``."""
    matches = get_close_matches(word, known, n=1)
    return f"; did you mean {known[matches[0]]!r}?" if matches else ""


# --- graphs inside the onnx package: found, not imported ------------------------------------------------------------


def _onnx_models() -> dict[str, Path]:
    spec = find_spec("onnx")
    if spec is None or spec.origin is None:
        return {}
    folder = Path(spec.origin).parent / "backend" / "test" / "data" / "light"
    return {path.stem: path for path in sorted(folder.glob("*.onnx"))}


def _onnx_path(name: str) -> Path:
    models = _onnx_models()
    for candidate in (name, LIGHT + name, f"{LIGHT}bvlc_{name}"):
        if candidate in models:
            return models[candidate]
    short = [model.removeprefix(LIGHT) for model in models]
    hint = _suggestion(name, {word: ONNX_PREFIX + word for word in (*models, *short)})
    raise WorkloadError(f"{ONNX_PREFIX}{name}: the onnx package has no such graph; want one of {short}{hint}")


def _from_onnx(path: Path, batch: int | None, params: Mapping[str, int]) -> Graph:
    from accelsim.workload.onnx_import import import_onnx

    return import_onnx(path, batch=1 if batch is None else batch, params=params)
