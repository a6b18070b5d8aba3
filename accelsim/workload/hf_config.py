"""Hugging Face ``config.json`` files as transformers. Weights are not needed, only their sizes.

A key that a file leaves out has the default of the ``transformers`` library where one is given below; hidden size,
heads and layers have to be there.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelsim.base.errors import WorkloadError, nearest, shortened
from accelsim.workload.files import content
from accelsim.workload.transformers import Decoder, Encoder

WANTED = "a Hugging Face config.json"
ACTIVATIONS = {
    "gelu": "gelu", "gelu_new": "gelu", "gelu_fast": "gelu", "gelu_pytorch_tanh": "gelu", "gelu_python": "gelu",
    "quick_gelu": "silu", "relu": "relu", "silu": "silu", "swish": "silu", "tanh": "tanh",
}  # fmt: skip
"""Names of activation functions there, and here."""
MAX_SIZE = 2**24
MAX_LAYERS = 1024
"""The deepest that have been trained have 1,000 (Wang et al., DeepNet, arXiv 2203.00555)."""


@dataclass
class _Config:
    """A file's keys, and everything that is wrong with them."""

    file: str
    keys: Mapping[str, Any]
    problems: list[str] = field(default_factory=list)

    def layers(self, name: str) -> int:
        """How many layers: each is ops of its own."""
        return self.size(name, most=MAX_LAYERS)

    def size(self, *names: str, default: int | None = None, most: int = MAX_SIZE) -> int:
        """The whole number under the first of the names that is there and not null."""
        name = next((name for name in names if self.keys.get(name) is not None), None)
        if name is None:
            if default is None:
                self.problems.append(f"{self.file}: {names[0]}: missing; want a whole number")
            return default or 1
        value = self.keys[name]
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            most_said = "2^24" if most == MAX_SIZE else str(most)
            self.problems.append(
                f"{self.file}: {name}: got {shortened(repr(value))}; want a whole number from 1 to {most_said}"
            )
            return 1
        return value

    def flag(self, name: str, default: bool) -> bool:
        value = self.keys.get(name)
        if value is not None and not isinstance(value, bool):
            self.problems.append(f"{self.file}: {name}: got {shortened(repr(value))}; want true or false")
        return default if value is None else bool(value)

    def activation(self, *names: str, default: str) -> str:
        name = next((name for name in names if self.keys.get(name) is not None), names[0])
        value = self.keys.get(name) or default
        if isinstance(value, str) and value in ACTIVATIONS:
            return ACTIVATIONS[value]
        known = sorted(ACTIVATIONS)
        hint = nearest(value, known) if isinstance(value, str) else ""
        self.problems.append(f"{self.file}: {name}: got {shortened(repr(value))}; want one of {known}{hint}")
        return "gelu"

    @property
    def name(self) -> str:
        """What the model is called: the last part of where it came from, else its type."""
        origin = self.keys.get("_name_or_path")
        return (origin.rstrip("/").rpartition("/")[2] if isinstance(origin, str) else "") or str(
            self.keys["model_type"]
        )


def read_config(path: Path) -> Encoder | Decoder:
    """Return the network that a ``config.json`` describes. Raises WorkloadError with everything that is wrong."""
    try:
        keys = json.loads(content(path, WANTED).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"{path}: not JSON ({type(error).__name__}: {error}); want {WANTED}") from None
    kind = keys.get("model_type") if isinstance(keys, dict) else None
    if not isinstance(kind, str) or kind not in FAMILIES:
        known = ", ".join(sorted(FAMILIES))
        said = f"model_type: got {shortened(repr(kind))}" if kind else "model_type: missing"
        hint = nearest(kind, FAMILIES) if isinstance(kind, str) else ""
        raise WorkloadError(f"{path}: {said}; want {WANTED} of one of {known}{hint}")
    config = _Config(str(path), keys)
    model = FAMILIES[kind](config)
    config.problems += [] if config.problems else [f"{path}: {problem}" for problem in _misfits(model)]
    if config.problems:
        raise WorkloadError(*config.problems)
    return model


