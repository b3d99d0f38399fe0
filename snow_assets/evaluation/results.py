"""A checkpoint's measurements in; the rows of `results`, and what is wrong with them, out."""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.documents import RESULT
from snow_assets.evaluation.contract import NOT_RUN, Evaluation, Executed, Measured
from snow_assets.evaluation.intervals import Bootstrap, Estimate, bits_per_byte
from snow_assets.evaluation.pass_at_k import pass_at_1
from snow_assets.recipe import EvaluationRecipe

HELD_OUT = "held_out"
"""The benchmark that is made of the corpus's own held-out repositories."""
ALL_LANGUAGES = "all"
BITS, SOLUTION_BITS, PASS_AT_1 = "bits_per_byte", "solution_bits_per_byte", "pass_at_1"
HALVES = ("steered", "unsteered")
"""Of the problems: what the annotator's gate looked at, and what nothing looked at."""

_ROUNDING = 1e-9


def bootstrap_of(recipe: EvaluationRecipe) -> Bootstrap:
    return Bootstrap(
        resamples=recipe.bootstrap_resamples,
        min_repositories=recipe.min_bootstrap_repositories,
        seed=recipe.seed,
    )


def unfinished_table(folder: str, table: str) -> pa.Table:
    """A table of a generation that has no manifest yet: its shards so far, in order."""
    found = [entry.name for entry in shards.records(folder) if entry.name.startswith(f"{table}-")]
    if not found:
        raise FileNotFoundError(
            f"{folder} has no {table}, though its job reported: the folder was emptied since; "
            "remove the job's folder too and materialize again"
        )
    return pa.concat_tables(shards.read_shard(folder, name) for name in sorted(found))


def put_results(request: Evaluation) -> list[dict[str, Any]]:
    """Write table `results` beside the measurements that the output holds, and return its rows."""
    folder, bootstrap = request.output, bootstrap_of(request.recipe)
    name = shards.table_name("results", 0)
    if not shards.record(folder, name):
        likelihoods = unfinished_table(folder, "likelihoods")
        answers = unfinished_table(folder, "answers")
        completions = unfinished_table(folder, "completions")
        rows = [
            *_held_out(likelihoods, sorted(request.corpora), bootstrap),
            *_solutions(likelihoods, bootstrap),
            *_answers(answers, completions, likelihoods),
        ]
        made = [{"checkpoint": request.checkpoint, **row} for row in rows]
        shards.put_table(folder, "results", 0, made, RESULT)
    return list(shards.read_shard(folder, name).to_pylist())


def _row(
    benchmark: str, metric: str, subset: str, found: Estimate | None, note: str
) -> dict[str, Any]:
    row: dict[str, Any] = {"benchmark": benchmark, "metric": metric, "subset": subset}
    if found is None:
        return row | {"value": None, "low": None, "high": None, "num_samples": 0, "note": note}
    return row | {
        "value": found.value,
        "low": found.low,
        "high": found.high,
        "num_samples": found.num_samples,
        "note": "; ".join(part for part in (found.note, note) if part),
    }


def _bits(table: pa.Table, bootstrap: Bootstrap) -> Estimate:
    return bits_per_byte(
        table["nats"].to_pylist(),
        table["num_bytes"].to_pylist(),
        table["repository"].to_pylist(),
        bootstrap=bootstrap,
    )


def _held_out(
    likelihoods: pa.Table, languages: Sequence[str], bootstrap: Bootstrap
) -> Iterable[dict[str, Any]]:
    table = likelihoods.filter(pc.equal(likelihoods["benchmark"], HELD_OUT))
    for language in languages:
        own = table.filter(pc.equal(table["subset"], language))
        found = _bits(own, bootstrap) if own.num_rows else None
        note = "" if found else f"not run: no held-out document of {language}"
        yield _row(HELD_OUT, BITS, language, found, note)
    found = _bits(table, bootstrap) if table.num_rows else None
    note = "languages weigh what their held-out bytes weigh" if found else "not run: no document"
    yield _row(HELD_OUT, BITS, ALL_LANGUAGES, found, note)


