"""What the annotator learns from: exemplars, and random files of the corpus that are not like them.

Train and validation share no repository. Benchmark problems are nowhere among the examples, nor is
a held-out document or a near copy of one.
"""

import heapq
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.kept import decisions, kept_documents
from snow_assets.curation.sampling import stable_share
from snow_assets.documents import EXAMPLE
from snow_assets.quality.near_copies import near_copies
from snow_assets.recipe import AnnotatorRecipe, NearDuplicatesRecipe

TABLE = "examples"

TRAIN, VALIDATION = "train", "validation"

_MATCHING_POOL = 20  # candidates per positive among which a length-matched negative is sought
_SHARD_CHARS = 64_000_000

_SETTINGS = (
    "max_positives",
    "negatives_per_positive",
    "validation_share",
    "validation_negatives",
    "length_match_ratio",
    "seed",
)

Row = dict[str, Any]


def settings(recipe: AnnotatorRecipe) -> dict[str, Any]:
    """The numbers that drawing reads; a change of another does not draw again."""
    return {name: getattr(recipe, name) for name in _SETTINGS}


def write(
    folder: str,
    *,
    exemplars_folder: str,
    clean_folders: Sequence[str],
    recipe: AnnotatorRecipe,
    near_duplicates: NearDuplicatesRecipe,
) -> dict[str, Any]:
    """Write table `examples`; returns counts. Memory: the positives' texts, a sample's ids.

    Negatives are random, as the paper's are (arXiv 2409.02326, section 2.3), in train and in
    validation; besides, each validation positive gets an unseen negative of its language and
    about its length, where the corpus has one.
    """
    positives = _positives(exemplars_folder, recipe)
    copies = near_copies(
        {row["text_id"]: row["text"] for row in positives}, clean_folders, recipe=near_duplicates
    )
    held_out = {copy.of for copy in copies if copy.split != TRAIN}
    positives = _split([row for row in positives if row["text_id"] not in held_out], recipe=recipe)
    resembling = {copy.text_id for copy in copies}
    negatives = _negatives(positives, clean_folders, resembling, recipe)
    for index, rows in enumerate(_shards(positives, negatives, clean_folders)):
        shards.put_table(folder, TABLE, index, rows, EXAMPLE)
    return {
        **_counts([*positives, *negatives]),
        "positives_like_held_out_documents": len(held_out),
        "documents_like_positives": len(resembling),
        "validation_repositories": sorted(
            {row["repository"] for row in positives if row["split"] == VALIDATION}
        ),
    }


def _positives(exemplars_folder: str, recipe: AnnotatorRecipe) -> list[Row]:
    """The exemplars, or `max_positives` of them by hash."""
    columns = ["text_id", "repository", "language", "text"]
    batches = shards.batches(exemplars_folder, "exemplars", columns=columns)
    rows = (row for batch in batches for row in batch.to_pylist())
    return heapq.nsmallest(recipe.max_positives, rows, key=_chance("positive", recipe.seed))


def _split(positives: list[Row], *, recipe: AnnotatorRecipe) -> list[Row]:
    """Some repositories by hash validate, at least one, and at least one trains."""
    names = sorted(
        {row["repository"] for row in positives},
        key=lambda name: (stable_share(f"split:{name}", seed=recipe.seed), name),
    )
    if len(names) < 2:
        raise ValueError(
            f"exemplars of {len(names)} repositories ({', '.join(names)}) cannot be split by "
            "repository: name two or more in the recipe's exemplars.repositories"
        )
    count = min(len(names) - 1, max(1, round(recipe.validation_share * len(names))))
    chosen = set(names[:count])
    return [
        {
            **row,
            "is_positive": True,
            "split": VALIDATION if row["repository"] in chosen else TRAIN,
            "matches": None,
        }
        for row in positives
    ]


def _negatives(
    positives: Sequence[Row],
    clean_folders: Sequence[str],
    resembling: set[str],
    recipe: AnnotatorRecipe,
) -> list[Row]:
    """Random ones for train and validation, and length-matched ones; still without texts."""
    splits = {row["repository"]: row["split"] for row in positives}

    def drawn(split: str, count: int) -> list[Row]:
        rows = (
            row
            for row in _candidates(clean_folders, resembling)
            if _split_of(row["repository"], splits, recipe) == split
        )
        found = heapq.nsmallest(count, rows, key=_chance("negative", recipe.seed))
        if not found:
            raise ValueError(
                f"the clean corpus has no document for the annotator's {split} negatives: add "
                "sources, or change the recipe's annotator.validation_share"
            )
        return [{**row, "is_positive": False, "split": split, "matches": None} for row in found]

    num_train = sum(row["split"] == TRAIN for row in positives)
    validating = [row for row in positives if row["split"] == VALIDATION]
    train = drawn(TRAIN, round(recipe.negatives_per_positive * num_train))
    unseen = drawn(VALIDATION, max(recipe.validation_negatives, _MATCHING_POOL * len(validating)))
    matched = length_matched(validating, unseen, ratio=recipe.length_match_ratio)
    return [*train, *unseen[: recipe.validation_negatives], *matched]


