"""Where an opted-out repository is, or had been: shards, scores, synthetic children, checkpoints.

Every finished generation is asked, whichever recipe made it, by columns that hold no text.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.checked_json import DamagedFileError
from snow_assets.corpus.opt_outs import is_listed

# asset, table -> the column that names a row's repository.
_BY_REPOSITORY: Mapping[tuple[str, str], str] = {
    ("raw_code_corpus", "files"): "repository",
    ("documents", "documents"): "repository",
    ("annotator_examples", "examples"): "repository",
    ("high_quality_subset", "documents"): "repository",
    ("synthetic_answers", "seeds"): "seed_repository",
    ("synthetic_set", "documents"): "seed_repository",
    ("general_checkpoint", "seen"): "repository",
    ("continued_checkpoint", "seen"): "repository",
    ("enhanced_checkpoint", "seen"): "repository",
}
_SCORES = "quality_scores"


@dataclass(frozen=True, kw_only=True)
class Trace:
    """Rows of one generation that came from opted-out repositories."""

    asset: str
    partition: str
    generation: str
    shards: tuple[str, ...]
    num_rows: int
    num_tokens: int  # 0 where the table counts none
    damage: str = ""  # why it cannot be read: it may hold rows of theirs


def traces(lake: str, names: Iterable[str]) -> list[Trace]:
    """All places of the listed repositories, in the order of the stages.

    A score names a text: it is told where no other repository holds the same text.
    """
    listed = frozenset(names)
    if not listed:
        return []
    found: list[Trace] = []
    texts, others = set[str](), set[str]()
    children: set[str] = set()
    for (asset, table), column in _BY_REPOSITORY.items():
        for folder in finished(lake, asset):
            rows = _Rows(folder)
            for name, batch in _readable(folder, table, column, rows):
                is_theirs = [is_listed(each, listed) for each in batch[column].to_pylist()]
                if asset.endswith("_checkpoint"):
                    # What the teacher wrote from their files counts as theirs.
                    ids = batch["document_id"].to_pylist()
                    is_theirs = [
                        one or each in children for one, each in zip(is_theirs, ids, strict=True)
                    ]
                theirs = batch.filter(pa.array(is_theirs, pa.bool_()))
                rows.add(name, theirs)
                if asset == "synthetic_set":
                    children.update(theirs["document_id"].to_pylist())
                if asset == "documents":
                    texts.update(theirs["text_id"].to_pylist())
                    kept = pa.array([not one for one in is_theirs], pa.bool_())
                    others.update(batch.filter(kept)["text_id"].to_pylist())
            found += rows.trace()
    return [*found, *_scored(lake, texts - others)]


def _scored(lake: str, texts: set[str]) -> Iterator[Trace]:
    wanted = pa.array(sorted(texts), pa.string())
    for folder in finished(lake, _SCORES):
        rows = _Rows(folder)
        for name, batch in _readable(folder, "scores", "text_id", rows):
            rows.add(name, batch.filter(pc.is_in(batch["text_id"], value_set=wanted)))
        yield from rows.trace()


def finished(lake: str, asset: str) -> list[str]:
    """The finished generations of an asset, as URLs, by partition and name."""
    root = shards.join(lake, asset)
    folders = [
        shards.join(root, partition, generation)
        for partition in shards.names(root)
        for generation in shards.names(shards.join(root, partition))
    ]
    return [folder for folder in folders if shards.is_finished(folder)]


def markdown(found: Sequence[Trace]) -> str:
    """The traces as a table for a page."""
    if not found:
        return "The lake holds nothing of the listed repositories."
    lines = [
        "| where | generation | shards | rows | tokens |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {one.asset} [{one.partition}] | `{one.generation[:12]}` | {len(one.shards)} "
        f"| {one.num_rows:,}{', and what is damaged' if one.damage else ''} | {one.num_tokens:,} |"
        for one in found
    ]
    return "\n".join(lines)


class _Rows:
    """Counts what is theirs in a generation."""

    def __init__(self, folder: str) -> None:
        self._place = folder.rsplit("/", 3)[1:]
        self._shards: list[str] = []
        self._num_rows = self._num_tokens = 0
        self.damage = ""

    def add(self, shard: str, theirs: pa.Table) -> None:
        if theirs.num_rows:
            self._shards.append(shard)
            self._num_rows += theirs.num_rows
            if "num_tokens" in theirs.column_names:
                self._num_tokens += pc.sum(theirs["num_tokens"]).as_py() or 0

    def trace(self) -> list[Trace]:
        asset, partition, generation = self._place
        if not self._num_rows and not self.damage:
            return []
        return [
            Trace(
                asset=asset,
                partition=partition,
                generation=generation,
                shards=tuple(self._shards),
                num_rows=self._num_rows,
                num_tokens=self._num_tokens,
                damage=self.damage,
            )
        ]


_COLUMNS = ("document_id", "text_id", "num_tokens")


def _readable(folder: str, table: str, column: str, rows: _Rows) -> Iterator[tuple[str, Any]]:
    """The shards of a table up to the first damaged one, which is noted in `rows`."""
    try:
        yield from _shards(folder, table, column)
    except DamagedFileError as error:
        rows.damage = str(error)


def _shards(folder: str, table: str, column: str) -> Iterator[tuple[str, Any]]:
    for entry in shards.manifest(folder).tables(table):
        known = shards.columns(folder, entry.name)
        wanted = [name for name in dict.fromkeys((column, *_COLUMNS)) if name in known]
        yield entry.name, shards.read_shard(folder, entry.name, columns=wanted)
