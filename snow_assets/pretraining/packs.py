"""Write a phase's packs with an exact token budget, and validate them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.tokenizer.tokens import SharedTokenizer
from snow_assets.pretraining.allocation import allocate_sequences
from snow_assets.pretraining.packing import pack_language
from snow_assets.pretraining.sequences import TOKENS
from snow_assets.pretraining.sources import LanguageSource
from snow_assets.recipe import PackingRecipe, PhaseRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards


def pack(
    sources: Sequence[LanguageSource],
    *,
    folder: str,
    tokenizer: Tokenizer,
    phase: PhaseRecipe,
    packing: PackingRecipe,
    max_seq_len: int,
    exchange: Exchange = IN_PROCESS,
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
            tokenizer=SharedTokenizer(tokenizer),
            recipe=packing,
            exchange=exchange,
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


def validate_packs(packs: str, *, tokens: int, max_seq_len: int) -> list[str]:
    """Violations of: exactly `tokens` tokens, spans that cover each token of each sequence once,
    sequences of one language. Reads records and spans. Memory: one shard's spans.
    """
    violations = size_violations(packs, tokens=tokens, max_seq_len=max_seq_len)
    manifest = shards.manifest(packs)
    for entry, spans in zip(manifest.tables(TOKENS), manifest.tables("spans"), strict=True):
        table = shards.read_shard(packs, spans.name, columns=SPAN_COLUMNS)
        violations += span_violations(entry, table)
    return violations


def size_violations(packs: str, *, tokens: int, max_seq_len: int) -> list[str]:
    """Violations of: exactly `tokens` tokens, in sequences of `max_seq_len`. Reads the manifest."""
    violations = []
    entries = shards.manifest(packs).tables(TOKENS)
    lengths = {entry.stats["max_seq_len"] for entry in entries} - {max_seq_len}
    violations += [f"sequences hold {length} tokens, not {max_seq_len}" for length in lengths]
    count = entries.total("num_tokens")
    if count != tokens:
        violations.append(f"{count} tokens, and the phase requires exactly {tokens}")
    return violations


SPAN_COLUMNS = ("sequence", "sequence_offset", "length", "language")


def span_violations(entry: shards.FileRecord, spans: pa.Table) -> list[str]:
    """Violations of: a shard's spans (SPAN_COLUMNS) cover each of its tokens once, in sequences
    that follow one another, of one language."""
    violations = []
    num_sequences, max_seq_len = entry.num_rows or 0, entry.stats["max_seq_len"]
    sequence, offset = spans["sequence"].to_numpy(), spans["sequence_offset"].to_numpy()
    begin = sequence * max_seq_len + offset
    end = begin + spans["length"].to_numpy()
    num_tokens = int((end - begin).sum())
    is_contiguous = np.array_equal(begin[1:], end[:-1])
    if not is_contiguous or offset[:1].any() or num_tokens != num_sequences * max_seq_len:
        violations.append(f"spans do not cover the {num_sequences} sequences of {entry.name}")
    if (sequence != (end - 1) // max_seq_len).any():
        violations.append(f"a span of {entry.name} crosses the end of its sequence")
    if len(spans["language"].unique()) > 1:
        violations.append(f"{entry.name} mixes languages")
    return violations
