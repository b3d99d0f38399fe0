"""Table `scores`: find unscored texts, reuse earlier scores, write and validate parts.

A `quality_scores` artifact has a score for every kept train text under one annotator, in parts of
`part_texts` texts (see `text_parts`). Scores of earlier artifacts under the same annotator are
copied, so that incremental and full scoring give equal artifacts. Older annotators' scores stay in
their own artifacts.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snow_assets.curation.kept import kept_shard
from snow_assets.quality.contract import ScoringReport, ScoringRequest
from snow_assets.quality.text_parts import TextIds, TextParts, as_text_ids, id_keys, text_id_bytes
from snow_assets.recipe import Recipe
from snow_assets.runtime.exchange.contract import Exchange
from snow_assets.runtime.exchange.in_process import IN_PROCESS
from snow_assets.runtime.exchange.partitions import by_id
from snow_assets.runtime.exchange.shard_work import missing_shards
from snow_assets.storage import shards
from snow_assets.storage.schemas.quality import SCORE
from snow_assets.storage.shards import FileRecord

TABLE = "scores"
_LOGITS = ("logit", "top_logit", "middle_logit", "bottom_logit")
_TEXT_IDS = pa.schema([SCORE.field("text_id")])
_SCORED = pa.schema([SCORE.field(name) for name in ("text_id", "logit")])
_DIFFERENCES = pa.schema(
    [
        ("num_repeated", pa.int64()),
        ("num_differing", pa.int64()),
        ("num_not_finite", pa.int64()),
        ("first_id", pa.string()),
    ]
)
_ID_ROW_BYTES = 80  # an id and a number

ScoreRow = dict[str, Any]


@dataclass(frozen=True)
class EarlierScores:
    """The earlier scores under one annotator of some texts, in the order of these.

    Memory: 52 bytes a text; 32 more while they are read.
    """

    annotator: str
    text_ids: TextIds
    logits: npt.NDArray[np.float32]  # (texts, 4); NaN: none
    num_windows: npt.NDArray[np.int32]  # 0: no earlier score

    @classmethod
    def read(cls, folders: Sequence[str], *, annotator: str, text_ids: TextIds) -> "EarlierScores":
        """Of several artifacts with a score of a text, the first counts.

        The artifacts are read a shard at a time, to their ends unless all texts are found.
        """
        keys = id_keys(text_ids)
        order = np.argsort(keys)
        keys = keys[order]
        logits = np.full((len(keys), len(_LOGITS)), np.nan, dtype=np.float32)
        num_windows = np.zeros(len(keys), dtype=np.int32)
        num_unscored = len(keys)
        for folder in folders:
            manifest = shards.manifest(folder)
            for entry in manifest.tables(TABLE) if manifest.stats["annotator"] == annotator else ():
                if not num_unscored:
                    break
                columns = ["text_id", *_LOGITS, "num_windows"]
                table = shards.read_shard(folder, entry.name, columns=columns)
                scored_ids = text_id_bytes(table["text_id"])
                places = np.searchsorted(keys, id_keys(scored_ids))
                places = order[np.minimum(places, len(keys) - 1)]
                is_new = (text_ids[places] == scored_ids).all(axis=1)
                is_new &= num_windows[places] == 0
                places = places[is_new]
                for index, name in enumerate(_LOGITS):
                    logits[places, index] = table[name].to_numpy()[is_new]
                num_windows[places] = table["num_windows"].to_numpy()[is_new]
                num_unscored -= len(places)
        return cls(annotator, text_ids, logits, num_windows)

    def rows(self, texts: slice) -> dict[str, ScoreRow | None]:
        """Text id -> row of SCORE, or None if the text has no earlier score."""
        ids = as_text_ids(self.text_ids[texts])
        scores = zip(
            ids, self.logits[texts].tolist(), self.num_windows[texts].tolist(), strict=True
        )
        return {
            name: {
                "text_id": name,
                "annotator": self.annotator,
                **{
                    column: None if math.isnan(logit) else logit
                    for column, logit in zip(_LOGITS, logits, strict=True)
                },
                "num_windows": num_windows,
            }
            if num_windows
            else None
            for name, logits, num_windows in scores
        }


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


def write_part(
    folder: str,
    index: int,
    earlier: Mapping[str, ScoreRow | None],
    new_scores: Mapping[str, ScoreRow],
) -> None:
    """Write part `index`: a score for each text of `earlier`, in that order; where that is None,
    the new one."""
    rows = [row or new_scores[name] for name, row in earlier.items()]
    num_windows = sum(row["num_windows"] for row in new_scores.values())
    stats = {"num_scored": len(new_scores), "num_windows": num_windows}
    shards.put_table(folder, TABLE, index, rows, SCORE, stats=stats)


def write_reused(request: ScoringRequest, *, annotator: str) -> ScoringReport | None:
    """Write all parts if every text has an earlier score, without a job; else return None.

    Memory: a block of `TextParts`.
    """
    parts = TextParts.of(request.clean, request.part_texts)
    missing = missing_shards(request.output, TABLE, range(parts.num_parts))
    for block in parts.blocks(missing):
        earlier = EarlierScores.read(
            request.earlier, annotator=annotator, text_ids=parts.text_ids(block)
        )
        if not earlier.num_windows.all():
            return None
        for index, texts in parts.slices(block):
            write_part(request.output, index, earlier.rows(texts), {})
    return report(request.output, annotator=annotator)


def report(folder: str, *, annotator: str) -> ScoringReport:
    """Aggregate the parts' records."""
    part_records = shards.records(folder, TABLE)
    num_texts = part_records.total("num_rows")
    num_scored = sum(entry.stats["num_scored"] for entry in part_records)
    return ScoringReport(
        annotator=annotator,
        num_texts=num_texts,
        num_scored=num_scored,
        num_reused=num_texts - num_scored,
        num_windows=sum(entry.stats["num_windows"] for entry in part_records),
    )


