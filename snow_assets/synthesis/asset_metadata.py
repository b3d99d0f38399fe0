"""Dagster metadata of synthesis (yield, examples), and validation of its tables."""

import html
from collections import Counter

import polars as pl
import pyarrow as pa

from snow_assets import markdown
from snow_assets.curation.decontamination.gate import gate_hits
from snow_assets.plots import Plot, as_plot, legend_outside, new_figure
from snow_assets.storage import shards
from snow_assets.synthesis.acceptance import DOCUMENTS, REFUSALS
from snow_assets.synthesis.contract import SEEDS

_ACCEPTED = "accepted"
_EXAMPLES = 3
_EXAMPLE_CHARS = 1_500


def read_outcomes(folder: str) -> pl.DataFrame:
    """Language, mode and reason (`accepted`, or the refusal's) of every requested file."""
    has_mode = "mode" in shards.columns(folder, shards.table_name(REFUSALS, 0))
    columns = ["language", "mode"] if has_mode else ["language"]
    accepted = pl.DataFrame(shards.read_unfinished(folder, DOCUMENTS, columns=columns))
    refused = pl.DataFrame(shards.read_unfinished(folder, REFUSALS, columns=[*columns, "reason"]))
    outcomes = pl.concat([accepted.with_columns(reason=pl.lit(_ACCEPTED)), refused])
    mode = pl.col("mode") if has_mode else pl.lit("oss_instruct")
    return outcomes.select("language", mode.alias("mode"), "reason")


def count_outcomes(folder: str) -> list[tuple[str, str, int]]:
    """Counts of files: (language, with the mode of rewritten ones; outcome; count)."""
    is_rewritten = pl.col("mode") == "rewrite"
    outcomes = read_outcomes(folder).with_columns(
        language=pl.when(is_rewritten)
        .then(pl.format("{}, rewritten", "language"))
        .otherwise("language")
    )
    return outcomes.group_by("language", "reason").len().sort("language", "reason").rows()


def yield_table(folder: str) -> str:
    """Markdown table of counts, languages by outcomes."""
    counts = count_outcomes(folder)
    outcomes = sorted(
        {outcome for _, outcome, _ in counts}, key=lambda name: (name != _ACCEPTED, name)
    )
    numbers = {(language, outcome): count for language, outcome, count in counts}
    rows = [
        (language, *(numbers.get((language, outcome), 0) for outcome in outcomes))
        for language in sorted({language for language, _, _ in counts})
    ]
    return markdown.table(["language", *outcomes], rows)


def yield_plot(folder: str) -> Plot:
    """Bar plot of completions by outcome, stacked by language."""
    counts = count_outcomes(folder)
    totals: Counter[str] = Counter()
    for _, outcome, count in counts:
        totals[outcome] += count
    outcomes = [name for name, _ in totals.most_common()][::-1]
    figure = new_figure(8, 1.3 + 0.35 * len(outcomes))
    axes = figure.add_subplot()
    bar_starts = dict.fromkeys(outcomes, 0)
    for language in sorted({language for language, _, _ in counts}):
        count_by_outcome = {outcome: count for name, outcome, count in counts if name == language}
        widths = [count_by_outcome.get(name, 0) for name in outcomes]
        axes.barh(outcomes, widths, left=[bar_starts[name] for name in outcomes], label=language)
        bar_starts = {name: bar_starts[name] + count_by_outcome.get(name, 0) for name in outcomes}
    axes.set_xlabel("completions")
    legend_outside(axes)
    return as_plot(figure, "What became of the teacher's completions")


def examples_markdown(folder: str) -> str:
    """The first accepted files as Markdown, HTML-escaped."""
    columns = ["language", "seed_repository", "text"]
    rows = shards.read_unfinished(folder, DOCUMENTS, columns=columns).slice(0, _EXAMPLES)
    return "\n\n".join(
        f"{html.escape(row['language'])}, seed from {html.escape(row['seed_repository'])}:\n\n"
        f"<pre>{html.escape(row['text'][:_EXAMPLE_CHARS])}</pre>"
        for row in rows.to_pylist()
    )


def validate_contamination(folder: str, problems: pa.Table, *, window_tokens: int) -> list[str]:
    """Violations: accepted files that contain a benchmark problem."""
    texts = (
        (row["document_id"], row["text"])
        for batch in shards.batches(folder, DOCUMENTS, columns=["document_id", "text"])
        for row in batch.to_pylist()
    )
    return [
        f"{leak.document_id} holds the {leak.part} of {leak.problem_id}: {leak.evidence}"
        for leak in gate_hits(texts, problems, window_tokens=window_tokens)
    ]


def validate_row_accounting(completions_folder: str, folder: str) -> list[str]:
    """Violations: accepted and refused rows that are not exactly the requested ones."""
    columns = ["document_id"]
    requested = pl.DataFrame(shards.read(completions_folder, SEEDS, columns=columns))
    processed = pl.concat(
        pl.DataFrame(shards.read(folder, table, columns=columns)) for table in (DOCUMENTS, REFUSALS)
    )
    if requested.sort(columns).equals(processed.sort(columns)):
        return []
    return [f"{len(requested)} were asked for, and {len(processed)} are accepted or refused"]
