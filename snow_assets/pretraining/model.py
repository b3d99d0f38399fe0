"""The decoder's weights and folders, named as transformers' Llama does.

Training does not import transformers, which takes ten CPU seconds: OLMo-core's modules are renamed
here, and `read_model` gives the model class of evaluation.
"""

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors.torch
import torch
from tokenizers import Tokenizer
from torch import Tensor

from snow_assets.curation.tokenizer.tokens import END_OF_TEXT, PAD
from snow_assets.recipe import ModelRecipe

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

RMS_NORM_EPS = 1e-6  # Llama 1's, and the default of transformers' LlamaConfig
_INITIALIZER_RANGE = 0.02
_CONFIG, _WEIGHTS = "config.json", "model.safetensors"

_HUGGING_FACE_NAMES = {
    "embeddings.weight": "model.embed_tokens.weight",
    "lm_head.norm.weight": "model.norm.weight",
    "attention.w_q": "self_attn.q_proj",
    "attention.w_k": "self_attn.k_proj",
    "attention.w_v": "self_attn.v_proj",
    "attention.w_out": "self_attn.o_proj",
    "attention_norm": "input_layernorm",
    "feed_forward.w1": "mlp.gate_proj",
    "feed_forward.w2": "mlp.down_proj",
    "feed_forward.w3": "mlp.up_proj",
    "feed_forward_norm": "post_attention_layernorm",
}
"""By OLMo-core's names: of whole tensors, and of modules within `blocks.N` (`model.layers.N`)."""
TIED_HEAD = "lm_head.w_out.weight"  # the same tensor as the embeddings: not stored


def hugging_face_name(name: str) -> str:
    """A tensor's name in transformers' Llama, by its name in OLMo-core's transformer."""
    if block := re.fullmatch(r"blocks\.(\d+)\.(.+)\.weight", name):
        return f"model.layers.{block[1]}.{_HUGGING_FACE_NAMES[block[2]]}.weight"
    return _HUGGING_FACE_NAMES[name]


def initial_weights(shapes: Mapping[str, torch.Size], *, seed: int) -> dict[str, Tensor]:
    """Random fp32 weights, the same for the same seed: normal matrices, and 1 in the norms."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.normal(0.0, _INITIALIZER_RANGE, shape, generator=generator)
        if len(shape) == 2
        else torch.ones(shape)
        for name, shape in shapes.items()
    }


def model_config(recipe: ModelRecipe, tokenizer: Tokenizer) -> dict[str, Any]:
    """The content of config.json for fp32 weights."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "float32",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": recipe.hidden_size,
        "intermediate_size": recipe.intermediate_size,
        "num_hidden_layers": recipe.num_hidden_layers,
        "num_attention_heads": recipe.num_attention_heads,
        "num_key_value_heads": recipe.num_key_value_heads,
        "head_dim": recipe.hidden_size // recipe.num_attention_heads,
        "max_position_embeddings": recipe.max_seq_len,
        "rope_parameters": {"rope_type": "default", "rope_theta": recipe.rope_theta},
        "rms_norm_eps": RMS_NORM_EPS,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "bos_token_id": None,
        **_special_token_ids(tokenizer),
    }


def parent_weights(folder: Path, recipe: ModelRecipe, tokenizer: Tokenizer) -> dict[str, Tensor]:
    """The fp32 weights of a parent's folder; ValueError if its config differs from the recipe's."""
    if not (folder / _CONFIG).exists():
        raise FileNotFoundError(f"{folder} has no {_CONFIG}: materialize the checkpoint again")
    actual = json.loads((folder / _CONFIG).read_text())
    for name, expected in model_config(recipe, tokenizer).items():
        if actual[name] != expected:
            raise ValueError(
                f"the parent in {folder} has {name} {actual[name]}, and the recipe has {expected}: "
                "train the parent with the same recipe"
            )
    weights: dict[str, Tensor] = safetensors.torch.load_file(folder / _WEIGHTS)
    return weights


def save_model(
    weights: Mapping[str, Tensor],
    recipe: ModelRecipe,
    tokenizer: Tokenizer,
    tokenizer_folder: Path,
    target: Path,
) -> None:
    """Write a folder that AutoModelForCausalLM, AutoTokenizer and vLLM load.

    `weights` are fp32 and named as in transformers. Equal weights give equal bytes.
    """
    target.mkdir(parents=True)
    _put_json(target / _CONFIG, model_config(recipe, tokenizer))
    generation_config = {"do_sample": False, **_special_token_ids(tokenizer)}
    _put_json(target / "generation_config.json", generation_config)
    contiguous = {name: tensor.contiguous() for name, tensor in weights.items()}
    safetensors.torch.save_file(contiguous, target / _WEIGHTS, metadata={"format": "pt"})
    for path in sorted(tokenizer_folder.iterdir()):
        shutil.copyfile(path, target / path.name)


def read_model(folder: Path, *, dtype: torch.dtype = torch.float32) -> "LlamaForCausalLM":
    """Load a folder that `save_model` wrote; FileNotFoundError without a config.json."""
    from transformers import LlamaForCausalLM

    if not (folder / _CONFIG).exists():
        raise FileNotFoundError(f"{folder} has no {_CONFIG}: materialize the checkpoint again")
    return LlamaForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)


def _special_token_ids(tokenizer: Tokenizer) -> dict[str, int | None]:
    return {
        "eos_token_id": tokenizer.token_to_id(END_OF_TEXT),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }


def _put_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")
