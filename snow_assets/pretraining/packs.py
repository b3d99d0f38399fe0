"""Packs as a whole: made with an exact budget, checked, read back."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets import shards
from snow_assets.curation.tokens import (
    END_OF_TEXT,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
)
from snow_assets.pretraining.languages import divide
from snow_assets.pretraining.packing import pack_language
from snow_assets.pretraining.sources import Supply
from snow_assets.recipe import PackingRecipe, PhaseRecipe


def pack(
    supplies: Sequence[Supply],
    *,
    folder: str,
    tokenizer: Tokenizer,
    phase: PhaseRecipe,
    packing: PackingRecipe,
    context_tokens: int,
) -> dict[str, Any]:
    """Write a phase's packs, exactly `phase.tokens` tokens of them; return the manifest's facts.

    Languages follow one another by name; `training_order` mixes them.
    """
    quotas = divide(
        {supply.language: sum(supply.pass_tokens) for supply in supplies},
        sequences=phase.tokens // context_tokens,
        context_tokens=context_tokens,
        python_share=phase.python_share,
        python_shortfall=phase.python_shortfall,
    )
    tokenizer.encode_special_tokens = True  # a text that spells a separator is plain text
    shard = sequence = 0
    for supply in sorted(supplies, key=lambda supply: supply.language):
        quota = quotas.sequences[supply.language]
        shard += pack_language(
            supply,
            folder=folder,
            first_shard=shard,
            first_sequence=sequence,
            num_sequences=quota,
            context_tokens=context_tokens,
            tokenizer=tokenizer,
            recipe=packing,
        )
        sequence += quota
    tokens = {name: quota * context_tokens for name, quota in quotas.sequences.items()}
    return {
        "sequences": sequence,
        "tokens": sequence * context_tokens,
        "python_share": quotas.python_share,
        "python_share_wished": phase.python_share,
        "note": quotas.note,
        "languages": {
            supply.language: {
                "documents": supply.num_documents,
                "unique_tokens": supply.unique_tokens,
                "offered_tokens": sum(supply.pass_tokens),
                "tokens": tokens[supply.language],
                "passes": round(tokens[supply.language] / max(1, supply.unique_tokens), 3),
            }
            for supply in supplies
        },
    }


def passes_by_language(packs: str) -> dict[str, list[int]]:
    """Sequences that begin in each pass, by language, in the order of the sequences' numbers."""
    found: dict[str, list[int]] = {}
    for entry in shards.manifest(packs).tables("sequences"):
        counts = found.get(entry.facts["language"], [])
        both = itertools.zip_longest(counts, entry.facts["passes"], fillvalue=0)
        found[entry.facts["language"]] = [sum(pair) for pair in both]
    return found


def memory_mapped(packs: str, scratch: Path, *, context_tokens: int, vocabulary: int) -> np.ndarray:
    """All sequences as a read-only array on disk, for random access at any size.

    Needs 2 bytes of `scratch` a token (4 with more than 65,536 kinds). Memory: one shard.
    """
    kind = np.uint16 if vocabulary <= 1 << 16 else np.int32
    num_sequences = shards.manifest(packs).num_rows("sequences")
    array = np.memmap(scratch, kind, "w+", shape=(num_sequences, context_tokens))
    begin = 0
    for entry in shards.manifest(packs).tables("sequences"):
        tokens = _tokens(packs, entry.name)
        if tokens.shape[1] != context_tokens:
            raise ValueError(
                f"{packs} has sequences of {tokens.shape[1]} tokens, and the model's context is "
                f"{context_tokens}: materialize the packs again"
            )
        if tokens.max() >= vocabulary or tokens.min() < 0:
            raise ValueError(
                f"{packs}/{entry.name} holds token {tokens.max()}, outside of the tokenizer's "
                f"vocabulary of {vocabulary}: materialize the packs again"
            )
        array[begin : begin + len(tokens)] = tokens
        begin += len(tokens)
    array.flush()
    array.flags.writeable = False
    return array


def _tokens(packs: str, name: str) -> np.ndarray:
    column = shards.read_shard(packs, name, columns=["tokens"])["tokens"].combine_chunks()
    values: np.ndarray = column.flatten().to_numpy()
    return values.reshape(len(column), column.type.list_size)


