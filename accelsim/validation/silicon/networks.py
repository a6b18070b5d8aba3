"""Which of our workloads a measured file means by a network's name."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from statistics import NormalDist

from accelsim.validation.silicon.build import UnmodelledError
from accelsim.workload.library import load_workload
from accelsim.workload.speech import HOP


@dataclass(frozen=True, slots=True)
class Network:
    """A workload with its parameters."""

    workload: str
    params: tuple[tuple[str, int], ...] = ()
    counted: int = 1
    """What a throughput counts of each item: tokens of a sequence."""
    pruned_to: float | None = None
    """Operations of an item, two to a multiply-accumulate, of which as many channels are left as make so many."""
    repeats: int = 1
    """How often it runs for an item: the steps of a diffusion."""
    then: Network | None = None
    """What runs after it for the same item."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """Names of one network; ``inputs`` are the spellings of its input's size, any where there are none."""

    names: str
    workload: str
    inputs: str = ""
    sequence: int = 0
    """Default length of a sequence, for networks that have one."""
    counted: int = 1
    """What a throughput counts of each item."""


FRAMES = 660
"""Of a spectrogram in DeepLearningExamples' FastPitch and HiFi-GAN, the workloads' default. Read off their rows:
throughput times latency over batch is 655 to 667 in HiFi-GAN's on A100."""
TOKENS, SPREAD = 27, 1.27
"""Of a sentence of newstest2014 in the mean, and the spread of their roots. Read off DeepLearningExamples' GNMT: tokens
over sentences a second are 54, both languages counted; and at batch 1, where time goes with the tokens, 90 % of the
latencies are below 1.80 of the median, 95 % below 2.03, all below 2.97."""


def _vitis(names: str, workload: str, side: int) -> _Rule:
    """Of release 3.5 of Vitis AI's model zoo, for square pictures."""
    return _Rule(rf"(?:{names})_3\.5", workload, _square(side))


def _square(side: int) -> str:
    """Spellings of the size of square pictures, which may be left out."""
    return rf"(?:{side}\D+{side}\b.*|)"


