"""Select documents by score percentile, and how often each is repeated in training.

Documents are ranked by descending logit, then text_id, then document_id, so the selection is
deterministic. A document's percentile is the fraction of the language's tokens that rank below it.
Controls of an experiment rank by ascending logit, or by a hash of seed and text. A language whose
gates the annotator fails is not selected, unless the recipe says so.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snow_assets.curation.dedup.text_keys import text_keys
from snow_assets.curation.hashing import splitmix64
from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.quality.contract import Annotator
from snow_assets.quality.gate import language_failures
from snow_assets.recipe import SelectionRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import LANGUAGE_SELECTION, SELECTION

TABLE = "documents"
LANGUAGES = "languages"

_SHARD_ROWS = 1_000_000

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class RankedLanguage:
    """A language's ranked documents and token counts; `selected_tokens` counts repeats."""

    documents: pl.DataFrame
    budget_tokens: int
    selected_tokens: int
    unique_tokens: int

    @property
    def missing_tokens(self) -> int:
        """Tokens by which the selection falls short of the budget; 0 if it is met."""
        return max(0, self.budget_tokens - self.selected_tokens)


@dataclass(frozen=True, kw_only=True)
class LanguageGates:
    """Which languages an annotator selects in, and why it may not in others."""

    annotator: str
    failures: Mapping[str, Sequence[str]]  # language -> failed gates; none: it is selected
    ungated: frozenset[str]

    @classmethod
    def of(cls, annotator: Annotator, recipe: SelectionRecipe, languages: Iterable[str]) -> Self:
        return cls(
            annotator=annotator.version,
            failures={name: language_failures(annotator.all_gates, name) for name in languages},
            ungated=frozenset(recipe.ungated_languages),
        )

    def selects(self, language: str) -> bool:
        return not self.failures[language] or language in self.ungated

    def selected_tokens(self, language_tokens: Mapping[str, int]) -> dict[str, int]:
        """The tokens of the languages that are selected; ValueError if none is."""
        tokens = {name: count for name, count in language_tokens.items() if self.selects(name)}
        if not tokens:
            reasons = "; ".join(itertools.chain.from_iterable(self.failures.values()))
            raise ValueError(
                f"annotator {self.annotator[:12]} selects in no language: {reasons}. Add positives "
                "or change the annotator, or name languages in the recipe's "
                "selection.ungated_languages"
            )
        return tokens


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
    documents: pl.DataFrame,
    *,
    language: str,
    language_tokens: Mapping[str, int],
    recipe: SelectionRecipe,
) -> RankedLanguage:
    """Rank a language's scored documents (SELECTION's first six columns) and assign repeats.

    `fill="budget"` selects from the top until the language's share of the budget is met; the last
    document is repeated just often enough, so that the excess is below one document. If the
    percentiles give fewer tokens, `missing_tokens` is positive. `fill="percentile"` ignores the
    budget. Nothing is repeated of a language that is not among `language_tokens`. ValueError if no
    language can meet its budget.
    """
    budgets = allocate_budget(language_tokens, budget_tokens=recipe.budget_tokens)
    budget = budgets.get(language, 0)
    if recipe.fill == "budget":
        _require_feasible_budget(language_tokens, recipe)
    ranked = _rank(documents, recipe)
    tokens = ranked["num_tokens"].to_numpy()
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
    if language not in language_tokens:
        repeats = np.zeros_like(repeats)
    return RankedLanguage(
        documents=ranked.with_columns(
            percentile=percentiles, repeats=pl.Series(repeats, dtype=pl.Int32)
        ).select(SELECTION.names),
        budget_tokens=budget,
        selected_tokens=int((tokens * repeats).sum()),
        unique_tokens=int(tokens[repeats > 0].sum()),
    )


