"""What the Dagster page shows of a phase."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any


def language_table(languages: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: what each language gives to a phase."""
    lines = [
        "| language | documents | unique tokens | tokens | passes |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {entry['documents']:,} | {entry['unique_tokens']:,} "
        f"| {entry['tokens']:,} | {entry['passes']:.2f} |"
        for name, entry in sorted(languages.items())
    ]
    return "\n".join(lines)


def loss_curve(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Markdown with a picture: bits per token and learning rate by tokens. At most ~40 KB."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.2), layout="constrained")
    left = figure.add_subplot()
    right = left.twinx()
    tokens = [entry["tokens"] for entry in metrics]
    left.plot(tokens, [entry["loss_bits"] for entry in metrics], linewidth=1)
    right.plot(tokens, [entry["learning_rate"] for entry in metrics], color="silver", linewidth=1)
    left.set_xlabel("tokens")
    left.set_ylabel("training loss, bits per token")
    right.set_ylabel("learning rate (grey)")
    content = io.BytesIO()
    FigureCanvasAgg(figure).print_png(content)
    return f"![loss](data:image/png;base64,{base64.b64encode(content.getvalue()).decode()})"
