"""Write shards of packs, tokens and spans, from the packed documents that they cover."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from snow_assets.pretraining.sequences import put_sequences
from snow_assets.runtime.threads import map_ahead
from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import SPAN

WRITTEN = pa.schema([("shards", pa.int64())])


@dataclass(frozen=True, kw_only=True)
class PackShard:
    """A shard of packs, and where it begins among the tokens of its language."""

    index: int
    first_sequence: int
    num_sequences: int
    begin: int
    end: int


def put_shards(
    documents: pa.Table,
    beginning: Sequence[PackShard],
    *,
    folder: str,
    language: str,
    max_seq_len: int,
    num_threads: int,
) -> pa.Table:
    """Write shards, which begin and end at tokens of these documents; return their number."""
    put = partial(
        _put_shard,
        documents=documents.drop_columns("tokens").combine_chunks(),
        tokens=documents["tokens"].combine_chunks(),
        folder=folder,
        language=language,
        max_seq_len=max_seq_len,
    )
    written = list(map_ahead(put, beginning, num_threads=num_threads))
    return pa.table([[len(written)]], schema=WRITTEN)


def _put_shard(
    shard: PackShard,
    *,
    documents: pa.Table,
    tokens: pa.LargeListArray,
    folder: str,
    language: str,
    max_seq_len: int,
) -> None:
    offsets = tokens.offsets.to_numpy()
    offsets = offsets - offsets[0]
    values = tokens.flatten().to_numpy()
    inner = offsets[np.searchsorted(offsets, shard.begin) : np.searchsorted(offsets, shard.end)]
    begins = np.union1d(np.arange(shard.begin, shard.end, max_seq_len), inner)
    rows = np.searchsorted(offsets, begins, side="right") - 1
    sequences, sequence_offsets = np.divmod(begins - shard.begin, max_seq_len)
    spans = documents.take(pa.array(rows))
    columns = {
        "sequence": sequences + shard.first_sequence,
        "sequence_offset": sequence_offsets,
        "length": np.diff(begins, append=shard.end),
        "document_offset": begins - offsets[rows],
        "language": pa.repeat(language, len(rows)),
        **{name: spans[name] for name in spans.column_names},
    }
    table = pa.table([columns[name] for name in SPAN.names], schema=SPAN)
    num_sequences_by_pass = np.bincount(spans["pass_index"].to_numpy()[sequence_offsets == 0])
    stats = {"language": language, "passes": num_sequences_by_pass.tolist()}
    shard_tokens = values[shard.begin : shard.end].reshape(shard.num_sequences, max_seq_len)
    put_sequences(folder, shard.index, shard_tokens, stats=stats)
    shards.put_table(folder, "spans", shard.index, table, SPAN, stats={"language": language})
