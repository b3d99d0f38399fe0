"""How busy GPUs are. The program that tells is a stand-in: no GPU is here to be busy."""

import time
from pathlib import Path

import pytest

from snow_assets.runtime.gpu_use import sample_gpu_usage


def test_the_mean_is_over_gpus_and_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 90\necho 30\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with sample_gpu_usage(period_seconds=0.05) as use:
        time.sleep(0.5)
    assert use.mean_percent == 60.0


@pytest.mark.parametrize("script", ["exit 9", "echo '[N/A]'"])
def test_a_driver_that_tells_nothing_is_no_measurement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with sample_gpu_usage(period_seconds=0.05) as use:
        time.sleep(0.3)
    assert use.mean_percent is None


def test_without_a_gpu_there_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with sample_gpu_usage(period_seconds=0.01) as use:
        time.sleep(0.05)
    assert use.mean_percent is None
