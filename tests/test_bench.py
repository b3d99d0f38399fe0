"""Every stage that `make bench` names has a function on each side."""

import json
import subprocess
import sys

from tests.whole.conftest import CHECKOUT

_SIDES = """
import ast, json, sys
sys.path.insert(0, "benchmarks")
import bench, ours
tree = ast.parse(open("benchmarks/peers.py").read())
peers = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
print(json.dumps({"sides": bench.SIDES, "ours": list(ours.STAGES), "peers": peers}))
"""


def test_each_stage_of_the_benchmark_exists_on_each_side() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SIDES], cwd=CHECKOUT, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert set(told["sides"]) <= set(told["ours"])
    named = {f"{stage}_{side}" for stage, sides in told["sides"].items() for side in sides[1:]}
    assert named <= set(told["peers"])
