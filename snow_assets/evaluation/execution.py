"""Sandbox job: run programs against their tests. Needs no GPU, no torch and no lake.

The canonical solutions run first. A problem whose own solution fails here is excluded by name,
since an equal completion would fail too; if a benchmark loses more than a small share, the job
fails. The slowest solution of a kind of test scales its time limit, because a limit that is tight
on a slow machine measures the machine (evalplus, issue 5).
"""

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

from snow_assets.corpus.benchmarks.bigcodebench import test_methods
from snow_assets.corpus.benchmarks.declaration import TestKind
from snow_assets.evaluation.contract import (
    EXCLUDED,
    NOT_RUN,
    PASSED,
    TIMEOUT,
    ExecutionReport,
    ExecutionRequest,
    ProblemTest,
    Program,
    ProgramResult,
)
from snow_assets.evaluation.limits import LIMITS
from snow_assets.evaluation.toolchains import TOOLCHAINS
from snow_assets.recipe import EvaluationRecipe
from snow_assets.runtime import sandbox, worker

MAX_EXCLUDED_FRACTION: Mapping[TestKind, float] = {
    "function": 0.05,
    "unittest": 0.15,
    "program": 0.05,
}
"""Of a benchmark's problems in a request, rounded up to a whole problem. MBPP+ loses 3 of 378.
Programs of "unittest" start processes, change modes and read /proc, which the sandbox refuses:
BigCodeBench loses 17 of 200 (docs/benchmarks.md)."""

RunPrograms = Callable[[Sequence[sandbox.Execution]], list[sandbox.ExecutionResult]]

_STANDARD_LIBRARY = sandbox.PythonEnvironment()
_UNITTEST_START = """\
import mimetypes
import os
import sys

mimetypes.knownfiles.clear()  # files of /etc, which are not read in the sandbox
os.environ.update(MPLBACKEND="Agg", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", TZ="UTC")
os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", TF_ENABLE_ONEDNN_OPTS="0")
sys.modules["__test__"] = sys.modules["__main__"]
__name__ = "__test__"
"""
_UNITTEST_END = """
def _run_test_cases():
    import unittest

    class Result(unittest.TestResult):
        num_passed = 0

        def addSuccess(self, test):
            self.num_passed += 1

    result = Result()
    unittest.defaultTestLoader.loadTestsFromTestCase(TestCases).run(result)
    others = result.failures + result.errors + result.skipped + result.expectedFailures
    return result.num_passed, [f"{test}: {reason[-500:]}" for test, reason in others]
"""
_LIBRARIES_REMEDY = (
    ", and install what its programs import in the environment of operation.benchmark_python"
)
_UNITTEST_JUDGE = """\
num_passed, others = candidate()
assert not others, others[0]
assert num_passed >= {num_tests}, f"{{num_passed}} of {num_tests} tests passed"
"""


def execution_of(
    source: str,
    problem: ProblemTest,
    seconds: float,
    *,
    environment: sandbox.PythonEnvironment = _STANDARD_LIBRARY,
) -> sandbox.Execution:
    """The problem's test on `source`, which must define the problem's entry point.

    `environment` runs the tests of kind "unittest", which are part of the program.
    """
    if problem.kind == "program":
        return TOOLCHAINS[problem.language].execution(f"{source}\n{problem.test}", seconds)
    if problem.kind == "unittest":
        return sandbox.Execution(
            program="\n".join((_UNITTEST_START, source, problem.test, _UNITTEST_END)),
            limits=LIMITS["unittest"](seconds=seconds),
            test=sandbox.FunctionTest(
                entry_point="_run_test_cases",
                reference="",
                source=_UNITTEST_JUDGE.format(num_tests=len(test_methods(problem.test))),
            ),
            environment=environment,
        )
    test = sandbox.FunctionTest(
        entry_point=problem.entry_point, reference=problem.solution, source=problem.test
    )
    return sandbox.Execution(program=source, limits=LIMITS["function"](seconds=seconds), test=test)


@dataclass(frozen=True, kw_only=True)
class CanonicalRun:
    """How canonical solutions ran: the slowest one's seconds by kind of test, and those that
    failed."""

    slowest_seconds: Mapping[TestKind, float]
    failures: dict[str, sandbox.ExecutionResult]  # by problem id


def run_canonical(
    problems: Sequence[ProblemTest],
    run: RunPrograms,
    *,
    timeout_seconds: float,
    environment: sandbox.PythonEnvironment = _STANDARD_LIBRARY,
) -> CanonicalRun:
    """Run the canonical solution of each problem that has one."""
    problems = [problem for problem in problems if problem.solution]
    results = run(
        [
            execution_of(problem.solution, problem, timeout_seconds, environment=environment)
            for problem in problems
        ]
    )
    failures = {
        problem.problem_id: result
        for problem, result in zip(problems, results, strict=True)
        if result.outcome != PASSED
    }
    slowest: dict[TestKind, float] = {}
    for problem, result in zip(problems, results, strict=True):
        if result.outcome == PASSED:
            slowest[problem.kind] = max(result.seconds, slowest.get(problem.kind, 0.0))
    return CanonicalRun(slowest_seconds=slowest, failures=failures)


