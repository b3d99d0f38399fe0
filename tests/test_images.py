"""The image file's targets, as far as they can be known without an image engine.

Each has what its own work imports, each install line resolves, and what the orchestrator's line
installs materializes the root assets.
"""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
from pathlib import Path

import pytest
import setuptools
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from snow_assets.home import CHECKOUT
from snow_assets.recipe.cluster import SMOKE_CLUSTER
from tests.test_floors import import_blocking

DOCKERFILE = (CHECKOUT / "k8s" / "Dockerfile").read_text()
TARGETS = ("orchestrator", "trainer", "vllm")
UV = str(Path(sys.executable).with_name("uv"))
NO_INDEX = ("error sending request", "Failed to fetch", "dns error", "Connection refused")

FROM_ANOTHER_LOCK = {"orchestrator": {"ray"}, "vllm": {"torch", "vllm"}}
"""By target: what its own lock installs beside the project's extra."""


@cache
def closure(extra: str) -> frozenset[str]:
    """The distributions that the project needs with an extra, as installed here."""
    names: set[str] = set()
    waiting = [(text, extra) for text in distribution("snow").requires or []]
    while waiting:
        text, active_extra = waiting.pop()
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": active_extra}):
            continue
        for inner in ("", *requirement.extras):
            if f"{name}[{inner}]" in names:
                continue
            names |= {name, f"{name}[{inner}]"}
            try:
                waiting += [(line, inner) for line in distribution(name).requires or []]
            except PackageNotFoundError:  # CUDA's, on a machine without a GPU
                continue
    return frozenset(name for name in names if "[" not in name)


def beyond(extra: str) -> list[str]:
    """The importable names of this environment that an image with the extra has not."""
    owners = packages_distributions()
    has = closure(extra) | {"snow", "setuptools", "pip", "uv"}
    return sorted(
        name
        for name, owning in owners.items()
        if not any(canonicalize_name(owner) in has for owner in owning)
    )


def declared(target: str) -> set[str]:
    """The distributions that pyproject.toml names itself, for every image and for the target's."""
    requirements = [Requirement(text) for text in distribution("snow").requires or []]
    return {
        canonicalize_name(requirement.name)
        for requirement in requirements
        if not requirement.marker or requirement.marker.evaluate({"extra": target})
    }


def modules() -> dict[str, Path]:
    """The product's modules by their names."""
    return {
        ".".join(path.relative_to(CHECKOUT).with_suffix("").parts).removesuffix(".__init__"): path
        for package in ("snow_assets", "snow_resources")
        for path in sorted((CHECKOUT / package).rglob("*.py"))
    }


def imported_names(path: Path) -> set[str]:
    """Every module that a file names in an import, at its top or inside a function."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "files")
        ):
            names |= {arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant)}
    return names


def imports_of(roots: list[str]) -> dict[str, set[str]]:
    """Third-party top-level packages that modules and all they import name, and who names them."""
    known, visited, third_party = modules(), set[str](), dict[str, set[str]]()
    waiting = list(roots)
    while waiting:
        module = waiting.pop()
        if module in visited or module not in known:
            continue
        visited.add(module)
        for name in imported_names(known[module]):
            top = name.split(".")[0]
            if top in ("snow_assets", "snow_resources"):
                parts = name.split(".")
                waiting += [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
            elif top not in sys.stdlib_module_names:
                third_party.setdefault(top, set()).add(module)
    return third_party


GENERATION = ["snow_assets.synthesis.generation", "snow_assets.evaluation.generation"]
"""Jobs of vLLM's image; of these the trainer's image runs the first, where it asks an endpoint."""


ENGINE = ["snow_assets.defs.stage_job", "snow_assets.runtime.ray_nodes"]
"""Jobs of the orchestrator's image with Ray."""


def work_modules(target: str) -> list[str]:
    """The modules that run as jobs in an image of work."""
    if target == "vllm":
        return GENERATION
    paths = modules().items()
    jobs = {name for name, path in paths if "worker.main(" in path.read_text()}
    return sorted(jobs - {"snow_assets.runtime.worker", *ENGINE} | {"snow_assets.runtime.torchrun"})


def roots(target: str) -> list[str]:
    if target != "orchestrator":
        return work_modules(target)
    entries = ["definitions", "home", "cli.plan", "cli.purge", "cli.demo"]
    resources = [name for name in modules() if name.startswith("snow_resources")]
    return [f"snow_assets.{name}" for name in entries] + ENGINE + resources


