"""Completions of a checkpoint by vLLM: where they end, what they lose, and that they come again."""

import json
import shutil
import subprocess
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from snow_assets.corpus.benchmarks.human_eval import HUMAN_EVAL
from snow_assets.corpus.problems import read_problems
from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.contract import EvaluationRequest
from snow_assets.evaluation.decoding import completion_parts, decodings
from snow_assets.evaluation.generation import Context, truncate_at_stop_sequence
from snow_assets.evaluation.problems import problem_from_row
from snow_assets.home import CHECKOUT
from snow_assets.recipe import SamplingRecipe
from snow_assets.runtime import worker
from snow_assets.runtime.inference import TokenCompletion
from snow_assets.storage import shards
from tests.evaluation.builders import (
    CONTEXT_TOKENS,
    a_loaded_checkpoint,
    a_problem,
    a_request,
    a_tokenizer,
    an_evaluation_recipe,
    put_checkpoint,
    put_problems,
    put_tokenizer,
)
from tests.synthesis.test_vllm import LOCAL
from tests.vllm_server import PYTHON, require_vllm

STOP = HUMAN_EVAL.stop_sequences
NEW_TOKENS = 12
SAMPLING = SamplingRecipe(
    temperature=1.0, top_p=1.0, num_samples=3, pass_at=(1, 3), reproducible=True
)
PROMPTS = ["def add(first, second):", "x = 1", "import first as second, third", "second " * 100]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("\n    return 1\n\ndef other():", "\n    return 1\n"),
        ("\n    return 1\nprint(add(1))\nclass A:", "\n    return 1"),
        ("\n    define = 1", "\n    define = 1"),
    ],
)
def test_an_answer_ends_before_its_first_stop_sequence(text: str, kept: str) -> None:
    assert truncate_at_stop_sequence(text, STOP) == (kept, text != kept)


def a_context() -> Context:
    return Context(tokenizer=a_tokenizer(), max_seq_len=CONTEXT_TOKENS, max_new_tokens=NEW_TOKENS)


def completed(token_ids: list[int]) -> dict[str, Any]:
    completion = TokenCompletion(
        token_ids=token_ids, text="not read", finish_reason="stop", stop_sequence=None
    )
    return a_context().completion_fields(completion, STOP)


def test_what_ended_a_completion_is_recorded() -> None:
    context = a_context()
    words = context.tokenizer.encode("return first", add_special_tokens=False).ids
    comment = context.tokenizer.encode("\n# and on", add_special_tokens=False).ids
    assert completed(words) == {
        "completion": "return first",
        "stop_reason": "length",
        "num_tokens": len(words),
    }
    assert completed([*words, context.end_of_text]) == {
        "completion": "return first",
        "stop_reason": "end_of_text",
        "num_tokens": len(words) + 1,
    }
    assert completed([*words, *comment]) == {
        "completion": "return first",
        "stop_reason": "stop_sequence",
        "num_tokens": len(words) + len(comment),
    }


def test_bytes_that_are_no_whole_character_are_part_of_the_text() -> None:
    first_byte = a_tokenizer().encode("\N{EURO SIGN}", add_special_tokens=False).ids[:1]
    assert completed(first_byte)["completion"] == "\N{REPLACEMENT CHARACTER}"


def test_a_prompt_that_is_too_long_loses_its_beginning() -> None:
    context, problem = a_context(), a_problem(prompt="second " * 100)
    (greedy,) = decodings(an_evaluation_recipe())
    prompt = context.token_prompt(problem, greedy, seed=0)
    tokens = context.prompt_token_ids(problem)
    num_kept = CONTEXT_TOKENS - NEW_TOKENS - 1
    assert list(prompt.token_ids) == [context.end_of_text, *tokens[-num_kept:]]


def test_parts_hold_every_problem_once_for_each_decoding() -> None:
    sampling = replace(SAMPLING, reproducible=False)
    recipe = an_evaluation_recipe(part_problems=4, sampling=sampling)
    parts = completion_parts(recipe, num_problems=10)
    ranges = {
        name: [(part.begin, part.end) for part in parts if part.decoding.name == name]
        for name in ("greedy", "sampled")
    }
    assert ranges == {
        "greedy": [(0, 4), (4, 8), (8, 10)],
        "sampled": [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)],  # two of them are lost by a kill
    }