@dataclass(frozen=True, kw_only=True)
class ToolchainRun:
    """How the toolchains' checks ran, and why languages cannot run."""

    slowest_seconds: float  # of the checks that passed
    missing: dict[str, str]


def run_toolchains(
    problems: Sequence[ProblemTest], run: RunPrograms, *, timeout_seconds: float
) -> ToolchainRun:
    """Run a correct program in each language of the problems of kind "program", and forbidden
    commands: no language runs if one is not refused."""
    languages = sorted({problem.language for problem in problems if problem.kind == "program"})
    missing = {
        language: f"{', '.join(commands)} is not installed where the sandbox runs: install it "
        "there, on a cluster in another image"
        for language in languages
        if (commands := TOOLCHAINS[language].missing_commands)
    }
    installed = [language for language in languages if language not in missing]
    toolchains = [TOOLCHAINS[language] for language in installed]
    if not installed:
        return ToolchainRun(slowest_seconds=0.0, missing=missing)
    probe, *results = run(
        [
            sandbox.command_probe(LIMITS["program"](seconds=timeout_seconds)),
            *(toolchain.execution(toolchain.check, timeout_seconds) for toolchain in toolchains),
        ]
    )
    if probe.outcome != PASSED:
        hole = f"the isolation of commands has a hole here: {failure_reason(probe)}"
        missing |= dict.fromkeys(installed, hole)
    missing |= {
        language: f"a correct program of {language} does not pass here: {failure_reason(result)}"
        for language, result in zip(installed, results, strict=True)
        if result.outcome != PASSED
    }
    slowest = max((result.seconds for result in results if result.outcome == PASSED), default=0.0)
    return ToolchainRun(slowest_seconds=slowest, missing=missing)


def failure_reason(result: sandbox.ExecutionResult) -> str:
    return f"{result.outcome}: {result.message.strip()[-300:]}"


def raise_on_canonical_failures(
    problems: Sequence[ProblemTest], canonical: CanonicalRun, *, timeout_seconds: float
) -> None:
    """ValueError if the failures say more of the machine than of the problems: a solution that
    timed out, or more than `MAX_EXCLUDED_FRACTION` of a benchmark's problems, or all of them."""
    for problem_id, result in canonical.failures.items():
        if result.outcome == TIMEOUT:
            raise ValueError(
                f"the canonical solution of {problem_id} timed out after {timeout_seconds:g} s: "
                "the machine is too busy, or evaluation.timeout_seconds is too small"
            )
    num_problems = Counter((problem.benchmark, problem.kind) for problem in problems)
    for (benchmark, kind), total in num_problems.items():
        max_fraction = MAX_EXCLUDED_FRACTION[kind]
        failed_ids = [
            problem.problem_id
            for problem in problems
            if problem.benchmark == benchmark and problem.problem_id in canonical.failures
        ]
        if len(failed_ids) == total or len(failed_ids) > math.ceil(max_fraction * total):
            reason = failure_reason(canonical.failures[failed_ids[0]])
            raise ValueError(
                f"{len(failed_ids)} of {total} canonical solutions of {benchmark} fail here, more "
                f"than the share {max_fraction:g} that may be excluded, so no program can "
                f"be judged; {failed_ids[0]} {reason}: look at the sandbox's limits with `make "
                "suites`" + _LIBRARIES_REMEDY * (kind == "unittest")
            )


def raise_on_timeouts(num_timeouts: int, num_programs: int, *, max_share: float) -> None:
    """Raise ValueError if more than `max_share` of the programs timed out."""
    if num_timeouts > max_share * num_programs:
        raise ValueError(
            f"{num_timeouts} of {num_programs} programs timed out, more than the share "
            f"{max_share:g} that evaluation.max_timeout_fraction allows: the machine is too busy, "
            "or evaluation.timeout_seconds is too small"
        )


def run_programs(
    programs: Sequence[Program],
    problems: Sequence[ProblemTest],
    run: RunPrograms,
    *,
    seconds: Mapping[TestKind, float],
    excluded: dict[str, str],
    missing_toolchains: Mapping[str, str] = MappingProxyType({}),
    environment: sandbox.PythonEnvironment = _STANDARD_LIBRARY,
) -> list[ProgramResult]:
    """Run each model program with the time limit of its kind of test, without those of `excluded`
    problems, whose result is EXCLUDED with the reason, and of languages with missing toolchains:
    NOT_RUN."""
    problem_by_id = {problem.problem_id: problem for problem in problems}
    unexecuted = {
        problem.problem_id: _unexecuted(NOT_RUN, missing_toolchains[problem.language])
        for problem in problems
        if problem.kind == "program" and problem.language in missing_toolchains
    }
    unexecuted |= {name: _unexecuted(EXCLUDED, reason) for name, reason in excluded.items()}
    executions = [
        execution_of(program.source, problem, seconds[problem.kind], environment=environment)
        for program in programs
        if program.problem_id not in unexecuted
        for problem in (problem_by_id[program.problem_id],)
    ]
    results = iter(run(executions))
    return [
        unexecuted.get(program.problem_id) or _program_result(next(results)) for program in programs
    ]


