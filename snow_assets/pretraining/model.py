"""Build a decoder from a recipe; read and write it as a Hugging Face folder."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.tokens import END_OF_TEXT, PAD
from snow_assets.pretraining.llama import Llama, LlamaConfig
from snow_assets.recipe import ModelRecipe

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def new_model(recipe: ModelRecipe, tokenizer: Tokenizer, *, seed: int) -> Llama:
    """A decoder with random weights, the same for the same seed; embeddings are tied."""
    torch.manual_seed(seed)
    return Llama(config_from_recipe(recipe, tokenizer))


def config_from_recipe(recipe: ModelRecipe, tokenizer: Tokenizer) -> LlamaConfig:
    """Translate the recipe's model fields into the names of config.json."""
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.num_hidden_layers,
        num_attention_heads=recipe.num_attention_heads,
        num_key_value_heads=recipe.num_key_value_heads,
        max_position_embeddings=recipe.max_seq_len,
        rope_theta=recipe.rope_theta,
    )


def read_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> Llama:
    """Load a checkpoint that `save_model` wrote; FileNotFoundError without a config.json."""
    if not (folder / _CONFIG).exists():
        raise FileNotFoundError(f"{folder} has no {_CONFIG}: materialize the checkpoint again")
    with torch.device("meta"):
        model = Llama(_read_config(folder))
    state_dict = safetensors.torch.load_file(folder / _WEIGHTS)
    state_dict = {name: tensor.to(dtype) for name, tensor in state_dict.items()}
    model.load_state_dict(state_dict, assign=True)
    return model


def load_parent(folder: Path, recipe: ModelRecipe, tokenizer: Tokenizer) -> Llama:
    """Load a parent checkpoint in fp32; ValueError if its config differs from the recipe's."""
    model = read_model(folder)
    actual, expected = asdict(model.config), asdict(config_from_recipe(recipe, tokenizer))
    for name, value in expected.items():
        if actual[name] != value:
            raise ValueError(
                f"the parent in {folder} has {name} {actual[name]}, and the recipe has "
                f"{value}: train the parent with the same recipe"
            )
    return model


def save_model(model: Llama, tokenizer_folder: Path, tokenizer: Tokenizer, target: Path) -> None:
    """Write a folder that AutoModelForCausalLM, AutoTokenizer and vLLM load.

    Equal weights give equal bytes.
    """
    target.mkdir(parents=True)
    special_token_ids = {
        "eos_token_id": tokenizer.token_to_id(END_OF_TEXT),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }
    config_fields = asdict(model.config)
    theta = config_fields.pop("rope_theta")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": str(model.model.embed_tokens.weight.dtype).removeprefix("torch."),
        **config_fields,
        "head_dim": model.config.hidden_size // model.config.num_attention_heads,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        **special_token_ids,
    }
    _put_json(target / _CONFIG, config)
    _put_json(target / "generation_config.json", {"do_sample": False, **special_token_ids})
    state_dict = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(state_dict, target / _WEIGHTS, metadata={"format": "pt"})
    for path in sorted(tokenizer_folder.iterdir()):
        shutil.copyfile(path, target / path.name)


def _read_config(folder: Path) -> LlamaConfig:
    config: dict[str, Any] = json.loads((folder / _CONFIG).read_text())
    theta = config["rope_parameters"]["rope_theta"]
    names = [name for name in LlamaConfig.__dataclass_fields__ if name != "rope_theta"]
    return LlamaConfig(rope_theta=theta, **{name: config[name] for name in names})


def _put_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
