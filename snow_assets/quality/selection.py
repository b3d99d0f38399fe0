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
import pyarrow.compute as pc

from snow_assets.curation.kept import kept_documents, kept_shard, kept_shard_rows
from snow_assets.quality.contract import Annotator
from snow_assets.quality.gate import language_failures
from snow_assets.quality.ranking import LanguageBudget, rank_language
from snow_assets.recipe import SelectionRecipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.partitions import by_id
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import LANGUAGE_SELECTION, SELECTION
from snow_assets.storage.shards import FileRecord

TABLE = "documents"
LANGUAGES = "languages"

_TRAINABLE = pa.schema([SELECTION.field(name) for name in ("document_id", "num_tokens")])
_SELECTED = pa.schema([SELECTION.field(name) for name in ("document_id", "repeats")])
_POSITIONS = pa.schema([SELECTION.field("document_id"), ("shard", pa.int32()), ("row", pa.int32())])
_SELECTED_POSITIONS = pa.schema(
    [_POSITIONS.field("shard"), _POSITIONS.field("row"), _SELECTED.field("repeats")]
)
_BY_REPEATS = pa.schema(
    [
        _SELECTED.field("repeats"),
        ("is_trainable", pa.bool_()),
        ("num_documents", pa.int64()),
        ("num_tokens", pa.int64()),
        ("first_id", pa.string()),
    ]
)
_ID_ROW_BYTES = 80  # an id and a number


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


@dataclass(frozen=True, kw_only=True)
class SelectedTotals:
    """A language's selected documents by their repeats, against the kept training documents."""

    num_documents: Mapping[int, int]  # repeats -> selected documents, all of them
    num_tokens: Mapping[int, int]  # repeats -> tokens of those that are trainable
    num_not_trainable: int
    first_not_trainable: str | None  # the smallest id

    @property
    def max_repeats(self) -> int:
        """Of any document; 0 if none is selected."""
        return max(self.num_documents, default=0)


def selected_totals(
    clean_folder: str, subset_folder: str, *, exchange: Exchange = IN_PROCESS
) -> SelectedTotals:
    """Join the selected documents with the kept training documents by document_id, and count.

    Memory: that of the exchange, whatever the language's size.
    """
    decisions = shards.manifest(clean_folder).tables("decisions")
    subset = shards.manifest(subset_folder).tables(TABLE)
    num_bytes = (decisions.total("num_rows") + subset.total("num_rows")) * _ID_ROW_BYTES
    trainable, selected = by_id(
        exchange,
        exchange.map_shards(_trainable, decisions, schema=_TRAINABLE, clean_folder=clean_folder),
        exchange.map_shards(_selected, subset, schema=_SELECTED, subset_folder=subset_folder),
        column="document_id",
        num_bytes=num_bytes,
    )
    counted = exchange.map_shards(_by_repeats, trainable, selected, schema=_BY_REPEATS)
    rows = pl.DataFrame(pa.concat_tables(exchange.gather(counted)))
    by_repeats = rows.group_by("repeats").agg(
        pl.sum("num_documents"), pl.col("num_tokens").filter("is_trainable").sum()
    )
    rejected = rows.filter(~pl.col("is_trainable"))
    return SelectedTotals(
        num_documents=dict(by_repeats.select("repeats", "num_documents").iter_rows()),
        num_tokens=dict(by_repeats.select("repeats", "num_tokens").iter_rows()),
        num_not_trainable=int(rejected["num_documents"].sum()),
        first_not_trainable=rejected.select(pl.min("first_id")).item(),
    )


def _trainable(entry: FileRecord, *, clean_folder: str) -> pa.Table:
    return kept_shard(clean_folder, entry, _TRAINABLE.names).cast(_TRAINABLE)


def _selected(entry: FileRecord, *, subset_folder: str) -> pa.Table:
    rows = shards.read_shard(subset_folder, entry.name, columns=_SELECTED.names)
    return rows.filter(pc.greater(rows["repeats"], 0)).cast(_SELECTED)


def _by_repeats(trainable: pa.Table, selected: pa.Table) -> pa.Table:
    documents = pl.DataFrame(selected).join(
        pl.DataFrame(trainable), on="document_id", how="left", validate="m:1"
    )
    counted = documents.group_by("repeats", is_trainable=pl.col("num_tokens").is_not_null()).agg(
        num_documents=pl.len(), num_tokens=pl.sum("num_tokens"), first_id=pl.min("document_id")
    )
    return counted.select(_BY_REPEATS.names).to_arrow().cast(_BY_REPEATS)


def selected_rows(
    clean_folder: str, subset_folder: str, *, exchange: Exchange = IN_PROCESS
) -> pl.DataFrame:
    """Where the selected documents are in the clean corpus: `shard` (of `decisions`), `row` in it,
    and `repeats`, in that order. Documents that are not trainable are left out.

    Memory: that of the exchange, and 24 bytes a selected document.
    """
    decisions = shards.manifest(clean_folder).tables("decisions")
    subset = shards.manifest(subset_folder).tables(TABLE)
    num_bytes = (decisions.total("num_rows") + subset.total("num_rows")) * _ID_ROW_BYTES
    trainable, selected = by_id(
        exchange,
        exchange.map_shards(
            _positions,
            decisions,
            range(len(decisions)),
            schema=_POSITIONS,
            clean_folder=clean_folder,
        ),
        exchange.map_shards(_selected, subset, schema=_SELECTED, subset_folder=subset_folder),
        column="document_id",
        num_bytes=num_bytes,
    )
    joined = exchange.map_shards(
        _selected_positions, trainable, selected, schema=_SELECTED_POSITIONS
    )
    return pl.DataFrame(pa.concat_tables(exchange.gather(joined))).sort("shard", "row")


def _positions(entry: FileRecord, shard: int, *, clean_folder: str) -> pa.Table:
    rows = kept_shard_rows(clean_folder, entry, ["document_id"])
    return rows.with_columns(shard=shard).select(_POSITIONS.names).to_arrow().cast(_POSITIONS)


def _selected_positions(trainable: pa.Table, selected: pa.Table) -> pa.Table:
    joined = pl.DataFrame(trainable).join(pl.DataFrame(selected), on="document_id")
    return joined.select(_SELECTED_POSITIONS.names).to_arrow().cast(_SELECTED_POSITIONS)


def validate_selection(
    clean_folder: str, subset_folder: str, *, max_repeats: int, exchange: Exchange = IN_PROCESS
) -> list[str]:
    """Violations: selected documents that are not kept train documents, repeats above the cap."""
    totals = selected_totals(clean_folder, subset_folder, exchange=exchange)
    violations = []
    if totals.num_not_trainable:
        violations.append(
            f"{totals.num_not_trainable} selected documents are not trainable: "
            f"{totals.first_not_trainable}"
        )
    if totals.max_repeats > max_repeats:
        violations.append(
            f"a document of {subset_folder} is repeated {totals.max_repeats} times, over "
            f"{max_repeats}"
        )
    return violations
