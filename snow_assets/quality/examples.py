"""Examples of the annotator: exemplars as positives, random dissimilar documents as negatives.

Train and validation share no repository; each group of positives is in both, if it has two.
Examples contain no benchmark problem, and no held-out document or near duplicate of one.
"""

import heapq
import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.curation.sampling import stable_share
from snow_assets.quality.near_duplicates import find_near_duplicates
from snow_assets.quality.text_shards import put_texts
from snow_assets.recipe import AnnotatorRecipe, ExemplarRecipe, NearDuplicatesRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import EXAMPLE, GRADED_EXAMPLE

TABLE, GRADED_TABLE = "examples", "graded_examples"

TRAIN, VALIDATION = "train", "validation"

_MATCHING_POOL = 20  # candidates per positive for a length-matched negative

_CONFIG_FIELDS = (
    "max_positives",
    "negatives_per_positive",
    "validation_fraction",
    "validation_negatives",
    "length_match_ratio",
    "seed",
)

Row = dict[str, Any]


def config(recipe: AnnotatorRecipe, exemplars: ExemplarRecipe) -> dict[str, Any]:
    """The recipe fields that determine the examples."""
    groups = {
        group.name: {"max_positives": group.max_positives, "weight": group.weight}
        for group in exemplars.chosen_groups(recipe.positive_groups)
    }
    grades = {table.name: {"weight": table.weight} for table in recipe.grades}
    return {
        **{name: getattr(recipe, name) for name in _CONFIG_FIELDS},
        "groups": groups,
        **({"grades": grades} if grades else {}),
    }


def write(
    folder: str,
    *,
    exemplars_folder: str,
    clean_folders: Sequence[str],
    recipe: AnnotatorRecipe,
    exemplars: ExemplarRecipe,
    near_duplicates: NearDuplicatesRecipe,
    graded_folders: Sequence[str] = (),
) -> dict[str, Any]:
    """Write table `examples`, and `graded_examples` of `graded_texts` artifacts; return counts.

    Negatives are random, as in the paper (arXiv 2409.02326, section 2.3), in train and in
    validation. Each validation positive also gets an unseen negative of the same language and
    similar length, if the corpus has one. A positive whose text has a grade is left out. Memory:
    the texts of positives and grades, the negatives' ids.
    """
    graded = _graded_rows(graded_folders, recipe)
    graded_ids = {row["text_id"] for row in graded}
    positives = [
        row
        for row in _sample_positives(exemplars_folder, recipe, exemplars)
        if row["text_id"] not in graded_ids
    ]
    duplicates = find_near_duplicates(
        {row["text_id"]: row["text"] for row in [*positives, *graded]},
        clean_folders,
        recipe=near_duplicates,
    )
    held_out = {duplicate.query_text_id for duplicate in duplicates if duplicate.split != TRAIN}
    positives = [row for row in positives if row["text_id"] not in held_out]
    graded = [row for row in graded if row["text_id"] not in held_out]
    splits = _assign_splits([*positives, *graded], recipe=recipe)
    positives = [
        {**row, "is_positive": True, "split": splits[row["repository"]], "matches": None}
        for row in positives
    ]
    similar_ids = {duplicate.text_id for duplicate in duplicates}
    negatives = _sample_negatives(positives, clean_folders, similar_ids, splits, recipe)
    put_texts(folder, TABLE, [*positives, *_with_texts(negatives, clean_folders)], EXAMPLE)
    graded = [{**row, "split": splits[row["repository"]]} for row in graded]
    put_texts(folder, GRADED_TABLE, graded, GRADED_EXAMPLE)
    grade_counts = Counter(f"{row['group']}.{row['split']}" for row in graded)
    return {
        **({"grades": dict(sorted(grade_counts.items()))} if graded else {}),
        **_counts([*positives, *negatives]),
        "groups": dict(Counter(f"{row['group']}.{row['split']}" for row in positives)),
        "positives_like_held_out_documents": len(held_out),
        "documents_like_positives": len(similar_ids),
        "validation_repositories": sorted(
            {row["repository"] for row in positives if row["split"] == VALIDATION}
        ),
    }


