"""A Llama-style decoder (transformers' own), as a Hugging Face folder."""

import shutil
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

from snow_assets.curation.tokens import END_OF_TEXT, PAD
from snow_assets.recipe import ModelRecipe


def new_model(recipe: ModelRecipe, tokenizer: Tokenizer, *, seed: int) -> LlamaForCausalLM:
    """A decoder with random weights, the same for the same seed; embeddings are tied."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(configuration(recipe, tokenizer))


def configuration(recipe: ModelRecipe, tokenizer: Tokenizer) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.key_value_heads,
        max_position_embeddings=recipe.context_tokens,
        rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.token_to_id(END_OF_TEXT),
        pad_token_id=tokenizer.token_to_id(PAD),
        dtype=torch.float32,
    )


def load_model(folder: Path, recipe: ModelRecipe, tokenizer: Tokenizer) -> LlamaForCausalLM:
    """A parent's weights in fp32; ValueError where its shape is not the recipe's."""
    if not (folder / "config.json").exists():
        raise FileNotFoundError(f"{folder} holds no config.json: materialize the parent again")
    wanted = configuration(recipe, tokenizer)
    found = LlamaConfig.from_pretrained(folder)
    shape = (
        "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "num_key_value_heads", "max_position_embeddings", "rope_parameters",
        "tie_word_embeddings",
    )  # fmt: skip
    for name in shape:
        if getattr(found, name) != getattr(wanted, name):
            raise ValueError(
                f"the parent in {folder} has {name} {getattr(found, name)}, and the recipe asks "
                f"for {getattr(wanted, name)}: train the parent with the same recipe"
            )
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def save_model(model: LlamaForCausalLM, tokenizer_folder: Path, target: Path) -> None:
    """Write a folder that AutoModelForCausalLM, AutoTokenizer and vLLM load: equal bytes for
    equal weights.
    """
    model.generation_config = GenerationConfig(
        do_sample=False,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    model.save_pretrained(target)
    for path in sorted(tokenizer_folder.iterdir()):
        shutil.copyfile(path, target / path.name)
