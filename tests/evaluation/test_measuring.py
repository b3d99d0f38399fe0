"""The model's job, on a tiny lake."""

from dataclasses import replace
from pathlib import Path

import pytest

from snow_assets.evaluation import checkpoint as checkpoints
from snow_assets.evaluation.contract import EvaluationRequest
from snow_assets.evaluation.measuring import measure
from snow_assets.storage import shards
from tests.evaluation.builders import a_request, a_tokenizer, put_checkpoint, put_lake
from tests.evaluation.test_execution import progress


@pytest.fixture
def request_(lake_url: str) -> EvaluationRequest:
    put_lake(lake_url)
    return a_request(lake_url)


def test_what_was_measured_is_there(request_: EvaluationRequest, tmp_path: Path) -> None:
    report = measure(request_, progress(tmp_path))
    assert (report.num_documents, report.num_solutions) == (4, 6)
    rows = shards.read_unfinished(request_.output, "likelihoods").to_pylist()
    assert {row["subset"] for row in rows} == {"python", "validation_half", "test_half"}
    assert all(row["nats"] > 0 and row["num_bytes"] > 0 for row in rows)
    assert {row["repository"] is None for row in rows if row["benchmark"] == "HumanEval"} == {True}


def test_bytes_and_tokens_are_those_of_what_was_scored(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    measure(request_, progress(tmp_path))
    text = "def f0():\n    return 0 * 0\n" * 9
    rows = shards.read_unfinished(request_.output, "likelihoods").to_pylist()
    documents = [row for row in rows if row["subset"] == "python"]
    assert {row["num_bytes"] for row in documents} == {len(text)}
    assert {row["num_tokens"] for row in documents} <= {
        len(a_tokenizer().encode(text.replace("0", str(n))).ids) for n in range(6)
    }


def test_the_same_request_makes_the_same_bytes(
    request_: EvaluationRequest, lake_url: str, tmp_path: Path
) -> None:
    again = replace(request_, output=shards.join(lake_url, "benchmark_results", "general", "h"))
    measure(request_, progress(tmp_path))
    measure(again, progress(tmp_path))
    first, second = shards.records(request_.output), shards.records(again.output)
    assert shards.content_digest(first) == shards.content_digest(second)


def test_a_finished_shard_is_not_measured_again(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    measure(request_, progress(tmp_path))
    before = {entry.name: entry.sha256 for entry in shards.records(request_.output)}
    # Another model would measure something else, if anything were measured.
    other = replace(
        request_,
        checkpoint_folder=request_.checkpoint_folder.replace("general", "enhanced"),
    )
    report = measure(other, progress(tmp_path))
    assert {entry.name: entry.sha256 for entry in shards.records(other.output)} == before
    assert report.num_documents == 4


def test_a_model_with_fewer_rows_than_the_tokenizer_has_tokens_is_refused(
    lake_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = put_checkpoint(lake_url, "general")
    larger = a_tokenizer()
    larger.add_tokens(["another", "two"])
    monkeypatch.setattr(checkpoints, "load_tokenizer", lambda _: larger)
    with pytest.raises(ValueError, match="trained with another tokenizer"):
        checkpoints.load(folder, "anywhere", precision="fp32")


def test_a_checkpoint_without_a_model_is_named(lake_url: str) -> None:
    with pytest.raises(FileNotFoundError, match="materialize the checkpoint again"):
        checkpoints.load(shards.join(lake_url, "nothing"), "anywhere", precision="fp32")
