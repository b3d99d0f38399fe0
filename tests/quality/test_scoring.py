import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from snow_assets.curation.kept import kept_rows
from snow_assets.quality import scores, scoring, text_parts
from snow_assets.quality.contract import ScoringReport, ScoringRequest
from snow_assets.quality.gate import read_annotator
from snow_assets.runtime import worker
from snow_assets.storage import column_ranges, shards
from snow_assets.storage.schemas.quality import SCORE
from tests.artifacts import finish
from tests.quality.builders import (
    Quiet,
    a_lake,
    a_scoring,
    an_encoder,
    change_annotator,
    corpus_files,
    job_folder,
    trained,
)
from tests.quality.conftest import Made

CHECKOUT = Path(__file__).resolve().parents[2]


def score(request: ScoringRequest) -> ScoringReport:
    """Score and finish the artifact."""
    report = scoring.work(request, Quiet())
    finish(request.output, inputs=[request.clean, request.annotator], stats=asdict(report))
    return report


def digest(folder: str) -> str:
    return shards.manifest(folder).digest


def rows(folder: str) -> dict[str, dict[str, Any]]:
    return {row["text_id"]: row for row in shards.read(folder, "scores").to_pylist()}


def test_every_kept_train_text_gets_one_score_and_held_out_ones_none(made: Made) -> None:
    request = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    report = score(request)
    decided = shards.read(made.clean["python"], "decisions").to_pylist()
    train = {row["text_id"] for row in decided if row["split"] == "train"}
    held_out = {row["text_id"] for row in decided if row["split"] == "held_out"}
    assert held_out
    assert set(rows(request.output)) == train
    assert (report.num_texts, report.num_scored, report.num_reused) == (len(train), len(train), 0)
    assert scores.validate_scores(made.clean["python"], request.output) == []


def test_a_logit_is_the_mean_of_the_windows_logits_and_all_are_kept(made: Made) -> None:
    request = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    score(request)
    version = read_annotator(made.annotator).version
    for row in rows(request.output).values():
        parts = [row["top_logit"], row["middle_logit"], row["bottom_logit"]]
        found = [part for part in parts if part is not None]
        assert len(found) == row["num_windows"]
        assert row["logit"] == np.mean(np.array(found, dtype=np.float32))
        assert row["annotator"] == version


def test_scoring_again_with_nothing_new_scores_nothing_and_needs_no_job(made: Made) -> None:
    first = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    report = score(first)
    again = a_scoring(made.lake, made.clean["python"], made.annotator, name="b")
    version = read_annotator(made.annotator).version
    unscored = replace(again, earlier=())
    assert scores.write_reused(unscored, annotator=version) is None, "then all is new"
    reused = scores.write_reused(again, annotator=version)
    assert reused is not None
    assert (reused.num_scored, reused.num_reused) == (0, report.num_texts)
    assert digest(finish(again.output)) == digest(first.output)


def test_a_new_source_scores_only_its_own_and_ends_like_a_full_run(made: Made) -> None:
    score(a_scoring(made.lake, made.clean["python"], made.annotator, name="a"))
    earlier = scores.finished_artifacts(f"{made.lake}/quality_scores/python")
    assert len(earlier) == 1
    more = [*corpus_files(), *corpus_files(repositories=3, source="new")]
    grown = a_lake(f"{made.lake}-grown", more)["python"]
    step = replace(a_scoring(made.lake, grown, made.annotator, name="b"), earlier=earlier)
    whole = replace(a_scoring(made.lake, grown, made.annotator, name="c"), earlier=())
    new = set(kept_rows(grown, ["text_id"])["text_id"]) - set(rows(earlier[0]))
    by_step, at_once = score(step), score(whole)
    assert 0 < by_step.num_scored == len(new) < by_step.num_texts == at_once.num_scored
    assert digest(step.output) == digest(whole.output)


