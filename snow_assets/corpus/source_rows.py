"""Rows of a source's files: admitted, or dropped with a reason, in the source's order."""

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

from snow_assets.corpus.extensions import candidates
from snow_assets.corpus.licenses import decide
from snow_assets.corpus.opt_outs import is_listed
from snow_assets.corpus.raw_shards import DROPS, FILES, Position
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.source_units import (
    FileFilter,
    Refusal,
    SourceFile,
    Unit,
    order_by_hash,
    without_owner,
)
from snow_assets.corpus.sources import units
from snow_assets.corpus.unit_groups import UnitGroup
from snow_assets.corpus.untrusted import (
    ParserFailure,
    is_printable,
    iterate_untrusted,
    parse_untrusted,
    printable,
)
from snow_assets.recipe import CorpusRecipe, Source
from snow_assets.storage.ids import document_id
from snow_assets.storage.urls import redact_urls

SAME_DOCUMENT = "same_document"
"""Why a file is dropped that its source holds before."""

_ROW_BYTES = 512  # estimate of a row's columns without content, so that drops fill a shard too

_MAX_NAME_BYTES = 4_096  # of a path: the most that Linux opens
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_LFS_POINTER_BYTES = 1_024  # github.com/git-lfs/git-lfs, docs/spec.md: pointers are smaller


@dataclass(frozen=True)
class Row:
    table: str  # FILES or DROPS
    repository: str
    language: str  # the likeliest by its name; empty for a whole repository
    num_bytes: int
    columns: Mapping[str, Any]
    names: tuple[str, ...] = ()  # of the repository elsewhere: remotes, readings of an archive


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
        if canonical(name).replace("@", "") in self._names_without_owner:
            return "opted_out"
        return self.refuses(name)

    @cached_property
    def _names_without_owner(self) -> frozenset[str]:
        return frozenset(name for entry in self.opted_out for name in without_owner(entry))


def source_rows(
    source: Source,
    recipe: CorpusRecipe,
    languages: Sequence[str],
    gate: Gate,
    *,
    group: UnitGroup | None = None,
    start: Position = (0, 0),
) -> Iterator[tuple[Position, Row]]:
    """Yield each file of a source, or of a group of its units, admitted or dropped, with its
    position; memory: one file."""
    source_units = units(source, languages=languages, recipe=recipe)
    positions = enumerate(source_units) if group is None else group.units(source_units)
    for number, unit in positions:
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


def same_document_row(file: Mapping[str, Any], source: str, languages: Sequence[str]) -> Row:
    """The drop of a file (RAW_FILE) that the source holds before."""
    refusal = Refusal(
        repository=file["repository"],
        path=file["path"],
        reason=SAME_DOCUMENT,
        evidence="the source holds this file of this repository twice",
        num_bytes=len(file["content"]),
    )
    return _refusal(source, refusal, languages, file["document_id"])