def _solutions(likelihoods: pa.Table, bootstrap: Bootstrap) -> Iterable[dict[str, Any]]:
    table = likelihoods.filter(pc.not_equal(likelihoods["benchmark"], HELD_OUT))
    for benchmark in sorted(set(table["benchmark"].to_pylist())):
        for half in HALVES:
            mask = pc.and_(pc.equal(table["benchmark"], benchmark), pc.equal(table["subset"], half))
            own = table.filter(mask)
            found = _bits(own, bootstrap) if own.num_rows else None
            note = "" if found else "not run: no problem of this half"
            yield _row(benchmark, SOLUTION_BITS, half, found, note)


def _answers(
    answers: pa.Table, completions: pa.Table, likelihoods: pa.Table
) -> Iterable[dict[str, Any]]:
    solutions = likelihoods.filter(pc.not_equal(likelihoods["benchmark"], HELD_OUT)).to_pylist()
    of_problem = {row["sample_id"]: (row["benchmark"], row["subset"]) for row in solutions}
    cut = {row["problem_id"] for row in completions.to_pylist() if row["num_cut_prompt_tokens"] > 0}
    for benchmark in sorted({benchmark for benchmark, _ in of_problem.values()}):
        for half in HALVES:
            own = [
                row
                for row in answers.to_pylist()
                if of_problem[row["problem_id"]] == (benchmark, half)
            ]
            yield _pass_row(benchmark, half, own, cut)


def _pass_row(
    benchmark: str, half: str, answers: list[dict[str, Any]], cut: set[str]
) -> dict[str, Any]:
    if not answers:
        return _row(benchmark, PASS_AT_1, half, None, "not run: no problem of this half was chosen")
    if any(row["verdict"] == NOT_RUN for row in answers):
        return _row(benchmark, PASS_AT_1, half, None, f"not run: {answers[0]['message']}")
    verdicts = [row["verdict"] for row in answers]
    notes = [
        "greedy, prompts without the newlines at their ends",
        f"isolation: {', '.join(sorted({row['isolation'] for row in answers}))}",
    ]
    if num_timeouts := verdicts.count("timeout"):
        notes.append(f"{num_timeouts} timed out")
    if num_cut := sum(row["problem_id"] in cut for row in answers):
        notes.append(f"{num_cut} prompts lost their beginning to the context's length")
    return _row(
        benchmark,
        PASS_AT_1,
        half,
        pass_at_1(verdicts.count("passed"), len(verdicts)),
        "; ".join(notes),
    )


def facts(rows: Iterable[dict[str, Any]], measured: Measured, executed: Executed) -> dict[str, Any]:
    """The values that are there, by metric and subset, and under which conditions they came about.

    Without the seconds that things took: equal inputs have equal facts.
    """
    values = {
        f"{row['metric']}.{row['subset']}": row["value"] for row in rows if row["value"] is not None
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


def canonical_faults(facts_of: Iterable[dict[str, Any]]) -> list[str]:
    """Evaluations whose programs did not run, or not each after its problem's own solution."""
    faults = []
    for known in facts_of:
        passed, answers = known["num_canonical"], known["num_problems"]
        if known["not_run"]:
            faults.append(f"pass@1 was not run: {known['not_run']}")
        elif answers == 0 or passed < answers:
            faults.append(f"{passed} canonical solutions passed, and {answers} answers were judged")
    return faults


def missing(rows: Sequence[dict[str, Any]], *, languages: Sequence[str]) -> list[str]:
    """What a complete scoreboard has and these rows have not; a null needs its reason."""
    there = {(row["metric"], row["subset"]) for row in rows}
    wanted = {(BITS, language) for language in (*languages, ALL_LANGUAGES)}
    wanted |= {(metric, half) for metric in (SOLUTION_BITS, PASS_AT_1) for half in HALVES}
    faults = [f"{metric} of {subset} is missing" for metric, subset in sorted(wanted - there)]
    faults += [
        f"{row['metric']} of {row['subset']} has neither a value nor a reason"
        for row in rows
        if row["value"] is None and not row["note"]
    ]
    return faults


def outside_interval(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Values that their own intervals do not hold, and shares outside [0, 1]."""
    faults = []
    for row in rows:
        name = f"{row['checkpoint']}: {row['metric']} of {row['subset']}"
        value, low, high = row["value"], row["low"], row["high"]
        if value is None:
            continue
        if low is not None and not low - _ROUNDING <= value <= high + _ROUNDING:
            faults.append(f"{name} is {value}, and its interval {low} to {high}")
        if value < 0 or (row["metric"] == PASS_AT_1 and value > 1):
            faults.append(f"{name} is {value}, which no such measure can be")
    return faults