def _program_result(result: sandbox.ExecutionResult) -> ProgramResult:
    return ProgramResult(
        outcome=result.outcome,
        isolation=result.isolation,
        seconds=result.seconds,
        message=result.message or None,
    )


def _unexecuted(outcome: str, reason: str | None) -> ProgramResult:
    return ProgramResult(outcome=outcome, isolation="none", seconds=0.0, message=reason)


def execute(request: ExecutionRequest, progress: worker.Progress) -> ExecutionReport:
    """Run canonical and model programs; report `not_run` with the reason without a sandbox."""
    isolation = sandbox.probe()
    problems = request.problems
    if not isolation.available:
        progress.log(f"{request.checkpoint}: no program was run: {isolation.reason}")
        return _report(
            [_unexecuted(NOT_RUN, isolation.reason)] * len(request.programs),
            "none",
            isolation.reason,
            excluded={},
            num_problems=len(problems),
            num_canonical=0,
            slowest=0.0,
            timeout_seconds=0.0,
        )
    recipe: EvaluationRecipe = request.recipe
    environment = _STANDARD_LIBRARY
    if request.benchmark_python is not None:
        environment = sandbox.python_environment(request.benchmark_python)
    run = partial(sandbox.run_all, num_cpus=request.num_cpus)
    # No solution has been timed yet: allow the recipe's limit times its factor.
    canonical_timeout = recipe.timeout_seconds * recipe.timeout_factor
    canonical = run_canonical(
        problems, run, timeout_seconds=canonical_timeout, environment=environment
    )
    raise_on_canonical_failures(problems, canonical, timeout_seconds=canonical_timeout)
    excluded = {name: failure_reason(result) for name, result in canonical.failures.items()}
    for name, reason in excluded.items():
        progress.log(f"{name} is excluded, its canonical solution fails here: {reason}")
    toolchains = run_toolchains(problems, run, timeout_seconds=canonical_timeout)
    for language, reason in toolchains.missing.items():
        progress.log(f"programs of {language} are not run: {reason}")
    num_not_run = sum(
        problem.kind == "program" and problem.language in toolchains.missing for problem in problems
    )
    num_judged = len(problems) - len(excluded) - num_not_run
    slowest = {**canonical.slowest_seconds, "program": toolchains.slowest_seconds}
    limits = {
        kind: max(recipe.timeout_seconds, recipe.timeout_factor * slowest.get(kind, 0.0))
        for kind in {problem.kind for problem in problems}
    }
    progress.log(f"{num_judged} problems are verified")
    for kind, limit in sorted(limits.items()):
        progress.log(f"a program tested by {kind} may take {limit:.1f} s")
    results = run_programs(
        request.programs,
        problems,
        run,
        seconds=limits,
        excluded=excluded,
        missing_toolchains=toolchains.missing,
        environment=environment,
    )
    report = _report(
        results,
        isolation.level,
        None,
        excluded=excluded,
        num_problems=num_judged,
        num_canonical=num_judged,
        slowest=max(slowest.values()),
        timeout_seconds=max(limits.values(), default=recipe.timeout_seconds),
        missing_toolchains=toolchains.missing,
    )
    raise_on_timeouts(
        report.num_timeouts, report.num_programs, max_share=recipe.max_timeout_fraction
    )
    return report


def _report(
    results: Sequence[ProgramResult],
    isolation: str,
    not_run: str | None,
    *,
    excluded: dict[str, str],
    num_problems: int,
    num_canonical: int,
    slowest: float,
    timeout_seconds: float,
    missing_toolchains: dict[str, str] | None = None,
) -> ExecutionReport:
    outcomes = [result.outcome for result in results]
    return ExecutionReport(
        isolation=isolation,
        not_run=not_run,
        excluded=excluded,
        num_canonical=num_canonical,
        slowest_canonical_seconds=slowest,
        timeout_seconds=timeout_seconds,
        num_problems=num_problems,
        num_programs=len(results)
        - outcomes.count(EXCLUDED)
        - (outcomes.count(NOT_RUN) if missing_toolchains else 0),
        num_passed=outcomes.count(PASSED),
        num_timeouts=outcomes.count(TIMEOUT),
        ran=tuple(results),
        missing_toolchains=missing_toolchains or {},
    )


if __name__ == "__main__":
    worker.main(ExecutionRequest, execute)