_RULES = (
    _Rule(r"mlperf:resnet(50)?", "resnet50"),
    _vitis(r"(pt|tf_mlperf)_resnet50", "resnet50", 224),
    _vitis(r"tf2_resnet50", "resnet50_v1", 224),
    _Rule(r".*/(resnet50v1\.5|rn50v1\.5)", "resnet50"),
    _Rule(r"resnet152", "resnet152"),
    *(_vitis(f"tf_resnetv1-{depth}", f"resnet{depth}_slim", 224) for depth in (50, 101, 152)),
    _vitis(r"pt_vehicle-(color|make|type)-classification", "resnet18", 224),
    _vitis(r"tf_inceptionv1", "inception_v1", 224),
    _vitis(r"tf_inceptionv4", "inception_v4", 299),
    _vitis(r"tf_vgg19", "onnx:vgg19", 224),
    _vitis(r"tf_efficientnet-edgetpu-s", "efficientnet_edgetpu_s", 224),
    _vitis(r"tf_efficientnet-edgetpu-m", "efficientnet_edgetpu_m", 240),
    _vitis(r"tf2_efficientnet-lite", "efficientnet_lite0", 224),
    _Rule(r"tf_superpoint_3\.5", "superpoint", r"480\*640.*"),
    *(_Rule(rf"mlperf:efficientnet-(fp32|int8)-lite{i}", f"efficientnet_lite{i}") for i in (0, 3, 4)),
    _Rule(r".*/efficientnet_v2", "efficientnet_v2_s", r".*384x384"),
    _Rule(r".*/resnext101-32x4d", "resnext101_32x4d"),
    _Rule(r".*/se-resnext101-32x4d", "se_resnext101_32x4d"),
    _vitis(r"tf_resnetv2-50", "resnet50_v2", 299),
    _vitis(r"tf_resnetv2-101", "resnet101_v2", 299),
    _vitis(r"tf_resnetv2-152", "resnet152_v2", 299),
    _vitis(r"pt_squeezenet", "onnx:squeezenet", 224),
    _vitis(r"tf2_yolov3", "yolov3", 416),
    _Rule(r"vgg16", "vgg16", _square(224)),
    _vitis(r"tf_vgg16", "vgg16", 224),
    _vitis(r"(pt|tf|tf2)_inceptionv3", "inception_v3", 299),
    _vitis(r"tf2?_mobilenetv1(-1\.0)?", "mobilenet_v1", 224),
    _Rule(r"mobilenetv2 int8 \(keras\)", "mobilenet_v2"),
    _Rule(r"mlperf:ssd-(resnet34|large)", "ssd_resnet34"),
    _Rule(r"mlperf:ssd-mobilenet(-v1-non-quantized-mlperf)?", "ssd_mobilenet_v1"),
    _Rule(r"mlperf:retinanet", "retinanet"),
    _Rule(r"mlperf:rnnt", "rnnt"),
    _Rule(r"deepmind/vision-perceiver-learned", "perceiver_learned"),
    _Rule(r"deepmind/vision-perceiver-conv", "perceiver_conv"),
    _Rule(r"pytorch/speechsynthesis/fastpitch", "fastpitch", counted=FRAMES),
    _Rule(r"pytorch/speechsynthesis/hifigan", "hifigan", counted=FRAMES * HOP),
    _Rule(r"mlperf:dlrm-99(\.9)?", "dlrm"),
    _Rule(r"mlperf:dlrm-v2-99(\.9)?", "dlrm_v2"),
    _Rule(r"tensorflow2/detection/efficientdet|pytorch/detection/efficientdet", "efficientdet_d0"),
    _vitis(r"tf_ssdmobilenetv1", "ssd_mobilenet_v1", 300),
    _Rule(r"(pytorch|tensorflow2)/segmentation/nnunet", "nnunet_2d", r"\D*192x160\D*"),
    _Rule(r"(pytorch|tensorflow2)/segmentation/nnunet", "nnunet_3d", r"\D*128x128x128\D*"),
    _Rule(r"tensorflow/segmentation/unet_medical", "unet_medical", r".*572x572x1"),
    _Rule(r"unet", "unet_224", r"224x224"),
    _Rule(r"tensorflow/detection/ssd", "ssd_resnet50_fpn"),
    _Rule(r"pytorch/detection/ssd", "ssd300_resnet50"),
    _Rule(r"(pytorch|tensorflow2)/segmentation/maskrcnn", "mask_rcnn"),
    _Rule(r"pytorch/recommendation/ncf", "ncf"),
    _Rule(r"mlperf:bert-99(\.9)?", "bert_large", sequence=384),
    _Rule(r"mlp0 \(20m weights, 5 fc layers\)", "tpu_v1_mlp0"),
    _Rule(r".*languagemodeling/electra", "bert_base", sequence=384),
    _Rule(r"bert[- ]base( \(bert-base-(un)?cased\))?(-uncased|-cased)?", "bert_base", sequence=128),
    _Rule(r"google/electra-base-discriminator", "bert_base", sequence=128),
    _Rule(r"bert[-_]large(-uncased|-cased)?", "bert_large", sequence=128),
    _Rule(r"roberta-base|xlm-roberta-base", "roberta_base", sequence=128),
    _Rule(r"roberta-large", "roberta_large", sequence=128),
    _Rule(r"distilroberta base \(distilroberta-base\)|distilbert.*", "distilbert", sequence=128),
    _Rule(r"gpt2_large", "gpt2_large", sequence=1024),
    _Rule(r"gpt3_xl", "gpt3_xl", sequence=2048),
    _Rule(r"gpt3_27", "gpt3_2p7b", sequence=2048),
)


_OPEN = r"open;(deci|neuralmagic|intel;system=[^;]*neural_engine)"
"""Notes of submissions to MLPerf's open division with networks of the submitter's own: Deci's, Neural Magic's, and
Intel's on its Neural Engine ("retrain ... to structured sparse 90%"; open/Intel/measurements of v3.0)."""

_NARROW = {
    "tf_mobilenetv2-1.4_3.5": Network("mobilenet_v2", (("width_percent", 140),)),
    "tf_mobilenetv1-0.25_3.5": Network("mobilenet_v1", (("size", 128), ("width_percent", 25))),
}
"""MobileNets of Vitis AI's zoo that are wider or narrower; the narrow one for 128 x 128 pixels."""