def _candidates(clean_folders: Sequence[str], resembling: set[str]) -> Iterator[Row]:
    columns = ("text_id", "repository", "language", "num_bytes")
    for folder in clean_folders:
        for batch in kept_documents(folder, split=TRAIN, columns=columns):
            yield from (row for row in batch.to_pylist() if row["text_id"] not in resembling)


def _split_of(repository: str, known: Mapping[str, str], recipe: AnnotatorRecipe) -> str:
    if repository in known:
        return known[repository]
    share = stable_share(f"split:{repository}", seed=recipe.seed)
    return VALIDATION if share < recipe.validation_share else TRAIN


def length_matched(positives: Sequence[Row], pool: Sequence[Row], *, ratio: float) -> list[Row]:
    """For each positive the unused row of its language whose length is nearest, within `ratio`.

    A positive without such a row is left without; which positive chooses first is chance.
    """
    by_language: dict[str, list[tuple[float, str, Row]]] = {}
    for row in pool:
        length = math.log(max(1, row["num_bytes"]))
        by_language.setdefault(row["language"], []).append((length, row["text_id"], row))
    for rows in by_language.values():
        rows.sort(key=lambda entry: entry[:2])
    matched = []
    for positive in positives:
        rows = by_language.get(positive["language"], [])
        wanted = math.log(max(1, len(positive["text"].encode())))
        place = bisect_left(rows, wanted, key=lambda entry: entry[0])
        near = range(max(0, place - 1), min(len(rows), place + 1))
        best = min(near, key=lambda index: abs(rows[index][0] - wanted), default=None)
        if best is not None and abs(rows[best][0] - wanted) <= math.log(ratio):
            matched.append({**rows.pop(best)[2], "matches": positive["text_id"]})
    return matched


def _chance(purpose: str, seed: int) -> Callable[[Row], tuple[float, str]]:
    return lambda row: (stable_share(f"{purpose}:{row['text_id']}", seed=seed), row["text_id"])


def _shards(
    positives: Sequence[Row], negatives: Sequence[Row], clean_folders: Sequence[str]
) -> Iterator[list[Row]]:
    """All examples with their texts, about 64 MB at a time."""
    held: list[Row] = []
    size = 0
    for row in [*positives, *_with_texts(negatives, clean_folders)]:
        held.append({name: row[name] for name in EXAMPLE.names})
        size += len(row["text"])
        if size >= _SHARD_CHARS:
            yield held
            held, size = [], 0
    if held:
        yield held


def _with_texts(negatives: Sequence[Row], clean_folders: Sequence[str]) -> Iterator[Row]:
    by_text: dict[str, list[Row]] = {}
    for row in negatives:
        by_text.setdefault(row["text_id"], []).append(row)
    names = pa.array(sorted(by_text), pa.string())
    for folder in clean_folders:
        for batch in kept_documents(folder, split=TRAIN, columns=("text_id", "text")):
            chosen = batch.filter(pc.is_in(batch["text_id"], names))
            for found in chosen.to_pylist():
                for row in by_text.pop(found["text_id"], []):
                    yield {**row, "text": found["text"]}


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in rows:
        kind = "positives" if row["is_positive"] else "negatives"
        counts[f"{row['split']}_{'length_matched' if row['matches'] else kind}"] += 1
    return dict(sorted(counts.items()))


def crossing_repositories(folder: str) -> list[str]:
    """Repositories that stand in train and in validation, as sentences."""
    table = shards.read(folder, TABLE, columns=["repository", "split"])
    sides = {
        split: set(table.filter(pc.equal(table["split"], split))["repository"].to_pylist())
        for split in (TRAIN, VALIDATION)
    }
    return [f"{name} is in both splits" for name in sorted(sides[TRAIN] & sides[VALIDATION])]


def held_out_examples(folder: str, clean_folders: Sequence[str]) -> list[str]:
    """Examples that the clean corpus holds out, or that share a repository with such."""
    table = shards.read(folder, TABLE, columns=["text_id", "repository"])
    wrong = []
    for clean in clean_folders:
        decided = decisions(clean)
        held_out = decided.filter(pc.fill_null(pc.equal(decided["split"], "held_out"), False))
        for column in ("text_id", "repository"):
            found = set(table[column].to_pylist()) & set(held_out[column].to_pylist())
            wrong += [f"{column} {name} is held out and an example" for name in sorted(found)]
    return wrong
