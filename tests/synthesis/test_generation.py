"""Generation in parts: only what is missing is asked, and a kill changes nothing."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from snow_assets.recipe import SMOKE
from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_assets.storage.schemas.synthesis import SYNTHETIC_SEED
from snow_assets.synthesis import generation
from snow_assets.synthesis.contract import GenerationRequest
from snow_assets.synthesis.engine import TOO_LONG, Completion, Prompt, append_closing_fence
from snow_assets.synthesis.prompts import prompt_version
from tests.synthesis.builders import Progress, a_completion, a_recipe, a_seed, an_engine
from tests.synthesis.stub_server import serving

CHECKOUT = Path(__file__).resolve().parents[2]


def a_request(
    output: Path, *, parts: int = 3, snippet: str = "x", **changed: Any
) -> GenerationRequest:
    """A request whose `seeds` are written: two rows a part."""
    for index in range(parts):
        rows = [a_seed(2 * index, snippet=snippet), a_seed(2 * index + 1)]
        shards.put_table(str(output), "seeds", index, rows, SYNTHETIC_SEED)
    fields = {
        "teacher": "list",
        "endpoint_url": "",
        "endpoint": SMOKE.operation.endpoint,
        "recipe": a_recipe(),
        "prompt_version": prompt_version(("oss_instruct",)),
    }
    return GenerationRequest(output=str(output), **{**fields, **changed})


def generate(request: GenerationRequest, folder: Path) -> None:
    left = generation.remaining_parts(request.output)
    generation.generate_parts(
        request, an_engine(), left, start_seconds=0.0, progress=Progress(folder / "job")
    )


def completions_digest(folder: Path) -> str:
    return shards.content_digest(shards.records(str(folder), "completions"))


def job(request: GenerationRequest, folder: Path) -> list[str]:
    """The command of a job folder with this request."""
    folder.mkdir(parents=True)
    (folder / worker.REQUEST).write_text(json.dumps(asdict(request)))
    return [sys.executable, "-m", "snow_assets.synthesis.generation", str(folder)]


def environment() -> dict[str, str]:
    return {**os.environ, "OPENAI_API_KEY": "none", "PYTHONPATH": str(CHECKOUT)}


def test_only_parts_without_completions_are_left(tmp_path: Path) -> None:
    request = a_request(tmp_path / "out")
    assert generation.remaining_parts(request.output) == [0, 1, 2]
    generate(request, tmp_path)
    assert generation.remaining_parts(request.output) == []


def test_a_finished_request_starts_no_engine(tmp_path: Path) -> None:
    request = a_request(tmp_path / "out", teacher="/no/such/model")
    generate(request, tmp_path)
    assert generation.work(request, Progress(tmp_path)).num_parts == 0


def test_completions_stand_row_by_row_beside_their_seeds(tmp_path: Path) -> None:
    request = a_request(tmp_path / "out")
    generate(request, tmp_path)
    for index in range(3):
        tables = [
            shards.read_shard(request.output, shards.table_name(name, index))
            for name in ("seeds", "completions")
        ]
        assert tables[0]["document_id"].equals(tables[1]["document_id"])


def test_a_part_depends_on_its_own_requests_only(tmp_path: Path) -> None:
    whole, part = a_request(tmp_path / "whole"), a_request(tmp_path / "part")
    generate(whole, tmp_path)
    for index in (2, 0, 1):
        generation.generate_parts(
            part, an_engine(), [index], start_seconds=0.0, progress=Progress(tmp_path / "job")
        )
    assert completions_digest(tmp_path / "whole") == completions_digest(tmp_path / "part")


def test_a_prompt_that_cannot_be_asked_costs_only_its_own_completion(tmp_path: Path) -> None:
    def complete(prompt: Prompt) -> Completion:
        reason = TOO_LONG if "endless" in str(prompt.messages) else "stop"
        return a_completion("", finish_reason=reason, evidence="n")

    request = a_request(tmp_path / "out", parts=1, snippet="endless")
    generation.generate_parts(
        request, an_engine(complete), [0], start_seconds=0.0, progress=Progress(tmp_path / "job")
    )
    made = shards.read_shard(request.output, shards.table_name("completions", 0))
    assert made["finish_reason"].to_pylist() == [TOO_LONG, "stop"]


def test_a_request_of_another_prompt_version_is_bad_input(tmp_path: Path) -> None:
    request = a_request(tmp_path / "out", prompt_version="0")
    with pytest.raises(ValueError, match="prompt version 0"):
        generation.work(request, Progress(tmp_path))


def test_a_missing_model_is_bad_input_that_names_the_folder(tmp_path: Path) -> None:
    request = a_request(tmp_path / "out", teacher=str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="nowhere holds no model"):
        generation.work(request, Progress(tmp_path))


def test_an_endpoint_completions_and_refuses(tmp_path: Path) -> None:
    with serving() as stub:
        request = a_request(
            tmp_path / "out",
            parts=2,
            snippet="TOO LONG",
            endpoint_url=stub.url,
            recipe=a_recipe(engine="endpoint", temperature=0.3),
        )
        done = subprocess.run(
            job(request, tmp_path / "job"),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    made = shards.read_shard(request.output, shards.table_name("completions", 0)).to_pylist()
    assert [row["finish_reason"] for row in made] == ["endpoint_refused", "stop"]
    assert "maximum context length" in made[0]["evidence"]
    assert stub.asked[0]["temperature"] == 0.3
    assert len({body["seed"] for body in stub.asked}) == 4


def a_priced_request(output: Path, url: str, *, max_cost: float | None) -> GenerationRequest:
    """Requests that cost 17, 7 tokens of a prompt and 5 of a completion, and could cost 300."""
    endpoint = replace(
        SMOKE.operation.endpoint,
        max_connections=1,
        price_per_million_prompt_tokens=1e6,
        price_per_million_completion_tokens=2e6,
        max_cost=max_cost,
    )
    recipe = a_recipe(engine="endpoint", max_new_tokens=100, max_model_len=200)
    return a_request(output, endpoint_url=url, endpoint=endpoint, recipe=recipe)


def with_cap(request: GenerationRequest, max_cost: float) -> GenerationRequest:
    return replace(request, endpoint=replace(request.endpoint, max_cost=max_cost))


def run(request: GenerationRequest, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        job(request, folder), env=environment(), capture_output=True, text=True, check=False
    )


def test_an_endpoint_is_asked_no_more_than_the_spending_cap_allows(tmp_path: Path) -> None:
    with serving() as stub:
        request = a_priced_request(tmp_path / "out", stub.url, max_cost=300 + 2 * 17 + 1)
        done = run(request, tmp_path / "job")
        assert len(stub.asked) == 3  # before the fourth 51 are spent, and it could cost 300
        assert done.returncode == worker.BAD_INPUT
        assert "have cost 51.00" in done.stderr
        assert "raise it to go on; complete parts are kept" in done.stderr
        assert generation.remaining_parts(request.output) == [1, 2]

        # The completion of a part that was not complete is paid, too.
        raised = with_cap(request, 51 + 3 * 17 + 300)
        subprocess.run(job(raised, tmp_path / "again"), env=environment(), check=True)
        assert generation.remaining_parts(request.output) == []


def test_what_earlier_attempts_spent_counts(tmp_path: Path) -> None:
    recipe = a_recipe(engine="endpoint")
    endpoint = replace(SMOKE.operation.endpoint, price_per_million_completion_tokens=1e6)
    with serving() as stub:
        request = a_request(
            tmp_path / "out",
            parts=1,
            endpoint_url=stub.url,
            endpoint=replace(endpoint, max_cost=None),
            recipe=recipe,
        )
        subprocess.run(job(request, tmp_path / "job"), env=environment(), check=True)
        a_request(tmp_path / "out", parts=2)
        capped = replace(
            request, endpoint=replace(endpoint, max_cost=10.0 + recipe.max_new_tokens - 1)
        )
        done = subprocess.run(
            job(capped, tmp_path / "again"),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert "have cost 10.00" in done.stderr
        assert len(stub.asked) == 2


def test_requests_without_a_reported_usage_count_as_the_most_that_they_can_cost(
    tmp_path: Path,
) -> None:
    with serving() as stub:
        stub.reports_usage = False
        done = run(a_priced_request(tmp_path / "out", stub.url, max_cost=1000), tmp_path / "job")
        assert len(stub.asked) == 3
    assert done.returncode == worker.BAD_INPUT
    assert "have cost 900.00 at most (3 without a reported usage count as" in done.stderr


@pytest.mark.parametrize("max_retries", [0, 1])
def test_an_completion_that_was_lost_on_the_way_counts_as_the_most_that_it_can_cost(
    tmp_path: Path, max_retries: int
) -> None:
    with serving() as stub:
        stub.loses_connections = True
        request = a_priced_request(tmp_path / "out", stub.url, max_cost=None)
        request = replace(request, endpoint=replace(request.endpoint, max_retries=max_retries))
        assert "Connection error" in run(request, tmp_path / "first").stderr
        num_lost = len(stub.asked)  # the next one may have been asked before the job ended
        assert num_lost > max_retries
        stub.loses_connections = False
        done = run(with_cap(request, 300 * num_lost + 299), tmp_path / "second")
    assert f"have cost {300 * num_lost}.00" in done.stderr
    assert len(stub.asked) == num_lost


def test_a_request_is_retried_when_the_openai_client_would_retry_it(tmp_path: Path) -> None:
    retried = [(status, {}) for status in (408, 409, 429, 500, 503)]
    retried += [(status, {"x-should-retry": "true"}) for status in (400, 403)]
    with serving() as stub:
        stub.failures = retried.copy()
        request = a_priced_request(tmp_path / "out", stub.url, max_cost=None)
        request = replace(request, endpoint=replace(request.endpoint, max_retries=len(retried)))
        assert run(request, tmp_path / "job").returncode == 0
    made = shards.read_shard(request.output, shards.table_name("completions", 0))
    assert made["finish_reason"].to_pylist() == ["stop", "stop"]
    assert len({body["seed"] for body in stub.asked[: len(retried) + 1]}) == 1


@pytest.mark.parametrize(
    ("status", "headers"), [(503, {"x-should-retry": "false"}), (403, {}), (404, {})]
)
def test_a_request_is_not_retried_when_the_openai_client_would_not(
    tmp_path: Path, status: int, headers: dict[str, str]
) -> None:
    with serving() as stub:
        stub.failures = [(status, headers)]
        request = a_priced_request(tmp_path / "out", stub.url, max_cost=None)
        done = run(
            replace(request, endpoint=replace(request.endpoint, max_retries=2)), tmp_path / "job"
        )
    assert done.returncode != 0
    assert f"Error code: {status}" in done.stderr
    assert [body["seed"] for body in stub.asked].count(stub.asked[0]["seed"]) == 1


@pytest.mark.parametrize(("status", "cost"), [(408, 300), (502, 300), (409, 0), (429, 0)])
def test_an_error_counts_as_the_most_that_it_can_cost_if_it_may_have_been_billed(
    tmp_path: Path, status: int, cost: int
) -> None:
    with serving() as stub:
        stub.failures = [(status, {})]
        request = a_priced_request(tmp_path / "out", stub.url, max_cost=cost + 300)
        request = replace(request, endpoint=replace(request.endpoint, max_retries=1))
        done = run(request, tmp_path / "job")
    assert done.returncode == worker.BAD_INPUT
    assert f"have cost {cost + 17}.00" in done.stderr
    assert len(stub.asked) == 2


def test_what_a_killed_attempt_may_have_spent_counts(tmp_path: Path) -> None:
    with serving(stall_after=3) as stub:
        request = a_priced_request(tmp_path / "out", stub.url, max_cost=None)
        process = subprocess.Popen(job(request, tmp_path / "first"), env=environment())
        assert stub.stalled.wait(60)
        process.kill()
        process.wait()
        stub.stall_after = None
        assert generation.remaining_parts(request.output) == [1, 2]
        done = run(with_cap(request, 600 + 299), tmp_path / "second")
        assert "have cost 600.00," in done.stderr  # recorded before the first of its requests
        assert len(stub.asked) == 4
        assert run(with_cap(request, 600 + 300 + 3 * 17), tmp_path / "third").returncode == 0
        assert len(stub.asked) == 8


@pytest.mark.parametrize(
    ("text", "ended_by", "whole"),
    [
        ("```python\na = 1", "\n```\n", "```python\na = 1\n```\n"),
        ("```python\na = 1\n```", None, "```python\na = 1\n```"),
        ("```python\na = 1", None, "```python\na = 1"),  # it ended without its fence
        ("```python\na = 1\n```", "\n```\n", "```python\na = 1\n```"),
    ],
)
def test_a_fence_that_the_engine_took_off_is_put_back(
    text: str, ended_by: str | None, whole: str
) -> None:
    assert append_closing_fence(text, ended_by) == whole


def test_a_job_killed_between_parts_resumes_to_the_same_completions(tmp_path: Path) -> None:
    recipe = a_recipe(engine="endpoint")
    # The engine's name is in the completions: all three runs must ask the same address.
    with serving(stall_after=2) as stub:
        killed = a_request(tmp_path / "killed", endpoint_url=stub.url, recipe=recipe)
        process = subprocess.Popen(job(killed, tmp_path / "first"), env=environment())
        assert stub.stalled.wait(60)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert generation.remaining_parts(killed.output) == [1, 2]
        stub.stall_after = None
        num_asked = len(stub.asked)
        subprocess.run(job(killed, tmp_path / "second"), env=environment(), check=True)
        assert len(stub.asked) == num_asked + 4  # the first part is not asked again
        whole = a_request(tmp_path / "whole", endpoint_url=stub.url, recipe=recipe)
        subprocess.run(job(whole, tmp_path / "third"), env=environment(), check=True)
    assert completions_digest(tmp_path / "killed") == completions_digest(tmp_path / "whole")
    report = json.loads((tmp_path / "second" / worker.REPORT).read_text())
    assert report["num_parts"] == 2


def test_a_job_that_is_told_to_stop_asks_no_more_and_says_that_it_was_preempted(
    tmp_path: Path,
) -> None:
    with serving(stall_after=2) as stub:
        request = a_request(
            tmp_path / "out",
            endpoint_url=stub.url,
            endpoint=replace(SMOKE.operation.endpoint, max_connections=1),
            recipe=a_recipe(engine="endpoint", reproducible=False),  # four requests are queued
        )
        process = subprocess.Popen(job(request, tmp_path / "job"), env=environment())
        assert stub.stalled.wait(60)
        process.terminate()
        time.sleep(3)  # the signal is handled before the request in progress is answered
        stub.close()
        assert process.wait(60) == worker.PREEMPTED
        assert len(stub.asked) == 3
    assert not (tmp_path / "job" / worker.REPORT).exists()