_DIFFUSION = {
    "mlperf:stable-diffusion-xl": ("sdxl_unet", 1024, 20),
    "stable diffusion 1.5": ("sd15_unet", 512, 50),
    "stable diffusion 2.1": ("sd21_unet", 512, 50),
    "stable diffusion xl base": ("sdxl_unet", 1024, 50),
}
"""Workload, pixels, steps: 20 in MLPerf's rules (inference v4.0); 50, what diffusers does unasked, ASSUMED of AWS."""

_DECODERS = {
    "llama-2-13b": "llama2_13b_16k",
    "llama-2-70b": "llama2_70b",
    "llama-3-8b": "llama3_8b",
    "mistral-7b-instruct-v0.2": "mistral_7b_v02",
}


LONGEST = 18
"""Digits of a number; with more, no network of ours has it, either."""


def _whole(digits: str) -> int:
    """A whole number; Python itself refuses thousands of digits."""
    return int(digits[:LONGEST])


def _first(text: str, default: int) -> int:
    """The first whole number of a text."""
    found = re.search(r"[0-9]+", text)
    return _whole(found[0]) if found else default


def network_of(model: str, size: str, notes: str, source: str = "", *, batch: int = 1, unit: str = "") -> Network:
    """The workload that a name means, with the length of its sequences.

    ``source`` tells apart what a suite changed under one name; sentences of a ``batch`` are as long as the longest of
    it; ``unit`` says what a throughput counts.

    Raises UnmodelledError, which says what is lacking.
    """
    name = model.strip().lower()
    if re.match(_OPEN, notes.lower()):
        raise UnmodelledError("a network of the submitter's own in MLPerf's open division")
    if re.fullmatch(r"mlperf:3d-unet-99(\.9)?", name):
        return Network("unet3d_brats" if re.search(r"results_v(0\.7|1\.[01]):", source) else "unet3d_kits")
    if name in ("mlperf:gnmt", "tensorflow/translation/gnmt"):
        return _gnmt(name, notes, batch, unit)
    diffusion = _DIFFUSION.get(name)
    if diffusion:
        return _diffusion(name, *diffusion, size, neuron="aws-neuron-sdk" in source)
    found = _special(name, size, notes)
    if found is not None:
        return found
    unfit = False
    for rule in _RULES:
        if not re.fullmatch(rule.names, name):
            continue
        if rule.inputs and not re.fullmatch(rule.inputs, size.strip()):
            unfit = True
            continue
        if not rule.sequence:
            return Network(rule.workload, counted=rule.counted)
        return Network(rule.workload, (("seq_len", _first(size, rule.sequence)),))
    if unfit:
        raise UnmodelledError(f"network {model} with inputs of {size.strip()}")
    return _pruned(model, size, notes)


def _gnmt(name: str, notes: str, batch: int, unit: str) -> Network:
    """GNMT; MLPerf's has ten beams and sentences sorted by length."""
    if name == "mlperf:gnmt":
        return Network("gnmt", (("source", TOKENS), ("target", TOKENS), ("beam", 10)))
    beam = re.search(r"beam (?:width|size)=([0-9]{1,2})\b", notes.lower())
    if beam is None or not re.match("(sentences|tokens)/s", unit.lower()):
        raise UnmodelledError("GNMT with the columns of its table in each other's cells")
    tokens = longest(batch)
    counted = 2 * TOKENS if "tokens" in unit.lower() else 1
    return Network("gnmt", (("source", tokens), ("target", tokens), ("beam", int(beam[1]))), counted)


def _diffusion(name: str, workload: str, pixels: int, steps: int, size: str, *, neuron: bool) -> Network:
    """Steps of a U-Net and a decoder. AWS gives a picture's two rows to two cores: there an item is a row."""
    given = re.match(r"[0-9]{1,4}", size)
    pixels = int(given[0]) if given else pixels
    decoder = Network("sd_vae_decoder", (("size", pixels),))
    return Network(workload, (("size", pixels), ("rows", 1 if neuron else 2)), repeats=steps, then=decoder)


