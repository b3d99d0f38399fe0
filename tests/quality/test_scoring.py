import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import TypeAdapter

from snow_assets.quality import scores, scoring
from snow_assets.quality.contract import ScoringReport, ScoringRequest
from snow_assets.quality.gate import GateError, read_annotator
from snow_assets.quality.stats import scoring_stats
from snow_assets.runtime import worker
from snow_assets.storage import shards
from tests.curation.builders import finish
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
    finish(request.output, inputs=[request.clean, request.annotator], stats=scoring_stats(report))
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
    assert scores.write_reused(first, annotator=version) is None, "then all was new"
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
    known = set(rows(earlier[0]))
    new = [name for name in scores.text_ids(grown) if name not in known]
    assert (
        scores.unscored_texts(grown, earlier, annotator=read_annotator(made.annotator).version)
        == new
    )
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


def test_a_failed_gate_stops_scoring(made: Made) -> None:
    request = a_scoring(made.lake, made.clean["python"], made.annotator, name="a")
    gates = [
        {**vars(gate), "low": 0.1, "minimum": 0.2} for gate in read_annotator(made.annotator).gates
    ]
    change_annotator(made.annotator, gates=gates)
    with pytest.raises(GateError):
        scoring.work(request, Quiet())
    assert shards.records(request.output) == []


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
