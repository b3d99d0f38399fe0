"""A second benchmark takes a declaration; whatever reads problems then reads its problems, too."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from snow_assets.corpus import problems
from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.corpus.benchmarks.declaration import Benchmark, Distribution
from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.curation.decontamination.prefilter import hits, index_problems
from snow_assets.evaluation import execution, results
from snow_assets.evaluation.contract import EvaluationRequest
from snow_assets.evaluation.measuring import measure
from snow_assets.evaluation.problems import sample_problems
from snow_assets.evaluation.programs import execution_request, write_executions
from snow_assets.experiments.results import solution_texts
from snow_assets.recipe import SMOKE
from snow_assets.storage import shards
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from tests.evaluation.builders import (
    RECIPE,
    a_request,
    put_completions,
    put_lake,
    put_problems,
)
from tests.evaluation.test_execution import progress

NAMES = ("HumanEval", "Sums")


def _sums() -> Iterator[Mapping[str, str]]:
    for number in range(6):
        total = sum(entry for entry in (1, 9, 10) if entry > number)
        yield {
            "problem_id": f"Sums/{number}",
            "prompt": f"# Write the total of all entries that are larger than {number}.\n"
            f"def total_above_{number}(entries):\n",
            "solution": "    total = 0\n    for entry in entries:\n"
            f"        if entry > {number}:\n            total = total + entry\n"
            "    return total if entries else 0\n",
            "test": f"assert candidate([1, 9, 10]) == {total}\n",
            "entry_point": f"total_above_{number}",
        }


SUMS = Benchmark(
    name="Sums",
    source=Distribution(name="pytest", package="pytest", path="py.typed"),
    language="python",
    num_problems=6,
    parse=lambda _: _sums(),
    stop_sequences=("\ndef",),
)


@pytest.fixture(autouse=True)
def sums(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BENCHMARKS, "Sums", SUMS)


@pytest.fixture
def request_(lake_url: str) -> EvaluationRequest:
    """Six problems of HumanEval and all of Sums."""
    rows = problems.read_problems(NAMES)
    few = [row for row in rows if row["benchmark"] == "HumanEval"][:6]
    put_lake(lake_url, problems=few + [row for row in rows if row["benchmark"] == "Sums"])
    return a_request(lake_url, recipe=replace(RECIPE, benchmarks=NAMES, max_problems=None))


def table() -> pa.Table:
    return pa.Table.from_pylist(problems.read_problems(NAMES), BENCHMARK_PROBLEM)


def test_its_solutions_are_found_by_the_prefilter_and_by_the_gate() -> None:
    solution = next(iter(_sums()))["solution"]
    text = f"def f(entries):\n{solution}"
    index = index_problems(table(), recipe=SMOKE.curation.contamination)
    assert "Sums/0" in {hit.problem_id for hit in hits(text, index)}
    renamed = text.replace("total", "acc").replace("entry", "x").replace("entries", "xs")
    found = gate_hits([("d", renamed)], table(), window_tokens=24)
    assert "Sums/0" in {hit.problem_id for hit in found}


def test_each_benchmark_has_its_own_figures(request_: EvaluationRequest, tmp_path: Path) -> None:
    measured = measure(request_, progress(tmp_path))
    put_completions(request_)
    assert measured.num_solutions == 12
    report = execution.execute(execution_request(request_, num_cpus=2), progress(tmp_path))
    assert report.num_canonical in (0, 12)  # 0: no sandbox here
    write_executions(request_, report)
    rows = results.write_results(request_)
    languages = ["python", "sql"]
    assert results.validate_completeness(rows, languages=languages, recipe=request_.recipe) == []
    stats = results.stats(rows, measured, report)
    figures = {name.split(".")[0] for name in stats if "solution_bits_per_byte" in name}
    assert figures == set(NAMES)
    num_values = sum(row["value"] is not None for row in rows)
    assert len(stats) == num_values + 10  # beside the counts, none overwrote another


def test_a_benchmark_without_a_row_of_results_is_missing(
    request_: EvaluationRequest, tmp_path: Path
) -> None:
    measured = measure(request_, progress(tmp_path))
    put_completions(request_)
    execution_job = execution_request(request_, num_cpus=2)
    write_executions(request_, execution.execute(execution_job, progress(tmp_path)))
    rows = [row for row in results.write_results(request_) if row["benchmark"] != "Sums"]
    missing = results.validate_completeness(
        rows, languages=["python", "sql"], recipe=request_.recipe
    )
    assert "Sums pass_at_1 validation_half is missing" in missing
    assert len(missing) == 4
    assert measured.num_documents == 4


ECHO = Benchmark(
    name="Echo",
    source=Distribution(name="pytest", package="pytest", path="py.typed"),
    language="shell",
    num_problems=6,
    parse=lambda _: (
        {
            "problem_id": f"Echo/{number}",
            "prompt": f"# Print the number {number} and end.\n",
            "solution": "",
            "test": "true\n",
            "entry_point": "echo",
        }
        for number in range(6)
    ),
    stop_sequences=("\n}",),
    test_kind="program",
)


def test_a_benchmark_without_canonical_solutions_has_programs_only(
    lake_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(BENCHMARKS, "Echo", ECHO)
    put_lake(lake_url, problems=problems.read_problems(["Sums", "Echo"]))
    recipe = replace(RECIPE, benchmarks=("Sums", "Echo"), max_problems=None)
    request = a_request(lake_url, recipe=recipe)
    measured = measure(request, progress(tmp_path))
    assert measured.num_solutions == 6  # those of Sums
    put_completions(request)
    report = execution.execute(execution_request(request, num_cpus=2), progress(tmp_path))
    assert report.num_canonical in (0, 12)  # 0: no sandbox here
    write_executions(request, report)
    rows = {
        (row["benchmark"], row["metric"], row["subset"]): row
        for row in results.write_results(request)
    }
    languages = ["python", "sql"]
    assert results.validate_completeness([*rows.values()], languages=languages, recipe=recipe) == []
    for half in results.HALVES:
        bits = rows["Echo", results.SOLUTION_BITS, half]
        assert (bits["value"], bits["note"]) == (None, "not run: no canonical solutions")
        assert rows["Sums", results.SOLUTION_BITS, half]["value"] > 0
        if report.not_run is None:
            assert rows["Echo", results.PASS_AT_1, half]["value"] == 1.0
            assert rows["Sums", results.PASS_AT_1, half]["value"] == 0.0
    stats = results.stats([*rows.values()], measured, report)
    assert "missing_toolchains" not in stats
    missing = replace(report, missing_toolchains={"shell": "bash is not installed"})
    assert results.validate_canonical_solutions(
        [results.stats([*rows.values()], measured, missing)]
    )[0] == ("programs of shell were not run: bash is not installed")
    with pytest.raises(ValueError, match="Echo publishes no canonical solutions"):
        solution_texts(_finished(request), "Echo")


def _finished(request: EvaluationRequest) -> str:
    """The folder of an evaluation's results, closed."""
    shards.finish(
        request.output,
        asset="benchmark_results",
        partition="general",
        fingerprint="g",
        code_version="1",
        recipe="SMOKE",
        config={},
        inputs=[],
        stats={},
    )
    return request.output


