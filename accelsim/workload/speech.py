"""Networks that write speech down and speak: RNN-T, FastPitch, HiFi-GAN.

Sequences of channels are images of height one, ``[batch, channels, 1, length]``.
"""

from __future__ import annotations

from collections.abc import Mapping

from accelsim.workload.graph import Graph
from accelsim.workload.layers import Layers, weight
from accelsim.workload.ops import Gather, Move, Tensor
from accelsim.workload.recurrent import cell, lstm

MELS = 80
HOP = 256
"""Samples of sound to a frame of a spectrogram, at 22,050 a second."""
MOST_FRAMES = 2**14

# --- HiFi-GAN -------------------------------------------------------------------------------------------------------

HIFIGAN_PARAMS = {"frames": (660, 1, MOST_FRAMES)}


def hifigan(batch: int, params: Mapping[str, int]) -> Graph:
    """Generator V1 of Kong et al., NeurIPS 2020: 256 samples for each of ``frames`` of 80 numbers.

    Transposed convolutions of 8, 8, 2 and 2, after each the mean of three chains of dilated convolutions.
    """
    net = Layers(batch)
    x = net.conv("pre", net.input("spectrogram", MELS, 1, params["frames"]), 512, (1, 7), bias=True)
    for stage, (factor, kernel) in enumerate(((8, 16), (8, 16), (2, 4), (2, 4)), start=1):
        x = net.elementwise(f"up{stage}.leaky_relu", "leaky_relu", x)
        x = net.conv_transposed(f"up{stage}", x, x.shape[1] // 2, kernel, factor, bias=True)
        parts = [_dilated(net, f"stage{stage}.{kernel}", x, kernel) for kernel in (3, 7, 11)]
        both = net.elementwise(f"stage{stage}.add1", "add", parts[0], parts[1])
        x = net.elementwise(f"stage{stage}.add2", "add", both, parts[2])
    x = net.conv("post", net.elementwise("post.leaky_relu", "leaky_relu", x), 1, (1, 7), bias=True)
    net.elementwise("post.tanh", "tanh", x)
    return net.graph("hifigan", params=params, source="Kong et al., HiFi-GAN, NeurIPS 2020, V1 of Table 3")


def _dilated(net: Layers, name: str, x: Tensor, kernel: int) -> Tensor:
    for dilation in (1, 3, 5):
        y = net.elementwise(f"{name}.{dilation}.relu1", "leaky_relu", x)
        pad = (0, dilation * (kernel - 1) // 2)
        y = net.conv(f"{name}.{dilation}.conv1", y, x.shape[1], (1, kernel), dilation=dilation, pad=pad, bias=True)
        y = net.elementwise(f"{name}.{dilation}.relu2", "leaky_relu", y)
        y = net.conv(f"{name}.{dilation}.conv2", y, x.shape[1], (1, kernel), bias=True)
        x = net.elementwise(f"{name}.{dilation}.add", "add", y, x)
    return x


# --- FastPitch ------------------------------------------------------------------------------------------------------

FASTPITCH_PARAMS = {"characters": (128, 1, MOST_FRAMES), "frames": (660, 1, MOST_FRAMES)}
SYMBOLS, WIDTH, INNER, DEPTH = 148, 384, 1536, 64
"""Characters that it knows; width, width of the convolutions between, and of its one head."""


def fastpitch(batch: int, params: Mapping[str, int]) -> Graph:
    """Six blocks on characters, three predictors, six blocks on frames (Łańcucki, ICASSP 2021; version 1.1's sizes)."""
    net = Layers(batch)
    shape = (batch, params["characters"])
    x = net.look_up("symbol", SYMBOLS, WIDTH, shape)
    for i in range(6):
        x = _block(net, f"encoder{i}", x)
    for what in ("duration", "pitch", "energy"):
        y = x
        for i in (1, 2):
            y = _convolved(net, f"{what}{i}", y, 256, 3)
            y = net.layer_norm(f"{what}{i}.norm", net.elementwise(f"{what}{i}.relu", "relu", y))
        y = net.dense(f"{what}", y, 1)
        if what != "duration":
            y = _convolved(net, f"{what}.embedding", y, WIDTH, 3)
            x = net.elementwise(f"{what}.add", "add", x, y)
    x = net.add(Gather, "lengthen", (x,), (batch, params["frames"], WIDTH))
    for i in range(6):
        x = _block(net, f"decoder{i}", x)
    net.dense("spectrogram", x, MELS)
    return net.graph(
        "fastpitch", params=params, source="Łańcucki, FastPitch, ICASSP 2021; NVIDIA DeepLearningExamples, 1.1"
    )


def _block(net: Layers, name: str, x: Tensor) -> Tensor:
    """Attention with one head, and two convolutions over three places."""
    query, key, value = (net.dense(f"{name}.{what}", x, DEPTH) for what in ("query", "key", "value"))
    y = net.dense(f"{name}.output", net.attention(name, query, key, value, heads=1), WIDTH, bias=False)
    x = net.layer_norm(f"{name}.norm", net.elementwise(f"{name}.residual", "add", y, x))
    y = net.elementwise(f"{name}.relu", "relu", _convolved(net, f"{name}.up", x, INNER, 3))
    y = _convolved(net, f"{name}.down", y, WIDTH, 3)
    return net.layer_norm(f"{name}.ffn_norm", net.elementwise(f"{name}.ffn_residual", "add", y, x))


def _convolved(net: Layers, name: str, x: Tensor, channels: int, kernel: int) -> Tensor:
    """A convolution over places of ``[batch, length, width]``, which is moved to channels first and back."""
    batch, length, width = x.shape
    y = net.add(Move, f"{name}.first", (x,), (batch, width, 1, length))
    y = net.conv(name, y, channels, (1, kernel), bias=True)
    return net.add(Move, f"{name}.last", (y,), (batch, length, channels))


# --- RNN-T ----------------------------------------------------------------------------------------------------------

RNNT_PARAMS = {"frames": (240, 2, MOST_FRAMES), "symbols": (104, 1, MOST_FRAMES)}
"""An utterance of LibriSpeech: 7.2 s in the mean, a frame every 30 ms, 14.5 characters a second (ASSUMED)."""
FEATURES, HIDDEN, PREDICTED, JOINT, LETTERS = 240, 1024, 320, 512, 29


def rnnt(batch: int, params: Mapping[str, int]) -> Graph:
    """MLPerf's RNN-T: two LSTMs on all frames and three on pairs of them, greedy search with two LSTMs and a joint net.

    Products with what is known beforehand are made for all steps at once, those with the step before one by one. The
    search looks at every pair of frames once, and once more for every character that it finds.
    """
    net = Layers(batch)
    x = Tensor(name="frames", shape=(batch, params["frames"], FEATURES))
    for i in range(2):
        x = lstm(net, f"pre{i}", x, HIDDEN)
    x = net.add(Move, "pairs", (x,), (batch, params["frames"] // 2, 2 * HIDDEN))
    for i in range(3):
        x = lstm(net, f"post{i}", x, HIDDEN)
    net.dense("joint.heard", x, JOINT)
    # What is heard at one pair of frames: a slice of the product.
    heard = Tensor(name="heard", shape=(batch, JOINT))
    states = [Tensor(name=f"state{i}", shape=(batch, PREDICTED)) for i in range(2)]
    said = Tensor(name="said0", shape=(batch, JOINT))
    symbols, pairs = params["symbols"], params["frames"] // 2
    for step in range(symbols + pairs):
        # Characters are spread evenly over the looks.
        if (step + 1) * symbols // (symbols + pairs) > step * symbols // (symbols + pairs):
            said = _predicted(net, f"step{step}", states)
        y = net.elementwise(f"step{step}.joint", "add", said, heard)
        y = net.elementwise(f"step{step}.relu", "relu", y)
        y = net.dense(f"step{step}.letter", y, LETTERS, bias=False, shared="joint.letter")
        net.elementwise(f"step{step}.bias", "add", y, weight("joint.letter.bias.weight", LETTERS))
    return net.graph("rnnt", params=params, source="MLPerf inference v0.7, rnnt; Graves, arXiv 1211.3711")


def _predicted(net: Layers, name: str, states: list[Tensor]) -> Tensor:
    """What the last characters are to the joint net; leaves new states."""
    shape = (net.batch, PREDICTED)
    ids = Tensor(name=f"{name}.character", shape=(net.batch,), dtype="int64")
    x = net.add(Gather, f"{name}.embedding", (weight("embedding.weight", LETTERS - 1, PREDICTED), ids), shape)
    for i in range(2):
        gates = net.dense(f"{name}.input{i}", x, 4 * PREDICTED, shared=f"predict{i}.input")
        x = states[i] = cell(net, f"{name}.{i}", gates, states[i], f"predict{i}")
    return net.dense(f"{name}.said", x, JOINT, shared="joint.said")
