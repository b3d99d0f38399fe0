"""Search packs for benchmark leaks: each shard once, in parallel, the result stored beside it.

The texts are decoded from the packed tokens, so what packing did wrong is found, too. A shard's
result is the table `leaks`, whose record says of which files and for which problems it holds. Its
spans are validated with it.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.decontamination.gate import Gate, GateHit
from snow_assets.pretraining.decoding import Decoder
from snow_assets.pretraining.packs import SPAN_COLUMNS, span_violations
from snow_assets.pretraining.sequences import TOKENS, PackedSequences, read_tokens
from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import LEAK
from snow_assets.storage.shards import FileRecord

LEAKS, SPANS = "leaks", "spans"

_TOKENS_AT_ONCE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ShardFiles:
    """The records of a shard of packs."""

    tokens: FileRecord
    spans: FileRecord

    @property
    def index(self) -> int:
        return int(self.tokens.name.split("-")[-1].split(".")[0])


def shard_files(entries: Sequence[FileRecord]) -> list[ShardFiles]:
    """The shards of packs, in order, from all records of the artifact."""
    tokens, spans = (
        sorted((entry for entry in entries if entry.name.startswith(f"{table}-")), key=_name)
        for table in (TOKENS, SPANS)
    )
    return [ShardFiles(tokens=a, spans=b) for a, b in zip(tokens, spans, strict=True)]


def _name(entry: FileRecord) -> str:
    return entry.name


def search_packs(
    packs: str,
    tokenizer: Tokenizer,
    gate: Gate,
    *,
    searched_for: str,
    exempt: Collection[str],
) -> list[GateHit]:
    """Search all shards of packs, finished or not, for problems; return the hits that stand.

    Writes a shard of `leaks` for each shard of tokens, and skips those that it holds already.
    `searched_for` names the problems and the rule in the records (`gates.Benchmarks.digest`);
    hits in documents that are `exempt` are stored and not returned. On all cores, in threads,
    since the kernels release the GIL. Memory of each: a shard's tokens, 16 bytes for each of a
    million tokens, and 22 bytes per byte of the longest document.
    """
    files = shard_files(shards.records(packs))
    search = _Search(packs, files, Decoder.of(tokenizer), gate, searched_for, exempt)
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = list(pool.map(search.search, range(len(files))))
    return [
        GateHit(**{name: value for name, value in row.items() if name != "is_exempt"})
        for table in results
        for row in table.to_pylist()
        if not row["is_exempt"]
    ]


def leaks_stats(shard: ShardFiles, searched_for: str) -> dict[str, Any]:
    """What the record of a shard's `leaks` must say for the result to hold."""
    return {
        "tokens_sha256": shard.tokens.sha256,
        "spans_sha256": shard.spans.sha256,
        "searched_for": searched_for,
    }


@dataclass(frozen=True)
class _Search:
    packs: str
    files: Sequence[ShardFiles]
    decoder: Decoder
    gate: Gate
    searched_for: str
    exempt: Collection[str]

    def search(self, position: int) -> pa.Table:
        shard = self.files[position]
        stats = leaks_stats(shard, self.searched_for)
        name = shards.table_name(LEAKS, shard.index)
        entry = shards.record(self.packs, name)
        if entry and entry.stats == stats:
            return shards.read_shard(self.packs, name)
        if violations := span_violations(shard.tokens, self._spans(shard, SPAN_COLUMNS)):
            raise ValueError(f"{self.packs} is packed wrongly: {'; '.join(violations)}")
        hits = {(hit.document_id, hit.problem_id, hit.part): hit for hit in self._hits(position)}
        rows = [
            {**vars(hits[key]), "is_exempt": hits[key].document_id in self.exempt}
            for key in sorted(hits)
        ]
        table = pa.Table.from_pylist(rows, schema=LEAK)
        shards.put_table(self.packs, LEAKS, shard.index, table, LEAK, stats=stats)
        return table

    def _hits(self, position: int) -> Iterator[GateHit]:
        shard = self.files[position]
        ids = read_tokens(self.packs, shard.tokens).ravel().astype(np.uint32)
        starts, document_ids = self._documents(shard)
        if len(starts):
            ids = np.concatenate([ids, *self._rest_of_last(position)])
        bounds = np.append(starts, len(ids))
        first = 0
        while first < len(starts):
            last = int(np.searchsorted(bounds, bounds[first] + _TOKENS_AT_ONCE, side="right")) - 1
            last = max(first + 1, last)
            data, offsets = self.decoder.decode(ids, bounds[first : last + 1])
            for row in np.flatnonzero(self.gate.scan.flags_in(data, offsets)).tolist():
                text = data[offsets[row] : offsets[row + 1]].tobytes().decode(errors="replace")
                yield from self.gate.hits(document_ids[first + row].as_py(), text)
            first = last

    def _documents(self, shard: ShardFiles) -> tuple[npt.NDArray[np.int64], pa.Array]:
        """Where each document, or its part, begins in the shard's tokens; and its id."""
        spans = self._spans(shard)
        lengths = spans["length"].to_numpy()
        positions = np.cumsum(lengths) - lengths
        begins = _begins(spans)
        return positions[begins], spans["document_id"].combine_chunks().take(
            pa.array(np.flatnonzero(begins))
        )

    def _spans(
        self,
        shard: ShardFiles,
        columns: Sequence[str] = ("document_id", "pass_index", "document_offset", "length"),
    ) -> pa.Table:
        return shards.read_shard(self.packs, shard.spans.name, columns=columns)

    def _rest_of_last(self, position: int) -> Iterator[np.ndarray]:
        """What of the shard's last document stands in the next shards. A part at the front of a
        shard is also searched with that shard: no token is left out, whatever spans say."""
        for shard in self.files[position + 1 :]:
            spans = self._spans(shard)
            begins = np.flatnonzero(_begins(spans, is_continued=True))
            end = int(begins[0]) if len(begins) else spans.num_rows
            num_tokens = int(spans["length"].to_numpy()[:end].sum())
            if num_tokens:
                sequences = PackedSequences.of(self.packs, [shard.tokens])
                rows = range(-(-num_tokens // sequences.max_seq_len))
                yield sequences[rows].ravel()[:num_tokens].astype(np.uint32)
            if len(begins):
                return


def _begins(spans: pa.Table, *, is_continued: bool = False) -> npt.NDArray[np.bool_]:
    """Which spans begin a document. The first one does, unless the shard continues another."""
    ids = spans["document_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    passes = spans["pass_index"].to_numpy()
    begins: npt.NDArray[np.bool_] = spans["document_offset"].to_numpy() == 0
    begins[1:] |= (ids[1:] != ids[:-1]) | (passes[1:] != passes[:-1])
    if not is_continued:
        begins[:1] = True
    return begins
