"""StarCoder2's heuristic filters (arXiv 2402.19173, section 3.4) on stored signals.

Filters read no text, so a changed threshold needs no pass over the corpus. The filters on visible
HTML text and on names of plain-text files are left out, because no recipe trains on either.
"""

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from snow_assets.recipe import FiltersRecipe
from snow_assets.storage.schemas.curation import SIGNALS

# Filtered only by extremely long lines.
_LONG_LINE_LANGUAGES = frozenset({"html", "json", "markdown", "roff", "smt", "tex", "text", "xml"})
# Data rather than code above a number of lines.
_DATA_LANGUAGES = frozenset({"text", "json", "yaml", "owl", "graphviz"})

Filter = Callable[[str, FiltersRecipe], pl.Expr]  # whether it drops a document of a language

# In order of evaluation: a document's reason is the first that applies.
_FILTERS: Mapping[str, Filter] = {
    "too_many_lines": lambda _, filters: pl.col("num_lines") > filters.max_lines,
    "long_mean_line": lambda language, filters: (
        pl.lit(language not in _LONG_LINE_LANGUAGES)
        & (pl.col("mean_line_chars") > filters.max_mean_line_chars)
    ),
    "long_line": lambda language, filters: (
        pl.col("max_line_chars")
        > (
            filters.max_line_chars_of_text
            if language in _LONG_LINE_LANGUAGES
            else filters.max_line_chars
        )
    ),
    "auto_generated": lambda _, __: pl.col("is_generated"),
    "few_letters": lambda language, filters: (
        # Assembly is mostly numbers and short names.
        pl.col("alphanumeric_share" if language == "assembly" else "alphabetic_share")
        < filters.min_alphabetic_fraction
    ),
    "long_encoded_data": lambda _, filters: (
        pl.col("longest_encoded_chars") > filters.max_encoded_chars
    ),
    "mostly_encoded_data": lambda _, filters: (
        pl.col("encoded_share") > filters.max_encoded_fraction
    ),
    "long_data_file": lambda language, filters: (
        pl.lit(language in _DATA_LANGUAGES) & (pl.col("num_lines") > filters.max_data_lines)
    ),
    "does_not_parse": lambda _, filters: pl.lit(filters.drop_unparsable) & ~pl.col("parses"),
}

COLUMNS = tuple(field.name for field in SIGNALS)
"""The columns of `documents` that filters read."""


def filter_reason(language: str, filters: FiltersRecipe) -> pl.Expr:
    """The first filter that drops a row of COLUMNS, or null; all rows are in one language."""
    return pl.coalesce(
        pl.when(drops(language, filters)).then(pl.lit(reason)) for reason, drops in _FILTERS.items()
    )


def passing_rows(
    documents: pa.Table, language: str, filters: FiltersRecipe
) -> npt.NDArray[np.bool_]:
    """A mask of the rows that pass all filters; the table has COLUMNS and a single language."""
    signals = pl.DataFrame(documents.select(COLUMNS))
    return signals.select(filter_reason(language, filters).is_null()).to_series().to_numpy()
