"""What the quality assets show on their pages: tables as Markdown, and plots."""

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from snow_assets import shards
from snow_assets.plots import Plot, as_plot, legend_outside, new_figure
from snow_assets.quality import gate, scores, selection
from snow_assets.quality.auc import curve
from snow_assets.quality.contract import Gate

_COLORS = {  # of a kind, the same in both plots
    gate.RANDOM: "tab:gray",
    gate.POSITIVE: "tab:blue",
    gate.STEERED: "tab:orange",
    gate.UNSTEERED: "tab:green",
}
_POINTS = 400  # of a curve: a picture shows no more


def counts(facts: Mapping[str, Any]) -> str:
    """Facts as a table of two columns."""
    return _table(["what", "value"], [(name, value) for name, value in facts.items()])


def gates(measured: Sequence[Gate]) -> str:
    """Each gate with its interval, its minimum and its verdict."""
    rows = []
    for one in measured:
        auc = "-" if one.auc is None else f"{one.auc:.3f}"
        interval = "-" if one.low is None else f"{one.low:.3f} to {one.high:.3f}"
        verdict = "reported" if one.minimum is None else ("passed" if one.passed else "FAILED")
        minimum = "-" if one.minimum is None else one.minimum
        texts = f"{one.num_positives} / {one.num_negatives}"
        rows.append((one.name, auc, interval, minimum, verdict, texts))
    header = ["gate", "AUC", "95 % interval", "minimum of the lower bound", "verdict"]
    return _table([*header, "positives / negatives"], rows)


def separation(annotator_folder: str) -> Plot:
    """ROC curves against unseen random files, and how the logits of each kind lie."""
    table = shards.read_shard(annotator_folder, shards.table_name(gate.VALIDATION, 0))
    logits = {
        role: table.filter(pc.equal(table["role"], role))["logit"].to_numpy()
        for role in (gate.RANDOM, gate.POSITIVE, gate.STEERED, gate.UNSTEERED)
    }
    figure = new_figure(10, 3.6)
    roc, spread = figure.subplots(1, 2)
    for role, found in logits.items():
        if len(found):
            color = _COLORS[role]
            spread.hist(found, bins=30, density=True, histtype="step", label=role, color=color)
        if role != gate.RANDOM and len(found):
            roc.plot(*curve(found, logits[gate.RANDOM]), label=role, color=_COLORS[role])
    roc.plot([0, 1], [0, 1], color="grey", linewidth=0.5)
    roc.set_xlabel("random files above the threshold")
    roc.set_ylabel("files of the kind above it")
    spread.set_xlabel("logit")
    spread.set_ylabel("density")
    legend_outside(spread)
    return as_plot(figure, "Held-out files of each kind against random files: ROC and logits")


def score_histogram(scores_folder: str) -> Plot:
    """How a language's logits lie, by the number of windows read."""
    table = scores.summary(scores_folder)
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    windows = table["num_windows"].to_numpy()
    parts = {count: table["logit"].to_numpy()[windows == count] for count in (1, 2, 3)}
    axes.hist(
        list(parts.values()), bins=40, stacked=True, label=[f"{count} windows" for count in parts]
    )
    axes.set_xlabel("logit")
    axes.set_ylabel("texts")
    legend_outside(axes)
    return as_plot(figure, "Scores of the language's texts, by windows read")


def selection_curve(subset_folder: str) -> Plot:
    """Logit and repeats over the percentile: where the cut fell."""
    table = _selection(subset_folder, ["percentile", "logit", "repeats"])
    step = max(1, table.num_rows // _POINTS)
    shown = table.take(pa.array(range(0, table.num_rows, step), pa.int64()))
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    axes.plot(shown["percentile"], shown["logit"])
    axes.set_xlabel("percentile of the language's tokens")
    axes.set_ylabel("logit")
    repeats = axes.twinx()
    repeats.step(table["percentile"], table["repeats"], color="tab:orange", where="post")
    repeats.set_ylabel("repeats", color="tab:orange")
    return as_plot(figure, "Logit and repeats, from the best document to the worst")


def best_documents(subset_folder: str, *, rows: int) -> str:
    """The highest-ranked documents."""
    columns = ["repository", "num_tokens", "logit", "percentile", "repeats", "document_id"]
    found = _selection(subset_folder, columns).slice(0, rows).to_pylist()
    shown = [
        (
            row["repository"],
            row["num_tokens"],
            f"{row['logit']:.3f}",
            f"{row['percentile']:.4f}",
            row["repeats"],
            row["document_id"][:12],
        )
        for row in found
    ]
    return _table(columns, shown)


def _selection(subset_folder: str, columns: list[str]) -> pa.Table:
    """The ranked table of a generation that is still being made."""
    made = [entry.name for entry in shards.records(subset_folder) if entry.num_rows is not None]
    return pa.concat_tables(
        shards.read_shard(subset_folder, name, columns=columns)
        for name in made
        if name.startswith(f"{selection.TABLE}-")
    )


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(_cell(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    """Text from outside that can end neither a cell nor a line, nor start markup."""
    return "".join(c if c.isprintable() and c not in "`|<>[]\\" else "?" for c in str(value))[:120]
