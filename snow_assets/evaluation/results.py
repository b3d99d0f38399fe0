"""Aggregate a checkpoint's measurements to table `results`, and validate its rows."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import polars as pl

from snow_assets.evaluation.contract import (
    EXCLUDED,
    NOT_RUN,
    PASSED,
    TIMEOUT,
    EvaluationRequest,
    ExecutionReport,
    MeasurementReport,
)
from snow_assets.evaluation.decoding import GREEDY, SAMPLED
from snow_assets.evaluation.intervals import Bootstrap, Estimate, bits_per_byte
from snow_assets.evaluation.pass_at_k import pass_at_1, pass_at_k
from snow_assets.evaluation.problems import TEST_HALF, VALIDATION_HALF
from snow_assets.recipe import EvaluationRecipe
from snow_assets.runtime.stable_messages import stable_message
from snow_assets.storage import shards
from snow_assets.storage.schemas.evaluation import RESULT

HELD_OUT = "held_out"
"""Benchmark name of the corpus's own held-out repositories."""
ALL_LANGUAGES = "all"
BITS, SOLUTION_BITS, PASS_AT_1 = "bits_per_byte", "solution_bits_per_byte", "pass_at_1"
HALVES = (VALIDATION_HALF, TEST_HALF)

_ROUNDING = 1e-9


def sampled_pass_at(k: int) -> str:
    """Name of the metric pass@k of sampled completions."""
    return f"sampled_pass_at_{k}"


def pass_metrics(recipe: EvaluationRecipe) -> list[str]:
    """Metrics of programs: greedy pass@1, and pass@k of sampled completions if there are any."""
    sampled = recipe.sampling.pass_at if recipe.sampling else ()
    return [PASS_AT_1, *map(sampled_pass_at, sampled)]


def bootstrap_from_recipe(recipe: EvaluationRecipe) -> Bootstrap:
    return Bootstrap(
        resamples=recipe.bootstrap_resamples,
        min_repositories=recipe.min_bootstrap_repositories,
        seed=recipe.seed,
    )


def write_results(request: EvaluationRequest) -> list[dict[str, Any]]:
    """Write table `results` from the output's measurement tables, and return its rows."""
    folder, bootstrap = request.output, bootstrap_from_recipe(request.recipe)
    name = shards.table_name("results", 0)
    if not shards.record(folder, name):
        likelihoods, executions, completions = (
            pl.DataFrame(shards.read_unfinished(folder, table))
            for table in ("likelihoods", "executions", "completions")
        )
        solutions = likelihoods.filter(pl.col("benchmark") != HELD_OUT)
        rows = [
            *_held_out_rows(likelihoods, sorted(request.corpora), bootstrap),
            *_solution_rows(solutions, bootstrap),
            *_pass_rows(executions, completions, solutions, request.recipe),
        ]
        checkpoint_rows = [{"checkpoint": request.checkpoint, **row} for row in rows]
        shards.put_table(folder, "results", 0, checkpoint_rows, RESULT)
    return list(shards.read_shard(folder, name).to_pylist())


def _row(
    benchmark: str, metric: str, subset: str, estimate: Estimate | None, note: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"benchmark": benchmark, "metric": metric, "subset": subset}
    if estimate is None:
        return row | {"value": None, "low": None, "high": None, "num_samples": 0, "note": note}
    return row | {
        "value": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "num_samples": estimate.num_samples,
        "note": "; ".join(part for part in (estimate.note, note) if part),
    }


def _bits_row(
    samples: pl.DataFrame,
    name: tuple[str, str, str],
    bootstrap: Bootstrap,
    *,
    missing: str,
    note: str = "",
) -> dict[str, Any]:
    """The row `name` (benchmark, metric, subset) of the bits per byte of samples, or with the note
    `missing` if there are none."""

    if samples.is_empty():
        return _row(*name, None, missing)
    columns = (samples[column].to_list() for column in ("nats", "num_bytes", "repository"))
    return _row(*name, bits_per_byte(*columns, bootstrap=bootstrap), note)


