"""Ingest a source into shards: admitted files, and drops with their reasons.

Files keep the source's order. A repository stays in one shard: if it does not fit into the current
shard, the shard is closed first; only a repository that alone exceeds `shard_bytes` is split.
Memory: one shard and one file. Each shard stores the position where the next begins, so that a
killed ingest resumes there and produces the same bytes.
"""

import hashlib
import heapq
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any

from snow_assets.corpus.document_ids import DocumentIds
from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.licenses import decide
from snow_assets.corpus.opt_outs import is_listed
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.source_units import (
    FileFilter,
    Refusal,
    SourceFile,
    Unit,
    normalised,
    order_by_hash,
    without_owner,
)
from snow_assets.corpus.sources import units
from snow_assets.corpus.untrusted import (
    ParserFailure,
    is_printable,
    iterate_untrusted,
    parse_untrusted,
    printable,
)
from snow_assets.recipe import CorpusRecipe, Source
from snow_assets.storage import shards
from snow_assets.storage.ids import document_id
from snow_assets.storage.schemas.corpus import DROP, RAW_FILE
from snow_assets.storage.urls import redact_urls

FILES, DROPS = "files", "drops"
_ROW_BYTES = 512  # estimate of a row's columns without content, so that drops fill a shard too

_MAX_NAME_BYTES = 4_096  # of a path: the most that Linux opens
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1_024  # github.com/git-lfs/git-lfs, docs/spec.md: pointers are smaller

Position = tuple[int, int]  # index of the unit, and the number of rows that it has yielded


@dataclass(frozen=True)
class Row:
    table: str  # FILES or DROPS
    repository: str
    language: str  # the likeliest by its name; empty for a whole repository
    num_bytes: int
    columns: Mapping[str, Any]
    names: tuple[str, ...] = ()  # of the repository elsewhere: remotes, readings of an archive


@dataclass
class _Shard:
    rows: list[Row] = field(default_factory=list)
    num_bytes: int = 0

    def extend(self, shard: "_Shard") -> None:
        self.rows += shard.rows
        self.num_bytes += shard.num_bytes


@dataclass(frozen=True)
class Gate:
    """Repositories that must not be ingested: opted-out ones, and the exemplars'."""

    opted_out: frozenset[str]
    exemplars: frozenset[str]

    def refuses(self, repository: str) -> str | None:
        """The reason why a repository is refused, or None."""
        if is_listed(repository, self.opted_out):
            return "opted_out"
        return "exemplar" if is_listed(repository, self.exemplars) else None

    def refuses_reading(self, name: str) -> str | None:
        """`refuses` for a name that may lack its owner: any listed owner's repository matches."""
        if normalised(name).replace("@", "") in self._names_without_owner:
            return "opted_out"
        return self.refuses(name)

    @cached_property
    def _names_without_owner(self) -> frozenset[str]:
        return frozenset(name for entry in self.opted_out for name in without_owner(entry))


def ingest(
    folder: str, source: Source, *, recipe: CorpusRecipe, languages: Sequence[str], gate: Gate
) -> dict[str, Any]:
    """Write the tables `files` and `drops` of a source; return the stats of all shards.

    Rows in = files + drops. Finished shards are not written again.
    """
    index, start = _resume(folder)
    pending, current = _Shard(), _Shard()  # closed repositories; the repository being read
    current_start = start  # where `current` begins
    document_ids = DocumentIds(_admitted_ids(folder))
    for position, source_row in source_rows(source, recipe, languages, gate, start):
        row = _drop_if_duplicate(source_row, document_ids, source.name, languages)
        if current.rows and current.rows[0].repository != row.repository:
            pending.extend(current)
            current, current_start = _Shard(), position
        while (pending.rows or current.rows) and (
            pending.num_bytes + current.num_bytes + row.num_bytes > recipe.shard_bytes
        ):
            full, after = (pending, current_start) if pending.rows else (current, position)
            _put(folder, index, full, after)
            index += 1
            if full is current:
                current, current_start = _Shard(), position
            pending = _Shard()
        current.rows.append(row)
        current.num_bytes += row.num_bytes
    pending.extend(current)
    if pending.rows or index == 0:
        _put(folder, index, pending, None)
    return ingest_stats(folder)


