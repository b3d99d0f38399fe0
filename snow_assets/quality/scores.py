"""Which texts have no score under an annotator yet, and where the others' scores are.

A `quality_scores` generation holds a score for every kept train text under one annotator, in
parts of `part_texts` texts. Scores of earlier generations are copied, never computed again, so
that a generation is the same whether it was scored at once or bit by bit; older annotators'
scores stay where they are, in their own generations beside it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.curation.kept import kept_documents
from snow_assets.documents import SCORE
from snow_assets.quality.contract import Scoring, ScoringReport
from snow_assets.recipe import Recipe

TABLE = "scores"

Text = tuple[str, str]


@dataclass(frozen=True)
class Known:
    """Earlier scores under one annotator. Memory: the scores of the wanted texts."""

    rows: Mapping[str, dict[str, Any]]

    @classmethod
    def of(cls, generations: Sequence[str], *, annotator: str, wanted: set[str]) -> "Known":
        rows: dict[str, dict[str, Any]] = {}
        for folder in generations:
            if shards.manifest(folder).facts["annotator"] != annotator:
                continue
            for batch in shards.batches(folder, TABLE):
                chosen = batch.filter(pc.equal(batch["annotator"], annotator))
                for row in chosen.to_pylist():
                    if row["text_id"] in wanted:
                        rows.setdefault(row["text_id"], row)
        return cls(rows)


ROUND = "round"
"""The setting of a generation of scores that names its round; another round's are not reused."""


def settings(recipe: Recipe) -> dict[str, Any]:
    """The numbers that scoring reads; all others are the annotator's."""
    return {
        "part_texts": recipe.annotator.part_texts,
        "batch_tokens": recipe.annotator.batch_tokens,
        ROUND: recipe.operation.scoring_round,
    }


def generations(partition: str, *, scoring_round: str | None = None) -> tuple[str, ...]:
    """The finished generations of a round under a partition's folder, by name."""
    folders = (shards.join(partition, name) for name in shards.names(partition))
    return tuple(
        folder
        for folder in folders
        if (manifest := shards.sound_manifest(folder)) is not None
        and manifest.settings.get(ROUND) == scoring_round
    )


def text_ids(clean_folder: str) -> list[str]:
    """The distinct kept train texts, in the corpus's order. Held-out documents are never scored:
    they are for evaluation, and a score would only invite to select them."""
    batches = kept_documents(clean_folder, columns=("text_id",))
    return list(dict.fromkeys(name for batch in batches for name in batch["text_id"].to_pylist()))


def texts(clean_folder: str) -> Iterator[Text]:
    """The same texts in the same order, with their content; streamed."""
    seen: set[str] = set()
    for batch in kept_documents(clean_folder, columns=("text_id", "text")):
        for name, text in zip(batch["text_id"], batch["text"], strict=True):
            if name.as_py() not in seen:
                seen.add(name.as_py())
                yield name.as_py(), text.as_py()


def unscored(clean_folder: str, earlier: Sequence[str], *, annotator: str) -> list[str]:
    """The kept train texts that no earlier generation scored under this annotator."""
    wanted = text_ids(clean_folder)
    known = Known.of(earlier, annotator=annotator, wanted=set(wanted))
    return [name for name in wanted if name not in known.rows]


def put_part(
    folder: str, index: int, wanted: Sequence[str], known: Known, fresh: Mapping[str, Any]
) -> None:
    """Write part `index`: each wanted text's score, known or fresh, in the order given."""
    rows = [fresh.get(name) or known.rows[name] for name in wanted]
    num_windows = sum(row["num_windows"] for row in fresh.values())
    facts = {"num_scored": len(fresh), "num_windows": num_windows}
    shards.put_table(folder, TABLE, index, rows, SCORE, facts=facts)


def put_reused(request: Scoring, *, annotator: str) -> ScoringReport | None:
    """Write all parts if no text is new, so that no job has to start; else None."""
    wanted = text_ids(request.clean)
    known = Known.of(request.earlier, annotator=annotator, wanted=set(wanted))
    if len(known.rows) < len(wanted):
        return None
    for index, part in enumerate(parts(wanted, request.part_texts)):
        if shards.record(request.output, shards.table_name(TABLE, index)) is None:
            put_part(request.output, index, part, known, {})
    return report(request.output, annotator=annotator)


def parts(wanted: Sequence[str], part_texts: int) -> list[Sequence[str]]:
    """Consecutive texts, `part_texts` at a time; one empty part where there are none."""
    starts = range(0, max(1, len(wanted)), part_texts)
    return [wanted[start : start + part_texts] for start in starts]


def report(folder: str, *, annotator: str) -> ScoringReport:
    """What the parts' records add up to."""
    made = [entry for entry in shards.records(folder) if entry.name.startswith(f"{TABLE}-")]
    num_texts = sum(entry.num_rows or 0 for entry in made)
    num_scored = sum(entry.facts["num_scored"] for entry in made)
    return ScoringReport(
        annotator=annotator,
        num_texts=num_texts,
        num_scored=num_scored,
        num_reused=num_texts - num_scored,
        num_windows=sum(entry.facts["num_windows"] for entry in made),
    )


def wrong_scores(clean_folder: str, scores_folder: str) -> list[str]:
    """Kept train texts without exactly one finite score, as sentences."""
    table = shards.read(scores_folder, TABLE, columns=["text_id", "logit"])
    found = table["text_id"].to_pylist()
    wrong = []
    if len(set(found)) < len(found):
        wrong.append(f"{len(found) - len(set(found))} texts of {scores_folder} have two scores")
    missing = set(text_ids(clean_folder)).symmetric_difference(found)
    if missing:
        wrong.append(
            f"{len(missing)} texts of {clean_folder} differ from the scored: {min(missing)}"
        )
    if not pc.all(pc.is_finite(table["logit"]), min_count=0).as_py():
        wrong.append(f"{scores_folder} has logits that are no numbers")
    return wrong


def summary(scores_folder: str) -> pa.Table:
    """Logits of a generation that is still being made, for its picture."""
    names = [entry.name for entry in shards.records(scores_folder) if entry.num_rows is not None]
    return pa.concat_tables(
        shards.read_shard(scores_folder, name, columns=["logit", "num_windows"]) for name in names
    )
