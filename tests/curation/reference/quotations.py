"""What of benchmark problems a text quotes, by comparing everything with everything."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from snow_assets.curation.decontamination.problem_texts import docstrings
from snow_assets.recipe import ContaminationRecipe

Runs = set[tuple[bytes, ...]]


@dataclass(frozen=True)
class Wanted:
    """Descriptions and solutions without white space, and the runs of words in them."""

    needles: Sequence[str]
    runs: Runs
    recipe: ContaminationRecipe

    @classmethod
    def of(cls, problems: Sequence[Mapping[str, Any]], recipe: ContaminationRecipe) -> "Wanted":
        texts = [text for one in problems for text in [*docstrings(one["prompt"]), one["solution"]]]
        needles = [bare for bare in map(_bare, texts) if len(bare) >= recipe.min_substring_chars]
        runs: Runs = set().union(*(_runs(text, recipe) for text in texts))
        return cls(needles, runs, recipe)


def quotations(text: str, wanted: Wanted) -> set[str]:
    """The methods by which the text quotes any of the problems."""
    bare, found = _bare(text), set()
    if any(needle in bare for needle in wanted.needles):
        found.add("substring")
    if not wanted.runs.isdisjoint(_runs(text, wanted.recipe)):
        found.add("ngram")
    return found


def _bare(text: str) -> str:
    return re.sub(r"\s+", "", text).lower()


def _runs(text: str, recipe: ContaminationRecipe) -> Runs:
    words = re.findall(rb"[0-9a-z_\x80-\xff]+", text.lower().encode())
    size = recipe.ngram_words
    runs = {tuple(words[at : at + size]) for at in range(len(words) - size + 1)}
    return {run for run in runs if sum(map(len, run)) >= recipe.min_ngram_chars}
