"""Validation: bits per byte of held-out documents, by language, while a phase trains.

The documents are those that the packs' clean corpora hold out, the same at every validation and
for every phase. Nothing of it enters the weights.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
import torch.distributed as dist
from olmo_core.distributed.utils import (
    all_reduce_value,
    broadcast_object,
    get_rank,
    get_world_size,
)
from tokenizers import Tokenizer

from snow_assets.curation.kept import kept_rows, kept_shard
from snow_assets.curation.tokenizer.tokens import END_OF_TEXT
from snow_assets.pretraining.train_module import DecoderTrainModule
from snow_assets.storage import shards

_NUM_DOCUMENTS = 64  # of each language
_IGNORED_LABEL = -100  # OLMo-core's


@dataclass(frozen=True, kw_only=True)
class ValidationTexts:
    """Held-out documents of a language, each the beginning that fits one sequence."""

    input_ids: np.ndarray  # (documents, seq_len), END_OF_TEXT before and behind each document
    labels: np.ndarray  # of the same shape; -100 behind the document
    num_bytes: int  # of the predicted text; a character that is cut counts 3


def validation_texts(
    packs: str, tokenizer: Tokenizer, *, max_seq_len: int
) -> dict[str, ValidationTexts]:
    """By language; empty for packs that name no clean corpus. Every rank calls it, and rank 0
    reads. Memory: ids of the held-out documents of a language, and a shard of documents.
    """
    texts = None
    if get_rank() == 0:
        folders = shards.input_folders(packs, "clean_corpus")
        texts = {
            shards.manifest(folder).partition: _texts(folder, tokenizer, max_seq_len)
            for folder in folders
        }
    by_language: dict[str, ValidationTexts] = broadcast_object(texts)
    return {name: each for name, each in by_language.items() if each.num_bytes}


def _texts(clean_folder: str, tokenizer: Tokenizer, max_seq_len: int) -> ValidationTexts:
    held_out = kept_rows(clean_folder, ["document_id"], split="held_out")
    digests = [hashlib.sha256(name.encode()).digest() for name in held_out["document_id"]]
    ranked = held_out.with_columns(pl.Series("digest", digests, pl.Binary)).sort("digest")
    chosen = ranked.head(_NUM_DOCUMENTS).sort("shard", "row")
    entries = shards.manifest(clean_folder).tables("decisions")
    documents = [
        text
        for (shard,), rows in chosen.group_by("shard", maintain_order=True)
        for text in kept_shard(
            clean_folder, entries[shard], ["text"], split="held_out", chosen=rows
        )["text"].to_pylist()
    ]
    end_of_text = tokenizer.token_to_id(END_OF_TEXT)
    input_ids = np.full((len(documents), max_seq_len), end_of_text, np.int64)
    labels = np.full_like(input_ids, _IGNORED_LABEL)
    num_bytes = 0
    # The trainer's image has no other library that tokenizes.
    encoded = tokenizer.encode_batch_fast(documents, add_special_tokens=False)
    for row, (text, tokens) in enumerate(zip(documents, encoded, strict=True)):
        fitting = tokens.ids[: max_seq_len - 1]
        input_ids[row, 1 : len(fitting) + 1] = fitting
        labels[row, : len(fitting)] = fitting
        is_whole = len(fitting) == len(tokens.ids)
        predicted = text if is_whole else tokenizer.decode(fitting)
        num_bytes += len(predicted.encode())
    return ValidationTexts(input_ids=input_ids, labels=labels, num_bytes=num_bytes)


def bits_per_byte(
    module: DecoderTrainModule, texts: Mapping[str, ValidationTexts], *, micro_batch_size: int
) -> dict[str, float]:
    """By language. The ranks share the documents, and all call it."""
    return {
        language: _bits(module, each, micro_batch_size) / each.num_bytes
        for language, each in texts.items()
    }


def _bits(module: DecoderTrainModule, texts: ValidationTexts, micro_batch_size: int) -> float:
    world_size, num_documents = get_world_size(), len(texts.input_ids)
    # Each rank has as many rows, since a sharded forward pass needs all of them.
    rows = np.arange(get_rank(), -(-num_documents // world_size) * world_size, world_size)
    nats = torch.zeros((), device=module.device)
    for begin in range(0, len(rows), micro_batch_size):
        micro_batch = rows[begin : begin + micro_batch_size]
        labels = texts.labels[micro_batch % num_documents].copy()
        labels[micro_batch >= num_documents] = _IGNORED_LABEL
        input_ids = texts.input_ids[micro_batch % num_documents]
        output = module.eval_batch(
            {"input_ids": torch.from_numpy(input_ids).to(module.device)},
            labels=torch.from_numpy(labels).to(module.device),
        )
        nats += output.ce_loss.sum()
    total = all_reduce_value(nats, module.device, op=dist.ReduceOp.SUM)
    return float(total) / math.log(2)