def test_a_new_annotator_scores_everything_once_and_both_versions_stay(made: Made) -> None:
    first = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    score(first)
    other, _ = trained(
        made.lake, made.examples, replace(made.recipe, inverse_regularization=0.5), name="1" * 32
    )
    second = a_scoring(made.lake, made.clean["python"], other, name="b")
    report = score(second)
    assert second.earlier == (first.output,)
    assert report.num_scored == report.num_texts > 0
    versions = {
        row["annotator"]
        for folder in scores.finished_artifacts(f"{made.lake}/quality_scores/python")
        for row in rows(folder).values()
    }
    assert versions == {read_annotator(made.annotator).version, read_annotator(other).version}
    third = a_scoring(made.lake, made.clean["python"], made.annotator, name="c")
    assert score(third).num_scored == 0, "the older annotator's scores are still known"


def test_an_unfinished_artifact_is_not_reused(made: Made) -> None:
    request = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    scoring.work(request, Quiet())
    assert scores.finished_artifacts(f"{made.lake}/quality_scores/python") == ()


class Worker(Quiet):
    def __init__(self, shard: int, num_shards: int) -> None:
        super().__init__()
        self.shard, self.num_shards = shard, num_shards


@pytest.fixture
def many_shards(made: Made) -> str:
    """A clean corpus of a language with a shard of documents for each of eight sources."""
    files = [row for index in range(8) for row in corpus_files(repositories=2, source=f"s{index}")]
    return a_lake(f"{made.lake}-shards", files)["python"]


def test_any_number_of_workers_leaves_equal_scores(made: Made, many_shards: str) -> None:
    digests = set()
    for num_workers in (1, 2, 4):
        name = str(num_workers)
        request = replace(a_scoring(made.lake, many_shards, made.annotator, name=name), earlier=())
        for worker_index in range(num_workers):
            scoring.work(request, Worker(worker_index, num_workers))
        digests.add(digest(finish(request.output, stats={"annotator": "a"})))
        assert scores.validate_scores(many_shards, request.output) == []
    assert len(digests) == 1


