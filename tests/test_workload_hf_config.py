"""Hugging Face configurations as workloads: the files' own keys, and the library's counts of parameters."""

import json

import pytest

from accelsim.base.errors import WorkloadError
from accelsim.workload.library import load_workload

BERT = {
    "model_type": "bert", "_name_or_path": "google-bert/bert-base-uncased", "hidden_size": 768, "num_hidden_layers": 12,
    "num_attention_heads": 12, "intermediate_size": 3072, "vocab_size": 30522, "max_position_embeddings": 512,
    "type_vocab_size": 2, "hidden_act": "gelu",
}  # fmt: skip
DISTILBERT = {
    "model_type": "distilbert", "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072, "vocab_size": 30522,
    "max_position_embeddings": 512, "activation": "gelu",
}  # fmt: skip
GPT2 = {
    "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12, "n_inner": None, "vocab_size": 50257,
    "n_positions": 1024, "activation_function": "gelu_new",
}  # fmt: skip
LLAMA = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 8192,
    "hidden_act": "silu",
}  # fmt: skip
MISTRAL = {
    **LLAMA,
    "model_type": "mistral",
    "vocab_size": 32000,
    "max_position_embeddings": 32768,
    "sliding_window": 4096,
}
MIXTRAL = {**MISTRAL, "model_type": "mixtral", "sliding_window": None, "num_local_experts": 8, "num_experts_per_tok": 2}
QWEN2 = {
    "model_type": "qwen2", "hidden_size": 896, "num_hidden_layers": 24, "num_attention_heads": 14,
    "num_key_value_heads": 2, "intermediate_size": 4864, "vocab_size": 151936, "max_position_embeddings": 32768,
    "hidden_act": "silu", "tie_word_embeddings": True, "use_sliding_window": False, "sliding_window": 32768,
}  # fmt: skip


@pytest.fixture
def load(tmp_path):
    def read(keys, **options):
        path = tmp_path / "config.json"
        path.write_text(keys if isinstance(keys, str) else json.dumps(keys))
        return load_workload(path, **options)

    return read


@pytest.mark.parametrize(
    ("keys", "name", "shipped"),
    [
        (BERT, "bert-base-uncased", "bert_base"),
        (DISTILBERT, "distilbert", "distilbert"),
        (GPT2, "gpt2", "gpt2"),
        (LLAMA, "llama", "llama3_8b"),
        (MISTRAL, "mistral", "mistral_7b"),
        (MIXTRAL, "mixtral", "mixtral_8x7b"),
    ],
)
def test_a_configuration_is_the_network_that_ships(load, keys, name, shipped):
    graph = load(keys, batch=2, params={"seq_len": 64})
    assert graph.name == name
    assert graph.ops == load_workload(shipped, batch=2, params={"seq_len": 64}).ops


def test_biases_and_tied_heads(load):
    """Qwen2-0.5B: transformers counts 494,032,768 parameters, tied."""
    assert load(QWEN2).parameters == 494_032_768


def test_a_decoding_step(load):
    graph = load(LLAMA, batch=4, params={"seq_len": 1, "past_len": 0})
    assert not any(t.role == "kv_cache" for t in graph.inputs)
    assert any(t.role == "kv_cache" for t in load(LLAMA, params={"seq_len": 1, "past_len": 5}).inputs)


def without(keys, *names):
    return {key: value for key, value in keys.items() if key not in names}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "model_type: missing"),
        ("\xff\xfe", "not JSON"),
        ({"hidden_size": 3}, "model_type: missing; want a Hugging Face config.json of one of bert, camembert"),
        ({"model_type": "lama"}, "model_type: got 'lama'; want a Hugging Face config.json of one of"),
        ({"model_type": 5}, "model_type: got 5"),
        (without(LLAMA, "hidden_size"), "config.json: hidden_size: missing; want a whole number"),
        ({**LLAMA, "hidden_size": "4096"}, "hidden_size: got '4096'; want a whole number from 1 to 2^24"),
        ({**LLAMA, "num_key_value_heads": 7}, "num_key_value_heads: 7 does not divide 32 heads"),
        ({**BERT, "hidden_size": 770}, "12 heads do not divide the hidden size 770"),
        ({**BERT, "hidden_act": "gelo"}, "hidden_act: got 'gelo'; want one of"),
        ({**QWEN2, "tie_word_embeddings": "yes"}, "tie_word_embeddings: got 'yes'; want true or false"),
        ({**LLAMA, "num_hidden_layers": 100_000}, "num_hidden_layers: got 100000; want a whole number from 1 to 1024"),
        ('{"model_type": "llama", "hidden_size": ' + "9" * 5000 + "}", "not JSON"),
        ({**MIXTRAL, "num_experts_per_tok": 9}, "9 of 8 experts"),
    ],
)
def test_what_is_wrong_is_said(load, keys, said):
    with pytest.raises(WorkloadError) as caught:
        load(keys)
    assert said in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once(load):
    with pytest.raises(WorkloadError) as caught:
        load({**without(BERT, "vocab_size"), "hidden_size": 0, "hidden_act": ["gelu"]})
    assert len(caught.value.problems) == 3


def test_unknown_parameters_name_the_known(load):
    with pytest.raises(WorkloadError, match=r"--param seqlen=4: unknown; want one of \['seq_len'\]"):
        load(BERT, params={"seqlen": 4})
    with pytest.raises(WorkloadError, match="--param seq_len=0: want a whole number from 1 to 512"):
        load(BERT, params={"seq_len": 0})
