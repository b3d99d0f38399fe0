"""MultiPL-E is read from its published files, and its programs run in the sandbox, by language."""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from snow_assets.cli import suites
from snow_assets.corpus import problems
from snow_assets.corpus.benchmarks import BENCHMARKS
from snow_assets.corpus.benchmarks.multipl_e import MULTIPL_E
from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.curation.decontamination.prefilter import hits, index_problems
from snow_assets.defs.evaluation import benchmark_results
from snow_assets.defs.quality import annotator_stages, quality_annotator
from snow_assets.evaluation import execution
from snow_assets.evaluation.problems import problem_from_row
from snow_assets.evaluation.programs import installed_toolchains, problem_test, require_memory
from snow_assets.evaluation.toolchains import TOOLCHAINS
from snow_assets.languages import LANGUAGES
from snow_assets.planning.experiment_plan import plan_experiment
from snow_assets.planning.plan import plan
from snow_assets.recipe import SMOKE, Recipe
from snow_assets.runtime import sandbox
from snow_assets.stages import Stage, StageInputs
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from snow_resources.kubernetes_jobs import KubernetesJobs
from snow_resources.lake import Lake
from tests.recipes import EXPERIMENT, TWO_ANNOTATORS

_TEXT = "Write a function that counts how many entries of the given readings exceed the limit."
_PROMPTS = {
    "cpp": f"#include<assert.h>\n#include<bits/stdc++.h>\n// {_TEXT}\n"
    "long count_above(std::vector<long> readings, long limit) {\n",
    "js": f"//{_TEXT}\nfunction count_above(readings, limit){{\n",
    "php": f"<?php\n// {_TEXT}\nfunction count_above($readings, $limit) {{\n",
    "pl": f"# {_TEXT}\nsub count_above {{\n    my($readings, $limit) = @_;\n",
    "rb": f"# {_TEXT}\ndef count_above(readings, limit)\n",
    "sh": f"#!/bin/bash\n# {_TEXT}\n#\n# $1 is a space-separated list\n# $2 is an integer\n"
    "count_above() {\n",
}
_TESTS = {
    "cpp": "}\nint main() {\n    auto candidate = count_above;\n"
    "    assert(candidate((std::vector<long>({(long)1, (long)5, (long)9})), (4)) == (2));\n}\n",
    "js": "const assert = require('node:assert');\n\n\nfunction test() {\n"
    "  let candidate = count_above;\n  assert.deepEqual(candidate([1, 5, 9], 4),2);\n}\n\ntest();",
    "php": "function candidate(...$args) {\n    return count_above(...$args);\n}\n\n"
    "function test(): void {\n    if (candidate(array(1, 5, 9), 4) !== 2) "
    '{ throw new Exception("Test failed!"); }\n}\n\ntest();',
    "pl": "use Test::Deep;\n\n\nsub testhumaneval {\n    my $candidate = \\&count_above;\n"
    '        if(eq_deeply($candidate->([1, 5, 9], 4),2)) {\n        print "ok!" }else{\n'
    "        exit 1;\n        }\n}\n\ntesthumaneval();",
    "rb": "require 'test/unit'\nclass TestHumanEval < Test::Unit::TestCase\n"
    "  def test_count_above\n    candidate = method(:count_above)\n"
    "    assert_equal(2, candidate.call([1, 5, 9], 4))\n  end\nend\n",
    "sh": '}\n\ncandidate() {\n    count_above "$@"\n}\n\nset -e\nrun_test() {\n'
    '    [[ $(candidate "1 5 9" "4") = "2" ]]\n}\n\nrun_test',
}
_RIGHT = {
    "cpp": "    long total = 0;\n    for (long value : readings) total += value > limit;\n"
    "    return total;",
    "js": "  return readings.filter(value => value > limit).length;\n}",
    "php": "    return count(array_filter($readings, fn($value) => $value > $limit));\n}",
    "pl": "    return scalar grep { $_ > $limit } @$readings;\n}",
    "rb": "  readings.count { |value| value > limit }\nend",
    "sh": "    echo $1 | tr ' ' '\\n' | awk -v limit=$2 '$1 > limit' | wc -l | tr -d ' '",
}
_WRONG = {
    "cpp": ("    return 1;", "    exit(0);", "    no program"),
    "js": ("  return 1;\n}", "  process.exit(0);\n}", "  no program"),
    "php": ("    return 1;\n}", "    exit(0);\n}", "    no program", "    return 1;\n} ?>"),
    "pl": (
        "    return 1;\n}",
        "    exit 0;\n}",
        "    no program (",
        "    return 1;\n}\nprint <DATA>;\n__END__",
    ),
    "rb": (
        "  1\nend",
        "  exit!(0)\nend",
        "  no program (",
        "  1\nend\nputs DATA.read\n__END__",
    ),
    "sh": (
        "    echo 1",
        "    exit 0\n}\nexit 0\nfalse() {",
        "    no program )",
        "    echo 1\n}\ncat <<END",
    ),
}
EXTENSIONS = tuple(_PROMPTS)


