"""`make purge`: list what is not needed and what opted out; with GO=1 delete it."""

import sys
import time
from collections.abc import Sequence

from rich.console import Console

from snow_assets import definitions
from snow_assets.corpus import opt_outs
from snow_assets.home import configured_url
from snow_assets.planning.purge import Purge, act, find
from snow_assets.recipe import chosen_recipe
from snow_assets.storage import shards


def show(console: Console, purge: Purge, *, is_done: bool) -> None:
    """Print what is deleted, what is held and by which artifact, and what is only reported."""
    verb = "Deleted" if is_done else "Would delete"
    total = sum(item.num_bytes for item in purge.deletions)
    for item in purge.deletions:
        console.print(f"  {item.name}  {item.num_bytes / 1e6:,.1f} MB  {item.reason}", markup=False)
    console.print(f"{verb} {len(purge.deletions)} artifacts, {total / 1e6:,.1f} MB.")
    for item in purge.held:
        console.print(f"  held: {item.name}  {item.reason}", markup=False)
    if purge.held:
        console.print("Materialize what holds them anew, and purge again.")
    for trace in purge.reported:
        console.print(
            f"  remains: {trace.asset} [{trace.partition}] {trace.fingerprint[:12]} saw "
            f"{trace.num_rows:,} opted-out documents, {trace.num_tokens:,} tokens",
            markup=False,
        )
    if not is_done and purge.deletions:
        console.print("Nothing was deleted: `make purge GO=1` deletes.")


def main(arguments: Sequence[str]) -> None:
    """A dry run; `go` deletes; `unfinished` adds unfinished work of another config."""
    recipe = chosen_recipe()
    lake = definitions.resources(recipe)["lake"].url
    now = time.time()
    url = configured_url(recipe.corpus.opt_out_list, lake=lake)
    try:
        purge = find(
            lake,
            opted_out=opt_outs.read_list(url),
            abandoned_by=recipe if "unfinished" in arguments else None,
            retention_days=recipe.operation.retention_days,
            now=now,
        )
    except shards.DamagedFileError as error:
        sys.exit(f"Nothing is deleted while it is unknown what is needed: {error}")
    is_done = "go" in arguments
    if is_done:
        act(lake, purge, now=now)
    show(Console(highlight=False), purge, is_done=is_done)


if __name__ == "__main__":
    main(sys.argv[1:])
