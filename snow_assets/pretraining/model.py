"""A decoder by its recipe, and as a Hugging Face folder."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from tokenizers import Tokenizer

from snow_assets.curation.tokens import END_OF_TEXT, PAD
from snow_assets.pretraining.llama import Llama, LlamaShape
from snow_assets.recipe import ModelRecipe

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"


def new_model(recipe: ModelRecipe, tokenizer: Tokenizer, *, seed: int) -> Llama:
    """A decoder with random weights, the same for the same seed; embeddings are tied."""
    torch.manual_seed(seed)
    return Llama(wanted_shape(recipe, tokenizer))


def wanted_shape(recipe: ModelRecipe, tokenizer: Tokenizer) -> LlamaShape:
    return LlamaShape(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        max_position_embeddings=recipe.context_tokens,
        rope_theta=recipe.rope_theta,
    )


def read_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> Llama:
    """A checkpoint that `save_model` wrote."""
    if not (folder / _CONFIG).exists():
        raise FileNotFoundError(f"{folder} has no {_CONFIG}: materialize the checkpoint again")
    with torch.device("meta"):
        model = Llama(_found_shape(folder))
    weights = safetensors.torch.load_file(folder / _WEIGHTS)
    model.load_state_dict({name: found.to(dtype) for name, found in weights.items()}, assign=True)
    return model


def load_parent(folder: Path, recipe: ModelRecipe, tokenizer: Tokenizer) -> Llama:
    """A parent's weights in fp32; ValueError where its shape is not the recipe's."""
    model = read_model(folder)
    found, wanted = asdict(model.shape), asdict(wanted_shape(recipe, tokenizer))
    for name, number in wanted.items():
        if found[name] != number:
            raise ValueError(
                f"the parent in {folder} has {name} {found[name]}, and the recipe asks for "
                f"{number}: train the parent with the same recipe"
            )
    return model


def save_model(model: Llama, tokenizer_folder: Path, tokenizer: Tokenizer, target: Path) -> None:
    """Write a folder that AutoModelForCausalLM, AutoTokenizer and vLLM load: equal bytes for
    equal weights.
    """
    target.mkdir(parents=True)
    ends = {
        "eos_token_id": tokenizer.token_to_id(END_OF_TEXT),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }
    shape = asdict(model.shape)
    theta = shape.pop("rope_theta")
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": str(model.model.embed_tokens.weight.dtype).removeprefix("torch."),
        **shape,
        "head_dim": model.shape.hidden_size // model.shape.num_attention_heads,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        **ends,
    }
    _put_json(target / _CONFIG, config)
    _put_json(target / "generation_config.json", {"do_sample": False, **ends})
    weights = {name: found.contiguous() for name, found in model.state_dict().items()}
    safetensors.torch.save_file(weights, target / _WEIGHTS, metadata={"format": "pt"})
    for path in sorted(tokenizer_folder.iterdir()):
        shutil.copyfile(path, target / path.name)


def _found_shape(folder: Path) -> LlamaShape:
    config: dict[str, Any] = json.loads((folder / _CONFIG).read_text())
    theta = config["rope_parameters"]["rope_theta"]
    names = [name for name in LlamaShape.__dataclass_fields__ if name != "rope_theta"]
    return LlamaShape(rope_theta=theta, **{name: config[name] for name in names})


def _put_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
