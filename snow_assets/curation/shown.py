"""What a data user looks at on an asset's page, as Markdown: small tables, a picture of lengths."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from snow_assets import shards
from snow_assets.plots import Plot, as_plot, new_figure

_MOST_ROWS = 20


def counts(facts: Mapping[str, Any]) -> dict[str, str]:
    return {"counts": _table(["what", "number"], list(facts.items()))}


def clusters(folder: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """The counts, and the largest clusters with where their copies come from."""
    sizes: Counter[str] = Counter()
    for row in _rows(folder, "clusters", ["cluster_id"]):
        sizes[row["cluster_id"]] += 1
    ordered = sorted(sizes.items(), key=lambda entry: (-entry[1], entry[0]))
    largest = [(name, size) for name, size in ordered[:_MOST_ROWS] if size > 1]
    return {
        **counts(facts),
        "largest_clusters": _table(["survivor", "documents"], largest),
    }


def hits(folder: str, facts: Mapping[str, Any]) -> dict[str, str]:
    """The counts, and the first hits with their evidence."""
    columns = ["problem_id", "method", "document_id", "evidence"]
    found = [tuple(row[name] for name in columns) for row in _rows(folder, "hits", columns)]
    return {**counts(facts), "first_hits": _table(columns, sorted(found)[:_MOST_ROWS])}


def funnel(folder: str, facts: Mapping[str, Any]) -> dict[str, str | Plot]:
    """Documents in, dropped by reason, kept; and how long the kept ones are."""
    total = max(1, facts["documents"])
    steps = ["documents", *(name for name in facts if name.startswith("dropped_")), "kept"]
    rows = [(name, facts[name], f"{facts[name] / total:.1%}") for name in steps]
    lengths = [
        row["num_tokens"]
        for row in _rows(folder, "decisions", ["num_tokens"])
        if row["num_tokens"] is not None
    ]
    shown: dict[str, str | Plot] = {
        **counts(facts),
        "funnel": _table(["step", "documents", "share"], rows),
    }
    if lengths:
        shown["tokens_per_kept_document"] = _histogram(lengths)
    return shown


def _rows(folder: str, table: str, columns: list[str]) -> list[dict[str, Any]]:
    """A table of a generation that is still being made; without text it is small."""
    return [
        row
        for entry in shards.records(folder)
        if entry.name.startswith(f"{table}-")
        for row in shards.read_shard(folder, entry.name, columns=columns).to_pylist()
    ]


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [" | ".join(names), " | ".join("---" for _ in names)]
    lines += [" | ".join(_cell(value) for value in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def _cell(value: Any) -> str:
    """Corpus text made harmless: nothing in it ends a cell or starts markup."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return "".join(c if c.isprintable() and c not in "`|<>[]\\" else " " for c in text)[:120]


def _histogram(lengths: Sequence[int]) -> Plot:
    figure = new_figure(8, 3)
    axes = figure.add_subplot()
    top = max(1, math.ceil(math.log2(max(lengths) + 1)))
    axes.hist(lengths, bins=[2**power for power in range(top + 1)])
    axes.set_xscale("log", base=2)
    axes.set_xlabel("tokens")
    axes.set_ylabel("documents")
    return as_plot(figure, "Tokens per kept document")
