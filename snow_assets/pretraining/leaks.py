"""Search packs for benchmark leaks: each shard once, the result stored beside it.

The texts are decoded from the packed tokens, so what packing did wrong is found, too. A shard's
result is the table `leaks`, whose record says of which files and for which problems it holds. Its
spans are validated with it.
"""

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from tokenizers import Tokenizer

from snow_assets.curation.decontamination.gate import Gate, GateHit
from snow_assets.curation.tokenizer.tokens import SharedTokenizer
from snow_assets.pretraining.decoding import Decoder
from snow_assets.pretraining.packs import SPAN_COLUMNS, span_violations
from snow_assets.pretraining.sequences import TOKENS, PackedSequences, read_tokens, tokens_name
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.threads import map_ahead
from snow_assets.storage import shards
from snow_assets.storage.schemas.pretraining import LEAK
from snow_assets.storage.shards import FileRecord

LEAKS, SPANS = "leaks", "spans"

_TOKENS_AT_ONCE = 1 << 18  # of a thread


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


@dataclass(frozen=True)
class SharedGate:
    """A gate that a process which gets it several times, pickled, builds once, when it is used."""

    problems: pa.Table
    window_tokens: int

    @cached_property
    def gate(self) -> Gate:
        return Gate.of(self.problems, window_tokens=self.window_tokens)

    def __reduce__(self) -> "tuple[Callable[..., SharedGate], tuple[Any, ...]]":
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.problems.schema) as writer:
            writer.write_table(self.problems)
        return _shared_gate, (sink.getvalue().to_pybytes(), self.window_tokens)


@lru_cache(maxsize=1)
def _shared_gate(problems: bytes, window_tokens: int) -> SharedGate:
    return SharedGate(pa.ipc.open_stream(problems).read_all(), window_tokens)


