"""Three chained phases on a small lake, from initial weights that only NumPy decides."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from snow_assets.pretraining.model import model_config
from snow_assets.pretraining.training import work
from snow_assets.recipe import PhaseRecipe
from snow_assets.storage import shards
from tests.pretraining.builders import (
    CONTEXT,
    MODEL,
    PHASE,
    QuietProgress,
    a_request,
    a_tokenizer,
    clean_text,
    finish,
    put_packs,
    synthetic_corpus,
)

PATH = Path(__file__).with_name("loss_curves.json")
"""Bits per token by phase and step, recorded from a loop in plain PyTorch (AdamW of torch, no
sharding, its own Llama) before ai2-olmo-core replaced it."""

_RATES: dict[str, Any] = {"peak_learning_rate": 2e-3, "final_learning_rate": 2e-4, "max_passes": 20}
_GENERAL = replace(PHASE, tokens=200 * CONTEXT, **_RATES)
_LINEAR = replace(_GENERAL, schedule="linear", final_learning_rate=0.0, warmup_fraction=0.084)
PHASES = (
    _GENERAL,
    replace(_LINEAR, name="continued", tokens=100 * CONTEXT),
    replace(_LINEAR, name="enhanced", tokens=40 * CONTEXT, python_fraction=0.5),
)
"""With SMOKE's rates."""


def put_initial_checkpoint(lake_url: str) -> str:
    """A parent artifact with weights of NumPy's frozen generator."""
    folder = f"{lake_url}/initial_checkpoint/all/g"
    random = np.random.RandomState(0)
    hidden, wide = MODEL.hidden_size, MODEL.intermediate_size
    vocab_size = a_tokenizer().get_vocab_size()
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab_size, hidden)}
    for index in range(MODEL.num_hidden_layers):
        layer = f"model.layers.{index}"
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"{layer}.self_attn.{name}.weight"] = (hidden, hidden)
        shapes[f"{layer}.mlp.gate_proj.weight"] = (wide, hidden)
        shapes[f"{layer}.mlp.up_proj.weight"] = (wide, hidden)
        shapes[f"{layer}.mlp.down_proj.weight"] = (hidden, wide)
        shapes[f"{layer}.input_layernorm.weight"] = (hidden,)
        shapes[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
    shapes["model.norm.weight"] = (hidden,)
    tensors = {
        name: (random.standard_normal(shape) * 0.02 if len(shape) == 2 else np.ones(shape)).astype(
            np.float32
        )
        for name, shape in shapes.items()
    }
    config = model_config(MODEL, a_tokenizer())
    shards.put_file(folder, "model/config.json", json.dumps(config).encode())
    weights = safetensors.numpy.save(tensors, metadata={"format": "pt"})
    shards.put_file(folder, "model/model.safetensors", weights)
    finish(folder)
    return folder


def put_phase_packs(lake_url: str, phase: PhaseRecipe) -> str:
    make = synthetic_corpus if phase.name == "enhanced" else clean_text
    return put_packs(
        lake_url, make(lake_url, phase.max_passes), name=f"{phase.name}_packs", phase=phase
    )


def train_phases(lake_url: str, **changes: Any) -> dict[str, list[float]]:
    """Bits per token by phase and step."""
    parent = put_initial_checkpoint(lake_url)
    curves: dict[str, list[float]] = {}
    for phase in PHASES:
        packs = put_phase_packs(lake_url, phase)
        request = a_request(
            lake_url, packs, output=phase.name, parent=parent, recipe=phase, **changes
        )
        progress = QuietProgress()
        work(request, progress)
        finish(request.output)
        parent = request.output
        curves[phase.name] = [entry["loss_bits"] for entry in progress.steps]
    return curves
