"""Training at ARCTIC's size on one GPU: MFU by ingredient, a checkpoint's cost, bf16's loss.

`python -m benchmarks.gpu_training [SECONDS]` in a checkout (480 s by default); `TINY=1` runs tiny
shapes on a CPU, to see that it works. Prints a JSON line for each result; a variant that does
not fit says so, and the next one runs. MFU is the share of the GPU's dense bf16 peak, and
`of_matmul` that of a matrix product's rate in the same process. Model FLOPs are OLMo-core's
(`DecoderTrainModule.model_flops_utilization`).
"""

import contextlib
import gc
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.nn.attention import SDPBackend, sdpa_kernel

from snow_assets.pretraining.contract import optimization
from snow_assets.pretraining.model import initial_weights
from snow_assets.pretraining.resume import ResumeFolder, TrainingState
from snow_assets.pretraining.train_module import DecoderTrainModule, build_train_module
from snow_assets.recipe import ARCTIC, SMOKE

TINY = bool(os.environ.get("TINY"))
DEVICE = torch.device("cpu" if TINY else "cuda")
MODEL = (SMOKE if TINY else ARCTIC).pretraining.model
VOCAB_SIZE = (SMOKE if TINY else ARCTIC).curation.tokenizer.vocab_size
MICRO_BATCHES = 4  # of a step
MIN_VARIANT_SECONDS = 45.0

OPTIMIZATION = optimization(ARCTIC.pretraining)
EXECUTION = replace(
    ARCTIC.operation.pretraining, activation_checkpointing="none", compile=False, micro_batch_size=2
)
VARIANTS: tuple[tuple[str, dict[str, Any], SDPBackend | None], ...] = (
    ("bf16, sharded by FSDP", {}, None),
    ("compiled", {"compile": True}, None),
    (
        "compiled, feed-forward recomputed",
        {"compile": True, "activation_checkpointing": "feed_forward"},
        None,
    ),
    (
        "the same, 4 sequences",
        {"compile": True, "activation_checkpointing": "feed_forward", "micro_batch_size": 4},
        None,
    ),
    (
        "the same, cuDNN attention",
        {"compile": True, "activation_checkpointing": "feed_forward", "micro_batch_size": 4},
        SDPBackend.CUDNN_ATTENTION,
    ),
    (
        "compiled, blocks recomputed, 8 sequences",
        {"compile": True, "activation_checkpointing": "blocks", "micro_batch_size": 8},
        None,
    ),
)


def show(**values: Any) -> None:
    print(json.dumps(values), flush=True)