def test_seeds_differ_by_problem_and_are_stated_only_where_they_are_asked_for() -> None:
    recipe = an_evaluation_recipe(sampling=SAMPLING)
    greedy, sampled = decodings(recipe)
    problems = [a_problem(problem_id=f"Own/{number}") for number in range(9)]
    seeds = {a_context().token_prompt(each, sampled, seed=0).seed for each in problems}
    assert len(seeds) == 9
    assert {a_context().token_prompt(each, greedy, seed=0).seed for each in problems} == {None}


def plain_greedy(checkpoint: Checkpoint, prompt: str) -> str:
    """One token after the other, alone and without a cache, until the end of text."""
    prompt_ids = checkpoint.encode(prompt)[-(CONTEXT_TOKENS - NEW_TOKENS - 1) :]
    tokens = [checkpoint.end_of_text, *prompt_ids]
    begin = len(tokens)
    for _ in range(NEW_TOKENS):
        best = int(checkpoint.model(torch.tensor([tokens])).logits[0, -1].argmax())
        if best == checkpoint.end_of_text:
            break
        tokens.append(best)
    return truncate_at_stop_sequence(checkpoint.tokenizer.decode(tokens[begin:]), STOP)[0]


def generated(request: EvaluationRequest, folder: Path) -> dict[str, float]:
    """The report of the job in vLLM's environment."""
    folder.mkdir()
    (folder / worker.REQUEST).write_text(json.dumps(asdict(request)))
    command = [str(PYTHON), "-m", "snow_assets.evaluation.generation", str(folder)]
    subprocess.run(command, env=LOCAL, check=True, cwd=CHECKOUT)
    report: dict[str, float] = json.loads((folder / worker.REPORT).read_text())
    return report


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> EvaluationRequest:
    """A request that has run: greedy completions of four problems and three samples of each."""
    require_vllm()
    lake = str(tmp_path_factory.mktemp("lake"))
    put_tokenizer(lake)
    put_checkpoint(lake, "general")
    rows = [
        {**row, "prompt": prompt}
        for row, prompt in zip(read_problems(["HumanEval"]), PROMPTS, strict=False)
    ]
    put_problems(lake, rows)
    request = a_request(
        lake,
        recipe=an_evaluation_recipe(
            max_problems=None, max_new_tokens=NEW_TOKENS, part_problems=2, sampling=SAMPLING
        ),
    )
    report = generated(request, tmp_path_factory.mktemp("job") / "job")
    assert report["num_completions"] == 4 + 4 * 3
    return request


def completions(output: str, decoding: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of `completions` by problem."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in shards.read_unfinished(output, "completions").to_pylist():
        if row["decoding"] == decoding:
            rows.setdefault(row["problem_id"], []).append(row)
    return rows


@pytest.mark.slow
def test_greedy_completions_are_the_most_probable_tokens(request_: EvaluationRequest) -> None:
    checkpoint = a_loaded_checkpoint()
    rows = completions(request_.output, "greedy")
    problems = shards.read(request_.problems, "problems").to_pylist()
    for problem in map(problem_from_row, problems):
        (row,) = rows[problem.problem_id]
        assert row["completion"] == plain_greedy(checkpoint, problem.prompt)
        num_cut = len(checkpoint.encode(problem.prompt)) - (CONTEXT_TOKENS - NEW_TOKENS - 1)
        assert row["num_cut_prompt_tokens"] == max(0, num_cut)
        assert row["engine"].startswith("vllm 0.")


@pytest.mark.slow
def test_each_problem_has_its_samples_and_they_differ(request_: EvaluationRequest) -> None:
    rows = completions(request_.output, "sampled")
    assert len(rows) == 4
    for samples in rows.values():
        assert [row["sample_index"] for row in samples] == [0, 1, 2]
        assert len({row["completion"] for row in samples}) > 1


@pytest.mark.slow
def test_the_parts_that_a_kill_left_are_not_made_again_and_the_others_are_the_same(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    killed = replace(request_, output=str(tmp_path / "out"))
    shutil.copytree(request_.output, killed.output)
    for index in (0, 3):
        name = shards.table_name("completions", index)
        Path(killed.output, name).unlink()
        Path(killed.output, shards.record_name(name)).unlink()
    kept = Path(killed.output, shards.table_name("completions", 1))
    written_at = kept.stat().st_mtime_ns
    report = generated(killed, tmp_path / "job")
    assert report["num_completions"] == 2 + 2 * 3
    assert kept.stat().st_mtime_ns == written_at
    whole, resumed = shards.records(request_.output), shards.records(killed.output)
    assert shards.content_digest(whole) == shards.content_digest(resumed)