def _admitted_ids(folder: str) -> Iterator[str]:
    """The documents of the finished shards."""
    for entry in shards.records(folder, FILES):
        table = shards.read_shard(folder, entry.name, columns=["document_id"])
        yield from table["document_id"].to_pylist()


def _drop_if_duplicate(
    row: Row, documents: DocumentIds, source: str, languages: Sequence[str]
) -> Row:
    """Return the row, or a drop if the same file of the same repository was admitted before."""
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


def ingest_stats(folder: str) -> dict[str, Any]:
    """Counts over all finished shards: input files, admitted files, and drops by reason.

    A repository whose rows are not contiguous in its source counts once per run of rows.
    """
    total = {name: Counter[str]() for name in ("licenses", "languages", "reasons")}
    num_repositories, last = 0, None
    for entry in shards.records(folder):
        for name, counts in entry.stats.get("counts", {}).items():
            total[name].update(counts)
        if runs := entry.stats.get("repositories"):
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


def _resume(folder: str) -> tuple[int, Position]:
    """The next shard's index, and the position in the source where it begins."""
    index, position = 0, (0, 0)
    while done := shards.record(folder, shards.table_name(FILES, index)):
        index += 1
        # A position beyond all units: the source was read to its end.
        position = tuple(done.stats["next"] or (1 << 62, 0))
    return index, position


def _put(folder: str, index: int, shard: _Shard, after: Position | None) -> None:
    """Write a shard; the record of `files` is last and holds the next shard's position."""
    tables = {
        name: [row.columns for row in shard.rows if row.table == name] for name in (FILES, DROPS)
    }
    reasons = Counter(str(row["reason"]) for row in tables[DROPS])
    shards.put_table(
        folder, DROPS, index, tables[DROPS], DROP, stats={"counts": {"reasons": reasons}}
    )
    admitted = [row for row in shard.rows if row.table == FILES]
    counts = {
        "licenses": Counter(str(row.columns["license"]) for row in admitted),
        "languages": Counter(row.language for row in admitted),
    }
    runs = [name for name, _ in itertools.groupby(row.repository for row in admitted)]
    ends = {"num": len(runs), "first": runs[0], "last": runs[-1]} if runs else None
    names = {row.repository: _recorded_names(row.names) for row in admitted}
    files_stats = {
        "counts": counts,
        "repositories": ends,
        "next": after,
        "names": {repository: listed for repository, listed in names.items() if listed},
    }
    shards.put_table(folder, FILES, index, tables[FILES], RAW_FILE, stats=files_stats)


def _recorded_names(names: Sequence[str]) -> list[str]:
    """Canonical names: a remote's URL may hold a token, which must not reach the lake."""
    return list(dict.fromkeys(printable(redact_urls(canonical(name))) for name in names))


def source_rows(
    source: Source,
    recipe: CorpusRecipe,
    languages: Sequence[str],
    gate: Gate,
    start: Position = (0, 0),
) -> Iterator[tuple[Position, Row]]:
    """Yield each file of a source, admitted or dropped, with its position; memory: one file."""
    for number, unit in enumerate(units(source, languages=languages, recipe=recipe)):
        if number < start[0]:
            continue
        for count, row in enumerate(_unit_rows(unit, source, recipe, languages, gate)):
            if (number, count) >= start:
                yield (number, count), row


