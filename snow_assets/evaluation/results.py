"""Aggregate a checkpoint's measurements to table `results`, and validate its rows."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets.evaluation.contract import (
    NOT_RUN,
    EvaluationRequest,
    ExecutionReport,
    MeasurementReport,
)
from snow_assets.evaluation.intervals import Bootstrap, Estimate, bits_per_byte
from snow_assets.evaluation.pass_at_k import pass_at_1
from snow_assets.recipe import EvaluationRecipe
from snow_assets.storage import shards
from snow_assets.storage.schemas import RESULT

HELD_OUT = "held_out"
"""Benchmark name of the corpus's own held-out repositories."""
ALL_LANGUAGES = "all"
BITS, SOLUTION_BITS, PASS_AT_1 = "bits_per_byte", "solution_bits_per_byte", "pass_at_1"
HALVES = ("steered", "unsteered")
"""Halves of the problems: the validation half, which gates the annotator, and the test half."""

_ROUNDING = 1e-9


def bootstrap_from_recipe(recipe: EvaluationRecipe) -> Bootstrap:
    return Bootstrap(
        resamples=recipe.bootstrap_resamples,
        min_repositories=recipe.min_bootstrap_repositories,
        seed=recipe.seed,
    )


def read_unfinished_table(folder: str, table: str) -> pa.Table:
    """Read a table of an artifact that has no manifest yet: its shards so far, in order."""
    names = [entry.name for entry in shards.records(folder) if entry.name.startswith(f"{table}-")]
    if not names:
        raise FileNotFoundError(
            f"{folder} has no {table}, though its job reported: the folder was emptied since; "
            "remove the job's folder too and materialize again"
        )
    return pa.concat_tables(shards.read_shard(folder, name) for name in sorted(names))


