"""Peak memory of a training step's forward and backward pass on one GPU, without any GPU.

`python -m tests.pretraining.gpu_memory RECIPE...` prints bytes by recipe as JSON. Tensors are fake
(no storage), the other processes too; torch's memory tracker counts what FSDP gathers and keeps.
The peak is linear in the number of layers, so that two shallow models give a deep one's.
"""

import json
import os
import sys
from dataclasses import replace
from typing import Any

import olmo_core.distributed.parallel
import olmo_core.train.train_module.transformer.train_module as olmo_train_module
import torch
import torch.distributed as dist
from torch._subclasses.fake_tensor import FakeTensorMode, unset_fake_temporarily
from torch.distributed._tools.fsdp2_mem_tracker import FSDPMemTracker
from torch.testing._internal.distributed.fake_pg import FakeStore

import snow_assets.recipe
from snow_assets.pretraining.contract import optimization
from snow_assets.pretraining.train_module import build_train_module
from snow_assets.recipe import Recipe

build_world_mesh = olmo_train_module.build_world_mesh


def real_mesh(**options: Any) -> Any:
    """A mesh whose ranks are read; OLMo-core makes one for each process alone."""
    olmo_core.distributed.parallel._WORLD_MESH = None
    with unset_fake_temporarily():
        return build_world_mesh(**options)


def peak_bytes(recipe: Recipe, num_layers: int) -> int:
    """Of the second of two micro-batches, when gradients of the first are there."""
    execution, pretraining = recipe.operation.pretraining, recipe.pretraining
    model = replace(pretraining.model, num_hidden_layers=num_layers)
    vocab_size = recipe.curation.tokenizer.vocab_size
    with FakeTensorMode():
        module = build_train_module(
            model,
            optimization(pretraining),
            execution,
            torch.device("cpu"),
            vocab_size=vocab_size,
        )
        tracker = FSDPMemTracker(module.model, module.optim)
        shape = (execution.micro_batch_size, model.max_seq_len)
        input_ids = torch.randint(vocab_size, shape)
        tracker.track_inputs((input_ids,))
        with tracker:
            for _ in range(2):
                module.start_step(0.0)
                module.train_batch({"input_ids": input_ids})
                tracker.reset_mod_stats()
        (by_kind,) = tracker.get_tracker_snapshot("peak").values()
    return int(by_kind["Total"])


def extrapolated_peak_bytes(recipe: Recipe) -> int:
    execution = recipe.operation.pretraining
    os.environ |= {
        "LOCAL_RANK": "0",
        "LOCAL_WORLD_SIZE": str(execution.processes_per_node),
        "NUM_NODES": str(execution.nodes),
    }
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=execution.num_processes)
    shallow, deeper = peak_bytes(recipe, 2), peak_bytes(recipe, 4)
    dist.destroy_process_group()
    num_more_layers = recipe.pretraining.model.num_hidden_layers - 2
    return shallow + (deeper - shallow) // 2 * num_more_layers


if __name__ == "__main__":
    olmo_train_module.build_world_mesh = real_mesh
    torch.nn.init.trunc_normal_ = lambda tensor, *_, **__: tensor  # asks for values
    recipes = [getattr(snow_assets.recipe, name) for name in sys.argv[1:]]
    print(json.dumps({recipe.name: extrapolated_peak_bytes(recipe) for recipe in recipes}))
