"""Write a phase's packs with an exact token budget; validate and decode them."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.tokens import (
    END_OF_TEXT,
    FIM_MIDDLE,
    FIM_PREFIX,
    FIM_SUFFIX,
)
from snow_assets.pretraining.allocation import allocate_sequences
from snow_assets.pretraining.packing import pack_language
from snow_assets.pretraining.sequences import TOKENS, read_tokens
from snow_assets.pretraining.sources import LanguageSource
from snow_assets.recipe import PackingRecipe, PhaseRecipe
from snow_assets.storage import shards


def pack(
    sources: Sequence[LanguageSource],
    *,
    folder: str,
    tokenizer: Tokenizer,
    phase: PhaseRecipe,
    packing: PackingRecipe,
    max_seq_len: int,
) -> dict[str, Any]:
    """Write a phase's packs of exactly `phase.tokens` tokens; return the manifest's stats.

    Sequences are stored by language, in name order; `training_order` interleaves them.
    """
    quotas = allocate_sequences(
        {source.language: sum(source.pass_tokens) for source in sources},
        sequences=phase.tokens // max_seq_len,
        max_seq_len=max_seq_len,
        python_fraction=phase.python_fraction,
        python_shortfall=phase.python_shortfall,
    )
    tokenizer.encode_special_tokens = True  # a text that spells a separator is plain text
    shard = sequence = 0
    for source in sorted(sources, key=lambda source: source.language):
        quota = quotas.sequences[source.language]
        shard += pack_language(
            source,
            folder=folder,
            first_shard=shard,
            first_sequence=sequence,
            num_sequences=quota,
            max_seq_len=max_seq_len,
            tokenizer=tokenizer,
            recipe=packing,
        )
        sequence += quota
    tokens = {name: quota * max_seq_len for name, quota in quotas.sequences.items()}
    return {
        "sequences": sequence,
        "tokens": sequence * max_seq_len,
        "python_fraction": quotas.python_fraction,
        "python_fraction_wished": phase.python_fraction,
        "note": quotas.note,
        "languages": {
            source.language: {
                "documents": source.num_documents,
                "unique_tokens": source.unique_tokens,
                "offered_tokens": sum(source.pass_tokens),
                "tokens": tokens[source.language],
                "passes": round(tokens[source.language] / max(1, source.unique_tokens), 3),
            }
            for source in sources
        },
    }


def passes_by_language(packs: str) -> dict[str, list[int]]:
    """Number of sequences that begin in each pass, by language, in sequence order."""
    passes: dict[str, list[int]] = {}
    for entry in shards.manifest(packs).tables(TOKENS):
        counts = passes.get(entry.stats["language"], [])
        pairs = itertools.zip_longest(counts, entry.stats["passes"], fillvalue=0)
        passes[entry.stats["language"]] = [sum(pair) for pair in pairs]
    return passes


def _shards_with_spans(packs: str) -> Iterator[tuple[np.ndarray, pa.Table]]:
    """Yield each shard's tokens (sequences, max_seq_len) and its spans."""
    manifest = shards.manifest(packs)
    pairs = zip(manifest.tables(TOKENS), manifest.tables("spans"), strict=True)
    for entry, spans in pairs:
        yield read_tokens(packs, entry), shards.read_shard(packs, spans.name)


def validate_packs(packs: str, *, tokens: int, max_seq_len: int) -> list[str]:
    """Violations of: exactly `tokens` tokens, spans that cover each token of each sequence once,
    sequences of one language. Memory: one shard.
    """
    violations = []
    count = 0
    for rows, spans in _shards_with_spans(packs):
        sequence = spans["sequence"].to_numpy()
        begin = sequence * max_seq_len + spans["sequence_offset"].to_numpy()
        end = begin + spans["length"].to_numpy()
        expected = count * max_seq_len, (count + len(rows)) * max_seq_len
        is_contiguous = np.array_equal(begin[1:], end[:-1])
        if not is_contiguous or (begin[:1].sum(), end[-1:].sum()) != expected:
            violations.append(f"spans do not cover sequences {count} to {count + len(rows)}")
        if (sequence != (end - 1) // max_seq_len).any():
            violations.append(f"a span after sequence {count} crosses the end of its sequence")
        if len(set(spans["language"].to_pylist())) > 1:
            violations.append(f"the shard with sequence {count} mixes languages")
        if rows.shape[1] != max_seq_len:
            violations.append(f"sequences hold {rows.shape[1]} tokens, not {max_seq_len}")
        count += len(rows)
    if count * max_seq_len != tokens:
        violations.append(f"{count * max_seq_len} tokens, and the phase requires exactly {tokens}")
    return violations


def decoded_documents(packs: str, tokenizer: Tokenizer) -> Iterator[tuple[str, str]]:
    """Decode the packed tokens to (document_id, text).

    A document that spans several sequences or shards is yielded whole, with fill-in-the-middle
    reversed; equal token sequences, as of later passes, are yielded once. Memory: one shard, and a
    digest per distinct document.
    """
    digests: set[bytes] = set()
    pieces: list[np.ndarray] = []
    current: tuple[str, int] | None = None
    for tokens, spans in _shards_with_spans(packs):
        flat = tokens.reshape(-1)
        position = 0
        rows = zip(
            spans["document_id"].to_pylist(),
            spans["pass_index"].to_pylist(),
            spans["length"].to_pylist(),
            spans["document_offset"].to_pylist(),
            strict=True,
        )
        for document_id, pass_index, length, offset in rows:
            if current and ((document_id, pass_index) != current or offset == 0):
                yield from _decode_new(current[0], pieces, tokenizer, digests)
                pieces = []
            current = (document_id, pass_index)
            pieces.append(flat[position : position + length])
            position += length
    if current:
        yield from _decode_new(current[0], pieces, tokenizer, digests)


def _decode_new(
    document_id: str, pieces: list[np.ndarray], tokenizer: Tokenizer, digests: set[bytes]
) -> Iterator[tuple[str, str]]:
    tokens = np.concatenate(pieces)
    digest = hashlib.sha256(tokens.tobytes()).digest()
    if digest not in digests:
        digests.add(digest)
        yield document_id, decode_packed(tokens.tolist(), tokenizer)


def decode_packed(tokens: Sequence[int], tokenizer: Tokenizer) -> str:
    """Decode a packed form or a part of one: no special tokens, fill-in-the-middle reversed."""
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