def install_lines(target: str) -> list[str]:
    """The arguments of a target's `uv pip install` lines but for the optional models and Ray."""
    _, _, section = DOCKERFILE.partition(f" AS {target}\n")
    section = section.partition("\nFROM ")[0].replace("\\\n", " ")
    lines = [line for line in section.splitlines() if "uv pip install" in line]
    calls = [call for line in lines if "RUN if" not in line for call in line.split("&&")]
    return [call.split("uv pip install")[1].strip() for call in calls if "uv pip install" in call]


def uv(*arguments: str, cwd: Path, **options: str) -> subprocess.CompletedProcess[str]:
    """Run uv; where it reaches no index, skip with its message."""
    environment = {**os.environ, "UV_NO_PROGRESS": "1", **options}
    process = subprocess.run(
        [UV, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if process.returncode and any(sign in process.stderr for sign in NO_INDEX):
        pytest.skip(f"no package index to resolve with: {process.stderr.splitlines()[-1]}")
    return process


def copied_files(target: str, folder: Path) -> Path:
    """What the image file copies for a target, in a folder of its own."""
    base, _, rest = DOCKERFILE.partition(" AS orchestrator\n")
    section = rest if target == "orchestrator" else rest.partition(f" AS {target}\n")[2]
    for line in [*base.splitlines(), *section.partition("\nFROM ")[0].splitlines()]:
        if line.startswith("COPY "):
            for name in line.split()[1:-1]:
                copy = shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy
                copy(CHECKOUT / name, folder / name)
    (folder / "snow_resources").mkdir(exist_ok=True)
    return folder


def test_the_image_file_has_its_targets_and_copies_what_is_there() -> None:
    assert re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.M) == ["base", *TARGETS]
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M)]
    assert [name for names in copied for name in names if not (CHECKOUT / name).exists()] == []
    assert len(re.findall(r"^USER 1000:1000$", DOCKERFILE, re.M)) == 3
    assert all(install_lines(target) for target in TARGETS)


def test_images_from_elsewhere_are_named_by_digest() -> None:
    manifests = [path.read_text() for path in (CHECKOUT / "k8s").rglob("*.yaml")]
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.M)
    images += [image for text in manifests for image in re.findall(r"\bimage: ([\w./:@-]+)", text)]
    ours = {"base", "snow-orchestrator"}  # the second gets its digest from the kustomization
    assert {image for image in images if not re.search(r"@sha256:[0-9a-f]{64}$", image)} <= ours
    assert re.search(
        r"digest: sha256:[0-9a-f]{64}", (CHECKOUT / "k8s/example/kustomization.yaml").read_text()
    )


def test_the_orchestrator_has_no_torch_and_loads_the_definitions_with_what_it_has() -> None:
    assert {"dagster", "dagster-k8s", "dagster-postgres", "boto3", "mlflow"} <= closure(
        "orchestrator"
    )
    assert not {"torch", "transformers", "vllm"} & closure("orchestrator")
    names = ["snow_assets.definitions", "dagster_k8s", "dagster_postgres", "mlflow", "boto3"]
    process = import_blocking(names, beyond("orchestrator"))
    assert process.returncode == 0, process.stderr


def test_the_trainer_has_of_dagster_only_the_pipes_and_imports_all_work() -> None:
    assert {name for name in closure("trainer") if "dagster" in name} == {"dagster-pipes"}
    assert not {"mlflow", "duckdb", "kubernetes"} & closure("trainer")
    # setuptools, which torch asks for compilers, brings these itself.
    own = {path.name for path in Path(setuptools.__file__).with_name("_vendor").iterdir()}
    blocked = [name for name in beyond("trainer") if name not in own]
    process = import_blocking(work_modules("trainer"), blocked)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("target", TARGETS)
def test_a_package_that_an_images_code_imports_is_named_for_the_image(target: str) -> None:
    owners = packages_distributions() | {"vllm": ["vllm"]}
    allowed = declared(target) | FROM_ANOTHER_LOCK.get(target, set())
    unnamed = {
        name: sorted(importers)
        for name, importers in imports_of(roots(target)).items()
        if not any(canonicalize_name(owner) in allowed for owner in owners.get(name, [name]))
    }
    assert unnamed == ({"vllm": ["snow_assets.runtime.inference"]} if target == "trainer" else {})


def test_generation_never_imports_the_compiler_that_vllm_pins_otherwise() -> None:
    assert not {"numba", "llvmlite"} & set(imports_of(GENERATION))
    process = import_blocking(GENERATION, ["numba", "llvmlite"])
    assert process.returncode == 0, process.stderr


