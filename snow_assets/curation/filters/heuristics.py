"""StarCoder2's heuristic filters (arXiv 2402.19173, section 3.4) on stored signals.

Filters read no text, so a changed threshold needs no pass over the corpus. The filters on visible
HTML text and on names of plain-text files are left out, because no recipe trains on either.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.recipe import RulesRecipe
from snow_assets.storage.schemas import SIGNALS

# Filtered only by extremely long lines.
_LONG_LINE_LANGUAGES = frozenset({"html", "json", "markdown", "roff", "smt", "tex", "text", "xml"})
# Data rather than code above a number of lines.
_DATA_LANGUAGES = frozenset({"text", "json", "yaml", "owl", "graphviz"})

Filter = Callable[[Mapping[str, Any], str, RulesRecipe], Any]  # a row's signals, or columns of them

_FILTERS: Mapping[str, Filter] = {
    "too_many_lines": lambda signals, _, rules: signals["num_lines"] > rules.max_lines,
    "long_mean_line": lambda signals, language, rules: (
        language not in _LONG_LINE_LANGUAGES
        and signals["mean_line_chars"] > rules.max_mean_line_chars
    ),
    "long_line": lambda signals, language, rules: (
        signals["max_line_chars"]
        > (
            rules.max_line_chars_of_text
            if language in _LONG_LINE_LANGUAGES
            else rules.max_line_chars
        )
    ),
    "auto_generated": lambda signals, _, __: signals["is_generated"],
    "few_letters": lambda signals, language, rules: (
        # Assembly is mostly numbers and short names.
        signals["alphanumeric_share" if language == "assembly" else "alphabetic_share"]
        < rules.min_alphabetic_share
    ),
    "long_encoded_data": lambda signals, _, rules: (
        signals["longest_encoded_chars"] > rules.max_encoded_chars
    ),
    "mostly_encoded_data": lambda signals, _, rules: (
        signals["encoded_share"] > rules.max_encoded_share
    ),
    "long_data_file": lambda signals, language, rules: (
        language in _DATA_LANGUAGES and signals["num_lines"] > rules.max_data_lines
    ),
    "does_not_parse": lambda signals, _, rules: rules.drop_unparsable and signals["parses"] ^ True,
}

REASONS = tuple(_FILTERS)
"""Filter reasons in order of evaluation: a document's reason is the first that applies."""

COLUMNS = ("language", *(field.name for field in SIGNALS))
"""The columns of `documents` that filters read."""


def filter_reason(signals: Mapping[str, Any], *, language: str, rules: RulesRecipe) -> str | None:
    """The first filter that drops a document with these signals, or None."""
    return next(
        (name for name, applies in _FILTERS.items() if applies(signals, language, rules)), None
    )


def passing_rows(documents: pa.Table, language: str, rules: RulesRecipe) -> npt.NDArray[np.bool_]:
    """A mask of the rows that pass all filters; the table has COLUMNS and a single language."""
    signals = {name: documents[name].to_numpy() for name in COLUMNS}
    is_passing = np.ones(documents.num_rows, dtype=np.bool_)
    for applies in _FILTERS.values():
        is_passing &= np.logical_not(applies(signals, language, rules))  # a column or a scalar
    return is_passing
