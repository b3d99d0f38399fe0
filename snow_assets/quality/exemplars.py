"""Exemplars, the annotator's positives: groups of files and of tables' rows, none in the corpus.

Files are read and converted as the corpus's are: licences, languages, redaction. What cannot be
read, is not admitted, or holds a benchmark problem becomes a row of table `drops`.
"""

import ast
import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.corpus.raw_shards import DROPS, FILES
from snow_assets.corpus.repository_names import canonical
from snow_assets.corpus.source_rows import Gate, source_rows
from snow_assets.corpus.source_units import order_by_hash
from snow_assets.corpus.sources import snapshot as source_snapshot
from snow_assets.corpus.spdx import is_spdx
from snow_assets.corpus.tables import snapshot as table_snapshot
from snow_assets.curation.decontamination.prefilter import hits, index_problems, prefilter
from snow_assets.curation.prepare import prepare_shard
from snow_assets.quality.exemplar_rows import TABLE, TableRow, drop_row, row_texts
from snow_assets.recipe import (
    ContaminationRecipe,
    CorpusRecipe,
    ExemplarRecipe,
    FilePositives,
    RowPositives,
)
from snow_assets.storage import shards
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.corpus import DROP, EXEMPLAR, RAW_FILE

_SHARD_CHARS, _SHARD_ROWS = 64_000_000, 1_000_000
_BATCH_BYTES = 16_000_000
_BATCH_ROWS = 1_000

Row = dict[str, Any]


def config(recipe: ExemplarRecipe) -> list[dict[str, Any]]:
    """The groups without what only the drawing of examples reads."""
    return [
        {
            name: value
            for name, value in vars(group).items()
            if name not in ("max_positives", "weight")
            and not (name == "includes_files" and value is True)  # later than addresses without it
        }
        for group in recipe.groups
    ]


def snapshots(recipe: ExemplarRecipe, corpus: CorpusRecipe) -> dict[str, dict[str, str]]:
    """Group -> versions of its parts; ValueError with the remedy for a group that is not there."""
    return {group.name: _snapshot(group, corpus) for group in recipe.groups}


def _snapshot(group: FilePositives | RowPositives, corpus: CorpusRecipe) -> dict[str, str]:
    try:
        if isinstance(group, FilePositives):
            _refuse_benchmarks(group)
            return source_snapshot(group.source, corpus)
        if not (is_spdx(group.license) or group.license.startswith("LicenseRef-")):
            raise ValueError(f"license {group.license!r} is not on SPDX's list: correct it")
        return table_snapshot(group.locations)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"the positives {group.name!r} of the recipe's exemplars.groups: {error}. Bring the "
            "data there (docs/recipe.md names ARCTIC's sets), or state other groups"
        ) from error


def _refuse_benchmarks(group: FilePositives) -> None:
    if group.source.kind != "distributions":
        return
    names = {canonical(location.partition(":")[0]) for location in group.source.locations}
    for benchmark in BENCHMARKS.values():
        if canonical(benchmark.source.name) in names:
            raise ValueError(f"{benchmark.source.name!r} is a benchmark and cannot be an exemplar")


def write(
    folder: str,
    *,
    recipe: ExemplarRecipe,
    corpus: CorpusRecipe,
    languages: Sequence[str],
    problems: pa.Table,
    contamination: ContaminationRecipe,
    opted_out: frozenset[str],
) -> dict[str, Any]:
    """Write tables `exemplars`, each text once, and `drops`; return counts.

    Memory: a shard of texts, and the ids of all. ValueError for a group without any positive.
    """
    writer = _Writer(folder, problems, contamination)
    stats: dict[str, Any] = {}
    for group in recipe.groups:
        if isinstance(group, FilePositives):
            _refuse_benchmarks(group)
            rows = _file_rows(group, corpus, languages, opted_out)
        else:
            rows = row_texts(group, corpus=corpus, languages=languages)
        counts = writer.add(group.name, rows)
        if not counts[TABLE]:
            reasons = dict(counts) or "it holds no file in a language of the recipe"
            raise ValueError(
                f"the positives {group.name!r} have no text of their own under a permissive "
                f"licence in {tuple(languages)}: {reasons}. Name others in the recipe's "
                "exemplars.groups, or correct the group's columns"
            )
        stats[group.name] = dict(sorted(counts.items()))
    writer.close()
    return {
        "num_exemplars": sum(counts[TABLE] for counts in stats.values()),
        "kinds": dict(sorted(writer.kinds.items())),
        "languages": dict(sorted(writer.languages.items())),
        "groups": stats,
    }