def synchronize() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def matmul_flops_per_second() -> float:
    size, repeats = (256, 3) if TINY else (8_192, 20)
    left, right = (torch.randn(size, size, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        left @ right
    synchronize()
    started = time.monotonic()
    for _ in range(repeats):
        left @ right
    synchronize()
    return repeats * 2 * size**3 / (time.monotonic() - started)


def random_rows(num_rows: int, *, seed: int = 0) -> np.ndarray:
    shape = (num_rows, MODEL.max_seq_len)
    return np.random.RandomState(seed).randint(0, VOCAB_SIZE, shape)


def a_module(**execution: Any) -> DecoderTrainModule:
    changed = replace(EXECUTION, **execution)
    module = build_train_module(MODEL, OPTIMIZATION, changed, DEVICE, vocab_size=VOCAB_SIZE)
    weights = initial_weights(module.weight_shapes(), seed=0) if dist.get_rank() == 0 else {}
    module.load_weights(weights)
    return module


def free_memory() -> None:
    import olmo_core.distributed.parallel

    olmo_core.distributed.parallel._WORLD_MESH = None  # the next module makes its own
    torch._dynamo.reset()
    gc.collect()
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def measure(
    name: str, execution: dict[str, Any], backend: SDPBackend | None, *, matmul_rate: float
) -> None:
    """Tokens per second and MFU of the steps after two to warm up."""
    module = a_module(**execution)
    rows = random_rows(module.rank_microbatch_size // MODEL.max_seq_len * MICRO_BATCHES)
    attention = contextlib.nullcontext() if backend is None or TINY else sdpa_kernel(backend)
    with attention:
        for _ in range(2):
            module.train_step(rows, 1e-4)
        synchronize()
        started, num_steps = time.monotonic(), 1 if TINY else 3
        for _ in range(num_steps):
            result = module.train_step(rows, 1e-4)
        synchronize()
    rate = num_steps * rows.size / (time.monotonic() - started)
    flops = rate * module.model.num_flops_per_token(MODEL.max_seq_len)
    utilization = module.model_flops_utilization(rate)
    peak_bytes = 0 if TINY else torch.cuda.max_memory_allocated()
    show(
        variant=name,
        tokens_per_second=round(rate),
        mfu=None if utilization is None else round(utilization, 4),
        of_matmul=round(flops / matmul_rate, 4),
        peak_gib=round(peak_bytes / 2**30, 1),
        loss_bits=round(result.loss_bits, 3),
    )


def measure_checkpoint() -> None:
    """Seconds that a checkpoint holds training up, and until it is complete."""
    module = a_module()
    module.train_step(random_rows(2), 1e-4)
    with tempfile.TemporaryDirectory() as folder:
        resume_folder = ResumeFolder(url=folder, request="benchmark", module=module)
        for step in (1, 2):  # the first makes the copies in host memory
            synchronize()
            started = time.monotonic()
            resume_folder.start_save(TrainingState(step=step))
            blocked = time.monotonic() - started
            resume_folder.finish_save()
            complete = time.monotonic() - started
            show(checkpoint=step, blocked_s=round(blocked, 2), complete_s=round(complete, 2))


def compare_with_cpu() -> None:
    """The loss of one sequence, in bf16 on this device and in fp32 on the CPU, by torch's hand."""
    module = a_module()
    row = random_rows(1)[:, : 64 if TINY else 1_024]
    loss_bits = module.train_step(row, 0.0).loss_bits
    weights = module.full_weights()
    del module
    free_memory()
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=MODEL.hidden_size,
        intermediate_size=MODEL.intermediate_size,
        num_hidden_layers=MODEL.num_hidden_layers,
        num_attention_heads=MODEL.num_attention_heads,
        num_key_value_heads=MODEL.num_key_value_heads,
        max_position_embeddings=MODEL.max_seq_len,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
    )
    with torch.device("meta"):
        llama = LlamaForCausalLM(config)
    llama = llama.to_empty(device="cpu")
    llama.load_state_dict(weights, strict=False)
    llama.tie_weights()
    llama.model.rotary_emb = type(llama.model.rotary_emb)(config)
    input_ids = torch.from_numpy(row)
    with torch.no_grad():
        expected = float(llama(input_ids=input_ids, labels=input_ids).loss) / np.log(2)
    show(loss_bits_bf16=round(loss_bits, 5), loss_bits_cpu_fp32=round(float(expected), 5))


def main(seconds: float) -> None:
    end = time.monotonic() + seconds
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": "29511", "RANK": "0"}
    os.environ |= {"WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    dist.init_process_group("gloo" if TINY else "cpu:gloo,cuda:nccl")
    matmul_rate = matmul_flops_per_second()
    show(device=str(DEVICE), matmul_tflops=round(matmul_rate / 1e12, 1))
    for run in (compare_with_cpu, measure_checkpoint):
        run()
        free_memory()
    for name, execution, backend in VARIANTS:
        if time.monotonic() > end - MIN_VARIANT_SECONDS:
            show(variant=name, skipped="no time left")
            continue
        try:
            measure(name, execution, backend, matmul_rate=matmul_rate)
        except (RuntimeError, torch.OutOfMemoryError) as error:
            show(variant=name, failed=str(error)[:160])
        free_memory()
    dist.destroy_process_group()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 480.0)
