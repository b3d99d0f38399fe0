"""The recipe's pretrained tokenizer, or a tokenizer trained on the clean corpus.

A byte-level BPE: it has no unknown tokens, and decoding is lossless. It is trained on a
deterministic sample of kept train documents of all languages, so the result is reproducible.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from snow_assets.curation.decisions import CurationInputs, DocumentSelector
from snow_assets.curation.document_shards import DocumentShard
from snow_assets.curation.sampling import stable_share
from snow_assets.curation.split import TRAIN
from snow_assets.curation.tokenizer.tokens import END_OF_TEXT, FOLDER, PAD, SPECIAL_TOKENS
from snow_assets.curation.tokenizer.validation import tokenizer_violations
from snow_assets.recipe import CurationRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards

_TRAIN_BYTES = pa.schema([("num_bytes", pa.int64())])
_TEXT = pa.schema([("text", pa.large_string())])


def tokenizer_settings(recipe: CurationRecipe) -> dict[str, Any]:
    """The config that determines the tokenizer; of a pretrained one also the content's hash."""
    if recipe.tokenizer.pretrained:
        content = _read_valid_tokenizer(recipe.tokenizer.pretrained, recipe.tokenizer.vocab_size)
        return {"tokenizer": recipe.tokenizer, "given": hashlib.sha256(content).hexdigest()}
    return {
        "tokenizer": recipe.tokenizer,
        "filters": recipe.filters,
        "seed": recipe.seed,
        "contamination_exemptions": recipe.contamination_exemptions,
    }


def put_trained_tokenizer(
    inputs: CurationInputs,
    folder: str,
    *,
    recipe: CurationRecipe,
    exchange: Exchange = IN_PROCESS,
) -> dict[str, Any]:
    """Train on about `sample_bytes` of text and write the tokenizer's files; return the stats.

    The sample is read by shard, in their order, and trained on in this process. Memory: a shard of
    documents, and the distinct words of the sample.
    """
    document_shards, selector = inputs.shards(), DocumentSelector(inputs, recipe)
    counted = exchange.map_shards(
        _count_train_bytes, document_shards, schema=_TRAIN_BYTES, selector=selector
    )
    eligible = sum(sum(table["num_bytes"].to_pylist()) for table in exchange.gather(counted))
    if not eligible:
        raise ValueError(
            "no document is kept for training, so no tokenizer can be trained: loosen the filters, "
            "add sources, or name a tokenizer in the recipe's tokenizer.pretrained"
        )
    share = min(1.0, recipe.tokenizer.sample_bytes / eligible)
    sampled = exchange.map_shards(
        _sample, document_shards, schema=_TEXT, selector=selector, share=share, seed=recipe.seed
    )
    texts = (
        text
        for table in exchange.gather(sampled)
        for batch in table.to_batches(max_chunksize=256)
        for text in batch["text"].to_pylist()
    )
    tokenizer = train(texts, vocab_size=recipe.tokenizer.vocab_size)
    _put(folder, json.loads(tokenizer.to_str()))
    return {
        "vocabulary": tokenizer.get_vocab_size(),
        "eligible_bytes": eligible,
        "sample_share": share,
        "is_trained": True,
    }


def put_pretrained_tokenizer(
    tokenizer_folder: str, folder: str, *, vocab_size: int
) -> dict[str, Any]:
    """Copy a folder's tokenizer.json and add missing special tokens.

    ValueError if it would count or pack wrongly (`validation`).
    """
    tokenizer = Tokenizer.from_str(_read_valid_tokenizer(tokenizer_folder, vocab_size).decode())
    tokenizer.add_special_tokens([_special(token) for token in SPECIAL_TOKENS])
    _put(folder, json.loads(tokenizer.to_str()))
    return {"vocabulary": tokenizer.get_vocab_size(), "is_trained": False}


def _read_valid_tokenizer(folder: str, vocab_size: int) -> bytes:
    """A folder's tokenizer.json; ValueError names all its violations."""
    content = _read_tokenizer_json(folder)
    if violations := tokenizer_violations(content, vocab_size=vocab_size):
        raise ValueError(
            f"the recipe's tokenizer.pretrained {folder!r} cannot be used: {'; '.join(violations)}"
        )
    return content


def _read_tokenizer_json(folder: str) -> bytes:
    url = shards.join(folder, "tokenizer.json")
    if not shards.exists(url):
        raise FileNotFoundError(
            f"the recipe's tokenizer.pretrained {folder!r} holds no tokenizer.json: name "
            "a folder that does, or None to train one"
        )
    return shards.get(url)


def train(texts: Iterator[str], *, vocab_size: int) -> Tokenizer:
    """A byte-level BPE of at most `vocabulary` tokens, special ones and all bytes included."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        # Single digits, as in StarCoder2, so that numbers have a unique tokenization.
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        show_progress=False,
        special_tokens=[_special(token) for token in SPECIAL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def _special(token: str) -> AddedToken:
    return AddedToken(token, special=True, normalized=False)


def _count_train_bytes(shard: DocumentShard, *, selector: DocumentSelector) -> pa.Table:
    decisions = selector.decisions(shard).filter(pl.col("split") == TRAIN)
    return pa.table([[int(decisions["num_bytes"].sum())]], schema=_TRAIN_BYTES)


def _sample(
    shard: DocumentShard, *, selector: DocumentSelector, share: float, seed: int
) -> pa.Table:
    """The shard's sampled texts, which are read if there is one."""
    decisions = selector.decisions(shard).select("document_id", "split")
    chosen = [
        split == TRAIN and stable_share(document_id, seed=seed) < share
        for document_id, split in decisions.iter_rows()
    ]
    if not any(chosen):
        return _TEXT.empty_table()
    return shard.read(["text"]).filter(pa.array(chosen, pa.bool_())).cast(_TEXT)


def _put(folder: str, tokenizer: dict[str, Any]) -> None:
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": END_OF_TEXT,
        "eos_token": END_OF_TEXT,
        "unk_token": END_OF_TEXT,
        "pad_token": PAD,
        "additional_special_tokens": [
            token for token in SPECIAL_TOKENS if token not in {END_OF_TEXT, PAD}
        ],
        "clean_up_tokenization_spaces": False,
        "add_prefix_space": False,
    }
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", config)):
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        shards.put_file(folder, str(Path(FOLDER, name)), text.encode())
