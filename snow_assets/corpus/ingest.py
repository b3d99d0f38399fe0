"""Write a source into shards: admitted files, and drops with their reasons.

Files are taken in the source's own order. A repository stays in one shard: if it does not fit
beside what the shard holds, the shard is closed first; only one that alone exceeds `shard_bytes`
is cut. Memory: one shard and one file. Each shard remembers where the next begins, so an ingest
that was killed goes on from there and ends with the same bytes.
"""

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np

from snow_assets import shards
from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.foreign import (
    ParserFailure,
    is_printable,
    iterate_foreign,
    parse_foreign,
    printable,
)
from snow_assets.corpus.licenses import decide
from snow_assets.corpus.opt_outs import is_listed
from snow_assets.corpus.received import (
    Refusal,
    SourceFile,
    Unit,
    Wanted,
    normalised,
    order_by_hash,
    without_owner,
)
from snow_assets.corpus.sources import units
from snow_assets.documents import DROP, RAW_FILE, document_id
from snow_assets.recipe import CorpusRecipe, Source

FILES, DROPS = "files", "drops"
_ROW_BYTES = 512  # about what a row's other columns take, so that many drops close a shard too

_MAX_RECENT_IDS = 1 << 20
_MAX_NAME_BYTES = 4_096  # of a path: the most that Linux opens
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1_024  # github.com/git-lfs/git-lfs, docs/spec.md: pointers are smaller

Place = tuple[int, int]  # the unit's number, and the number of rows that it has yielded


@dataclass(frozen=True)
class _Row:
    table: str
    repository: str
    language: str  # the likeliest that its name allows; empty for a whole repository
    num_bytes: int
    columns: Mapping[str, Any]


@dataclass
class _Shard:
    rows: list[_Row] = field(default_factory=list)
    num_bytes: int = 0

    def take(self, other: "_Shard") -> None:
        self.rows += other.rows
        self.num_bytes += other.num_bytes


@dataclass(frozen=True)
class Gate:
    """Repositories that stay outside, by reason."""

    opted_out: frozenset[str]
    exemplars: frozenset[str]

    def refuses(self, repository: str) -> str | None:
        if is_listed(repository, self.opted_out):
            return "opted_out"
        return "exemplar" if is_listed(repository, self.exemplars) else None

    def refuses_reading(self, name: str) -> str | None:
        """`refuses`, for a name that may lack its owner: any listed owner's repository counts."""
        if normalised(name).replace("@", "") in self._names_without_owner:
            return "opted_out"
        return self.refuses(name)

    @cached_property
    def _names_without_owner(self) -> frozenset[str]:
        return frozenset(name for entry in self.opted_out for name in without_owner(entry))


def ingest(
    folder: str, source: Source, *, recipe: CorpusRecipe, languages: Sequence[str], gate: Gate
) -> dict[str, Any]:
    """Write the tables `files` and `drops` of a source; returns the facts of the whole.

    Rows in = files + drops. Done shards are not made again.
    """
    index, start = _resume(folder)
    held, current = _Shard(), _Shard()  # closed repositories; the repository being read
    begun = start  # where `current` begins
    document_ids = _DocumentIds(folder)
    for place, received in _rows(source, recipe, languages, gate, start):
        row = _once(received, document_ids, source.name, languages)
        if current.rows and current.rows[0].repository != row.repository:
            held.take(current)
            current, begun = _Shard(), place
        while (held.rows or current.rows) and (
            held.num_bytes + current.num_bytes + row.num_bytes > recipe.shard_bytes
        ):
            full, after = (held, begun) if held.rows else (current, place)
            _put(folder, index, full, after)
            index += 1
            if full is current:
                current, begun = _Shard(), place
            held = _Shard()
        current.rows.append(row)
        current.num_bytes += row.num_bytes
    held.take(current)
    if held.rows or index == 0:
        _put(folder, index, held, None)
    return facts(folder)


class _DocumentIds:
    """The documents that were admitted, to drop a file that a source holds twice.

    Memory: 8 bytes per document, and a set of at most a million.
    """

    def __init__(self, folder: str) -> None:
        """`folder`: its finished shards count."""
        self._recent: set[int] = set()
        self._older = np.empty(0, np.uint64)
        for entry in shards.records(folder):
            if entry.name.startswith(f"{FILES}-"):
                table = shards.read_shard(folder, entry.name, columns=["document_id"])
                for name in table["document_id"].to_pylist():
                    self.add(name)

    def add(self, document: str) -> bool:
        """Whether the document is new; by 64 bits of its digest."""
        key = int(document[:16], 16)
        position = int(np.searchsorted(self._older, np.uint64(key)))
        is_older = position < len(self._older) and int(self._older[position]) == key
        if is_older or key in self._recent:
            return False
        self._recent.add(key)
        if len(self._recent) >= _MAX_RECENT_IDS:
            recent = np.fromiter(self._recent, np.uint64, len(self._recent))
            self._older = np.union1d(self._older, recent)
            self._recent.clear()
        return True


