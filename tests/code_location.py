"""The graph and plan of a recipe, of a code location that a process of its own loads."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from snow_assets.home import CHECKOUT

_PROGRAM = """
import json
import dagster as dg
from snow_assets import definitions
from snow_assets.defs.graph import RECIPE_STAGES
from snow_assets.planning.plan import plan
from snow_assets.recipe import chosen_recipe

graph = definitions.defs.resolve_asset_graph()
recipe = chosen_recipe()
resources = definitions.resources(recipe)
resources.pop("warehouse")
planned = plan(RECIPE_STAGES, resources["lake"], recipe, resources)
results = graph.get(dg.AssetKey("benchmark_results"))
print(json.dumps({
    "parents": {key.path[0]: sorted(parent.path[0] for parent in graph.get(key).parent_keys)
                for key in graph.get_all_asset_keys()},
    "checks": [[key.asset_key.to_user_string(), key.name] for key in graph.asset_check_keys],
    "checkpoints": list(results.partitions_def.get_partition_keys()),
    "steps": [[step.asset, step.partition, step.action] for step in planned.steps],
    "tokens": {step.asset: step.size.tokens for step in planned.steps},
}))
"""


def loaded(recipe: str, home: Path) -> Any:
    """Of a recipe of `tests.recipes` with an empty lake: parents and planned tokens by asset,
    checks, the partitions of `benchmark_results`, planned steps."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM],
        cwd=CHECKOUT,
        env={**os.environ, "SNOW_RECIPE": f"tests.recipes:{recipe}", "SNOW_HOME": str(home)},
        stdout=subprocess.PIPE,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])