class _Writer:
    """Writes both tables in shards, without repeated and contaminated texts."""

    def __init__(self, folder: str, problems: pa.Table, contamination: ContaminationRecipe) -> None:
        self.folder = folder
        self.kinds: Counter[str] = Counter()
        self.languages: Counter[str] = Counter()
        self._index = index_problems(problems, recipe=contamination)
        self._masks = prefilter(self._index)
        self._text_ids: set[str] = set()
        self._pending: dict[str, list[Row]] = {TABLE: [], DROPS: []}
        self._num_chars = 0
        self._num_shards = 0

    def add(self, group: str, rows: Iterable[TableRow]) -> Counter[str]:
        """Add a group's rows; the number of its exemplars, and of its drops by reason."""
        counts: Counter[str] = Counter()
        for table, row in self._decontaminated(group, rows):
            if table == DROPS:
                counts[row["reason"]] += 1
            elif row["text_id"] in self._text_ids:
                counts["same_text"] += 1
                continue
            else:
                self._text_ids.add(row["text_id"])
                counts[TABLE] += 1
                self.kinds[row["kind"]] += 1
                self.languages[row["language"]] += 1
            self._pending[table].append(row)
            self._num_chars += len(row.get("text", ""))
            if self._num_chars >= _SHARD_CHARS or len(self._pending[table]) >= _SHARD_ROWS:
                self.close()
        return counts

    def close(self) -> None:
        """Write what is pending as a shard of each table."""
        for table, schema in ((DROPS, DROP), (TABLE, EXEMPLAR)):
            shards.put_table(self.folder, table, self._num_shards, self._pending[table], schema)
            self._pending[table] = []
        self._num_chars = 0
        self._num_shards += 1

    def _decontaminated(self, group: str, rows: Iterable[TableRow]) -> Iterator[TableRow]:
        """The rows; each text that holds a benchmark problem as a drop."""
        for batch in _batches(rows):
            texts = [row for table, row in batch if table == TABLE]
            yield from ((table, row) for table, row in batch if table == DROPS)
            if not texts:
                continue
            masks = self._masks(pa.chunked_array([pa.array([row["text"] for row in texts])]))
            for row, check_overlap, check_gate in zip(
                texts, masks.overlap.tolist(), masks.gate.tolist(), strict=True
            ):
                problem_hits = hits(
                    row["text"], self._index, check_overlap=check_overlap, check_gate=check_gate
                )
                if problem_hits:
                    first = problem_hits[0]
                    evidence = f"{first.problem_id}, {first.method}: {first.evidence}"
                    yield DROPS, drop_row(group, row, "contaminated", evidence)
                else:
                    yield TABLE, {**row, "group": group}


def _batches(rows: Iterable[TableRow]) -> Iterator[list[TableRow]]:
    """Batches of rows, each of about `_BATCH_BYTES` at most."""
    batch: list[TableRow] = []
    num_bytes = 0
    for table, row in rows:
        batch.append((table, row))
        num_bytes += len(row.get("text", "")) + len(row.get("content", b""))
        if num_bytes >= _BATCH_BYTES or len(batch) >= _BATCH_ROWS:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _file_rows(
    group: FilePositives,
    corpus: CorpusRecipe,
    languages: Sequence[str],
    opted_out: frozenset[str],
) -> Iterator[TableRow]:
    """Files of a group, with each run of a repository's files its functions, and drops."""
    gate = Gate(opted_out=opted_out, exemplars=frozenset())
    raw = (
        (row.table, dict(row.columns))
        for _, row in source_rows(group.source, corpus, languages, gate)
    )
    pairs: list[Row] = []
    repository = None
    for table, row in _documents(raw, languages):
        if table == TABLE and row["repository"] != repository:
            yield from _first_by_hash(pairs, group.source.files_per_repository)
            pairs, repository = [], row["repository"]
        if table == DROPS or group.includes_files:
            yield table, row
        if table == TABLE and row["language"] == "python" and group.min_docstring_chars is not None:
            pairs += _pairs(row, group.min_docstring_chars)
    yield from _first_by_hash(pairs, group.source.files_per_repository)


def _first_by_hash(rows: Sequence[Row], count: int | None) -> Iterator[TableRow]:
    ordered = sorted(rows, key=lambda row: order_by_hash(row["text_id"]))
    yield from ((TABLE, row) for row in ordered[:count])


def _documents(rows: Iterable[TableRow], languages: Sequence[str]) -> Iterator[TableRow]:
    """Convert raw files as curation does; drops stay drops. Memory: a batch."""
    for batch in _batches(rows):
        yield from ((DROPS, row) for table, row in batch if table == DROPS)
        files = [row for table, row in batch if table == FILES]
        if files:
            prepared = prepare_shard(
                pa.Table.from_pylist(files, schema=RAW_FILE), languages=languages, with_parses=False
            )
            yield from ((DROPS, row) for row in prepared.drops.to_pylist())
            names = [name for name in EXEMPLAR.names if name not in ("kind", "group")]
            for row in prepared.documents.select(names).to_pylist():
                yield TABLE, {**row, "kind": "file"}


def _pairs(row: Row, min_docstring_chars: int) -> Iterator[Row]:
    for text in docstring_pairs(row["text"], min_docstring_chars=min_docstring_chars):
        yield {**row, "text_id": text_id(text), "kind": "instruction", "text": text}


def docstring_pairs(text: str, *, min_docstring_chars: int) -> Iterator[str]:
    """Yield each function with a long enough docstring: docstring, blank line, function.

    Nothing for a text that Python does not parse. Functions with an empty body are skipped.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return
    lines = text.splitlines()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node)
            if docstring and len(docstring) >= min_docstring_chars and len(node.body) > 1:
                yield f'"""{docstring}\n"""\n\n{_without_docstring(node, lines)}'


def _without_docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> str:
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    docstring = node.body[0]
    head = lines[first - 1 : docstring.lineno - 1]
    body = lines[docstring.end_lineno or docstring.lineno : node.end_lineno]
    return textwrap.dedent("\n".join([*head, *body])).strip("\n") + "\n"
