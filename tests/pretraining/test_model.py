"""OLMo-core's transformer computes what transformers' Llama does, and is saved as one."""

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM

from snow_assets.pretraining.model import (
    TIED_HEAD,
    hugging_face_name,
    initial_weights,
    read_model,
    save_model,
)
from snow_assets.pretraining.train_module import transformer_config
from snow_assets.recipe import ModelRecipe
from tests.pretraining.builders import CONTEXT, a_tokenizer

GROUPED = ModelRecipe(
    hidden_size=256,
    intermediate_size=96,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_seq_len=CONTEXT,
    rope_theta=10_000.0,
)


def a_transformer(seed: int = 0) -> torch.nn.Module:
    config = transformer_config(GROUPED, vocab_size=a_tokenizer().get_vocab_size())
    model: torch.nn.Module = config.build()
    names = [name for name, _ in model.named_parameters()]
    shapes = {hugging_face_name(name): weights.shape for name, weights in model.named_parameters()}
    weights = initial_weights(shapes, seed=seed)
    random = torch.Generator().manual_seed(seed)
    for name, tensor in weights.items():
        # Far from what it starts with, so that each part shows in the logits.
        weights[name] = 3 * tensor + torch.randn(tensor.shape, generator=random) / 20
    state_dict = {name: weights[hugging_face_name(name)] for name in names}
    model.load_state_dict({**state_dict, TIED_HEAD: state_dict["embeddings.weight"]})
    return model


def saved(model: torch.nn.Module, folder: Path) -> Path:
    tokenizer_folder = folder / "tokenizer"
    tokenizer_folder.mkdir()
    a_tokenizer().save(str(tokenizer_folder / "tokenizer.json"))
    weights = {
        hugging_face_name(name): weights.detach() for name, weights in model.named_parameters()
    }
    save_model(weights, GROUPED, a_tokenizer(), tokenizer_folder, folder / "model")
    return folder / "model"


def some_tokens(rows: int = 2) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    return torch.randint(a_tokenizer().get_vocab_size(), (rows, CONTEXT), generator=random)


def test_logits_loss_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    model = a_transformer()
    llama = AutoModelForCausalLM.from_pretrained(saved(model, tmp_path), dtype=torch.float32)
    assert isinstance(llama, LlamaForCausalLM)
    input_ids = some_tokens()
    expected = llama(input_ids=input_ids, labels=input_ids)
    assert torch.allclose(model(input_ids), expected.logits, atol=1e-4)
    labels = torch.nn.functional.pad(input_ids[:, 1:], (0, 1), value=-100)
    loss = model(input_ids, labels=labels, return_logits=False).loss
    assert loss.item() == pytest.approx(expected.loss.item(), rel=1e-6)
    loss.backward()
    expected.loss.backward()
    gradients = {name: weights.grad for name, weights in llama.named_parameters()}
    names = [hugging_face_name(name) for name, _ in model.named_parameters()]
    assert set(gradients) == set(names)
    for name, weights in zip(names, model.parameters(), strict=True):
        assert torch.allclose(weights.grad, gradients[name], atol=1e-5), name


def test_what_is_read_is_what_was_saved(tmp_path: Path) -> None:
    model = a_transformer()
    folder = saved(model, tmp_path)
    weights = read_model(folder).state_dict()
    for name, tensor in model.named_parameters():
        assert torch.equal(weights[hugging_face_name(name)], tensor), name
    assert json.loads((folder / "config.json").read_text())["tie_word_embeddings"]


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        folder = saved(a_transformer(), tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]


def test_initial_weights_depend_on_the_seed_alone() -> None:
    shapes = {"matrix": torch.Size((300, 40)), "norm": torch.Size((40,))}
    first, again, other = (initial_weights(shapes, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first["matrix"], again["matrix"])
    assert not torch.equal(first["matrix"], other["matrix"])
    assert first["matrix"].std().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(first["norm"], torch.ones(40))


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"has no config.json: materialize the checkpoint"):
        read_model(tmp_path)