def _graded_rows(graded_folders: Sequence[str], recipe: AnnotatorRecipe) -> list[Row]:
    """The graded texts; one of several tables belongs to the first."""
    weights = {table.name: table.weight for table in recipe.grades}
    columns = ["text_id", "table", "repository", "language", "grade", "text"]
    graded: dict[str, Row] = {}
    for folder in graded_folders:
        for row in shards.read(folder, "texts", columns=columns).to_pylist():
            weight = weights[row["table"]]
            graded.setdefault(row["text_id"], {**row, "group": row["table"], "weight": weight})
    return list(graded.values())


def _sample_positives(
    exemplars_folder: str, recipe: AnnotatorRecipe, exemplars: ExemplarRecipe
) -> list[Row]:
    """The exemplars by hash: at most `max_positives` of each chosen group, then of all.

    Memory: all ids, and the texts of those that are drawn.
    """
    key = _sampling_key("positive", recipe.seed)
    groups = exemplars.chosen_groups(recipe.positive_groups)
    ids = shards.read(exemplars_folder, "exemplars", columns=["text_id", "group"]).to_pylist()
    drawn = heapq.nsmallest(
        recipe.max_positives,
        (
            row
            for group in groups
            for row in heapq.nsmallest(
                group.max_positives, (row for row in ids if row["group"] == group.name), key=key
            )
        ),
        key=key,
    )
    drawn_ids = {row["text_id"] for row in drawn}
    weights = {group.name: group.weight for group in groups}
    columns = ["text_id", "group", "repository", "language", "text"]
    rows = (
        {**row, "weight": weights[row["group"]]}
        for batch in shards.batches(exemplars_folder, "exemplars", columns=columns)
        for row in batch.to_pylist()
        if row["text_id"] in drawn_ids
    )
    return sorted(rows, key=key)


def _assign_splits(rows: list[Row], *, recipe: AnnotatorRecipe) -> dict[str, str]:
    """Split the repositories of each group, by hash: at least one in train and, of two or more, one
    in validation. A repository of two groups is where the first one has it."""
    splits: dict[str, str] = {}
    for group in dict.fromkeys(row["group"] for row in rows):
        names = sorted(
            {row["repository"] for row in rows if row["group"] == group} - splits.keys(),
            key=lambda name: (stable_share(f"split:{name}", seed=recipe.seed), name),
        )
        count = min(len(names) - 1, max(1, round(recipe.validation_fraction * len(names))))
        splits.update(dict.fromkeys(names[:count], VALIDATION))
        splits.update(dict.fromkeys(names[max(0, count) :], TRAIN))
    if VALIDATION not in splits.values():
        named = f" ({', '.join(sorted(splits)[:10])})" if splits else ""
        tables = " or in a table of its annotator.grades" if recipe.grades else ""
        raise ValueError(
            f"examples of {len(splits)} repositories{named} cannot be split by repository: name "
            f"two or more in one of the recipe's exemplars.groups{tables}"
        )
    return splits


def _sample_negatives(
    positives: Sequence[Row],
    clean_folders: Sequence[str],
    similar_ids: set[str],
    splits: Mapping[str, str],
    recipe: AnnotatorRecipe,
) -> list[Row]:
    """Random negatives for train and validation, and length-matched ones, without texts."""

    def sample(split: str, count: int) -> list[Row]:
        def is_of_split(repository: str) -> bool:
            return _split_of(repository, splits, recipe) == split

        rows = (
            row
            for folder in clean_folders
            for row in _candidates(folder, similar_ids, is_of_split).iter_rows(named=True)
        )
        sampled = heapq.nsmallest(count, rows, key=_sampling_key("negative", recipe.seed))
        if not sampled:
            raise ValueError(
                f"the clean corpus has no document for the annotator's {split} negatives: add "
                "sources, or change the recipe's annotator.validation_fraction"
            )
        constant = {"is_positive": False, "split": split, "matches": None, "group": None}
        return [{**row, **constant, "weight": 1.0} for row in sampled]

    num_train = sum(row["split"] == TRAIN for row in positives)
    validation_positives = [row for row in positives if row["split"] == VALIDATION]
    # Grades can be learned without any positive in training.
    num_negatives = max(1, round(recipe.negatives_per_positive * num_train)) if num_train else 0
    train = sample(TRAIN, num_negatives) if num_negatives else []
    unseen = sample(
        VALIDATION, max(recipe.validation_negatives, _MATCHING_POOL * len(validation_positives))
    )
    matched = match_by_length(validation_positives, unseen, ratio=recipe.length_match_ratio)
    return [*train, *unseen[: recipe.validation_negatives], *matched]


