"""Percentile to repeats: which documents of a language are trained on again, and how often.

Documents are ranked by logit, the highest first; equal logits by text_id, then document_id, so the
cut is the same wherever it is made. A document's percentile is the share of the language's tokens
that rank below it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.kept import kept_documents
from snow_assets.documents import SELECTION
from snow_assets.recipe import SelectionRecipe

TABLE = "documents"

_SHARD_ROWS = 1_000_000

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Selected:
    """A ranked language, and how its budget was met. Tokens of `selected` count repeats."""

    documents: pa.Table
    budget_tokens: int
    selected_tokens: int
    unique_tokens: int

    @property
    def missing_tokens(self) -> int:
        """What the language ran out of before its budget was full; 0: nothing."""
        return max(0, self.budget_tokens - self.selected_tokens)


def budgets(language_tokens: Mapping[str, int], *, budget_tokens: int) -> dict[str, int]:
    """Share a budget by the languages' clean train tokens, so that the mix stays the corpus's.

    The shares add up exactly: what rounding leaves goes to the largest fractions, then by name.
    """
    total = sum(language_tokens.values())
    if total == 0:
        raise ValueError("no language has a kept train document: materialize clean_corpus again")
    exact = {name: budget_tokens * tokens for name, tokens in language_tokens.items()}
    shares = {name: product // total for name, product in exact.items()}
    left = budget_tokens - sum(shares.values())
    by_fraction = sorted(exact, key=lambda name: (-(exact[name] % total), name))
    return {name: share + (name in by_fraction[:left]) for name, share in shares.items()}


def select(
    documents: pa.Table,
    *,
    language: str,
    language_tokens: Mapping[str, int],
    recipe: SelectionRecipe,
) -> Selected:
    """Rank a language's scored documents (SELECTION's first six columns) and give each repeats.

    `fill="budget"` takes from the top until the language's share of the budget is full; the last
    document is repeated just often enough, so that the excess is below one document. A language
    that runs out first is taken whole as the percentiles allow, and `missing_tokens` says so.
    `fill="percentile"` takes what the percentiles say, whatever the budget. ValueError if no
    language can meet its budget.
    """
    share = budgets(language_tokens, budget_tokens=recipe.budget_tokens)[language]
    if recipe.fill == "budget":
        _refuse_impossible(language_tokens, recipe)
    order = [("logit", "descending"), ("text_id", "ascending"), ("document_id", "ascending")]
    ranked = documents.take(pc.sort_indices(documents, sort_keys=order))
    tokens = ranked["num_tokens"].to_numpy().astype(np.int64)
    below = tokens.sum() - np.cumsum(tokens)
    percentiles = below / max(1, tokens.sum())
    wished = np.array([0, *recipe.repeats])[
        np.searchsorted(recipe.percentiles, percentiles, side="right")
    ]
    repeats = _until_full(tokens, wished, share) if recipe.fill == "budget" else wished
    added = {"percentile": pa.array(percentiles), "repeats": pa.array(repeats, pa.int32())}
    for name, column in added.items():
        ranked = ranked.append_column(name, column)
    return Selected(
        documents=ranked.select(SELECTION.names).cast(SELECTION),
        budget_tokens=share,
        selected_tokens=int((tokens * repeats).sum()),
        unique_tokens=int(tokens[repeats > 0].sum()),
    )


def _until_full(tokens: Integers, wished: Integers, budget: int) -> Integers:
    before = np.cumsum(tokens * wished) - tokens * wished
    needed = np.ceil(np.maximum(0, budget - before) / np.maximum(1, tokens)).astype(np.int64)
    repeats: Integers = np.minimum(wished, needed)
    return repeats


def _refuse_impossible(language_tokens: Mapping[str, int], recipe: SelectionRecipe) -> None:
    """A language's share is the same multiple of its tokens in every language: none or all fit."""
    ends = [*recipe.percentiles[1:], 1.0]
    steps = zip(recipe.percentiles, ends, recipe.repeats, strict=True)
    mean_repeats = sum((end - start) * times for start, end, times in steps)
    total = sum(language_tokens.values())
    if recipe.budget_tokens > mean_repeats * total:
        raise ValueError(
            f"budget_tokens {recipe.budget_tokens} cannot be met in any language: {total} clean "
            f"tokens {mean_repeats:.3g} times on average are {int(mean_repeats * total)}; "
            "lower the recipe's selection.budget_tokens, raise its repeats, or add sources"
        )


