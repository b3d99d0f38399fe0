"""Our decoder computes what transformers' does, and its folder is one that transformers reads."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from snow_assets.pretraining.llama import Llama, LlamaConfig, next_token_loss
from snow_assets.pretraining.model import read_model, save_model
from tests.pretraining.builders import CONTEXT, a_tokenizer

GROUPED = LlamaConfig(
    vocab_size=a_tokenizer().get_vocab_size(),
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=CONTEXT,
    rope_theta=10_000.0,
)


def a_model(seed: int = 0) -> Llama:
    torch.manual_seed(seed)
    model = Llama(GROUPED)
    with torch.no_grad():
        for weights in model.parameters():
            # Far from what it starts with, so that each part shows in the logits.
            weights.mul_(3).add_(torch.randn_like(weights) / 20)
    return model


def saved(model: Llama, folder: Path) -> Path:
    own = folder / "own"
    own.mkdir()
    a_tokenizer().save(str(own / "tokenizer.json"))
    save_model(model, own, a_tokenizer(), folder / "model")
    return folder / "model"


def some_tokens(rows: int = 2) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(GROUPED.vocab_size, (rows, CONTEXT), generator=random)


def test_logits_loss_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    ours = a_model()
    theirs = AutoModelForCausalLM.from_pretrained(saved(ours, tmp_path), dtype=torch.float32)
    assert isinstance(theirs, LlamaForCausalLM)
    tokens = some_tokens()
    logits = ours(tokens)
    expected = theirs(input_ids=tokens, labels=tokens)
    assert torch.allclose(logits, expected.logits, atol=1e-4)
    loss = next_token_loss(logits, tokens)
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)
    loss.backward()
    expected.loss.backward()
    gradients = {name: weights.grad for name, weights in theirs.named_parameters()}
    assert set(gradients) == {name for name, _ in ours.named_parameters()}
    for name, weights in ours.named_parameters():
        assert torch.allclose(weights.grad, gradients[name], atol=1e-5), name


@torch.no_grad()
def test_bfloat16_logits_are_those_of_transformers(tmp_path: Path) -> None:
    folder = saved(a_model(), tmp_path)
    ours = read_model(folder, dtype=torch.bfloat16)
    theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
    found, expected = ours(some_tokens()).float(), theirs(some_tokens()).logits.float()
    assert torch.cosine_similarity(found, expected, dim=-1).min() > 0.999


def test_what_is_read_is_what_was_saved(tmp_path: Path) -> None:
    model = a_model()
    folder = saved(model, tmp_path)
    again = read_model(folder)
    assert again.config == GROUPED
    tensors = again.state_dict()
    assert all(torch.equal(found, tensors[name]) for name, found in model.state_dict().items())
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"]


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config.json: materialize the checkpoint"):
        read_model(tmp_path)
