"""Plots as PNG images at 144 dpi, with a title, and a legend outside the axes."""

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 144


@dataclass(frozen=True)
class Plot:
    """A PNG image and its title; deterministic for a given version of matplotlib."""

    png: bytes
    title: str


def new_figure(width_inches: float, height_inches: float) -> "Figure":
    """Create an empty figure without pyplot's global state."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width_inches, height_inches), dpi=DPI, layout="constrained")


def legend_outside(axes: Any, **options: Any) -> None:
    """Add a legend on the right of the axes, where it covers no data."""
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, frameon=False, **options)


def categorical_colors() -> list[Any]:
    """Twenty colors that can be told apart."""
    from matplotlib import colormaps

    return [colormaps["tab20"](index) for index in range(20)]


def token_formatter() -> Any:
    """A formatter of an axis of tokens: `50 k`, `1.5 M`, `400 G`."""
    from matplotlib.ticker import EngFormatter

    return EngFormatter()


def as_plot(figure: "Figure", title: str) -> Plot:
    """Render the figure with its title as a PNG."""
    figure.suptitle(title, fontsize=10)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    return Plot(png=buffer.getvalue(), title=title)