def _name(extension: str, subset: str = "humaneval") -> str:
    return f"MultiPL-E-{subset}-{extension}"


def _row(extension: str, name: str = "HumanEval_7_count_above") -> dict[str, Any]:
    return {
        "name": name,
        "language": extension,
        "prompt": _PROMPTS[extension],
        "doctests": "transform",
        "original": f"/datasets/originals-with-cleaned-doctests/{name}.py",
        "prompt_terminology": "reworded",
        "tests": _TESTS[extension],
        "stop_tokens": list(BENCHMARKS[_name(extension)].stop_sequences),
    }


def _put(folder: Path, name: str, rows: list[dict[str, Any]]) -> None:
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), content)
    path = folder / BENCHMARKS[name].source.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.getvalue())


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the published files, with a problem each."""
    for extension in EXTENSIONS:
        for subset, name in (
            ("humaneval", "HumanEval_7_count_above"),
            ("mbpp", "mbpp_7_count_above"),
        ):
            benchmark = BENCHMARKS[_name(extension, subset)]
            monkeypatch.setitem(BENCHMARKS, benchmark.name, replace(benchmark, num_problems=1))
            _put(tmp_path, benchmark.name, [_row(extension, name)])
    return tmp_path


def _runs_here(language: str) -> bool:
    """Whether the machine has the language's commands and the libraries of its tests."""
    toolchain = TOOLCHAINS[language]
    if not sandbox.probe().available or toolchain.missing_commands:
        return False
    (result,) = sandbox.run_all([toolchain.execution(toolchain.check, 60.0)], num_cpus=1)
    return result.outcome == "passed"


def _problem(files: Path, name: str) -> execution.ProblemTest:
    (row,) = problems.read_problems([name], str(files))
    return problem_test(problem_from_row(row))


def _outcome(files: Path, extension: str, completion: str) -> str:
    problem = _problem(files, _name(extension))
    source = f"{_PROMPTS[extension]}{completion}"
    (result,) = sandbox.run_all([execution.execution_of(source, problem, 60.0)], num_cpus=1)
    return result.outcome


def test_each_subset_reads_its_published_file(files: Path) -> None:
    names = [benchmark.name for benchmark in MULTIPL_E]
    rows = {row["problem_id"]: row for row in problems.read_problems(names, str(files))}
    assert set(rows) == {f"{name}/7" for name in names}
    for benchmark in MULTIPL_E:
        row = rows[f"{benchmark.name}/7"]
        assert (row["entry_point"], row["solution"]) == ("count_above", "")
        assert benchmark.language in LANGUAGES
    for subset, origin in (("humaneval", "HumanEval/7"), ("mbpp", "MBPP/7")):
        halves = {rows[f"{_name(e, subset)}/7"]["is_validation"] for e in EXTENSIONS}
        assert len(halves) == 1, f"one half for all translations of {origin}"


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_right_programs_pass_and_others_fail(files: Path, extension: str) -> None:
    language = BENCHMARKS[_name(extension)].language
    if not _runs_here(language):
        pytest.skip(f"no toolchain of {language} here")
    assert _outcome(files, extension, _RIGHT[extension]) == "passed"
    outcomes = [_outcome(files, extension, completion) for completion in _WRONG[extension]]
    assert outcomes == ["failed"] * len(outcomes)