def write_results(request: EvaluationRequest) -> list[dict[str, Any]]:
    """Write table `results` from the output's measurement tables, and return its rows."""
    folder, bootstrap = request.output, bootstrap_from_recipe(request.recipe)
    name = shards.table_name("results", 0)
    if not shards.record(folder, name):
        likelihoods = read_unfinished_table(folder, "likelihoods")
        answers = read_unfinished_table(folder, "answers")
        completions = read_unfinished_table(folder, "completions")
        rows = [
            *_held_out_rows(likelihoods, sorted(request.corpora), bootstrap),
            *_solution_rows(likelihoods, bootstrap),
            *_pass_at_1_rows(answers, completions, likelihoods),
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


def _estimate_bits_per_byte(table: pa.Table, bootstrap: Bootstrap) -> Estimate:
    return bits_per_byte(
        table["nats"].to_pylist(),
        table["num_bytes"].to_pylist(),
        table["repository"].to_pylist(),
        bootstrap=bootstrap,
    )


def _held_out_rows(
    likelihoods: pa.Table, languages: Sequence[str], bootstrap: Bootstrap
) -> Iterable[dict[str, Any]]:
    table = likelihoods.filter(pc.equal(likelihoods["benchmark"], HELD_OUT))
    for language in languages:
        likelihoods_of_language = table.filter(pc.equal(table["subset"], language))
        estimate = (
            _estimate_bits_per_byte(likelihoods_of_language, bootstrap)
            if likelihoods_of_language.num_rows
            else None
        )
        note = "" if estimate else f"not run: no held-out document of {language}"
        yield _row(HELD_OUT, BITS, language, estimate, note)
    estimate = _estimate_bits_per_byte(table, bootstrap) if table.num_rows else None
    note = "languages weigh what their held-out bytes weigh" if estimate else "not run: no document"
    yield _row(HELD_OUT, BITS, ALL_LANGUAGES, estimate, note)


def _solution_rows(likelihoods: pa.Table, bootstrap: Bootstrap) -> Iterable[dict[str, Any]]:
    table = likelihoods.filter(pc.not_equal(likelihoods["benchmark"], HELD_OUT))
    for benchmark in sorted(set(table["benchmark"].to_pylist())):
        for half in HALVES:
            mask = pc.and_(pc.equal(table["benchmark"], benchmark), pc.equal(table["subset"], half))
            likelihoods_of_half = table.filter(mask)
            estimate = (
                _estimate_bits_per_byte(likelihoods_of_half, bootstrap)
                if likelihoods_of_half.num_rows
                else None
            )
            note = "" if estimate else "not run: no problem of this half"
            yield _row(benchmark, SOLUTION_BITS, half, estimate, note)


def _pass_at_1_rows(
    answers: pa.Table, completions: pa.Table, likelihoods: pa.Table
) -> Iterable[dict[str, Any]]:
    solutions = likelihoods.filter(pc.not_equal(likelihoods["benchmark"], HELD_OUT)).to_pylist()
    half_of_problem = {row["sample_id"]: (row["benchmark"], row["subset"]) for row in solutions}
    truncated = {
        row["problem_id"] for row in completions.to_pylist() if row["num_cut_prompt_tokens"] > 0
    }
    for benchmark in sorted({benchmark for benchmark, _ in half_of_problem.values()}):
        for half in HALVES:
            answers_of_half = [
                row
                for row in answers.to_pylist()
                if half_of_problem[row["problem_id"]] == (benchmark, half)
            ]
            yield _pass_at_1_row(benchmark, half, answers_of_half, truncated)


def _pass_at_1_row(
    benchmark: str, half: str, answers: list[dict[str, Any]], truncated: set[str]
) -> dict[str, Any]:
    if not answers:
        return _row(benchmark, PASS_AT_1, half, None, "not run: no problem of this half was chosen")
    if any(row["outcome"] == NOT_RUN for row in answers):
        return _row(benchmark, PASS_AT_1, half, None, f"not run: {answers[0]['message']}")
    outcomes = [row["outcome"] for row in answers]
    notes = [
        "greedy, prompts without the newlines at their ends",
        f"isolation: {', '.join(sorted({row['isolation'] for row in answers}))}",
    ]
    if num_timeouts := outcomes.count("timeout"):
        notes.append(f"{num_timeouts} timed out")
    if num_truncated := sum(row["problem_id"] in truncated for row in answers):
        notes.append(f"{num_truncated} prompts lost their beginning to the context's length")
    return _row(
        benchmark,
        PASS_AT_1,
        half,
        pass_at_1(outcomes.count("passed"), len(outcomes)),
        "; ".join(notes),
    )


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
    return values | {
        "num_documents": measured.num_documents,
        "num_solutions": measured.num_solutions,
        "num_problems": executed.num_answers,
        "num_passed": executed.num_passed,
        "num_timeouts": executed.num_timeouts,
        "num_canonical": executed.num_canonical,
        "isolation": executed.isolation,
        "not_run": executed.not_run,
    }


def validate_canonical_solutions(all_stats: Iterable[dict[str, Any]]) -> list[str]:
    """Violations: programs that did not run, or whose canonical solution was not verified."""
    violations = []
    for entry in all_stats:
        passed, answers = entry["num_canonical"], entry["num_problems"]
        if entry["not_run"]:
            violations.append(f"pass@1 was not run: {entry['not_run']}")
        elif answers == 0 or passed < answers:
            violations.append(
                f"{passed} canonical solutions passed, and {answers} answers were judged"
            )
    return violations


def validate_completeness(
    rows: Sequence[dict[str, Any]], *, languages: Sequence[str], benchmarks: Sequence[str]
) -> list[str]:
    """Violations: missing rows of a complete scoreboard, and null values without a reason."""
    present = {(row["benchmark"], row["metric"], row["subset"]) for row in rows}
    expected = {(HELD_OUT, BITS, language) for language in (*languages, ALL_LANGUAGES)}
    expected |= {
        (benchmark, metric, half)
        for benchmark in benchmarks
        for metric in (SOLUTION_BITS, PASS_AT_1)
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
    """Violations: values outside their own intervals, and pass@1 outside [0, 1]."""
    violations = []
    for row in rows:
        name = f"{row['checkpoint']}: {row['metric']} of {row['subset']}"
        value, low, high = row["value"], row["low"], row["high"]
        if value is None:
            continue
        if low is not None and not low - _ROUNDING <= value <= high + _ROUNDING:
            violations.append(f"{name} is {value}, and its interval {low} to {high}")
        if value < 0 or (row["metric"] == PASS_AT_1 and value > 1):
            violations.append(f"{name} is {value}, which no such measure can be")
    return violations
