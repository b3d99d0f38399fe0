from pathlib import Path

import pytest

from snow_assets.curation import jit


def test_kernels_on_disk_are_of_one_state_of_all_files_with_kernels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit, "_PACKAGES", tmp_path)
    monkeypatch.setattr(jit.numba.config, "CACHE_DIR", "")
    (tmp_path / "curation").mkdir()
    kernels, other = tmp_path / "curation" / "kernels.py", tmp_path / "curation" / "assets.py"
    kernels.write_text("from snow_assets.curation.jit import kernel\n")
    other.write_text("")
    before = jit._folder()
    other.write_text("changed = True\n")
    assert jit._folder() == before
    assert before.parent == tmp_path / "curation" / "__pycache__"
    kernels.write_text(f"{kernels.read_text()}changed = True\n")
    assert jit._folder() != before


def test_a_place_that_the_environment_names_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jit.numba.config, "CACHE_DIR", str(tmp_path))
    assert jit._folder().parent == tmp_path
