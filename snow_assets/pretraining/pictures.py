"""What the Dagster page shows of a phase."""

from collections.abc import Mapping, Sequence
from typing import Any

from snow_assets.plots import Plot, as_plot, new_figure


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


def loss_curve(metrics: Sequence[Mapping[str, Any]]) -> Plot:
    """Training loss in bits per token, and below it the learning rate, by tokens."""
    figure = new_figure(8, 4.2)
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    tokens = [entry["tokens"] for entry in metrics]
    loss.plot(tokens, [entry["loss_bits"] for entry in metrics], linewidth=1)
    rate.plot(tokens, [entry["learning_rate"] for entry in metrics], color="tab:gray", linewidth=1)
    loss.set_ylabel("bits per token")
    rate.set_ylabel("learning rate")
    rate.set_xlabel("tokens")
    return as_plot(figure, "Training loss and learning rate")