def _once(row: _Row, documents: _DocumentIds, source: str, languages: Sequence[str]) -> _Row:
    """A row, or its refusal if the same file of the same repository was admitted before."""
    if row.table != FILES or documents.add(row.columns["document_id"]):
        return row
    refusal = Refusal(
        repository=row.repository,
        path=row.columns["path"],
        reason="same_document",
        evidence="the source holds this file of this repository twice",
        num_bytes=len(row.columns["content"]),
    )
    return _refusal(source, refusal, languages, row.columns["document_id"])


def facts(folder: str) -> dict[str, Any]:
    """Counts over all finished shards: how many came in, were admitted, were dropped and why.

    A repository whose rows do not lie together in its source counts once per run of rows.
    """
    total = {name: Counter[str]() for name in ("licenses", "languages", "reasons")}
    num_repositories, last = 0, None
    for entry in shards.records(folder):
        for name, counts in entry.facts.get("counts", {}).items():
            total[name].update(counts)
        if runs := entry.facts.get("repositories"):
            num_repositories += runs["num"] - (runs["first"] == last)
            last = runs["last"]
    files, drops = total["licenses"].total(), total["reasons"].total()
    return {
        "num_files_in": files + drops,
        "num_files": files,
        "num_drops": drops,
        "num_repositories": num_repositories,
        **{name: dict(sorted(counts.items())) for name, counts in total.items()},
    }


def _resume(folder: str) -> tuple[int, Place]:
    """The next shard's number, and the place in the source where it begins."""
    index, place = 0, (0, 0)
    while done := shards.record(folder, shards.table_name(FILES, index)):
        index += 1
        # A place that no unit reaches: the source was read to its end.
        place = tuple(done.facts["next"] or (1 << 62, 0))
    return index, place


def _put(folder: str, index: int, shard: _Shard, after: Place | None) -> None:
    """Write a shard; the record of `files` comes last and says where the next shard begins."""
    tables = {
        name: [row.columns for row in shard.rows if row.table == name] for name in (FILES, DROPS)
    }
    reasons = Counter(str(row["reason"]) for row in tables[DROPS])
    shards.put_table(
        folder, DROPS, index, tables[DROPS], DROP, facts={"counts": {"reasons": reasons}}
    )
    admitted = [row for row in shard.rows if row.table == FILES]
    counts = {
        "licenses": Counter(str(row.columns["license"]) for row in admitted),
        "languages": Counter(row.language for row in admitted),
    }
    runs = [name for name, _ in itertools.groupby(row.repository for row in admitted)]
    ends = {"num": len(runs), "first": runs[0], "last": runs[-1]} if runs else None
    known = {"counts": counts, "repositories": ends, "next": after}
    shards.put_table(folder, FILES, index, tables[FILES], RAW_FILE, facts=known)


def _rows(
    source: Source, recipe: CorpusRecipe, languages: Sequence[str], gate: Gate, start: Place
) -> Iterator[tuple[Place, _Row]]:
    for number, unit in enumerate(units(source, languages=languages, recipe=recipe)):
        if number < start[0]:
            continue
        for count, row in enumerate(_unit_rows(unit, source, recipe, languages, gate)):
            if (number, count) >= start:
                yield (number, count), row


def _unit_rows(
    unit: Unit, source: Source, recipe: CorpusRecipe, languages: Sequence[str], gate: Gate
) -> Iterator[_Row]:
    """A row for each wanted file, and one for each repository that stays outside."""
    if refusal := _refused_by_name(unit, gate, source.kind):
        yield _refusal(source.name, refusal, languages)
        return
    is_sampled = _sample(unit, source, languages)
    outside: dict[str, str] = {}  # repository -> reason, not yet told
    told: set[str] = set()

    def is_wanted(repository: str, path: str) -> bool:
        reason = gate.refuses(repository)
        if reason and repository not in told:
            outside[repository] = reason
        return reason is None and (not path or is_sampled(repository, path))

    # Readers refuse single files themselves; what fails nevertheless costs the rest of its unit.
    for received in iterate_foreign(unit.files(is_wanted), cpu_seconds=None):
        yield from _told(source.name, outside, told)
        if isinstance(received, ParserFailure):
            refusal = Refusal(
                repository=unit.name, path="", reason="unreadable", evidence=received.evidence
            )
            yield _refusal(source.name, refusal, languages)
        elif isinstance(received, Refusal):
            yield _refusal(source.name, received, languages)
        else:
            yield _row(source.name, received, recipe, languages)
    yield from _told(source.name, outside, told)


