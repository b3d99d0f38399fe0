"""Which texts quote a benchmark problem, by comparing everything with everything.

By the definitions of `snow_assets.curation.contamination`, written without its hashes.
"""

import re
from collections.abc import Mapping, Sequence

from snow_assets.curation.problem_texts import docstrings
from snow_assets.recipe import ContaminationRecipe

Runs = set[tuple[bytes, ...]]


def wanted(
    problems: Sequence[Mapping[str, str]], recipe: ContaminationRecipe
) -> tuple[list[str], Runs]:
    """Descriptions and solutions without white space, and all runs of words in them."""
    texts = [
        text for one in problems for text in [*docstrings(one["prompt"]), one["solution"]]
    ]  # fmt: skip
    needles = [_bare(text) for text in texts]
    runs = set().union(*(_runs(text, recipe) for text in texts))
    return [needle for needle in needles if len(needle) >= recipe.min_substring_chars], runs


def methods(
    text: str, needles: Sequence[str], runs: Runs, recipe: ContaminationRecipe
) -> set[str]:  # fmt: skip
    """How a text quotes any problem."""
    bare, found = _bare(text), set()
    if any(needle in bare for needle in needles):
        found.add("substring")
    if not runs.isdisjoint(_runs(text, recipe)):
        found.add("ngram")
    return found


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()


def _runs(text: str, recipe: ContaminationRecipe) -> Runs:
    words = re.findall(rb"[0-9a-z_\x80-\xff]+", text.lower().encode())
    size = recipe.ngram_words
    runs = (tuple(words[at : at + size]) for at in range(len(words) - size + 1))
    return {run for run in runs if sum(map(len, run)) >= recipe.min_ngram_chars}