def search_packs(
    packs: str,
    tokenizer: Tokenizer,
    gate: SharedGate,
    *,
    searched_for: str,
    exempt: Collection[str],
    exchange: Exchange = IN_PROCESS,
) -> list[GateHit]:
    """Search all shards of packs, finished or not, for problems; return the hits that stand.

    Writes a shard of `leaks` for each shard of tokens, and skips those that it holds already.
    `searched_for` names the problems and the rule in the records (`gates.Benchmarks.digest`);
    hits in documents that are `exempt` are stored and not returned. Memory of a call: a shard's
    tokens, and of each of its threads 16 bytes for each of 262,144 tokens and 22 bytes per byte of
    the longest document.
    """
    searched = exchange.map_shards(
        _search_shard,
        shard_files(shards.records(packs)),
        schema=LEAK,
        packs=packs,
        tokenizer=SharedTokenizer(tokenizer),
        gate=gate,
        searched_for=searched_for,
        exempt=exempt,
        num_threads=exchange.threads_per_call,
    )
    return [
        GateHit(**{name: value for name, value in row.items() if name != "is_exempt"})
        for table in exchange.gather(searched)
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


def _search_shard(
    shard: ShardFiles,
    *,
    packs: str,
    tokenizer: SharedTokenizer,
    gate: SharedGate,
    searched_for: str,
    exempt: Collection[str],
    num_threads: int,
) -> pa.Table:
    """The shard's table of `leaks`: stored by an earlier run, or searched for and stored."""
    stats = leaks_stats(shard, searched_for)
    name = shards.table_name(LEAKS, shard.index)
    entry = shards.record(packs, name)
    if entry and entry.stats == stats:
        return shards.read_shard(packs, name).cast(LEAK)
    if violations := span_violations(shard.tokens, _spans(packs, shard, SPAN_COLUMNS)):
        raise ValueError(f"{packs} is packed wrongly: {'; '.join(violations)}")
    search = _Search(packs, shard, _decoder(tokenizer), gate.gate, num_threads)
    hits = {(hit.document_id, hit.problem_id, hit.part): hit for hit in search.hits()}
    rows = [
        {**vars(hits[key]), "is_exempt": hits[key].document_id in exempt} for key in sorted(hits)
    ]
    table = pa.Table.from_pylist(rows, schema=LEAK)
    shards.put_table(packs, LEAKS, shard.index, table, LEAK, stats=stats)
    return table


@lru_cache(maxsize=1)  # of a process that searches several shards
def _decoder(tokenizer: SharedTokenizer) -> Decoder:
    return Decoder.of(tokenizer.tokenizer)


@dataclass(frozen=True)
class _Search:
    packs: str
    shard: ShardFiles
    decoder: Decoder
    gate: Gate
    num_threads: int

    def hits(self) -> Iterator[GateHit]:
        ids = read_tokens(self.packs, self.shard.tokens).ravel().astype(np.uint32)
        starts, document_ids = self._documents()
        if len(starts):
            ids = np.concatenate([ids, *self._rest_of_last()])
        bounds = np.append(starts, len(ids))
        search = partial(self._hits_in, ids, bounds, document_ids)
        for hits in map_ahead(search, _batches(bounds), num_threads=self.num_threads):
            yield from hits

    def _hits_in(
        self,
        ids: npt.NDArray[np.uint32],
        bounds: npt.NDArray[np.int64],
        document_ids: pa.Array,
        rows: tuple[int, int],
    ) -> list[GateHit]:
        first, last = rows
        data, offsets = self.decoder.decode(ids, bounds[first : last + 1])
        return [
            hit
            for row in np.flatnonzero(self.gate.scan.flags_in(data, offsets)).tolist()
            for hit in self.gate.hits(
                document_ids[first + row].as_py(),
                data[offsets[row] : offsets[row + 1]].tobytes().decode(errors="replace"),
            )
        ]

    def _documents(self) -> tuple[npt.NDArray[np.int64], pa.Array]:
        """Where each document, or its part, begins in the shard's tokens; and its id."""
        spans = _spans(self.packs, self.shard)
        lengths = spans["length"].to_numpy()
        positions = np.cumsum(lengths) - lengths
        begins = _begins(spans)
        return positions[begins], spans["document_id"].combine_chunks().take(
            pa.array(np.flatnonzero(begins))
        )

    def _rest_of_last(self) -> Iterator[np.ndarray]:
        """What of the shard's last document stands in the next shards. A part at the front of a
        shard is also searched with that shard: no token is left out, whatever spans say."""
        for shard in _following(self.packs, self.shard):
            spans = _spans(self.packs, shard)
            begins = np.flatnonzero(_begins(spans, is_continued=True))
            end = int(begins[0]) if len(begins) else spans.num_rows
            num_tokens = int(spans["length"].to_numpy()[:end].sum())
            if num_tokens:
                sequences = PackedSequences.of(self.packs, [shard.tokens])
                rows = range(-(-num_tokens // sequences.max_seq_len))
                yield sequences[rows].ravel()[:num_tokens].astype(np.uint32)
            if len(begins):
                return


def _batches(bounds: npt.NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Ranges of documents of about as many tokens."""
    first, num_documents = 0, len(bounds) - 1
    while first < num_documents:
        last = int(np.searchsorted(bounds, bounds[first] + _TOKENS_AT_ONCE, side="right")) - 1
        last = max(first + 1, last)
        yield first, last
        first = last


def _following(packs: str, shard: ShardFiles) -> Iterator[ShardFiles]:
    """The shards behind one, in order."""
    for index in itertools.count(shard.index + 1):
        tokens, spans = (
            shards.record(packs, name)
            for name in (tokens_name(index), shards.table_name(SPANS, index))
        )
        if tokens is None or spans is None:
            return
        yield ShardFiles(tokens=tokens, spans=spans)


def _spans(
    packs: str,
    shard: ShardFiles,
    columns: Sequence[str] = ("document_id", "pass_index", "document_offset", "length"),
) -> pa.Table:
    return shards.read_shard(packs, shard.spans.name, columns=columns)


def _begins(spans: pa.Table, *, is_continued: bool = False) -> npt.NDArray[np.bool_]:
    """Which spans begin a document. The first one does, unless the shard continues another."""
    ids = spans["document_id"].combine_chunks().dictionary_encode().indices.to_numpy()
    passes = spans["pass_index"].to_numpy()
    begins: npt.NDArray[np.bool_] = spans["document_offset"].to_numpy() == 0
    begins[1:] |= (ids[1:] != ids[:-1]) | (passes[1:] != passes[:-1])
    if not is_continued:
        begins[:1] = True
    return begins
