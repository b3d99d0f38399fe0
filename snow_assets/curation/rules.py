"""StarCoder2's rules (arXiv 2402.19173, section 3.4): stored signals and thresholds -> a reason.

A rule reads no text, so that a changed threshold costs no pass over the corpus. The rules about
visible HTML text and the names of plain-text files are left out: no recipe trains on either.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from snow_assets.documents import SIGNALS
from snow_assets.recipe import RulesRecipe

# Only an extremely long line drops these.
_LONG_LINED = frozenset({"html", "json", "markdown", "roff", "smt", "tex", "text", "xml"})
# Data rather than code beyond a number of lines.
_DATA = frozenset({"text", "json", "yaml", "owl", "graphviz"})

Rule = Callable[[Mapping[str, Any], str, RulesRecipe], Any]  # a row's signals, or columns of them

_RULES: Mapping[str, Rule] = {
    "too_many_lines": lambda signals, _, rules: signals["num_lines"] > rules.max_lines,
    "long_mean_line": lambda signals, language, rules: (
        language not in _LONG_LINED and signals["mean_line_chars"] > rules.max_mean_line_chars
    ),
    "long_line": lambda signals, language, rules: (
        signals["max_line_chars"]
        > (rules.max_line_chars_of_text if language in _LONG_LINED else rules.max_line_chars)
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
        language in _DATA and signals["num_lines"] > rules.max_data_lines
    ),
    "does_not_parse": lambda signals, _, rules: rules.drop_unparsable and signals["parses"] ^ True,
}

REASONS = tuple(_RULES)
"""In the order in which they are asked: a document's reason is the first that applies."""

COLUMNS = ("language", *(field.name for field in SIGNALS))
"""The columns of `documents` that rules read."""


def rule_reason(signals: Mapping[str, Any], *, language: str, rules: RulesRecipe) -> str | None:
    """The first rule that drops a document with these signals, or None."""
    return next((name for name, rule in _RULES.items() if rule(signals, language, rules)), None)


def passes(documents: pa.Table, language: str, rules: RulesRecipe) -> npt.NDArray[np.bool_]:
    """Which rows of a table of one language no rule drops; it has COLUMNS."""
    signals = {name: documents[name].to_numpy() for name in COLUMNS}
    passing = np.ones(documents.num_rows, dtype=np.bool_)
    for rule in _RULES.values():
        passing &= np.logical_not(rule(signals, language, rules))  # a column, or one for all
    return passing
