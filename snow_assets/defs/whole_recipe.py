"""The whole recipe as one job, so that the UI can start what `make demo` does."""

import sys

import dagster as dg

from snow_assets.recipe import chosen_recipe


@dg.op(description="Run every step of the recipe that is to do, each as a run of its own.")
def every_step(context: dg.OpExecutionContext) -> None:
    """The first failure ends it; another run goes on from there."""
    from rich.console import Console

    from snow_assets.cli import demo

    recipe = chosen_recipe()
    context.log.info(f"Recipe {recipe.name}; each step is a run of its own, see the timeline")
    console = Console(file=sys.stdout, highlight=False, width=100)
    try:
        demo.materialize(console, context.instance, recipe, demo.recipe_steps(recipe))
    except demo.StepFailedError as error:
        raise dg.Failure(str(error)) from error


@dg.job(
    description="The whole recipe, from sources to tables: every step that is to do, in order, as "
    "`make demo` runs it. What is up to date is not run again."
)
def whole_recipe() -> None:
    every_step()
