"""The plot of the loss holds all phases, one after the other, with their borders."""

import math
from typing import Any

import numpy as np

from snow_assets.pretraining.asset_metadata import loss_figure


def phase(num_steps: int, tokens: int, **last: float) -> list[dict[str, Any]]:
    """Metrics by step, with those of the last step beside the common ones."""
    entries: list[dict[str, Any]] = [
        {"step": step, "tokens": step * tokens, "learning_rate": 0.1, "loss_bits": 9.0 - step}
        for step in range(1, num_steps + 1)
    ]
    entries[-1] |= last
    return entries


def points(line: Any) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in zip(*line.get_data(), strict=True)]


def borders(axes: Any) -> list[float]:
    return [float(line.get_xdata()[0]) for line in axes.lines if line.get_linestyle() == "--"]


def test_phases_follow_each_other_in_tokens_with_a_border_between_them() -> None:
    figure = loss_figure({"general": phase(3, 100), "continued": phase(2, 10), "end": phase(1, 5)})
    loss, rate = figure.axes
    curves = {line.get_label(): points(line) for line in loss.lines}
    assert curves["general"] == [(100.0, 8.0), (200.0, 7.0), (300.0, 6.0)]
    assert curves["continued"] == [(310.0, 8.0), (320.0, 7.0)]
    assert curves["end"] == [(325.0, 8.0)]
    assert borders(loss) == borders(rate) == [300.0, 320.0]
    legend = loss.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["general", "continued", "end"]


def test_the_validation_loss_of_each_language_has_a_panel_where_it_was_measured() -> None:
    measured = {"validation_bits_per_byte/c": 2.0, "validation_bits_per_byte/sql": 3.0}
    figure = loss_figure({"general": phase(3, 100, **measured), "continued": phase(2, 10)})
    _, validation, _ = figure.axes
    curves = {line.get_label(): points(line) for line in validation.lines}
    assert (curves["c"], curves["sql"]) == ([(300.0, 2.0)], [(300.0, 3.0)])
    assert borders(validation) == [300.0]


def test_a_single_phase_has_neither_border_nor_legend_and_a_skipped_step_is_a_gap() -> None:
    entries = phase(3, 100)
    del entries[1]["loss_bits"]
    loss, _ = loss_figure({"general": entries}).axes
    assert borders(loss) == []
    assert loss.get_legend() is None
    values = np.array([value for _, value in points(loss.lines[0])])
    assert [math.isnan(value) for value in values] == [False, True, False]
