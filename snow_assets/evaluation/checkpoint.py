"""Load a checkpoint and its tokenizer, on CUDA if available."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

from snow_assets.curation.tokenizer.tokens import END_OF_TEXT, load_tokenizer
from snow_assets.pretraining.model import read_model
from snow_assets.storage import shards

_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A loaded model. Every input starts with an end-of-text token, as documents in packs do."""

    model: LlamaForCausalLM  # in evaluation mode
    tokenizer: Tokenizer
    end_of_text: int
    max_seq_len: int
    device: str

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        return list(self.tokenizer.encode(text, add_special_tokens=False).ids)


def load(folder: str, tokenizer_folder: str, *, precision: str) -> Checkpoint:
    """Load model/ of a checkpoint artifact.

    ValueError if the tokenizer's vocabulary exceeds the model's, or lacks the end-of-text token.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with tempfile.TemporaryDirectory() as scratch:
        local = shards.fetch_folder(folder, Path(scratch), prefix="model")
        model = read_model(local, dtype=_PRECISIONS[precision])
    tokenizer = load_tokenizer(tokenizer_folder)
    if tokenizer.get_vocab_size() > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer of {tokenizer_folder} has {tokenizer.get_vocab_size()} tokens and the "
            f"model of {folder} {model.config.vocab_size}: it was trained with another tokenizer"
        )
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    if end_of_text is None:
        raise ValueError(f"the tokenizer of {tokenizer_folder} has no token {END_OF_TEXT}")
    return Checkpoint(
        model=model.to(device).eval(),
        tokenizer=tokenizer,
        end_of_text=end_of_text,
        max_seq_len=model.config.max_position_embeddings,
        device=device,
    )
