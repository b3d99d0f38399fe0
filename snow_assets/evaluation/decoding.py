"""How completions are chosen, greedy or sampled, and the parts that they are generated in."""

from dataclasses import dataclass

from snow_assets.corpus.benchmarks import benchmark_named
from snow_assets.recipe import EvaluationRecipe

GREEDY, SAMPLED = "greedy", "sampled"


@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the completions of a part are chosen; `is_isolated`: each part runs alone."""

    name: str  # GREEDY or SAMPLED
    temperature: float = 0.0
    top_p: float = 1.0
    num_samples: int = 1
    is_isolated: bool = True
    has_seeds: bool = False


@dataclass(frozen=True, kw_only=True)
class Part:
    """The problems with numbers `begin` to `end`, completed by one decoding: a shard."""

    decoding: Decoding
    begin: int
    end: int


def decodings(recipe: EvaluationRecipe) -> list[Decoding]:
    """Greedy, whose parts are isolated so that a kill changes nothing; then sampled, if stated."""
    sampling = recipe.sampling
    if sampling is None:
        return [Decoding(name=GREEDY)]
    sampled = Decoding(
        name=SAMPLED,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        num_samples=sampling.num_samples,
        is_isolated=sampling.reproducible,
        has_seeds=sampling.reproducible,
    )
    return [Decoding(name=GREEDY), sampled]


def num_chosen_problems(recipe: EvaluationRecipe) -> int:
    """Problems that are completed, by the benchmarks' declarations."""
    counts = (benchmark_named(name).num_problems for name in recipe.benchmarks)
    return sum(min(count, recipe.max_problems or count) for count in counts)


def completion_parts(recipe: EvaluationRecipe, *, num_problems: int) -> list[Part]:
    """All parts, in the order of the shards of `completions`."""
    parts = []
    for decoding in decodings(recipe):
        # Two parts that are not isolated are in progress at once.
        size = max(1, recipe.part_problems // (1 if decoding.is_isolated else 2))
        parts += [
            Part(decoding=decoding, begin=begin, end=min(begin + size, num_problems))
            for begin in range(0, num_problems, size)
        ]
    return parts