def _misfits(model: Encoder | Decoder) -> Iterator[str]:
    """Yield what is wrong with sizes that are right one by one."""
    if model.width % model.heads and not (isinstance(model, Decoder) and model.head_dim):
        yield f"{model.heads} heads do not divide the hidden size {model.width}"
    if isinstance(model, Decoder) and model.heads % model.kv_heads:
        yield f"num_key_value_heads: {model.kv_heads} does not divide {model.heads} heads"
    if isinstance(model, Decoder) and model.chosen > model.experts:
        yield f"num_experts_per_tok: {model.chosen} of {model.experts} experts"


def _bert(config: _Config, *, positions: int = 512, types: int = 2) -> Encoder:
    return Encoder(
        name=config.name,
        layers=config.layers("num_hidden_layers"),
        width=config.size("hidden_size"),
        heads=config.size("num_attention_heads"),
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        positions=config.size("max_position_embeddings", default=positions),
        token_types=config.size("type_vocab_size", default=types),
        activation=config.activation("hidden_act", default="gelu"),
        source=f"Hugging Face configuration {config.name}",
    )


def _roberta(config: _Config) -> Encoder:
    return _bert(config, positions=514, types=1)


def _distilbert(config: _Config) -> Encoder:
    return Encoder(
        name=config.name,
        layers=config.layers("n_layers"),
        width=config.size("dim"),
        heads=config.size("n_heads"),
        feed_forward=config.size("hidden_dim"),
        vocabulary=config.size("vocab_size"),
        positions=config.size("max_position_embeddings", default=512),
        token_types=0,
        pooler=False,
        activation=config.activation("activation", default="gelu"),
        source=f"Hugging Face configuration {config.name}",
    )


def _gpt2(config: _Config) -> Decoder:
    width, heads = config.size("n_embd"), config.size("n_head")
    return Decoder(
        name=config.name,
        layers=config.layers("n_layer"),
        width=width,
        heads=heads,
        kv_heads=heads,
        feed_forward=config.size("n_inner", default=4 * width),
        vocabulary=config.size("vocab_size"),
        positions=config.size("n_positions", "n_ctx", default=1024),
        tied=config.flag("tie_word_embeddings", True),
        activation=config.activation("activation_function", default="gelu_new"),
        source=f"Hugging Face configuration {config.name}",
    )


def _llama(config: _Config) -> Decoder:
    """Llama and what is built like it; an absent window, mixture or bias is none."""
    kind, heads = config.keys["model_type"], config.size("num_attention_heads")
    mixed = kind == "mixtral"
    windowed = kind in ("mistral", "mixtral") or (kind == "qwen2" and config.flag("use_sliding_window", False))
    bias = config.flag("attention_bias", False)
    return Decoder(
        name=config.name,
        layers=config.layers("num_hidden_layers"),
        width=config.size("hidden_size"),
        heads=heads,
        kv_heads=config.size("num_key_value_heads", default=heads),
        head_dim=config.size("head_dim") if config.keys.get("head_dim") is not None else 0,
        feed_forward=config.size("intermediate_size"),
        vocabulary=config.size("vocab_size"),
        positions=config.size("max_position_embeddings", default=2048),
        gated=True,
        rms=True,
        rotary=True,
        bias=False,
        qkv_bias=True if kind == "qwen2" else bias,
        tied=config.flag("tie_word_embeddings", False),
        window=config.size("sliding_window") if windowed and config.keys.get("sliding_window") is not None else None,
        activation=config.activation("hidden_act", default="silu"),
        experts=config.size("num_local_experts", default=8) if mixed else 0,
        chosen=config.size("num_experts_per_tok", default=2) if mixed else 0,
        source=f"Hugging Face configuration {config.name}",
    )


FAMILIES: dict[str, Callable[[_Config], Encoder | Decoder]] = {
    "bert": _bert,
    **dict.fromkeys(("roberta", "xlm-roberta", "camembert"), _roberta),
    "distilbert": _distilbert,
    "gpt2": _gpt2,
    **dict.fromkeys(("llama", "mistral", "mixtral", "qwen2"), _llama),
}
"""By ``model_type``."""
