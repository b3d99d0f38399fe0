"""Checkpoints to resume a phase from: weights, optimizer, RNG state and step, as safetensors.

A checkpoint is a folder named after its step. `latest.json` points to the current one, with each
file's sha256 and the digest of the request that it belongs to. It is written last, so a kill at any
moment leaves the previous checkpoint current.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError

from snow_assets.storage import shards

_LATEST = "latest.json"
_WEIGHTS, _OPTIMIZER, _RANDOM = "weights.safetensors", "optimizer.safetensors", "random.safetensors"


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """State of the training loop: `step` updates done, `sequences` of the order consumed."""

    step: int
    sequences: int
    first_loss_bits: float
    last_loss_bits: float


@dataclass(frozen=True, kw_only=True)
class _Latest:
    request: str
    position: TrainingState
    sha256: dict[str, str]


def save(
    folder: str,
    *,
    request: str,
    state: TrainingState,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write a checkpoint, point `latest.json` to it, and delete older ones. Memory: one file."""
    name = f"step-{state.step:08d}"
    contents: dict[str, dict[str, torch.Tensor]] = {
        _WEIGHTS: dict(model.named_parameters()),
        _OPTIMIZER: _optimizer_tensors(model, optimizer),
        _RANDOM: _rng_state(),
    }
    sha256 = {}
    for file, tensors in contents.items():
        cpu_tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        content = safetensors.torch.save(cpu_tensors)
        sha256[file] = hashlib.sha256(content).hexdigest()
        shards.put(shards.join(folder, name, file), content)
    latest = _Latest(request=request, position=state, sha256=sha256)
    shards.put(shards.join(folder, _LATEST), json.dumps(asdict(latest), indent=1).encode())
    for old_name in shards.names(folder):
        if old_name not in (name, _LATEST):
            shards.remove(shards.join(folder, old_name))


def load(
    folder: str, *, request: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> TrainingState | None:
    """Load the latest checkpoint into model, optimizer and RNGs; None if there is none.

    ValueError if it belongs to another request, or its files do not match their sha256.
    """
    url = shards.join(folder, _LATEST)
    if not shards.exists(url):
        return None
    try:
        latest = TypeAdapter(_Latest).validate_json(shards.get(url))
    except ValidationError as error:
        raise ValueError(
            f"{url} is damaged ({error.errors()[0]['msg']}): delete {folder} to start afresh"
        ) from None
    if latest.request != request:
        raise ValueError(
            f"{folder} holds a checkpoint of another request (digest {latest.request}, this one "
            f"is {request}): delete that folder to start afresh"
        )
    name = f"step-{latest.position.step:08d}"
    tensors = {
        file: _read_tensors(shards.join(folder, name, file), digest)
        for file, digest in latest.sha256.items()
    }
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(tensors[_WEIGHTS][key])
    _restore_optimizer(model, optimizer, tensors[_OPTIMIZER])
    torch.set_rng_state(tensors[_RANDOM]["cpu"])
    if "cuda" in tensors[_RANDOM] and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors[_RANDOM]["cuda"])
    return latest.position


def _read_tensors(url: str, sha256: str) -> dict[str, torch.Tensor]:
    content = shards.get(url)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ValueError(f"{url} is not what was written: delete its folder to start afresh")
    tensors: dict[str, torch.Tensor] = safetensors.torch.load(content)
    return tensors


def _optimizer_tensors(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, torch.Tensor]:
    return {
        f"{key}/{field}": value
        for key, parameter in model.named_parameters()
        for field, value in optimizer.state[parameter].items()
    }


def _restore_optimizer(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, torch.Tensor]
) -> None:
    parameters = dict(model.named_parameters())
    state: dict[str, dict[str, Any]] = {key: {} for key in parameters}
    for name, value in tensors.items():
        key, field = name.rsplit("/", 1)
        # AdamW counts its steps on the CPU wherever the weights are.
        state[key][field] = value if field == "step" else value.to(parameters[key].device)
    for key, fields in state.items():
        optimizer.state[parameters[key]] = fields


def _rng_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state