def longest(sentences: int) -> int:
    """Tokens of the longest of so many sentences of newstest2014, about: their roots are distributed normally.

    >>> longest(1), longest(512)
    (25, 76)
    """
    root = math.sqrt(TOKENS - SPREAD**2) + SPREAD * NormalDist().inv_cdf(sentences / (sentences + 1))
    return round(root**2)


def _pruned(model: str, size: str, notes: str) -> Network:
    """A network of Vitis AI's model zoo that was pruned to an operation count that the row tells."""
    told = re.fullmatch(r"(.*)_0\.([0-9]{1,9})_3\.5", model.strip().lower())
    if told is None or told[1].startswith("pt_ofa"):
        raise UnmodelledError(f"network {model}")
    whole = network_of(f"{told[1]}_3.5", size, "")
    share, giga = float(f"0.{told[2]}"), re.search(r"GOPs=([0-9]{1,9}(?:\.[0-9]{1,9})?)", notes)
    if giga is None:
        raise UnmodelledError(f"network {model}, of operations that are not said")
    if float(giga[1]) == share:
        # The share that was taken away stands in the place of what is left.
        graph = load_workload(whole.workload, params=dict(whole.params))
        return replace(whole, pruned_to=2 * graph.macs * (1 - share))
    return replace(whole, pruned_to=float(giga[1]) * 1e9)


def _special(name: str, size: str, notes: str) -> Network | None:
    """Names that say less than their notes do."""
    if re.fullmatch(r".*languagemodeling/bert", name):
        large = re.search(r"model=(base|large)", notes.lower())
        if large is None and "squad" not in notes.lower():
            raise UnmodelledError("BERT of a size that is not said")
        # DeepLearningExamples' fine-tuning on SQuAD without another word is BERT large (its README).
        workload = f"bert_{large[1]}" if large else "bert_large"
        return Network(workload, (("seq_len", _first(size, 384)),))
    if re.fullmatch(r".*/efficientnet(_v1)?", name):
        found = re.search(r"(widese-)?(v1-)?b([04])\b", notes.lower())
        if found is None:
            raise UnmodelledError("an EfficientNet that is not B0 or B4")
        return Network(f"efficientnet_{'widese_' if found[1] else ''}b{found[3]}")
    if name.endswith("languagemodeling/transformer-xl"):
        lengths = [_whole(digits.replace(",", "")) for digits in re.findall(r"=([0-9][0-9,]*)", size)]
        if len(lengths) != 2:
            raise UnmodelledError(f"Transformer-XL with lengths {size}")
        kind = "large" if "large model" in notes.lower() else "base"
        return Network(f"transformer_xl_{kind}", (("seq_len", lengths[0]), ("mem_len", lengths[1])), lengths[0])
    decoder = _DECODERS.get(name)
    if decoder:
        told = re.search(r"tp degree=([0-9]+).*input length=([0-9]+);output length=([0-9]+)", notes.lower())
        if told is None:
            raise UnmodelledError(f"network {name}, of lengths that are not said")
        ranks, prompt, made = map(_whole, told.groups())
        # Of the tokens that are made, the one in the middle has the mean context.
        return Network(decoder, (("seq_len", 1), ("past_len", prompt + made // 2), ("tensor_parallel", ranks)))
    if name in _NARROW:
        return _NARROW[name]
    mobile = re.fullmatch(r"mlperf:mobilenet-(v[12])-precision_(?:float|uint8)-([0-9]+(?:\.[0-9]+)?)-([0-9]+)", name)
    if mobile:
        percent = round(100 * float(mobile[2][:LONGEST]))
        return Network(f"mobilenet_{mobile[1]}", (("size", _whole(mobile[3])), ("width_percent", percent)))
    yolo = re.fullmatch(r"yolo v4|tf_yolov4-([0-9]+)_3\.5", name)
    if yolo:
        pixels = (("size", _whole(yolo[1]) if yolo[1] else _first(size, 416)),)
        # Vitis AI's has leaky ReLU in the place of Mish, which the DPU lacks.
        return Network("yolov4", (*pixels, ("mish", 0)) if yolo[1] else pixels)
    return None
