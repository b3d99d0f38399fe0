"""Table `scores`: find unscored texts, reuse earlier scores, write and validate parts.

A `quality_scores` artifact has a score for every kept train text under one annotator, in parts of
`part_texts` texts. Scores of earlier artifacts under the same annotator are copied, so that
incremental and full scoring give equal artifacts. Older annotators' scores stay in their own
artifacts.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from snow_assets.curation.kept import kept_documents, kept_rows
from snow_assets.quality.contract import ScoringReport, ScoringRequest
from snow_assets.recipe import Recipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import SCORE

TABLE = "scores"

Text = tuple[str, str]


@dataclass(frozen=True)
class EarlierScores:
    """Earlier scores under one annotator, of the requested texts. Memory: these scores."""

    rows: Mapping[str, dict[str, Any]]

    @classmethod
    def read(cls, folders: Sequence[str], *, annotator: str, text_ids: set[str]) -> "EarlierScores":
        requested_texts = pl.Series("text_id", list(text_ids), pl.String).to_frame()
        tables = [pl.DataFrame(SCORE.empty_table())]
        for folder in folders:
            if shards.manifest(folder).stats["annotator"] == annotator:
                table = pl.DataFrame(shards.read(folder, TABLE))
                of_annotator = table.filter(pl.col("annotator") == annotator)
                tables.append(of_annotator.join(requested_texts, on="text_id", how="semi"))
        rows = pl.concat(tables).unique("text_id", keep="first").iter_rows(named=True)
        return cls({row["text_id"]: row for row in rows})


ROUND = "round"
"""Config field with an artifact's scoring round; scores of other rounds are not reused."""


def config(recipe: Recipe) -> dict[str, Any]:
    """The recipe fields that scoring depends on, besides the annotator."""
    return {
        "part_texts": recipe.annotator.part_texts,
        "batch_tokens": recipe.annotator.batch_tokens,
        ROUND: recipe.operation.scoring_round,
    }


def finished_artifacts(partition: str, *, scoring_round: str | None = None) -> tuple[str, ...]:
    """Finished artifacts of a scoring round in a partition's folder, by name."""
    folders = (shards.join(partition, name) for name in shards.names(partition))
    return tuple(
        folder
        for folder in folders
        if (manifest := shards.sound_manifest(folder)) is not None
        and manifest.config.get(ROUND) == scoring_round
    )


def text_ids(clean_folder: str) -> list[str]:
    """Ids of the distinct kept train texts, in the corpus's order.

    Held-out documents, which are for evaluation, are not scored.
    """
    return kept_rows(clean_folder, ["text_id"])["text_id"].unique(maintain_order=True).to_list()


def texts(clean_folder: str) -> Iterator[Text]:
    """Yield (text id, text) in the order of `text_ids`."""
    yielded: set[str] = set()
    for batch in kept_documents(clean_folder, columns=("text_id", "text")):
        for name, text in zip(batch["text_id"], batch["text"], strict=True):
            if name.as_py() not in yielded:
                yielded.add(name.as_py())
                yield name.as_py(), text.as_py()


def unscored_texts(clean_folder: str, earlier: Sequence[str], *, annotator: str) -> list[str]:
    """Ids of kept train texts without a score of this annotator in `earlier`."""
    all_ids = text_ids(clean_folder)
    reusable = EarlierScores.read(earlier, annotator=annotator, text_ids=set(all_ids))
    return [name for name in all_ids if name not in reusable.rows]


def write_part(
    folder: str,
    index: int,
    part: Sequence[str],
    earlier: EarlierScores,
    new_scores: Mapping[str, Any],
) -> None:
    """Write part `index`: a score for each text of `part`, new or earlier, in that order."""
    rows = [new_scores.get(name) or earlier.rows[name] for name in part]
    num_windows = sum(row["num_windows"] for row in new_scores.values())
    stats = {"num_scored": len(new_scores), "num_windows": num_windows}
    shards.put_table(folder, TABLE, index, rows, SCORE, stats=stats)


def write_reused(request: ScoringRequest, *, annotator: str) -> ScoringReport | None:
    """Write all parts if every text has an earlier score, without a job; else return None."""
    all_ids = text_ids(request.clean)
    reusable = EarlierScores.read(request.earlier, annotator=annotator, text_ids=set(all_ids))
    if len(reusable.rows) < len(all_ids):
        return None
    for index, part in enumerate(parts(all_ids, request.part_texts)):
        if shards.record(request.output, shards.table_name(TABLE, index)) is None:
            write_part(request.output, index, part, reusable, {})
    return report(request.output, annotator=annotator)


def parts(text_ids: Sequence[str], part_texts: int) -> list[Sequence[str]]:
    """Split into parts of `part_texts` texts; one empty part if there are no texts."""
    starts = range(0, max(1, len(text_ids)), part_texts)
    return [text_ids[start : start + part_texts] for start in starts]


def report(folder: str, *, annotator: str) -> ScoringReport:
    """Aggregate the parts' records."""
    part_records = shards.records(folder, TABLE)
    num_texts = sum(entry.num_rows or 0 for entry in part_records)
    num_scored = sum(entry.stats["num_scored"] for entry in part_records)
    return ScoringReport(
        annotator=annotator,
        num_texts=num_texts,
        num_scored=num_scored,
        num_reused=num_texts - num_scored,
        num_windows=sum(entry.stats["num_windows"] for entry in part_records),
    )


def validate_scores(clean_folder: str, scores_folder: str) -> list[str]:
    """Violations: kept train texts without exactly one finite score."""
    scores = pl.DataFrame(shards.read(scores_folder, TABLE, columns=["text_id", "logit"]))
    kept = kept_rows(clean_folder, ["text_id"])
    violations = []
    if num_repeated := scores.height - scores["text_id"].n_unique():
        violations.append(f"{num_repeated} texts of {scores_folder} have two scores")
    unscored = kept.join(scores, on="text_id", how="anti")["text_id"]
    unkept = scores.join(kept, on="text_id", how="anti")["text_id"]
    if differing := {*unscored, *unkept}:
        violations.append(
            f"{len(differing)} texts of {clean_folder} differ from the scored: {min(differing)}"
        )
    if not scores["logit"].is_finite().all():
        violations.append(f"{scores_folder} has logits that are no numbers")
    return violations