def scored_documents(clean_folder: str, scores_folder: str) -> pa.Table:
    """The kept train documents with their logits. Memory: a language without its text.

    ValueError if one has no score.
    """
    columns = ("document_id", "text_id", "repository", "license", "num_tokens")
    batches = list(kept_documents(clean_folder, columns=columns))
    scores = shards.read(scores_folder, "scores", columns=["text_id", "logit"])
    if not batches:
        return SELECTION.empty_table().select([*columns, "logit"])
    documents = pa.Table.from_batches(batches)
    places = pc.index_in(documents["text_id"], scores["text_id"].combine_chunks())
    if places.null_count:
        raise ValueError(
            f"{places.null_count} documents of {clean_folder} have no score in {scores_folder}: "
            "materialize quality_scores again"
        )
    return documents.append_column("logit", scores["logit"].take(places))


def write(
    folder: str,
    *,
    clean_folder: str,
    scores_folder: str,
    language: str,
    language_tokens: Mapping[str, int],
    recipe: SelectionRecipe,
) -> dict[str, Any]:
    """Write table `documents`; returns tokens, budget, and what is missing of it."""
    found = select(
        scored_documents(clean_folder, scores_folder),
        language=language,
        language_tokens=language_tokens,
        recipe=recipe,
    )
    for index, start in enumerate(range(0, max(1, found.documents.num_rows), _SHARD_ROWS)):
        shards.put_table(folder, TABLE, index, found.documents.slice(start, _SHARD_ROWS), SELECTION)
    chosen = found.documents.filter(pc.greater(found.documents["repeats"], 0))
    least = pc.min(chosen["logit"]).as_py()
    return {
        "documents": found.documents.num_rows,
        "selected_documents": chosen.num_rows,
        "budget_tokens": found.budget_tokens,
        "selected_tokens": found.selected_tokens,
        "unique_tokens": found.unique_tokens,
        "missing_tokens": found.missing_tokens,
        "least_selected_logit": least,
    }


def selected_rows(subset_folder: str) -> dict[str, int]:
    """document_id -> repeats of what is selected."""
    table = shards.read(subset_folder, TABLE, columns=["document_id", "repeats"])
    chosen = table.filter(pc.greater(table["repeats"], 0))
    return dict(zip(*(chosen[name].to_pylist() for name in chosen.column_names), strict=True))


def selected_documents(
    clean_folder: str, subset_folder: str, *, columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Stream the selected documents' columns, `repeats` last, in the corpus's order."""
    repeats = selected_rows(subset_folder)
    names = pa.array(sorted(repeats), pa.string())
    for batch in kept_documents(clean_folder, columns=columns):
        chosen = batch.filter(pc.is_in(batch["document_id"], names))
        if chosen.num_rows:
            times = [repeats[name] for name in chosen["document_id"].to_pylist()]
            yield chosen.append_column("repeats", pa.array(times, pa.int32()))


def wrong_selection(clean_folder: str, subset_folder: str, *, max_repeats: int) -> list[str]:
    """Selected documents that are not kept train documents, and repeats beyond the cap."""
    wrong = []
    chosen = selected_rows(subset_folder)
    trainable = {
        name
        for batch in kept_documents(clean_folder, columns=("document_id",))
        for name in batch["document_id"].to_pylist()
    }
    strange = sorted(set(chosen) - trainable)
    if strange:
        wrong.append(f"{len(strange)} selected documents are not trainable: {strange[0]}")
    above = max(chosen.values(), default=0)
    if above > max_repeats:
        wrong.append(f"a document of {subset_folder} is repeated {above} times, over {max_repeats}")
    return wrong
