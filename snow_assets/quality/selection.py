"""Select documents by score percentile, and how often each is repeated in training.

Documents are ranked by descending logit, then text_id, then document_id, so the selection is
deterministic. A document's percentile is the fraction of the language's tokens that rank below it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.curation.kept import kept_documents
from snow_assets.recipe import SelectionRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import SELECTION

TABLE = "documents"

_SHARD_ROWS = 1_000_000

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RankedLanguage:
    """A language's ranked documents and token counts; `selected_tokens` counts repeats."""

    documents: pa.Table
    budget_tokens: int
    selected_tokens: int
    unique_tokens: int

    @property
    def missing_tokens(self) -> int:
        """Tokens by which the selection falls short of the budget; 0 if it is met."""
        return max(0, self.budget_tokens - self.selected_tokens)


def allocate_budget(language_tokens: Mapping[str, int], *, budget_tokens: int) -> dict[str, int]:
    """Largest-remainder allocation of a budget in proportion to the languages' train tokens.

    The shares sum exactly to the budget; ties of remainders go by name.
    """
    total = sum(language_tokens.values())
    if total == 0:
        raise ValueError("no language has a kept train document: materialize clean_corpus again")
    products = {name: budget_tokens * tokens for name, tokens in language_tokens.items()}
    shares = {name: product // total for name, product in products.items()}
    unallocated = budget_tokens - sum(shares.values())
    by_remainder = sorted(products, key=lambda name: (-(products[name] % total), name))
    return {name: share + (name in by_remainder[:unallocated]) for name, share in shares.items()}


def select(
    documents: pa.Table,
    *,
    language: str,
    language_tokens: Mapping[str, int],
    recipe: SelectionRecipe,
) -> RankedLanguage:
    """Rank a language's scored documents (SELECTION's first six columns) and assign repeats.

    `fill="budget"` selects from the top until the language's share of the budget is met; the last
    document is repeated just often enough, so that the excess is below one document. If the
    percentiles give fewer tokens, `missing_tokens` is positive. `fill="percentile"` ignores the
    budget. ValueError if no language can meet its budget.
    """
    budget = allocate_budget(language_tokens, budget_tokens=recipe.budget_tokens)[language]
    if recipe.fill == "budget":
        _require_feasible_budget(language_tokens, recipe)
    order = [("logit", "descending"), ("text_id", "ascending"), ("document_id", "ascending")]
    ranked = documents.take(pc.sort_indices(documents, sort_keys=order))
    tokens = ranked["num_tokens"].to_numpy().astype(np.int64)
    tokens_below = tokens.sum() - np.cumsum(tokens)
    percentiles = tokens_below / max(1, tokens.sum())
    percentile_repeats = np.array([0, *recipe.repeats])[
        np.searchsorted(recipe.percentiles, percentiles, side="right")
    ]
    repeats = (
        _cap_to_budget(tokens, percentile_repeats, budget)
        if recipe.fill == "budget"
        else percentile_repeats
    )
    added = {"percentile": pa.array(percentiles), "repeats": pa.array(repeats, pa.int32())}
    for name, column in added.items():
        ranked = ranked.append_column(name, column)
    return RankedLanguage(
        documents=ranked.select(SELECTION.names).cast(SELECTION),
        budget_tokens=budget,
        selected_tokens=int((tokens * repeats).sum()),
        unique_tokens=int(tokens[repeats > 0].sum()),
    )


def _cap_to_budget(tokens: Integers, percentile_repeats: Integers, budget: int) -> Integers:
    tokens_before = np.cumsum(tokens * percentile_repeats) - tokens * percentile_repeats
    needed = np.ceil(np.maximum(0, budget - tokens_before) / np.maximum(1, tokens)).astype(np.int64)
    repeats: Integers = np.minimum(percentile_repeats, needed)
    return repeats


def _require_feasible_budget(language_tokens: Mapping[str, int], recipe: SelectionRecipe) -> None:
    """ValueError if the percentiles give fewer tokens than the budget.

    Budgets are proportional to tokens, so either all languages can meet theirs or none.
    """
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

    ValueError if a document has no score.
    """
    columns = ("document_id", "text_id", "repository", "license", "num_tokens")
    batches = list(kept_documents(clean_folder, columns=columns))
    scores = shards.read(scores_folder, "scores", columns=["text_id", "logit"])
    if not batches:
        return SELECTION.empty_table().select([*columns, "logit"])
    documents = pa.Table.from_batches(batches)
    indices = pc.index_in(documents["text_id"], scores["text_id"].combine_chunks())
    if indices.null_count:
        raise ValueError(
            f"{indices.null_count} documents of {clean_folder} have no score in {scores_folder}: "
            "materialize quality_scores again"
        )
    return documents.append_column("logit", scores["logit"].take(indices))


def write(
    folder: str,
    *,
    clean_folder: str,
    scores_folder: str,
    language: str,
    language_tokens: Mapping[str, int],
    recipe: SelectionRecipe,
) -> dict[str, Any]:
    """Write table `documents`; return manifest stats."""
    ranked = select(
        scored_documents(clean_folder, scores_folder),
        language=language,
        language_tokens=language_tokens,
        recipe=recipe,
    )
    for index, start in enumerate(range(0, max(1, ranked.documents.num_rows), _SHARD_ROWS)):
        shards.put_table(
            folder, TABLE, index, ranked.documents.slice(start, _SHARD_ROWS), SELECTION
        )
    selected = ranked.documents.filter(pc.greater(ranked.documents["repeats"], 0))
    lowest_logit = pc.min(selected["logit"]).as_py()
    return {
        "documents": ranked.documents.num_rows,
        "selected_documents": selected.num_rows,
        "budget_tokens": ranked.budget_tokens,
        "selected_tokens": ranked.selected_tokens,
        "unique_tokens": ranked.unique_tokens,
        "missing_tokens": ranked.missing_tokens,
        "least_selected_logit": lowest_logit,
    }


def read_repeats(subset_folder: str) -> dict[str, int]:
    """document_id -> repeats, of the selected documents."""
    table = shards.read(subset_folder, TABLE, columns=["document_id", "repeats"])
    selected = table.filter(pc.greater(table["repeats"], 0))
    return dict(zip(*(selected[name].to_pylist() for name in selected.column_names), strict=True))


def selected_documents(
    clean_folder: str, subset_folder: str, *, columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Stream columns of the selected documents, `repeats` last, in the corpus's order."""
    repeats = read_repeats(subset_folder)
    names = pa.array(sorted(repeats), pa.string())
    for batch in kept_documents(clean_folder, columns=columns):
        selected = batch.filter(pc.is_in(batch["document_id"], names))
        if selected.num_rows:
            batch_repeats = [repeats[name] for name in selected["document_id"].to_pylist()]
            yield selected.append_column("repeats", pa.array(batch_repeats, pa.int32()))


def validate_selection(clean_folder: str, subset_folder: str, *, max_repeats: int) -> list[str]:
    """Violations: selected documents that are not kept train documents, repeats above the cap."""
    violations = []
    repeats = read_repeats(subset_folder)
    trainable = {
        name
        for batch in kept_documents(clean_folder, columns=("document_id",))
        for name in batch["document_id"].to_pylist()
    }
    not_trainable = sorted(set(repeats) - trainable)
    if not_trainable:
        violations.append(
            f"{len(not_trainable)} selected documents are not trainable: {not_trainable[0]}"
        )
    highest_repeats = max(repeats.values(), default=0)
    if highest_repeats > max_repeats:
        violations.append(
            f"a document of {subset_folder} is repeated {highest_repeats} times, over {max_repeats}"
        )
    return violations