def test_problems_are_sampled_by_benchmark(request_: EvaluationRequest) -> None:
    chosen = sample_problems(request_.problems, NAMES, num=2, seed=0)
    assert [problem.benchmark for problem in chosen] == ["HumanEval"] * 2 + ["Sums"] * 2
    assert {problem.stop_sequences for problem in chosen if problem.benchmark == "Sums"} == {
        ("\ndef",)
    }
    assert all(problem.test.startswith("assert candidate(") for problem in chosen[2:])


def test_a_lake_without_its_problems_names_it(lake_url: str) -> None:
    folder = put_problems(lake_url)
    with pytest.raises(ValueError, match=r"no problems of Sums: materialize benchmark_problems"):
        sample_problems(folder, NAMES, num=None, seed=0)


def test_an_undeclared_benchmark_is_named_with_those_that_there_are() -> None:
    with pytest.raises(ValueError, match=r"no benchmark 'APPS', only \['BigCodeBench', .*'Sums'\]"):
        problems.versions(["APPS"], None)


def test_a_benchmark_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        BENCHMARKS, "Sums", replace(SUMS, source=replace(SUMS.source, name="no-such-thing"))
    )
    with pytest.raises(ValueError, match=r"problems of Sums, is not installed: `pip install no-s"):
        problems.versions(NAMES, None)


def test_ids_that_two_benchmarks_share_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def copied() -> list[Mapping[str, str]]:
        return [{**problem, "problem_id": "HumanEval/0"} for problem in _sums()]

    monkeypatch.setitem(BENCHMARKS, "Sums", replace(SUMS, parse=lambda _: copied()))
    with pytest.raises(ValueError, match="'HumanEval/0' of Sums: ids begin with 'Sums/'"):
        problems.read_problems(NAMES)
    monkeypatch.setitem(BENCHMARKS, "Sums", replace(SUMS, parse=lambda _: []))
    with pytest.raises(ValueError, match="Sums has 0 problems in pytest, and its declaration"):
        problems.read_problems(NAMES)


def test_a_half_of_each_benchmark_gates_the_annotator(tmp_path: Path) -> None:
    stats = problems.write(str(tmp_path), NAMES, None)
    assert (stats["num_problems.HumanEval"], stats["num_problems.Sums"]) == (164, 6)
    rows = shards.read_shard(str(tmp_path), "problems-00000.parquet").to_pylist()
    halves = {(row["benchmark"], row["is_validation"]) for row in rows}
    assert halves == {(name, half) for name in NAMES for half in (True, False)}