def _candidates(
    clean_folder: str, similar_ids: Iterable[str], is_of_split: Callable[[str], bool]
) -> pl.DataFrame:
    columns = ("text_id", "repository", "language", "num_bytes")
    similar = pl.Series("text_id", list(similar_ids), pl.String).to_frame()
    rows = kept_rows(clean_folder, columns).select(columns)
    repositories = pl.Series(
        list(filter(is_of_split, rows["repository"].unique())), dtype=pl.String
    )
    return rows.join(similar, on="text_id", how="anti", maintain_order="left").filter(
        pl.col("repository").is_in(repositories)
    )


def _split_of(repository: str, splits: Mapping[str, str], recipe: AnnotatorRecipe) -> str:
    if repository in splits:
        return splits[repository]
    draw = stable_share(f"split:{repository}", seed=recipe.seed)
    return VALIDATION if draw < recipe.validation_fraction else TRAIN


def match_by_length(positives: Sequence[Row], pool: Sequence[Row], *, ratio: float) -> list[Row]:
    """Match each positive to the unused row of its language of nearest length, within `ratio`.

    A positive without such a row has no match. `positives` are in hash order, so the order of
    matching is random.
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
        log_length = math.log(max(1, len(positive["text"].encode())))
        position = bisect_left(rows, log_length, key=lambda entry: entry[0])
        neighbours = range(max(0, position - 1), min(len(rows), position + 1))
        nearest = min(neighbours, key=lambda index: abs(rows[index][0] - log_length), default=None)
        if nearest is not None and abs(rows[nearest][0] - log_length) <= math.log(ratio):
            matched.append({**rows.pop(nearest)[2], "matches": positive["text_id"]})
    return matched


def _sampling_key(purpose: str, seed: int) -> Callable[[Row], tuple[float, str]]:
    return lambda row: (stable_share(f"{purpose}:{row['text_id']}", seed=seed), row["text_id"])


def _with_texts(negatives: Sequence[Row], clean_folders: Sequence[str]) -> Iterator[Row]:
    rows_by_text: dict[str, list[Row]] = {}
    for row in negatives:
        rows_by_text.setdefault(row["text_id"], []).append(row)
    matching = pl.Series("text_id", list(rows_by_text), pl.String).to_frame()
    columns = ("text_id", "text")
    for folder in clean_folders:
        for batch in kept_documents(folder, split=TRAIN, columns=columns, matching=matching):
            for document in batch.to_pylist():
                for row in rows_by_text.pop(document["text_id"], []):
                    yield {**row, "text": document["text"]}


def _counts(rows: Iterable[Row]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in rows:
        kind = "positives" if row["is_positive"] else "negatives"
        counts[f"{row['split']}_{'length_matched' if row['matches'] else kind}"] += 1
    return dict(sorted(counts.items()))


def _all_examples(folder: str, columns: Sequence[str]) -> pa.Table:
    """Columns of both tables of examples."""
    manifest = shards.manifest(folder)
    tables = [name for name in (TABLE, GRADED_TABLE) if manifest.tables(name)]
    return pa.concat_tables(shards.read(folder, name, columns=columns) for name in tables)


def validate_repository_split(folder: str) -> list[str]:
    """Violations: repositories in both train and validation."""
    table = _all_examples(folder, ["repository", "split"])
    repositories = {
        split: set(table.filter(pc.equal(table["split"], split))["repository"].to_pylist())
        for split in (TRAIN, VALIDATION)
    }
    return [
        f"{name} is in both splits"
        for name in sorted(repositories[TRAIN] & repositories[VALIDATION])
    ]


def validate_not_held_out(folder: str, clean_folders: Sequence[str]) -> list[str]:
    """Violations: examples that are held out, or whose repository is."""
    columns = ["text_id", "repository"]
    examples = pl.DataFrame(_all_examples(folder, columns))
    violations = []
    for clean in clean_folders:
        held_out = kept_rows(clean, columns, split="held_out")
        for column in columns:
            held_out_names = examples.join(held_out, on=column, how="semi")[column].unique().sort()
            violations += [f"{column} {name} is held out and an example" for name in held_out_names]
    return violations
