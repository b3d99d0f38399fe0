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

import polars as pl
import pyarrow as pa

from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.quality.contract import Annotator
from snow_assets.quality.gate import language_failures
from snow_assets.quality.ranking import LanguageBudget, rank_language
from snow_assets.recipe import SelectionRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import LANGUAGE_SELECTION

TABLE = "documents"
LANGUAGES = "languages"


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


def language_budget(
    language: str, language_tokens: Mapping[str, int], recipe: SelectionRecipe
) -> LanguageBudget:
    """A language's share of the budget; none if it is not among `language_tokens`.

    `fill="budget"` selects from the top until the share is met; the last document is repeated just
    often enough, so that the excess is below one document. If the percentiles give fewer tokens,
    `missing_tokens` is positive. `fill="percentile"` ignores the budget. ValueError if no language
    can meet its budget.
    """
    budgets = allocate_budget(language_tokens, budget_tokens=recipe.budget_tokens)
    if recipe.fill == "budget":
        _require_feasible_budget(language_tokens, recipe)
    return LanguageBudget(
        recipe=recipe,
        budget_tokens=budgets.get(language, 0),
        is_selected=language in language_tokens,
    )


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


def write(
    folder: str,
    *,
    clean_folder: str,
    scores_folder: str,
    language: str,
    language_tokens: Mapping[str, int],
    gates: LanguageGates,
    recipe: SelectionRecipe,
    exchange: Exchange = IN_PROCESS,
) -> dict[str, Any]:
    """Write tables `documents` and `languages`; return manifest stats.

    `language_tokens`: of all languages. Of a language that is not selected no document is repeated,
    and the others share its part of the budget.
    """
    budget = language_budget(language, gates.selected_tokens(language_tokens), recipe)
    ranked = rank_language(
        folder,
        TABLE,
        clean_folder=clean_folder,
        scores_folder=scores_folder,
        budget=budget,
        exchange=exchange,
    )
    row = {
        "language": language,
        "annotator": gates.annotator,
        "selected": gates.selects(language),
        "gate_failures": "; ".join(gates.failures[language]) or None,
        "budget_tokens": ranked.budget_tokens,
        "selected_tokens": ranked.selected_tokens,
    }
    shards.put_table(folder, LANGUAGES, 0, [row], LANGUAGE_SELECTION)
    return {
        "documents": ranked.documents,
        "selected_documents": ranked.selected_documents,
        "budget_tokens": ranked.budget_tokens,
        "selected_tokens": ranked.selected_tokens,
        "unique_tokens": ranked.unique_tokens,
        "missing_tokens": ranked.missing_tokens,
        "gate_failures": row["gate_failures"],
        "least_selected_logit": ranked.least_selected_logit,
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
