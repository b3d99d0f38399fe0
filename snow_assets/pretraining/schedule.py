"""Learning-rate schedule: linear warm-up, then linear or cosine decay."""

import math

from snow_assets.recipe import PhaseRecipe


def warmup_steps(steps: int, recipe: PhaseRecipe) -> int:
    return min(round(recipe.warmup_fraction * steps), steps - 1)


def learning_rate(step: int, *, steps: int, recipe: PhaseRecipe) -> float:
    """Learning rate of update `step` (from 1): 0 at step 0, the peak after the warm-up, and exactly
    `final_learning_rate` at step `steps`.
    """
    if not 0 <= step <= steps:
        raise ValueError(f"step {step} is outside of this phase's {steps} steps")
    warmup = warmup_steps(steps, recipe)
    peak, final = recipe.peak_learning_rate, recipe.final_learning_rate
    if step < warmup:
        return peak * step / warmup
    if step == steps:
        return final  # exact, without the cosine's rounding error
    fraction = (step - warmup) / (steps - warmup)
    if recipe.schedule == "linear":
        return peak + (final - peak) * fraction
    return final + (peak - final) * (1 + math.cos(math.pi * fraction)) / 2
