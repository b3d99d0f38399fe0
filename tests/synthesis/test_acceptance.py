"""Every completion ends as a document or as a refusal with its reason."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from snow_assets.curation.decontamination.gate import Gate
from snow_assets.recipe import AcceptanceRecipe, SynthesisMode
from snow_assets.storage import shards
from snow_assets.synthesis import execution
from snow_assets.synthesis.acceptance import CompletionSource, accept_completions
from snow_assets.synthesis.contract import FileExecution, FileExecutionRequest
from snow_assets.synthesis.engine import Completion
from snow_assets.synthesis.prompts import EXAMPLES
from snow_resources.lake import Lake
from tests.sandbox.programs import needs_floor
from tests.synthesis.builders import (
    PROBLEM,
    Progress,
    a_completion,
    a_file,
    a_module,
    put_completions,
    rules,
)

RENAMED = (
    "def middle(numbers, importance):\n"
    "    ordered = sorted(zip(numbers, importance))\n"
    "    everything = sum(importance)\n"
    "    so_far = 0\n"
    "    for number, share in ordered:\n"
    "        so_far = so_far + share\n"
    "        if so_far * 2 >= everything:\n"
    "            return number\n"
    "    return None\n\n\n"
    "def report_of_the_middle():\n"
    "    print(middle([1, 2, 3], [4, 5, 6]), 'is in the middle of all these numbers here')\n"
)


def judged(
    folder: Path,
    completions: list[str | Completion],
    *,
    snippet: str = "x",
    mode: SynthesisMode = "oss_instruct",
    **changed: Any,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]]:
    """Documents, refusals and stats."""
    completions_folder = put_completions(
        Lake(url=str(folder / "lake")), completions, snippet=snippet, mode=mode
    )
    out = str(folder / "out")
    asked = CompletionSource(
        folder=completions_folder,
        prompt_versions={mode: "1"},
        model="list",
        model_license="Apache-2.0",
        model_terms="none",
    )
    stats = accept_completions(asked, out, rules(**changed))
    rows: dict[str, list[dict[str, Any]]] = {"documents": [], "refusals": []}
    for entry in shards.records(out):
        table = entry.name.split("-")[0]
        rows[table] += shards.read_shard(out, entry.name).to_pylist()
    return rows["documents"], rows["refusals"], stats


def test_an_accepted_file_keeps_its_seed_and_how_it_was_made(tmp_path: Path) -> None:
    documents, refusals, stats = judged(tmp_path, [a_file(a_module("alpha"))])
    assert refusals == []
    (row,) = documents
    assert row["text"] == a_module("alpha")
    assert (row["seed_repository"], row["seed_license"]) == ("repository-0", "MIT")
    assert (row["model_license"], row["model_terms"]) == ("Apache-2.0", "none")
    assert (row["engine"], row["model"], row["prompt_version"]) == ("list 1", "list", "1")
    assert stats["num_tokens"] == row["num_tokens"] > 32


def test_a_rewritten_file_and_a_refused_one_state_their_mode(tmp_path: Path) -> None:
    completions: list[str | Completion] = [a_file(a_module("alpha")), "no file"]
    documents, refusals, _ = judged(tmp_path, completions, mode="rewrite")
    assert [row["mode"] for row in (*documents, *refusals)] == ["rewrite", "rewrite"]


def test_a_set_in_which_nothing_is_rewritten_has_no_column_for_the_mode(tmp_path: Path) -> None:
    documents, refusals, _ = judged(tmp_path, [a_file(a_module("alpha")), "no file"])
    assert not any("mode" in row for row in (*documents, *refusals))


def test_a_file_that_comes_back_as_it_was_is_not_rewritten(tmp_path: Path) -> None:
    seed = a_module("alpha")
    _, refusals, _ = judged(tmp_path, [a_file(seed)], snippet=seed, mode="rewrite")
    assert [row["reason"] for row in refusals] == ["copies_seed"]


def executed(folder: Path, programs: Sequence[str]) -> Sequence[FileExecution]:
    request = FileExecutionRequest(programs=tuple(programs), timeout_seconds=20.0, num_cpus=2)
    return execution.work(request, Progress(folder)).executions


@needs_floor
def test_a_file_that_does_not_run_is_refused_and_another_states_what_ran(tmp_path: Path) -> None:
    tested = f"{a_module('alpha')}def test_alpha():\n    assert alpha_report([3]) == [3]\n"
    without_test = "import unittest\nclass Checks(unittest.TestCase):\n    pass\n"
    completions: list[str | Completion] = [
        a_file(tested),
        a_file(f"{a_module('epsilon')}{without_test}"),
        a_file(f"{a_module('beta')}beta_report(2)\n"),
        a_file(f"import numpy\n{a_module('gamma')}"),
        a_file(a_module("delta")),
        a_file("a = 1\n"),  # too short to be run
    ]
    documents, refusals, stats = judged(
        tmp_path, completions, run_programs=partial(executed, tmp_path)
    )
    states = [row["execution"] for row in documents]
    assert states == ["passed_tests", "ran", "not_runnable", "ran"]
    assert {row["reason"]: "TypeError" in row["evidence"] for row in refusals} == {
        "execution_failed": True,
        "too_short": False,
    }
    assert stats["refused"] == {"execution_failed": 1, "too_short": 1}
    assert stats["executions"] == {"failed": 1, "needs_modules": 1, "passed_tests": 1, "ran": 2}


@needs_floor
def test_running_files_twice_gives_the_same_digest(tmp_path: Path) -> None:
    tests = "import time, unittest\nclass Checks(unittest.TestCase):\n    def test_time(self):\n"
    tests += "        print(time.perf_counter_ns(), flush=True)\n        self.fail()\n"
    completions: list[str | Completion] = [a_file(f"{a_module('alpha')}{tests}")]
    digests = set()
    for name in ("one", "two"):
        folder = tmp_path / name
        _, refusals, _ = judged(folder, completions, run_programs=partial(executed, folder))
        assert refusals[0]["reason"] == "execution_failed"
        digests.add(shards.content_digest(shards.records(str(folder / "out"))))
    assert len(digests) == 1


@needs_floor
def test_a_file_that_fails_takes_no_near_duplicates_place(tmp_path: Path) -> None:
    completions: list[str | Completion] = [
        a_file(f"{a_module('alpha')}alpha_report(2)\n"),
        a_file(a_module("alpha")),
    ]
    documents, refusals, _ = judged(tmp_path, completions, run_programs=partial(executed, tmp_path))
    assert [row["text"] for row in documents] == [a_module("alpha")]
    assert [row["reason"] for row in refusals] == ["execution_failed"]


def test_without_execution_there_is_no_column_for_it(tmp_path: Path) -> None:
    documents, _, stats = judged(tmp_path, [a_file(a_module("alpha"))])
    assert "execution" not in documents[0]
    assert "executions" not in stats


def test_a_child_of_a_repository_that_opted_out_since_is_refused(tmp_path: Path) -> None:
    completions: list[str | Completion] = [a_file(a_module(name)) for name in ("alpha", "beta")]
    documents, refusals, stats = judged(
        tmp_path, completions, opted_out=frozenset({"repository-1"})
    )
    assert [row["seed_repository"] for row in documents] == ["repository-0"]
    assert [(row["reason"], row["evidence"]) for row in refusals] == [("opted_out", None)]
    assert stats["num_asked"] == 2


def test_asked_is_accepted_plus_refused(tmp_path: Path) -> None:
    completions = [a_file(a_module(name)) for name in ("alpha", "beta", "alpha")]
    documents, refusals, stats = judged(tmp_path, [*completions, "no file", "```python\n)(\n```"])
    assert stats["num_asked"] == 5 == len(documents) + len(refusals)
    assert stats["refused"] == {"exact_duplicate": 1, "no_code": 1, "unparsable": 1}


@pytest.mark.parametrize(
    ("completion", "reason"),
    [
        ("I would rather not.", "no_code"),
        (a_completion("```python\na = [", finish_reason="length"), "cut_off"),
        (a_file("def broken(:\n"), "unparsable"),
        (a_file("a = 1\n"), "too_short"),
        (a_file(PROBLEM["prompt"] + PROBLEM["solution"]), "contaminated"),
        (a_file(RENAMED), "leaks"),
        (a_file(EXAMPLES[0][2]), "exact_duplicate"),
        (
            a_completion("", finish_reason="prompt_too_long", evidence="900 tokens"),
            "prompt_too_long",
        ),
    ],
)
def test_a_refusal_names_its_reason_and_evidence(
    tmp_path: Path, completion: str | Completion, reason: str
) -> None:
    documents, refusals, _ = judged(tmp_path, [completion])
    assert documents == []
    assert [row["reason"] for row in refusals] == [reason]
    assert refusals[0]["evidence"]


def test_a_copy_of_its_seed_is_refused(tmp_path: Path) -> None:
    seed = a_module("alpha")
    documents, refusals, _ = judged(tmp_path, [a_file(f"# mine\n{seed}")], snippet=seed)
    assert (documents, refusals[0]["reason"]) == ([], "copies_seed")


def test_a_near_duplicate_of_an_accepted_file_is_refused_and_names_it(tmp_path: Path) -> None:
    near = a_module("alpha").replace("* 9", "* 10")
    documents, refusals, _ = judged(tmp_path, [a_file(a_module("alpha")), a_file(near)])
    assert refusals[0]["reason"] == "near_duplicate"
    assert documents[0]["document_id"] in refusals[0]["evidence"]


def test_near_duplicates_are_found_across_chunks(tmp_path: Path) -> None:
    completions = [a_file(a_module(name)) for name in ("alpha", "beta", "gamma", "delta")]
    near = a_module("alpha").replace("* 9", "* 10")
    documents, refusals, _ = judged(tmp_path, [*completions, a_file(near)])
    assert len(documents) == 4
    assert [row["reason"] for row in refusals] == ["near_duplicate"]


def test_a_secret_in_a_completion_is_redacted_before_it_is_kept(tmp_path: Path) -> None:
    secret = "AKIA" + "Z7QK3MPL2X9W4VBT"
    text = a_module("alpha") + f'\naws_access_key = "{secret}"\n'
    documents, _, stats = judged(tmp_path, [a_file(text)])
    assert secret not in documents[0]["text"]
    assert stats["num_redactions"] == 1


def test_another_threshold_judges_the_same_completions_anew(tmp_path: Path) -> None:
    completions: list[str | Completion] = [a_file("a = 1\n")]
    loose = AcceptanceRecipe(min_tokens=1, max_jaccard=0.7)
    documents, _, _ = judged(tmp_path, completions, recipe=loose)
    assert len(documents) == 1


def test_judging_twice_gives_the_same_digest(tmp_path: Path) -> None:
    completions: list[str | Completion] = [a_file(a_module(name)) for name in ("alpha", "beta")]
    digests = []
    for name in ("one", "two"):
        judged(tmp_path / name, [*completions, "nothing"])
        digests.append(shards.content_digest(shards.records(str(tmp_path / name / "out"))))
    assert digests[0] == digests[1]


def test_the_gate_is_built_once_and_searches_each_chunk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates: list[Gate] = []
    build = Gate.of

    def counted(problems: pa.Table, *, window_tokens: int) -> Gate:
        gates.append(build(problems, window_tokens=window_tokens))
        return gates[-1]

    monkeypatch.setattr(Gate, "of", counted)
    completions = [
        a_file(text) for name in "ab" for text in (f"{RENAMED}{name} = 1\n", a_module(name))
    ]
    _, refusals, _ = judged(tmp_path, completions)
    assert [row["reason"] for row in refusals] == ["leaks", "leaks"]
    assert len(gates) == 1
