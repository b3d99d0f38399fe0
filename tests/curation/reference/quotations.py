"""What of a problem a text quotes, by comparing everything with everything."""

import re
from collections.abc import Mapping
from typing import Any

from snow_assets.curation.problem_texts import docstrings
from snow_assets.recipe import ContaminationRecipe


def quotations(text: str, problem: Mapping[str, Any], recipe: ContaminationRecipe) -> set[str]:
    """The methods by which the text quotes the problem."""
    wanted = [*docstrings(problem["prompt"]), problem["solution"]]
    found = set()
    for one in wanted:
        bare = _bare(one)
        if len(bare) >= recipe.min_substring_chars and bare in _bare(text):
            found.add("substring")
        if _runs(one, recipe) & _runs(text, recipe):
            found.add("ngram")
    return found


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()


def _runs(text: str, recipe: ContaminationRecipe) -> set[tuple[bytes, ...]]:
    words = re.findall(rb"[0-9a-z_\x80-\xff]+", text.lower().encode())
    size = recipe.ngram_words
    runs = {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
    return {run for run in runs if sum(map(len, run)) >= recipe.min_ngram_chars}