def _rank(documents: pl.DataFrame, recipe: SelectionRecipe) -> pl.DataFrame:
    """The documents in the recipe's order, which is independent of theirs."""
    if recipe.ranking == "random":
        seed = splitmix64(np.array([recipe.ranking_seed], dtype=np.uint64))
        keys = text_keys(pa.chunked_array([documents["text_id"].to_arrow().cast(pa.string())]))
        hashes = pl.Series(splitmix64(keys ^ seed))
        return documents.sort(hashes, "text_id", "document_id")
    is_descending = recipe.ranking == "quality"
    return documents.sort(
        "logit", "text_id", "document_id", descending=[is_descending, False, False]
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


def scored_documents(clean_folder: str, scores_folder: str) -> pl.DataFrame:
    """The kept train documents with their logits. Memory: a language without its text.

    ValueError if a document has no score.
    """
    columns = ("document_id", "text_id", "repository", "license", "num_tokens")
    scores = pl.DataFrame(shards.read(scores_folder, "scores", columns=["text_id", "logit"]))
    documents = kept_rows(clean_folder, columns).join(
        scores, on="text_id", how="left", maintain_order="left"
    )
    if num_unscored := documents["logit"].null_count():
        raise ValueError(
            f"{num_unscored} documents of {clean_folder} have no score in {scores_folder}: "
            "materialize quality_scores again"
        )
    return documents


def write(
    folder: str,
    *,
    clean_folder: str,
    scores_folder: str,
    language: str,
    language_tokens: Mapping[str, int],
    gates: LanguageGates,
    recipe: SelectionRecipe,
) -> dict[str, Any]:
    """Write tables `documents` and `languages`; return manifest stats.

    `language_tokens`: of all languages. Of a language that is not selected no document is repeated,
    and the others share its part of the budget.
    """
    ranked = select(
        scored_documents(clean_folder, scores_folder),
        language=language,
        language_tokens=gates.selected_tokens(language_tokens),
        recipe=recipe,
    )
    for index, start in enumerate(range(0, max(1, ranked.documents.height), _SHARD_ROWS)):
        shard = ranked.documents.slice(start, _SHARD_ROWS).to_arrow()
        shards.put_table(folder, TABLE, index, shard, SELECTION)
    row = {
        "language": language,
        "annotator": gates.annotator,
        "selected": gates.selects(language),
        "gate_failures": "; ".join(gates.failures[language]) or None,
        "budget_tokens": ranked.budget_tokens,
        "selected_tokens": ranked.selected_tokens,
    }
    shards.put_table(folder, LANGUAGES, 0, [row], LANGUAGE_SELECTION)
    selected = ranked.documents.filter(pl.col("repeats") > 0)
    return {
        "documents": ranked.documents.height,
        "selected_documents": selected.height,
        "budget_tokens": ranked.budget_tokens,
        "selected_tokens": ranked.selected_tokens,
        "unique_tokens": ranked.unique_tokens,
        "missing_tokens": ranked.missing_tokens,
        "gate_failures": row["gate_failures"],
        "least_selected_logit": selected["logit"].min(),
    }


def read_selected(
    subset_folder: str, columns: Sequence[str] = ("document_id", "repeats")
) -> pl.DataFrame:
    """Columns of SELECTION, of the documents that are selected. Memory: those of a language."""
    table = shards.read(subset_folder, TABLE, columns=list(dict.fromkeys((*columns, "repeats"))))
    return pl.DataFrame(table).filter(pl.col("repeats") > 0).select(columns)


def selected_documents(
    clean_folder: str, subset_folder: str, *, columns: tuple[str, ...]
) -> Iterator[pa.RecordBatch]:
    """Stream columns of the selected documents, `repeats` last, in the corpus's order."""
    return kept_documents(clean_folder, columns=columns, matching=read_selected(subset_folder))


def validate_selection(clean_folder: str, subset_folder: str, *, max_repeats: int) -> list[str]:
    """Violations: selected documents that are not kept train documents, repeats above the cap."""
    violations = []
    selected = read_selected(subset_folder)
    trainable = kept_rows(clean_folder, ["document_id"])
    not_trainable = selected.join(trainable, on="document_id", how="anti")["document_id"]
    if len(not_trainable):
        violations.append(
            f"{len(not_trainable)} selected documents are not trainable: {min(not_trainable)}"
        )
    highest_repeats = max(selected["repeats"], default=0)
    if highest_repeats > max_repeats:
        violations.append(
            f"a document of {subset_folder} is repeated {highest_repeats} times, over {max_repeats}"
        )
    return violations