def _refused_by_name(unit: Unit, gate: Gate, kind: str) -> Refusal | None:
    """The refusal of a unit of which one of its possible names stays outside."""
    for name in iterate_foreign(unit.names(), cpu_seconds=None):
        if isinstance(name, ParserFailure):
            return None  # `files` tells what cannot be read
        if reason := gate.refuses_reading(name):
            remedy = (
                "state its repository in the recipe's source"
                if kind == "archives"
                else "give its folder another name"
            )
            evidence = f"{unit.name} may be of this repository; if it is not, {remedy}"
            return Refusal(repository=name, path="", reason=reason, evidence=evidence)
    return None


def _told(source: str, outside: dict[str, str], told: set[str]) -> Iterator[_Row]:
    while outside:
        repository, reason = outside.popitem()
        told.add(repository)
        evidence = "the whole repository, by its name"
        refusal = Refusal(repository=repository, path="", reason=reason, evidence=evidence)
        yield _refusal(source, refusal, ())


def _sample(unit: Unit, source: Source, languages: Sequence[str]) -> Wanted:
    """Which files of a unit are taken: per repository and language, the first by hash of name."""
    limit = source.files_per_repository
    if limit is None:
        return lambda _repository, _path: True
    last: dict[tuple[str, str], list[int]] = {}  # the `limit` smallest hashes, negated: a heap
    for item in iterate_foreign(unit.listing(), cpu_seconds=None):
        if isinstance(item, ParserFailure):
            break  # the files before it may be read, as `files` will
        repository, path = item
        heap = last.setdefault((repository, candidates(path, languages)[0]), [])
        heapq.heappush(heap, -_rank(source.name, repository, path))
        if len(heap) > limit:
            heapq.heappop(heap)

    def is_sampled(repository: str, path: str) -> bool:
        heap = last.get((repository, candidates(path, languages)[0]))
        return heap is not None and _rank(source.name, repository, path) <= -heap[0]

    return is_sampled


def _rank(source: str, repository: str, path: str) -> int:
    return int(order_by_hash(source, repository, path), 16)


def _row(source: str, received: SourceFile, recipe: CorpusRecipe, languages: Sequence[str]) -> _Row:
    content = received.content
    raw_id = hashlib.sha256(content).hexdigest()
    for kind, text in (("repository", received.repository), ("path", received.path)):
        if not is_printable(text) or len(text.encode()) > _MAX_NAME_BYTES:
            evidence = f"the {kind} is no printable text of at most {_MAX_NAME_BYTES} bytes"
            return _drop(source, received, None, languages, "unsafe_name", evidence)
    name = document_id(source, received.repository, received.path, raw_id)
    if not content.strip():
        return _drop(source, received, name, languages, "empty", None)
    if content.startswith(_LFS_POINTER) and len(content) < _LFS_POINTER_BYTES:
        return _drop(source, received, name, languages, "lfs_pointer", None)
    verdict = parse_foreign(
        partial(decide, content, received.statement, permissive=recipe.permissive_licenses)
    )
    if isinstance(verdict, ParserFailure):
        return _drop(source, received, name, languages, "license_unknown", verdict.evidence)
    if verdict.license is None:
        return _drop(source, received, name, languages, str(verdict.reason), verdict.evidence)
    columns = {
        "document_id": name,
        "raw_id": raw_id,
        "source": source,
        "repository": received.repository,
        "revision": printable(received.revision),
        "path": received.path,
        "license": verdict.license,
        "license_evidence": printable(verdict.evidence),
        "copyright_notices": list(received.statement.notices),
        "content": content,
    }
    likeliest = candidates(received.path, languages)[0]
    return _Row(FILES, received.repository, likeliest, len(content) + _ROW_BYTES, columns)


def _drop(
    source: str,
    received: SourceFile,
    name: str | None,
    languages: Sequence[str],
    reason: str,
    evidence: str | None,
) -> _Row:
    refusal = Refusal(
        repository=received.repository,
        path=received.path,
        reason=reason,
        evidence=evidence,
        num_bytes=len(received.content),
    )
    return _refusal(source, refusal, languages, name)


def _refusal(
    source: str, refusal: Refusal, languages: Sequence[str], name: str | None = None
) -> _Row:
    likeliest = next(iter(candidates(refusal.path, languages)), "")
    repository, path = printable(refusal.repository), printable(refusal.path)
    columns = {
        "document_id": name or document_id(source, repository, path, ""),
        "source": source,
        "repository": repository,
        "path": path,
        "language": likeliest or None,
        "num_bytes": refusal.num_bytes,
        "reason": refusal.reason,
        "evidence": None if refusal.evidence is None else printable(refusal.evidence),
    }
    return _Row(DROPS, repository, likeliest, _ROW_BYTES, columns)