def _held_out_rows(
    likelihoods: pl.DataFrame, languages: Sequence[str], bootstrap: Bootstrap
) -> Iterable[dict[str, Any]]:
    samples = likelihoods.filter(pl.col("benchmark") == HELD_OUT)
    for language in languages:
        yield _bits_row(
            samples.filter(pl.col("subset") == language),
            (HELD_OUT, BITS, language),
            bootstrap,
            missing=f"not run: no held-out document of {language}",
        )
    yield _bits_row(
        samples,
        (HELD_OUT, BITS, ALL_LANGUAGES),
        bootstrap,
        note="languages weigh what their held-out bytes weigh",
        missing="not run: no document",
    )


def _solution_rows(solutions: pl.DataFrame, bootstrap: Bootstrap) -> Iterable[dict[str, Any]]:
    for benchmark, half, samples in _halves(solutions):
        metric = (benchmark, SOLUTION_BITS, half)
        missing = "no problem of this half" if samples.is_empty() else "no canonical solutions"
        scored = samples.filter(pl.col("num_bytes") > 0)
        yield _bits_row(scored, metric, bootstrap, missing=f"not run: {missing}")


def _halves(problems: pl.DataFrame) -> Iterator[tuple[str, str, pl.DataFrame]]:
    """Each benchmark's name, each half's name, and the rows of that half."""
    for benchmark in problems["benchmark"].unique().sort():
        of_benchmark = problems.filter(pl.col("benchmark") == benchmark)
        for half in HALVES:
            yield benchmark, half, of_benchmark.filter(pl.col("subset") == half)


def _pass_rows(
    executions: pl.DataFrame,
    completions: pl.DataFrame,
    solutions: pl.DataFrame,
    recipe: EvaluationRecipe,
) -> Iterable[dict[str, Any]]:
    completion_key = ["problem_id", "decoding", "sample_index"]
    judged = executions.join(
        completions.select(*completion_key, "num_cut_prompt_tokens"),
        on=completion_key,
        how="left",
        maintain_order="left",
    )
    for benchmark, half, problems in _halves(solutions):
        of_half = judged.join(
            problems, left_on="problem_id", right_on="sample_id", how="semi", maintain_order="left"
        )
        greedy = of_half.filter(pl.col("decoding") == GREEDY)
        yield _pass_row((benchmark, PASS_AT_1, half), greedy, "greedy", _greedy_estimate)
        if sampling := recipe.sampling:
            sampled = of_half.filter(pl.col("decoding") == SAMPLED)
            description = (
                f"{sampling.num_samples} samples of each problem at temperature "
                f"{sampling.temperature:g}, top_p {sampling.top_p:g}"
            )
            for k in sampling.pass_at:
                estimate = partial(_sampled_estimate, num_samples=sampling.num_samples, k=k)
                yield _pass_row(
                    (benchmark, sampled_pass_at(k), half), sampled, description, estimate
                )


def _greedy_estimate(executions: pl.DataFrame) -> Estimate:
    return pass_at_1(int((executions["outcome"] == PASSED).sum()), executions.height)


def _sampled_estimate(executions: pl.DataFrame, *, num_samples: int, k: int) -> Estimate:
    passed = executions.group_by("problem_id").agg(
        (pl.col("outcome") == PASSED).sum().alias("passed")
    )
    return pass_at_k(passed["passed"].to_list(), num_samples=num_samples, k=k)


def _pass_row(
    name: tuple[str, str, str],
    executions: pl.DataFrame,
    decoding: str,
    estimate: Callable[[pl.DataFrame], Estimate],
) -> dict[str, Any]:
    """The row `name` (benchmark, metric, subset) of the share of problems that are solved, without
    the excluded problems, which the note names."""
    if executions.is_empty():
        return _row(*name, None, "not run: no problem of this half was chosen")
    is_excluded = pl.col("outcome") == EXCLUDED
    excluded_ids = executions.filter(is_excluded)["problem_id"].unique().sort().to_list()
    executions = executions.filter(~is_excluded)
    exclusion = f"excluded, as their canonical solutions fail here: {', '.join(excluded_ids)}"
    if executions.is_empty():
        return _row(*name, None, f"not run: {exclusion}")
    outcomes = executions["outcome"].to_list()
    if NOT_RUN in outcomes:
        return _row(*name, None, f"not run: {executions['message'][0]}")
    notes = [
        f"{decoding}, prompts without the newlines at their ends",
        f"isolation: {', '.join(executions['isolation'].unique().sort())}",
    ]
    if num_timeouts := outcomes.count(TIMEOUT):
        notes.append(f"{num_timeouts} timed out")
    if excluded_ids:
        notes.append(exclusion)
    truncated = executions.filter(pl.col("num_cut_prompt_tokens") > 0)["problem_id"].n_unique()
    if truncated:
        notes.append(f"{truncated} prompts lost their beginning to the context's length")
    return _row(*name, estimate(executions), "; ".join(notes))


