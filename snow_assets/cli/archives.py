"""Fetch the archives that the recipe's sources read: `make archives RECIPE=MICRO`."""

import subprocess
import sys

from rich.console import Console

from snow_assets.corpus import pinned_archives
from snow_assets.home_folder import CHECKOUT, archives_folder
from snow_assets.recipe import Recipe, chosen_recipe


def missing_archives(recipe: Recipe) -> str | None:
    """How many of the recipe's pinned archives are not there, and the remedy; None if none."""
    if recipe.operation.archive_pins is None:
        return None
    missing = pinned_archives.missing_pins(_pins(recipe), archives_folder())
    if not missing:
        return None
    return (
        f"{len(missing)} archives of {recipe.name} are not in {archives_folder()}: fetch them with "
        f"`make archives RECIPE={recipe.name}`; `make demo` and `make experiment` do so"
    )


def _pins(recipe: Recipe) -> list[pinned_archives.Pin]:
    return pinned_archives.read_pins(CHECKOUT / str(recipe.operation.archive_pins))


def fetch_archives(console: Console, recipe: Recipe) -> None:
    """Fetch what is missing, and check all digests; a recipe without pins needs nothing.

    SystemExit, with the reason, for an archive that does not come as it is pinned, and for a file
    beside them that is not pinned.
    """
    if recipe.operation.archive_pins is None:
        return
    pins, folder = _pins(recipe), archives_folder()
    with console.status(f"{len(pins)} archives in {folder}") as status:
        try:
            pinned_archives.download(
                pins,
                folder,
                progress=lambda count: status.update(f"{count} of {len(pins)} archives"),
            )
        except (OSError, ValueError, subprocess.CalledProcessError) as error:
            sys.exit(f"The archives of {recipe.name} are not as it pins them: {error}")
    console.print(f"{len(pins)} archives of {recipe.name} are in {folder}")


def main() -> None:
    recipe = chosen_recipe()
    if recipe.operation.archive_pins is None:
        sys.exit(f"The recipe {recipe.name} pins no archives: its sources are read where they are")
    fetch_archives(Console(highlight=False), recipe)


if __name__ == "__main__":
    main()