def test_the_smoke_recipe_of_a_cluster_reads_what_the_orchestrator_has() -> None:
    names = {
        location.partition(":")[0]
        for source in SMOKE_CLUSTER.corpus.sources
        for location in source.locations
    }
    assert names - {"stdlib"} - closure("orchestrator") == set()
    assert len(names) >= SMOKE_CLUSTER.corpus.min_repositories
    (positives,) = SMOKE_CLUSTER.exemplars.file_groups
    assert set(positives.source.locations) <= declared("orchestrator")


@pytest.mark.parametrize("target", TARGETS)
def test_an_images_install_line_resolves(target: str, tmp_path: Path) -> None:
    folder = copied_files(target, tmp_path)
    (folder / "snow_resources" / "__init__.py").touch()
    assert uv("venv", "-q", "-p", sys.executable, "venv", cwd=folder).returncode == 0
    for line in install_lines(target):
        arguments = [word.strip("'") for word in line.split()]
        arguments[arguments.index("/opt/venv/bin/python")] = "venv/bin/python"
        arguments = [word for word in arguments if word != "--no-build-isolation"]
        process = uv("pip", "install", "--dry-run", *arguments, cwd=folder, UV_FIND_LINKS="")
        assert process.returncode == 0, process.stderr
        assert "openvino-telemetry" not in process.stdout + process.stderr


@pytest.fixture(scope="module")
def orchestrator(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the orchestrator's image has it, with the environment of its install line."""
    folder = copied_files("orchestrator", tmp_path_factory.mktemp("image"))
    assert uv("venv", "-q", "-p", sys.executable, "venv", cwd=folder).returncode == 0
    for line in install_lines("orchestrator"):
        arguments = [word.strip("'") for word in line.split()]
        arguments[arguments.index("/opt/venv/bin/python")] = "venv/bin/python"
        arguments = [word for word in arguments if word != "--no-build-isolation"]
        process = uv("pip", "install", "-q", *arguments, cwd=folder)
        assert process.returncode == 0, process.stderr
    return folder


ROOT_ASSETS = """
import dagster as dg

from snow_assets import definitions
from snow_assets.defs.dagster_assets import stage_assets
from snow_assets.defs import corpus
from snow_assets.defs.synthesis import teacher_model
from snow_assets.recipe import chosen_recipe

recipe = chosen_recipe()
stages = [corpus.opt_outs, corpus.benchmark_problems, corpus.exemplars, teacher_model]
assets = stage_assets(stages, recipe)
resources = definitions.resources(chosen_recipe())
with dg.DagsterInstance.ephemeral() as instance:
    assert dg.materialize(assets, resources=resources, instance=instance).success
    name = recipe.corpus.sources[0].name
    source = [*assets, *stage_assets([corpus.raw_code_corpus], recipe)]
    selection = dg.AssetSelection.assets("raw_code_corpus")
    assert dg.materialize(
        source, selection=selection, partition_key=name, resources=resources, instance=instance
    ).success
"""

RECIPE = """
from dataclasses import replace
from pathlib import Path

from snow_assets.recipe import SMOKE_CLUSTER

source = SMOKE_CLUSTER.corpus.sources[1]
RECIPE = replace(
    SMOKE_CLUSTER,
    name="IMAGE",
    corpus=replace(
        SMOKE_CLUSTER.corpus,
        min_repositories=1,
        sources=(replace(source, locations=source.locations[:3], files_per_repository=3),),
    ),
    synthesis=replace(SMOKE_CLUSTER.synthesis, model=str(Path(__file__).with_name("teacher"))),
)
"""


def test_the_orchestrators_environment_materializes_every_root_asset(
    orchestrator: Path, tmp_path: Path
) -> None:
    (tmp_path / "image_recipe.py").write_text(RECIPE)
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    (teacher / "config.json").write_text("{}")
    (teacher / "model.safetensors").write_bytes(b"weights")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SNOW_")},
        "SNOW_HOME": str(tmp_path / "home"),
        "SNOW_RECIPE": "image_recipe:RECIPE",
        "SNOW_MLFLOW": "",
        "PYTHONPATH": str(tmp_path),
    }
    process = subprocess.run(
        [orchestrator / "venv" / "bin" / "python", "-W", "ignore", "-c", ROOT_ASSETS],
        cwd=orchestrator,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stdout[-4000:] + process.stderr[-4000:]
    lake = tmp_path / "home" / "lake"
    names = {path.name for path in (lake / "current" / "IMAGE").iterdir()}
    assert names == {
        "opt_outs",
        "benchmark_problems",
        "exemplars",
        "raw_code_corpus",
        "teacher_model",
    }


@pytest.mark.parametrize("extra", ["orchestrator", "trainer"])
def test_what_an_image_lacks_is_known(extra: str) -> None:
    assert "pytest" in beyond(extra)
    assert "pyarrow" not in beyond(extra)
