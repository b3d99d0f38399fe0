"""OLMo-core's train module for a recipe's decoder: forward, backward, clipping, AdamW, sharding.

Each process has a rank and one device. Several processes shard the weights, gradients and optimizer
state (FSDP; HSDP where the recipe shards over fewer processes than there are).
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from olmo_core.config import DType
from olmo_core.distributed.parallel import DataParallelType
from olmo_core.distributed.utils import init_distributed
from olmo_core.nn.attention import AttentionBackendName
from olmo_core.nn.feed_forward import FeedForwardConfig
from olmo_core.nn.transformer import TransformerConfig
from olmo_core.nn.transformer.config import TransformerActivationCheckpointingMode
from olmo_core.optim import OptimGroupOverride, SkipStepAdamW, SkipStepAdamWConfig
from olmo_core.train.callbacks.speed_monitor import get_device_peak_flops_per_second
from olmo_core.train.train_module.transformer import (
    TransformerActivationCheckpointingConfig,
    TransformerDataParallelConfig,
    TransformerTrainModule,
)
from torch import Tensor
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    set_model_state_dict,
)

from snow_assets.pretraining.contract import Optimization
from snow_assets.pretraining.document_masks import use_document_attention
from snow_assets.pretraining.model import RMS_NORM_EPS, TIED_HEAD, hugging_face_name
from snow_assets.recipe import Attention, ModelRecipe, PretrainingExecution

_BACKENDS = "cpu:gloo,cuda:nccl"  # checkpoints are written through gloo, in the background


@contextmanager
def process_group() -> Iterator[torch.device]:
    """Join the process group of torchrun's environment variables; yield this process's device.

    Without those variables this is a single process without a group.
    """
    has_gpu = torch.cuda.is_available()
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield torch.device("cuda" if has_gpu else "cpu")
        return
    init_distributed(_BACKENDS if has_gpu else "gloo")
    try:
        yield torch.device("cuda", torch.cuda.current_device()) if has_gpu else torch.device("cpu")
    finally:
        dist.destroy_process_group()


class FiniteAdamW(SkipStepAdamW):  # type: ignore[misc]
    """OLMo-core's AdamW that skips spikes, and also steps whose loss or gradient is not finite.

    OLMo-core's step multiplies the update by 0, and 0 times NaN is NaN; and a value that it skipped
    stays in the window of losses, so that a lasting spike would soon pass for normal.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # torch's state dicts would initialize a missing state by a step, which counts.
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {
                    "step": torch.zeros((), device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        is_finite = math.isfinite(self.latest_loss) and math.isfinite(self.latest_grad_norm)
        if is_finite and self.get_step_factor() > 0:
            super().step(closure)
            return
        self._step_skipped = torch.tensor(1.0)
        self._losses.pop()
        self._grad_norms.pop()

    def window(self) -> dict[str, list[float]]:
        """Losses and gradient norms of the last applied steps, for a checkpoint."""
        return {
            "losses": [float(loss) for loss in self._losses],
            "grad_norms": [float(norm) for norm in self._grad_norms],
        }

    def set_window(self, window: dict[str, list[float]]) -> None:
        self._losses = [torch.tensor(loss, device=self.device) for loss in window["losses"]]
        self._grad_norms = [torch.tensor(norm, device=self.device) for norm in window["grad_norms"]]


@dataclass
class _FiniteAdamWConfig(SkipStepAdamWConfig):  # type: ignore[misc]
    @classmethod
    def optimizer(cls) -> type[FiniteAdamW]:
        return FiniteAdamW


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The global batch's mean loss before the step, and the gradient's norm before clipping."""

    loss_bits: float
    gradient_norm: float
    is_skipped: bool


class DecoderTrainModule(TransformerTrainModule):  # type: ignore[misc]
    """OLMo-core's train module without its Trainer: a step's metrics stay here."""

    optim: FiniteAdamW

    @property
    def trainer(self) -> "DecoderTrainModule":
        return self

    def record_metric(self, name: str, value: Any, *_: Any, **__: Any) -> None:
        self._metrics[name] = value

    def record_ce_loss(self, value: Tensor, _: Any = None) -> None:
        self._metrics["loss"] = value

    def start_step(self, learning_rate: float) -> None:
        self._metrics: dict[str, Any] = {}
        for group in self.optim.param_groups:
            group["lr"] = learning_rate

    def train_step(
        self, rank_batch: np.ndarray, learning_rate: float, lengths: Tensor | None = None
    ) -> StepResult:
        """One update on this rank's rows (n, seq_len) of the global batch.

        Micro-batches of unequal size are weighted by their tokens; all ranks need equally many.
        `lengths` are those of `attention_lengths`. The loss counts every token, also the first of
        a document.
        """
        self.start_step(learning_rate)
        input_ids = torch.from_numpy(rank_batch.astype(np.int64)).to(self.device)
        batch: dict[str, Any] = {"input_ids": input_ids}
        if lengths is not None:
            batch |= {"doc_lens": lengths, "max_doc_lens": lengths.amax(dim=1).tolist()}
        self.train_batch(batch)
        self.optim_step()
        self.zero_grads()
        return StepResult(
            loss_bits=float(self._metrics["loss"]) / math.log(2),
            gradient_norm=float(self._metrics["total grad norm"]),
            is_skipped=bool(self.optim.step_skipped > 0),
        )

    def weight_shapes(self) -> dict[str, torch.Size]:
        """Unsharded shapes by transformers' names."""
        return {
            hugging_face_name(name): weights.shape
            for name, weights in get_model_state_dict(self.model).items()
            if name != TIED_HEAD and isinstance(weights, Tensor)
        }

    def load_weights(self, weights: dict[str, Tensor]) -> None:
        """Load weights by transformers' names; those of rank 0 count, others may pass none."""
        state_dict: dict[str, Any] = {}
        if weights:
            names = get_model_state_dict(self.model).keys() - {TIED_HEAD}
            state_dict = {name: weights[hugging_face_name(name)] for name in names}
            state_dict[TIED_HEAD] = state_dict["embeddings.weight"]
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=dist.is_initialized())
        set_model_state_dict(self.model, state_dict, options=options)

    def full_weights(self) -> dict[str, Tensor]:
        """All weights by transformers' names on rank 0's CPU; empty on the other ranks."""
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        state_dict: dict[str, Any] = get_model_state_dict(self.model, options=options)
        state_dict.pop(TIED_HEAD, None)
        return {hugging_face_name(name): tensor for name, tensor in state_dict.items()}

    def model_flops_utilization(self, tokens_per_second: float) -> float | None:
        """Fraction of the GPUs' dense bf16 peak; None on a CPU or in fp32.

        Model FLOPs per token are OLMo-core's: 6 per parameter that multiplies, and 12 per layer,
        hidden size and causal position (Chowdhery et al. 2022, appendix B). Recomputed activations
        do not count; positions that a document mask leaves out do.
        """
        if self.device.type != "cuda" or self._is_fp32:
            return None
        name = torch.cuda.get_device_name(self.device)
        peak = get_device_peak_flops_per_second(name, using_half_precision=True)
        flops_per_token = self.model.num_flops_per_token(self.max_sequence_length)
        return float(tokens_per_second * flops_per_token / peak / self.world_size)

    @property
    def _is_fp32(self) -> bool:
        sharded_dtype = self.dp_config.param_dtype if self.dp_config else None
        return self.autocast_precision is None and sharded_dtype is None


def transformer_config(recipe: ModelRecipe, *, vocab_size: int) -> TransformerConfig:
    """OLMo-core's config of the same mathematics as transformers' Llama, embeddings tied."""
    return TransformerConfig.llama_like(
        d_model=recipe.hidden_size,
        vocab_size=vocab_size,
        n_layers=recipe.num_hidden_layers,
        n_heads=recipe.num_attention_heads,
        n_kv_heads=recipe.num_key_value_heads,
        layer_norm_eps=RMS_NORM_EPS,
        rope_theta=recipe.rope_theta,
        feed_forward=FeedForwardConfig(hidden_size=recipe.intermediate_size, bias=False),
        tie_word_embeddings=True,
        attn_backend=AttentionBackendName.torch,
    )


def build_train_module(
    recipe: ModelRecipe,
    optimization: Optimization,
    execution: PretrainingExecution,
    device: torch.device,
    *,
    vocab_size: int,
    attention: Attention = "causal",
) -> DecoderTrainModule:
    """The sharded model with its optimizer, on this process's device; weights are to be loaded."""
    model = transformer_config(recipe, vocab_size=vocab_size).build(init_device="meta")
    is_bf16 = optimization.precision == "bf16"
    if attention != "causal":
        use_document_attention(model, torch.bfloat16 if is_bf16 else torch.float32)
    data_parallel = _data_parallel(execution, is_bf16=is_bf16) if dist.is_initialized() else None
    checkpointing = {
        "none": None,
        "blocks": TransformerActivationCheckpointingConfig(
            mode=TransformerActivationCheckpointingMode.full
        ),
        "feed_forward": TransformerActivationCheckpointingConfig(
            mode=TransformerActivationCheckpointingMode.selected_modules,
            modules=["blocks.*.feed_forward"],
        ),
    }
    return DecoderTrainModule(
        model,
        _FiniteAdamWConfig(
            lr=0.0,  # set before each update
            betas=(optimization.beta1, optimization.beta2),
            weight_decay=optimization.weight_decay,
            group_overrides=[
                OptimGroupOverride(params=["*norm.weight"], opts={"weight_decay": 0.0})
            ],
            rolling_interval_length=optimization.spike_window_steps,
            sigma_factor=optimization.spike_sigma,
        ),
        rank_microbatch_size=execution.micro_batch_size * recipe.max_seq_len,
        max_sequence_length=recipe.max_seq_len,
        compile_model=execution.compile,
        dp_config=data_parallel,
        ac_config=checkpointing[execution.activation_checkpointing],
        autocast_precision=torch.bfloat16 if is_bf16 and data_parallel is None else None,
        max_grad_norm=optimization.max_grad_norm,
        device=device,
    )


def _data_parallel(
    execution: PretrainingExecution, *, is_bf16: bool
) -> TransformerDataParallelConfig:
    """Weights are gathered, and multiplied, in bf16; gradients are reduced in fp32."""
    is_fully_sharded = execution.sharding_degree in (None, dist.get_world_size())
    return TransformerDataParallelConfig(
        name=DataParallelType.fsdp if is_fully_sharded else DataParallelType.hsdp,
        param_dtype=DType.bfloat16 if is_bf16 else None,
        reduce_dtype=DType.float32,
        shard_degree=None if is_fully_sharded else execution.sharding_degree,
    )