def validate_scores(
    clean_folder: str, scores_folder: str, *, exchange: Exchange = IN_PROCESS
) -> list[str]:
    """Violations: kept train texts without exactly one finite score.

    Memory: that of the exchange, whatever the language's size.
    """
    decisions = shards.manifest(clean_folder).tables("decisions")
    parts = shards.manifest(scores_folder).tables(TABLE)
    num_bytes = (decisions.total("num_rows") + parts.total("num_rows")) * _ID_ROW_BYTES
    kept, scores = by_id(
        exchange,
        exchange.map_shards(_kept_ids, decisions, schema=_TEXT_IDS, clean_folder=clean_folder),
        exchange.map_shards(_logits, parts, schema=_SCORED, scores_folder=scores_folder),
        column="text_id",
        num_bytes=num_bytes,
    )
    compared = exchange.map_shards(_differences, kept, scores, schema=_DIFFERENCES)
    counts = pl.DataFrame(pa.concat_tables(exchange.gather(compared)))
    num_repeated, num_differing, num_not_finite = counts.drop("first_id").sum().row(0)
    violations = []
    if num_repeated:
        violations.append(f"{num_repeated} texts of {scores_folder} have two scores")
    if num_differing:
        first = str(counts["first_id"].min())
        violations.append(
            f"{num_differing} texts of {clean_folder} differ from the scored: {first}"
        )
    if num_not_finite:
        violations.append(f"{scores_folder} has logits that are no numbers")
    return violations


def _kept_ids(entry: FileRecord, *, clean_folder: str) -> pa.Table:
    return kept_shard(clean_folder, entry, _TEXT_IDS.names).cast(_TEXT_IDS)


def _logits(part: FileRecord, *, scores_folder: str) -> pa.Table:
    return shards.read_shard(scores_folder, part.name, columns=_SCORED.names).cast(_SCORED)


def _differences(kept_table: pa.Table, scores_table: pa.Table) -> pa.Table:
    """Counts of a partition of ids: texts with two scores, texts that are kept or scored and not
    both, and scores that are no numbers."""
    kept, scores = pl.DataFrame(kept_table), pl.DataFrame(scores_table)
    ids = scores.select("text_id").unique()
    differing = pl.concat(
        [
            kept.join(ids, on="text_id", how="anti").unique(),
            ids.join(kept, on="text_id", how="anti"),
        ]
    )
    values = (
        scores.height - ids.height,
        differing.height,
        int((~scores["logit"].is_finite()).sum()),
        differing["text_id"].min(),
    )
    return pa.table([[value] for value in values], schema=_DIFFERENCES)
