"""Plots for people: PNG images at 144 dpi, with a title, and a legend beside the data."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 144


@dataclass(frozen=True)
class Plot:
    """A PNG image and its title. Equal data gives equal bytes with one version of matplotlib."""

    png: bytes
    title: str


def new_figure(width_inches: float, height_inches: float) -> "Figure":
    """An empty figure without pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, height_inches), dpi=DPI, layout="constrained")


def legend_outside(axes: Any, **options: Any) -> None:
    """A legend on the right of the axes, where it covers no data."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False, **options)


def as_plot(figure: "Figure", title: str) -> Plot:
    """The figure under its title as a PNG."""
    figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return Plot(png=buffer.getvalue(), title=title)