def _unit_rows(
    unit: Unit, source: Source, recipe: CorpusRecipe, languages: Sequence[str], gate: Gate
) -> Iterator[Row]:
    """Yield a row for each selected file, and a drop for each refused repository."""
    names = _unit_names(unit)
    if refusal := _refusal_by_name(unit, names, gate, source.kind):
        yield _refusal(source.name, refusal, languages)
        return
    is_sampled = _file_sampler(unit, source, languages)
    pending: dict[str, str] = {}  # repository -> reason, not yet reported
    reported: set[str] = set()

    def is_selected(repository: str, path: str) -> bool:
        reason = gate.refuses(repository)
        if reason and repository not in reported:
            pending[repository] = reason
        return reason is None and (not path or is_sampled(repository, path))

    # Readers refuse single files themselves; any other failure ends the unit.
    for received in iterate_untrusted(unit.files(is_selected), cpu_seconds=None):
        yield from _repository_refusals(source.name, pending, reported)
        if isinstance(received, ParserFailure):
            refusal = Refusal(
                repository=unit.name, path="", reason="unreadable", evidence=received.evidence
            )
            yield _refusal(source.name, refusal, languages)
        elif isinstance(received, Refusal):
            yield _refusal(source.name, received, languages)
        else:
            yield replace(_row(source.name, received, recipe, languages), names=names)
    yield from _repository_refusals(source.name, pending, reported)


def _unit_names(unit: Unit) -> tuple[str, ...]:
    """Every name that a unit's repository may have, up to the first that cannot be read."""
    names: list[str] = []
    for name in iterate_untrusted(unit.names(), cpu_seconds=None):
        if isinstance(name, ParserFailure):
            break  # `files` reports what cannot be read
        names.append(name)
    return tuple(dict.fromkeys(names))


def _refusal_by_name(unit: Unit, names: Sequence[str], gate: Gate, kind: str) -> Refusal | None:
    """The refusal of a unit if one of its candidate repositories must not be ingested."""
    for name in names:
        if reason := gate.refuses_reading(name):
            remedy = (
                "state its repository in the recipe's source"
                if kind == "archives"
                else "give its folder another name"
            )
            evidence = f"{unit.name} may be of this repository; if it is not, {remedy}"
            repository = redact_urls(name)
            return Refusal(repository=repository, path="", reason=reason, evidence=evidence)
    return None


def _repository_refusals(source: str, pending: dict[str, str], reported: set[str]) -> Iterator[Row]:
    while pending:
        repository, reason = pending.popitem()
        reported.add(repository)
        evidence = "the whole repository, by its name"
        refusal = Refusal(repository=repository, path="", reason=reason, evidence=evidence)
        yield _refusal(source, refusal, ())


def _file_sampler(unit: Unit, source: Source, languages: Sequence[str]) -> FileFilter:
    """Sampling filter of a unit's files: the first by hash of name, per repository and language."""
    limit = source.files_per_repository
    if limit is None:
        return lambda _repository, _path: True
    last: dict[tuple[str, str], list[int]] = {}  # the `limit` smallest hashes, negated: a heap
    for item in iterate_untrusted(unit.listing(), cpu_seconds=None):
        if isinstance(item, ParserFailure):
            break  # the files before it are read, as in `files`
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


def _row(source: str, received: SourceFile, recipe: CorpusRecipe, languages: Sequence[str]) -> Row:
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
    decision = parse_untrusted(
        partial(decide, content, received.statement, permissive=recipe.permissive_licenses)
    )
    if isinstance(decision, ParserFailure):
        return _drop(source, received, name, languages, "license_unknown", decision.evidence)
    if decision.license is None:
        return _drop(source, received, name, languages, str(decision.reason), decision.evidence)
    columns = {
        "document_id": name,
        "raw_id": raw_id,
        "source": source,
        "repository": received.repository,
        "revision": printable(received.revision),
        "path": received.path,
        "license": decision.license,
        "license_evidence": printable(decision.evidence),
        "copyright_notices": list(received.statement.notices),
        "content": content,
    }
    likeliest = candidates(received.path, languages)[0]
    return Row(FILES, received.repository, likeliest, len(content) + _ROW_BYTES, columns)


def _drop(
    source: str,
    received: SourceFile,
    name: str | None,
    languages: Sequence[str],
    reason: str,
    evidence: str | None,
) -> Row:
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
) -> Row:
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
    return Row(DROPS, repository, likeliest, _ROW_BYTES, columns)