@pytest.mark.parametrize("extension", EXTENSIONS)
def test_a_planted_solution_is_dropped_and_blocks(files: Path, extension: str) -> None:
    name = _name(extension)
    table = pa.Table.from_pylist(problems.read_problems([name], str(files)), BENCHMARK_PROBLEM)
    index = index_problems(table, recipe=SMOKE.curation.contamination)
    text = f"{_PROMPTS[extension]}{_RIGHT[extension]}\n"
    assert {hit.problem_id for hit in hits(text, index)} == {f"{name}/7"}
    blocked = gate_hits([("document", text)], table, window_tokens=24)
    assert {hit.problem_id for hit in blocked} == {f"{name}/7"}
    # The signature of another function, with the same types.
    signature = _PROMPTS[extension].splitlines()[-1].replace("count_above", "drop_below")
    other = f"{signature.replace('readings', 'rows')}\n{_RIGHT[extension].splitlines()[-1]}\n"
    assert not hits(other, index) and not gate_hits([("document", other)], table, window_tokens=24)


@pytest.mark.skipif(not sandbox.probe().available, reason="no sandbox here")
def test_no_language_runs_where_a_forbidden_command_is_not_refused(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = partial(sandbox.run_all, num_cpus=1)
    shell = _problem(files, _name("sh"))
    assert execution.run_toolchains([shell], run, timeout_seconds=60.0).missing == {}
    allowed = sandbox._FORBIDDEN_COMMANDS.replace("'setsid true'", "'true'")
    monkeypatch.setattr(sandbox, "_FORBIDDEN_COMMANDS", allowed)
    missing = execution.run_toolchains([shell], run, timeout_seconds=60.0).missing
    assert missing["shell"].startswith("the isolation of commands has a hole here: failed: not ref")
    assert missing["shell"].rstrip().endswith("/bin/bash ended with 1")


def test_only_checks_that_pass_scale_the_time_limit(files: Path) -> None:
    def toolchains(extensions: str, *outcomes: sandbox.Outcome) -> execution.ToolchainRun:
        def run(executions: Sequence[sandbox.Execution]) -> list[sandbox.ExecutionResult]:
            seconds = {"passed": 0.5, "timeout": 60.0}
            return [
                sandbox.ExecutionResult(
                    outcome=outcome, seconds=seconds[outcome], isolation="", message=""
                )
                for _, outcome in zip(executions, ("passed", *outcomes), strict=True)
            ]

        tests = [_problem(files, _name(extension)) for extension in extensions.split()]
        return execution.run_toolchains(tests, run, timeout_seconds=60.0)

    # Perl and bash, which every machine that runs these tests has.
    both = toolchains("pl sh", "passed", "timeout")
    assert (both.slowest_seconds, list(both.missing)) == (0.5, ["shell"])
    assert toolchains("sh", "timeout").slowest_seconds == 0.0


def test_a_sandbox_job_that_is_too_small_for_its_programs_is_refused() -> None:
    def recipe(name: str, sandbox_gib: int) -> Recipe:
        evaluation = replace(SMOKE.evaluation, benchmarks=("HumanEval", name))
        memory = replace(SMOKE.operation.worker_memory, sandbox_gib=sandbox_gib)
        operation = replace(SMOKE.operation, worker_memory=memory, sandbox_cpus=3)
        return replace(SMOKE, evaluation=evaluation, operation=operation)

    for name in (_name("sh"), "BigCodeBench"):
        with pytest.raises(ValueError, match=rf"{name}: .*sandbox_gib is 11: state at least 12,"):
            require_memory(recipe(name, 11))
        require_memory(recipe(name, 12))
    require_memory(recipe("MBPP", 4))


def test_an_annotator_that_selects_needs_a_benchmark_with_canonical_solutions(
    lake_url: str,
) -> None:
    def action(benchmarks: tuple[str, ...], stage: Stage) -> str:
        recipe = replace(
            TWO_ANNOTATORS,
            evaluation=replace(TWO_ANNOTATORS.evaluation, benchmarks=benchmarks),
            experiments=(),
            promotion_gates=(),
        )
        steps = plan([stage], Lake(url=lake_url), recipe, {"jobs": None}).steps
        (step,) = (each for each in steps if each.asset == stage.name)
        return f"{step.action}: {step.reasons}"

    refused = "fails: .*none of .*'MultiPL-E-humaneval-sh'.* publishes any: name another benchmark"
    alone = (_name("sh"), _name("js"))
    assert re.match(refused, action(alone, quality_annotator))
    further = annotator_stages("short_windows").annotator
    for benchmarks, stage in (((*alone, "MBPP"), quality_annotator), (alone, further)):
        assert "publishes" not in action(benchmarks, stage)


def test_an_experiment_is_not_decided_by_a_benchmark_without_canonical_solutions(
    lake_url: str,
) -> None:
    (experiment,) = EXPERIMENT.experiments
    recipe = replace(
        EXPERIMENT,
        evaluation=replace(EXPERIMENT.evaluation, benchmarks=("HumanEval", _name("sh"))),
        experiments=(replace(experiment, benchmark=_name("sh")),),
    )
    resources: dict[str, Any] = {"lake": None, "recipe": recipe, "jobs": None, "teacher": None}
    steps = plan_experiment(Lake(url=lake_url), recipe, experiment.name, resources).steps
    reasons = {step.reasons for step in steps if step.asset == "experiment_arms"}
    assert reasons == {
        (
            "experiment claim is decided by bits per byte of canonical solutions, and "
            "MultiPL-E-humaneval-sh publishes none: name another benchmark in it",
        )
    }


def test_a_language_without_its_commands_is_named_and_not_run(
    files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    absent = replace(TOOLCHAINS["javascript"], commands=(("no-such-node", "program.js"),))
    monkeypatch.setitem(execution.TOOLCHAINS, "javascript", absent)
    name = _name("js")
    problem = _problem(files, name)
    toolchains = execution.run_toolchains([problem], lambda _: [], timeout_seconds=1.0)
    assert toolchains.missing == {
        "javascript": "no-such-node is not installed where the sandbox runs: install it "
        "there, on a cluster in another image"
    }
    (result,) = execution.run_programs(
        [execution.Program(problem_id=problem.problem_id, source="")],
        [problem],
        lambda _: [],
        seconds={"program": 1.0},
        excluded={},
        missing_toolchains=toolchains.missing,
    )
    assert (result.outcome, result.message) == ("not_run", toolchains.missing["javascript"])
    assert suites.verify(name, str(files), seconds=20.0).refusal == result.message
    recipe = _with_benchmarks("HumanEval", name, _name("sh"))
    assert installed_toolchains(recipe) == ["shell"]
    assert installed_toolchains(SMOKE) is None


def _with_benchmarks(*names: str) -> Recipe:
    """SMOKE with benchmarks, and memory for their programs."""
    memory = replace(SMOKE.operation.worker_memory, sandbox_gib=8)
    return replace(
        SMOKE,
        evaluation=replace(SMOKE.evaluation, benchmarks=names),
        operation=replace(SMOKE.operation, worker_memory=memory),
    )


def test_another_image_of_a_cluster_evaluates_other_languages_again(lake_url: str) -> None:
    def config(recipe: Recipe, image: str) -> Any:
        jobs = KubernetesJobs(url=lake_url, namespace="snow", images={"trainer": image})
        return benchmark_results.config(
            StageInputs(
                stage=benchmark_results,
                partition="general",
                recipe=recipe,
                lake=Lake(url=lake_url),
                resolve=lambda *_: pytest.fail("it reads an input"),
                resources={"jobs": jobs},
            )
        )

    first, second = (
        config(_with_benchmarks("HumanEval", _name("sh")), image) for image in ("a:1", "a:2")
    )
    assert (first["toolchains"], second["toolchains"]) == (["a:1"], ["a:2"])
    assert config(SMOKE, "a:1") == config(SMOKE, "a:2")
    assert "toolchains" not in config(SMOKE, "a:1")


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("name", "count_above", "name 'count_above' is not ORIGIN_NUMBER_FUNCTION"),
        ("language", "rs", "HumanEval_7_count_above: language is 'rs', not 'js'"),
        ("tests", "", "HumanEval_7_count_above: tests is empty"),
        ("stop_tokens", ["\nlet"], "HumanEval_7_count_above: stop_tokens are"),
    ],
)
def test_a_malformed_row_is_refused_by_name(
    files: Path, column: str, value: Any, named: str
) -> None:
    _put(files, _name("js"), [{**_row("js"), column: value}])
    with pytest.raises(ValueError, match=rf"{named}.*download it again"):
        problems.read_problems([_name("js")], str(files))


def test_a_missing_file_is_named_with_its_origin(files: Path) -> None:
    (files / BENCHMARKS[_name("sh")].source.name).unlink()
    missing = r"humaneval-sh/test-00000-of-00001.parquet is missing: download it from https"
    with pytest.raises(ValueError, match=missing):
        problems.versions([_name("sh")], str(files))