def _shards_with_spans(packs: str) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Each shard's tokens and the spans that tell what they are."""
    manifest = shards.manifest(packs)
    names = [entry.name for entry in manifest.tables("sequences")]
    span_names = [entry.name for entry in manifest.tables("spans")]
    for name, span_name in zip(names, span_names, strict=True):
        yield _tokens(packs, name), shards.read_shard(packs, span_name)


def flaws(packs: str, *, tokens: int, context_tokens: int) -> list[str]:
    """What is wrong with packs: nothing, when they hold exactly `tokens` tokens, and spans account
    for each token of each sequence once, in sequences of one language. Memory: one shard.
    """
    found = []
    count = 0
    for tokens_of_shard, spans in _shards_with_spans(packs):
        sequence = spans["sequence"].to_numpy()
        begin = sequence * context_tokens + spans["sequence_offset"].to_numpy()
        end = begin + spans["length"].to_numpy()
        expected = count * context_tokens, (count + len(tokens_of_shard)) * context_tokens
        joined = np.array_equal(begin[1:], end[:-1])
        if not joined or (begin[:1].sum(), end[-1:].sum()) != expected:
            found.append(f"spans do not cover sequences {count} to {count + len(tokens_of_shard)}")
        if (sequence != (end - 1) // context_tokens).any():
            found.append(f"a span after sequence {count} crosses the end of its sequence")
        if len(set(spans["language"].to_pylist())) > 1:
            found.append(f"the shard with sequence {count} mixes languages")
        if tokens_of_shard.shape[1] != context_tokens:
            found.append(f"sequences hold {tokens_of_shard.shape[1]} tokens, not {context_tokens}")
        count += len(tokens_of_shard)
    if count * context_tokens != tokens:
        found.append(f"{count * context_tokens} tokens, and the phase asks for exactly {tokens}")
    return found


def decoded_documents(packs: str, tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """What a model would read, as (document_id, text), from the sequences' own tokens.

    A document that is cut by sequences, or by shards, comes whole; a middle that was moved comes
    back to its place; tokens that come again, in a later pass say, come once. Memory: one shard,
    and a digest per different document.
    """
    seen: set[bytes] = set()
    pieces: list[np.ndarray] = []
    current: tuple[str, int] | None = None
    for tokens, spans in _shards_with_spans(packs):
        flat = tokens.reshape(-1)
        place = 0
        rows = zip(
            spans["document_id"].to_pylist(),
            spans["pass_index"].to_pylist(),
            spans["length"].to_pylist(),
            spans["document_offset"].to_pylist(),
            strict=True,
        )
        for document_id, pass_index, length, offset in rows:
            if current and ((document_id, pass_index) != current or offset == 0):
                yield from _new(current[0], pieces, tokenizer, seen)
                pieces = []
            current = (document_id, pass_index)
            pieces.append(flat[place : place + length])
            place += length
    if current:
        yield from _new(current[0], pieces, tokenizer, seen)


def _new(
    document_id: str, pieces: list[np.ndarray], tokenizer: Tokenizer, seen: set[bytes]
) -> Iterator[tuple[str, str]]:
    tokens = np.concatenate(pieces)
    digest = hashlib.sha256(tokens.tobytes()).digest()
    if digest not in seen:
        seen.add(digest)
        yield document_id, decoded(tokens.tolist(), tokenizer)


def decoded(tokens: Sequence[int], tokenizer: Tokenizer) -> str:
    """The text of a packed form, or of a part of one, without special tokens, middle in place."""
    marks = {tokenizer.token_to_id(mark): mark for mark in (FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX)}
    marks[tokenizer.token_to_id(END_OF_TEXT)] = END_OF_TEXT
    parts: dict[str, list[int]] = {}
    current = ""
    for token in tokens:
        current = marks.get(token, current)
        parts.setdefault(current, []).append(token)
    order = ("", FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX, END_OF_TEXT)
    texts = [tokenizer.decode(parts.get(mark, []), skip_special_tokens=True) for mark in order]
    return "".join(texts)