def stats(
    rows: Iterable[dict[str, Any]], measured: MeasurementReport, executed: ExecutionReport
) -> dict[str, Any]:
    """Manifest stats: values by benchmark, metric and subset, counts, and the sandbox's isolation.

    Without durations, so that equal inputs have equal stats.
    """
    values = {
        f"{row['benchmark']}.{row['metric']}.{row['subset']}": row["value"]
        for row in rows
        if row["value"] is not None
    }
    # A key that most artifacts do without, so that theirs stay the same.
    missing = {name: stable_message(text) for name, text in executed.missing_toolchains.items()}
    return (
        values
        | ({"missing_toolchains": missing} if missing else {})
        | {
            "num_documents": measured.num_documents,
            "num_solutions": measured.num_solutions,
            "num_problems": executed.num_problems,
            "num_programs": executed.num_programs,
            "num_passed": executed.num_passed,
            "num_timeouts": executed.num_timeouts,
            "num_canonical": executed.num_canonical,
            "excluded_problems": {
                name: stable_message(reason) for name, reason in sorted(executed.excluded.items())
            },
            "isolation": executed.isolation,
            "not_run": executed.not_run,
        }
    )


def validate_canonical_solutions(all_stats: Iterable[dict[str, Any]]) -> list[str]:
    """Violations: programs that did not run, or whose canonical solution was not verified, and
    problems that were excluded because theirs fails."""
    violations = []
    for entry in all_stats:
        passed, num_problems = entry["num_canonical"], entry["num_problems"]
        violations += [
            f"{name} is excluded, its canonical solution fails here: {reason}"
            for name, reason in entry["excluded_problems"].items()
        ]
        violations += [
            f"programs of {language} were not run: {reason}"
            for language, reason in entry.get("missing_toolchains", {}).items()
        ]
        if entry["not_run"]:
            violations.append(f"pass@1 was not run: {entry['not_run']}")
        elif num_problems == 0 or passed < num_problems:
            violations.append(
                f"{passed} canonical solutions passed, and programs for {num_problems} problems "
                "were judged"
            )
    return violations


def validate_completeness(
    rows: Sequence[dict[str, Any]], *, languages: Sequence[str], recipe: EvaluationRecipe
) -> list[str]:
    """Violations: missing rows of a complete scoreboard, and null values without a reason."""
    present = {(row["benchmark"], row["metric"], row["subset"]) for row in rows}
    expected = {(HELD_OUT, BITS, language) for language in (*languages, ALL_LANGUAGES)}
    expected |= {
        (benchmark, metric, half)
        for benchmark in recipe.benchmarks
        for metric in (SOLUTION_BITS, *pass_metrics(recipe))
        for half in HALVES
    }
    violations = [f"{' '.join(name)} is missing" for name in sorted(expected - present)]
    violations += [
        f"{row['benchmark']} {row['metric']} {row['subset']} has neither a value nor a reason"
        for row in rows
        if row["value"] is None and not row["note"]
    ]
    return violations


def validate_intervals(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Violations: values outside their own intervals, and pass@k outside [0, 1]."""
    violations = []
    for row in rows:
        name = f"{row['checkpoint']}: {row['metric']} of {row['subset']}"
        value, low, high = row["value"], row["low"], row["high"]
        if value is None:
            continue
        if low is not None and not low - _ROUNDING <= value <= high + _ROUNDING:
            violations.append(f"{name} is {value}, and its interval {low} to {high}")
        if value < 0 or ("pass_at_" in row["metric"] and value > 1):
            violations.append(f"{name} is {value}, which no such measure can be")
    return violations
