"""Locate a teacher's weights and hash them. Does not import torch."""

import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any

from snow_assets.recipe import SynthesisRecipe
from snow_assets.storage import shards
from snow_assets.synthesis.contract import MODEL

TEACHER = "teacher.json"
_PACKAGE = "gguf-package:"
_CHUNK = 2**24


def describe(recipe: SynthesisRecipe) -> dict[str, str]:
    """The teacher's kind and model, with the sha256 of its weights unless it is an endpoint.

    Reads all weights: minutes for a large model.
    """
    if recipe.engine == "endpoint":
        return {"kind": "endpoint", "model": recipe.model}
    if recipe.model.startswith(_PACKAGE):
        package = recipe.model.removeprefix(_PACKAGE)
        digest = file_digest(str(packaged_gguf(package)))
        return {"kind": "package", "model": package, "sha256": digest}
    return {"kind": "folder", "model": recipe.model, "sha256": folder_digest(recipe.model)}


def write_teacher(folder: str, teacher: dict[str, str]) -> dict[str, Any]:
    """Write `teacher.json`; return the manifest stats."""
    shards.put_file(folder, TEACHER, json.dumps(teacher, indent=1, sort_keys=True).encode())
    return dict(teacher)


def teacher_location(folder: str) -> str:
    """URL of the model folder of a `teacher_model` artifact, or the endpoint's model name."""
    teacher = json.loads(shards.get_file(folder, TEACHER))
    return shards.join(folder, MODEL) if teacher["kind"] == "package" else str(teacher["model"])


def packaged_gguf(package: str) -> Path:
    """Path of the single GGUF file of an installed package; the package is not imported."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the package {package!r} is not installed in this environment")
    gguf_files = sorted(Path(spec.submodule_search_locations[0]).rglob("*.gguf"))
    if len(gguf_files) != 1:
        raise FileNotFoundError(
            f"{package!r} carries {len(gguf_files)} GGUF files, and one is needed"
        )
    return gguf_files[0]


def file_digest(url: str) -> str:
    """The sha256 of a file's content. Memory: 16 MiB."""
    system, path = shards.file_system(url)
    digest = hashlib.sha256()
    with system.open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def folder_digest(url: str) -> str:
    """The sha256 over names and contents of a model folder's files, without hidden ones."""
    names = [name for name in shards.names(url) if not _is_folder(shards.join(url, name))]
    if "config.json" not in names:
        raise FileNotFoundError(
            f"{url} is no Hugging Face model folder: it has no config.json; put the model there or "
            "name another in the recipe's synthesis.model"
        )
    lines = [f"{name} {file_digest(shards.join(url, name))}\n" for name in names]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _is_folder(url: str) -> bool:
    system, path = shards.file_system(url)
    return bool(system.isdir(path))


def local_model(url: str, scratch: Path) -> Path:
    """Local path of a model folder, downloaded to `scratch` if it is in an object store.

    A model of the lake is verified against its artifact's records.
    """
    artifact, _, prefix = url.rstrip("/").rpartition("/")
    if shards.is_finished(artifact):
        return shards.fetch_folder(artifact, scratch, prefix=prefix)
    system, path = shards.file_system(url)
    if system.protocol in ("file", ("file", "local")):
        if not Path(path, "config.json").is_file():
            raise FileNotFoundError(f"{url} holds no model: it has no config.json")
        return Path(path)
    for name in shards.names(url):
        system.get_file(f"{path}/{name}", str(scratch / name))
    return scratch
