"""What a data user looks at and what the checks read: yield, examples, faults."""

import html
from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from snow_assets import shards
from snow_assets.curation.contamination_gate import gate_hits
from snow_assets.plots import Plot, as_plot, legend_outside, new_figure
from snow_assets.synthesis.acceptance import DOCUMENTS, REFUSALS
from snow_assets.synthesis.contract import Generated
from snow_assets.synthesis.seeds import TABLE as SEEDS

_ACCEPTED = "accepted"
_EXAMPLES = 3
_EXAMPLE_CHARS = 1_500


def yields(folder: str) -> list[tuple[str, str, int]]:
    """(language, accepted or the reason, files) of a folder whose shards are all written."""
    counted: Counter[tuple[str, str]] = Counter()
    for table in (DOCUMENTS, REFUSALS):
        for row in _rows(
            folder, table, ["language", "reason"] if table == REFUSALS else ["language"]
        ):
            counted[row["language"], row.get("reason", _ACCEPTED)] += 1
    return [(language, reason, count) for (language, reason), count in sorted(counted.items())]


def _rows(folder: str, table: str, columns: Sequence[str]) -> list[dict[str, str]]:
    names = [entry.name for entry in shards.records(folder) if entry.name.startswith(f"{table}-")]
    return [
        row
        for name in names
        for row in shards.read_shard(folder, name, columns=columns).to_pylist()
    ]


def yield_table(folder: str) -> str:
    """Markdown: languages down, outcomes across."""
    counted = yields(folder)
    outcomes = sorted(
        {outcome for _, outcome, _ in counted}, key=lambda name: (name != _ACCEPTED, name)
    )
    lines = ["| language | " + " | ".join(outcomes) + " |", "| --- |" + " ---: |" * len(outcomes)]
    for language in sorted({language for language, _, _ in counted}):
        of = {outcome: count for name, outcome, count in counted if name == language}
        lines.append(
            f"| {language} | " + " | ".join(str(of.get(name, 0)) for name in outcomes) + " |"
        )
    return "\n".join(lines)


def yield_picture(folder: str) -> Plot:
    """Answers by outcome, stacked by language."""
    counted = yields(folder)
    totals: Counter[str] = Counter()
    for _, outcome, count in counted:
        totals[outcome] += count
    outcomes = [name for name, _ in totals.most_common()][::-1]
    figure = new_figure(8, 1.3 + 0.35 * len(outcomes))
    axes = figure.add_subplot()
    left = dict.fromkeys(outcomes, 0)
    for language in sorted({language for language, _, _ in counted}):
        of = {outcome: count for name, outcome, count in counted if name == language}
        widths = [of.get(name, 0) for name in outcomes]
        axes.barh(outcomes, widths, left=[left[name] for name in outcomes], label=language)
        left = {name: left[name] + of.get(name, 0) for name in outcomes}
    axes.set_xlabel("answers")
    legend_outside(axes)
    return as_plot(figure, "What became of the teacher's answers")


def examples(folder: str) -> str:
    """The first accepted files as Markdown; what a model wrote is escaped."""
    rows = _rows(folder, DOCUMENTS, ["language", "seed_repository", "text"])[:_EXAMPLES]
    return "\n\n".join(
        f"{html.escape(row['language'])}, seed from {html.escape(row['seed_repository'])}:\n\n"
        f"<pre>{html.escape(row['text'][:_EXAMPLE_CHARS])}</pre>"
        for row in rows
    )


def together(reports: Sequence[Generated]) -> Generated:
    """What pods that shared the work did, as one: amounts add up, they worked side by side."""
    return Generated(
        num_chunks=sum(one.num_chunks for one in reports),
        num_answers=sum(one.num_answers for one in reports),
        num_answer_tokens=sum(one.num_answer_tokens for one in reports),
        start_seconds=max(one.start_seconds for one in reports),
        seconds=max(one.seconds for one in reports),
    )


def speed(report: Generated, seconds: float) -> str:
    """What generating took, as a sentence; seconds of 0: an earlier run did it."""
    if not seconds or not report.seconds:
        return "every chunk was there already"
    return (
        f"{report.num_answers} answers in {report.num_chunks} chunks: "
        f"{report.num_answer_tokens / report.seconds:.0f} tokens/s for {report.seconds:.0f} s, "
        f"after {report.start_seconds:.0f} s for the engine's start"
    )


def leaked(folder: str, problems: pa.Table, *, window_tokens: int) -> list[str]:
    """Accepted files that hold a benchmark problem."""
    texts = (
        (row["document_id"], row["text"])
        for batch in shards.batches(folder, DOCUMENTS, columns=["document_id", "text"])
        for row in batch.to_pylist()
    )
    return [
        f"{leak.document_id} holds the {leak.part} of {leak.problem_id}: {leak.evidence}"
        for leak in gate_hits(texts, problems, window_tokens=window_tokens)
    ]


def unaccounted(answers_folder: str, folder: str) -> list[str]:
    """Where accepted and refused do not add up to what was asked for."""
    asked = shards.read(answers_folder, SEEDS, columns=["document_id"])["document_id"].to_pylist()
    ended = [
        name
        for table in (DOCUMENTS, REFUSALS)
        for name in shards.read(folder, table, columns=["document_id"])["document_id"].to_pylist()
    ]
    if sorted(asked) == sorted(ended):
        return []
    return [f"{len(asked)} were asked for, and {len(ended)} are accepted or refused"]
