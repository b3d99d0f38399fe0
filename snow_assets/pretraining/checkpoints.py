"""What a killed phase goes on from: weights, optimizer, random state and step, as safetensors.

A checkpoint is a folder named after its step. `latest.json` names the one that counts, with each
file's sha256 and the digest of the request that it belongs to, and is written last; so a kill at
any moment leaves the one before in place.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import safetensors.torch
import torch
from pydantic import TypeAdapter, ValidationError

from snow_assets import shards

_LATEST = "latest.json"
_WEIGHTS, _OPTIMIZER, _RANDOM = "weights.safetensors", "optimizer.safetensors", "random.safetensors"


@dataclass(frozen=True, kw_only=True)
class Position:
    """How far a phase has come: `step` updates are done, `sequences` of its order are read."""

    step: int
    sequences: int
    first_loss_bits: float
    last_loss_bits: float


@dataclass(frozen=True, kw_only=True)
class _Latest:
    request: str
    position: Position
    sha256: dict[str, str]


def save(
    folder: str,
    *,
    request: str,
    position: Position,
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
) -> None:
    """Write the checkpoint, move `latest` to it, and delete the others. Memory: one file."""
    name = f"step-{position.step:08d}"
    contents: dict[str, dict[str, torch.Tensor]] = {
        _WEIGHTS: dict(model.named_parameters()),
        _OPTIMIZER: _optimizer_tensors(model, optimizer),
        _RANDOM: _random_state(),
    }
    sha256 = {}
    for file, tensors in contents.items():
        plain = {key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()}
        content = safetensors.torch.save(plain)
        sha256[file] = hashlib.sha256(content).hexdigest()
        shards.put(shards.join(folder, name, file), content)
    latest = _Latest(request=request, position=position, sha256=sha256)
    shards.put(shards.join(folder, _LATEST), json.dumps(asdict(latest), indent=1).encode())
    for other in shards.names(folder):
        if other not in (name, _LATEST):
            shards.remove(shards.join(folder, other))


def load(
    folder: str, *, request: str, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> Position | None:
    """Set model, optimizer and random state to the latest checkpoint; None if there is none.

    ValueError if it belongs to another request, or is not what was written.
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
    found = {
        file: _read(shards.join(folder, name, file), digest)
        for file, digest in latest.sha256.items()
    }
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            parameter.copy_(found[_WEIGHTS][key])
    _restore_optimizer(model, optimizer, found[_OPTIMIZER])
    torch.set_rng_state(found[_RANDOM]["cpu"])
    if "cuda" in found[_RANDOM] and torch.cuda.is_available():
        torch.cuda.set_rng_state(found[_RANDOM]["cuda"])
    return latest.position


def _read(url: str, sha256: str) -> dict[str, torch.Tensor]:
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


def _random_state() -> dict[str, torch.Tensor]:
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state