def test_a_worker_reads_the_texts_of_its_own_shards_alone(
    made: Made, many_shards: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text_bytes: list[int] = []
    fill = column_ranges._fill

    def counted(url: str, content: memoryview, ranges: list[tuple[int, int]]) -> None:
        is_text = "/documents/" in url
        text_bytes.extend(end - start for start, end in ranges if is_text)
        fill(url, content, ranges)

    monkeypatch.setattr(column_ranges, "_fill", counted)

    def read_by(worker_index: int, num_workers: int) -> int:
        text_bytes.clear()
        name = f"{worker_index}-of-{num_workers}"
        request = replace(a_scoring(made.lake, many_shards, made.annotator, name=name), earlier=())
        scoring.work(request, Worker(worker_index, num_workers))
        return sum(text_bytes)

    whole = read_by(0, 1)
    by_worker = [read_by(index, 4) for index in range(4)]
    shards_read = len(shards.manifest(many_shards).tables("decisions"))
    assert shards_read == 8
    # A part may begin in the shard in which another worker's part ends.
    assert whole <= sum(by_worker) <= whole * (shards_read + 3) / shards_read * 1.2
    assert max(by_worker) <= whole / 2


def test_scored_texts_are_not_read_again(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    score(a_scoring(made.lake, made.clean["python"], made.annotator, name="a"))
    read_shard = shards.read_shard

    def without_text(folder: str, name: str, *, columns: list[str] | None = None) -> Any:
        assert "/documents/" not in folder
        return read_shard(folder, name, columns=columns)

    monkeypatch.setattr(shards, "read_shard", without_text)
    again = a_scoring(made.lake, made.clean["python"], made.annotator, name="b")
    assert score(again).num_scored == 0


def test_of_several_earlier_scores_the_first_counts_in_blocks_of_any_size(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    score(first)
    version = read_annotator(made.annotator).version
    changed = [{**row, "logit": 0.25, "middle_logit": 0.5} for row in rows(first.output).values()]
    other = f"{made.lake}/quality_scores/python/other"
    shards.put_table(other, "scores", 0, changed[3:], SCORE)
    finish(other, stats={"annotator": version})
    again = replace(
        a_scoring(made.lake, made.clean["python"], made.annotator, name="b"),
        earlier=(other, first.output),
    )
    monkeypatch.setattr(text_parts, "BLOCK_TEXTS", 5)
    assert scores.write_reused(again, annotator=version) is not None
    whole = rows(first.output)
    wanted = {row["text_id"]: row for row in [*list(whole.values())[:3], *changed[3:]]}
    finish(again.output)
    assert rows(again.output) == wanted


def test_another_encoder_in_the_same_place_is_refused(made: Made, tmp_path: Path) -> None:
    on_gpu = replace(made.recipe, gpus=1)
    annotator, _ = trained(made.lake, made.examples, on_gpu, name="1" * 32)
    change_annotator(annotator, encoder=an_encoder(tmp_path / "other", seed=1))
    request = a_scoring(made.lake, made.clean["python"], annotator, name="a")
    with pytest.raises(ValueError, match="is not the encoder that annotator"):
        scoring.work(request, Quiet())


def test_a_cpu_scores_without_the_encoders_folder(made: Made) -> None:
    change_annotator(made.annotator, encoder="/nowhere")
    report = score(a_scoring(made.lake, made.clean["python"], made.annotator, name="a"))
    assert report.num_scored == report.num_texts > 0


@pytest.mark.parametrize("gpus", [0, 1])
@pytest.mark.parametrize("model_type", ["roberta", "modernbert"])
def test_an_encoder_of_another_architecture_is_a_recipe_value(
    made: Made, tmp_path: Path, model_type: str, gpus: int
) -> None:
    encoder = an_encoder(tmp_path / "encoder", model_type=model_type)
    recipe = replace(made.recipe, encoder=encoder, gpus=gpus)
    annotator, trained_by = trained(made.lake, made.examples, recipe, name="1" * 32)
    request = a_scoring(made.lake, made.clean["python"], annotator, name="a")
    report = score(request)
    assert report.num_scored == report.num_texts > 0
    assert trained_by.annotator.runtime == ("torch" if gpus else "openvino")
    held_out = trained_by.annotator.gates[0]
    assert held_out.auc is not None
    assert held_out.auc > 0.9
    logits = [row["logit"] for row in rows(request.output).values()]
    assert len(set(logits)) > 1


def test_an_annotator_of_another_release_is_named(made: Made) -> None:
    change_annotator(made.annotator, runtime="int16")
    request = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    with pytest.raises(ValueError, match="is of another release: materialize quality_annotator"):
        scoring.work(request, Quiet())


def test_a_language_without_documents_has_an_empty_table(made: Made) -> None:
    request = a_scoring(made.lake, made.clean["sql"], made.annotator, name="a")
    assert score(request).num_texts == 0
    assert shards.read(request.output, "scores").num_rows == 0


def test_a_finished_part_is_not_made_again(made: Made) -> None:
    request = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    score(request)
    told = Quiet()
    scoring.work(request, told)
    assert told.told == []


@pytest.mark.slow
def test_a_killed_scoring_resumes_and_ends_with_the_same_digest(made: Made, tmp_path: Path) -> None:
    whole = replace(
        a_scoring(made.lake, made.clean["python"], made.annotator, name="whole"), part_texts=1
    )
    score(whole)
    torn = replace(whole, output=f"{made.lake}/quality_scores/python/torn")
    job = job_folder(tmp_path / "job" / "attempt-001", torn)
    command = [sys.executable, "-m", "snow_assets.quality.scoring"]
    process = subprocess.Popen([*command, str(job)], cwd=CHECKOUT)
    while process.poll() is None and len(shards.names(f"{torn.output}/records")) < 3:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not (job / worker.REPORT).exists()
    done = {path.name: path.stat().st_mtime_ns for path in Path(torn.output).glob("scores-*")}
    assert 3 <= len(done) < len(rows(whole.output))
    recorded = {name: changed for name, changed in done.items() if shards.record(torn.output, name)}
    again = job_folder(tmp_path / "job" / "attempt-002", torn)
    subprocess.run([*command, str(again)], cwd=CHECKOUT, check=True)
    report = TypeAdapter(ScoringReport).validate_json((again / worker.REPORT).read_bytes())
    assert report.num_scored == report.num_texts == len(rows(whole.output))
    assert digest(finish(torn.output)) == digest(whole.output)
    for name, changed in recorded.items():
        assert (Path(torn.output) / name).stat().st_mtime_ns == changed, "done parts stay"
