"""Encoder in torch, on a GPU: any architecture that has an AutoModel class in transformers."""

import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel
from transformers.utils import logging

from snow_assets.quality.bert import Bert, pack_bert, to_device, to_host

_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True)
class TransformersModel:
    """A model for batches of one length, with the attention that transformers chooses."""

    hidden_states: "HiddenStates"
    device: torch.device
    precision: str
    digest: str

    packs_lengths: ClassVar[bool] = False
    needs_fixed_shape: ClassVar[bool] = True

    @property
    def is_on_gpu(self) -> bool:
        return self.device.type == "cuda"

    @torch.inference_mode()
    def embed(
        self, input_ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], npt.NDArray[np.float32]]:
        """Pooled embeddings in fp32 (windows, hidden_size); the returned call waits for them."""
        batch = to_device(input_ids.reshape(len(lengths), -1), self.device)
        hidden_states = self.hidden_states(batch).float()
        return to_host(hidden_states[:, 0] if pooling == "cls" else hidden_states.mean(dim=1))


class HiddenStates(nn.Module):
    """The last hidden states (windows, tokens, hidden_size) of windows without padding."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor) -> Tensor:
        hidden_states: Tensor = self.model(input_ids=input_ids).last_hidden_state
        return hidden_states


def load_torch(folder: Path, *, precision: str, window_tokens: int) -> Bert | TransformersModel:
    """Load a Hugging Face folder, on CUDA if available: BERT packed, others batched by length.

    `auto` is fp16 on a GPU, which is as fast as bf16 with an eighth of its rounding, else fp32.
    Sets torch's intra-op threads to one for the whole process: two threads that share MiniLM's
    matrix products give a third fewer tokens per second than two concurrent batches.
    """
    torch.set_num_threads(1)
    # A batch takes the GIL for each of some 200 operations. This is the longest time, in seconds,
    # that it waits for the thread that tokenizes the next texts.
    sys.setswitchinterval(1e-4)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if precision == "auto":
        precision = "fp16" if device.type == "cuda" else "fp32"
    dtype, digest = _DTYPES[precision], _weights_digest(folder)
    if AutoConfig.from_pretrained(folder).model_type == "bert":
        model = read_model(folder, dtype=torch.float32, window_tokens=window_tokens).to(device)
        return pack_bert(model, dtype=dtype, precision=precision, digest=digest)
    model = read_model(folder, dtype=dtype, window_tokens=window_tokens).to(device)
    return TransformersModel(
        hidden_states=HiddenStates(model), device=device, precision=precision, digest=digest
    )


def read_model(folder: Path, *, dtype: torch.dtype, window_tokens: int) -> Any:
    """The AutoModel of a folder, from safetensors only; ValueError if it is no usable encoder."""
    logging.disable_progress_bar()
    model, loading = AutoModel.from_pretrained(
        folder,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        output_loading_info=True,
    )
    # transformers would fill them with random numbers. Poolers are not used.
    missing = sorted(name for name in loading["missing_keys"] if not name.startswith("pooler."))
    if missing:
        raise ValueError(f"the encoder in {folder} lacks the weights {', '.join(missing[:3])}")
    if model.config.is_encoder_decoder:
        raise ValueError(
            f"the {model.config.model_type} in {folder} is an encoder with a decoder: name an "
            "encoder alone in the recipe's annotator.encoder"
        )
    if window_tokens > (max_tokens := _max_tokens(model)):
        raise ValueError(
            f"window_tokens {window_tokens}: the encoder in {folder} reads at most {max_tokens}; "
            "lower the recipe's annotator.window_tokens"
        )
    return model.eval()


def _max_tokens(model: Any) -> int:
    for name, module in model.named_modules():
        # RoBERTa's positions start behind the one of padding.
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            unused = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - unused
    return int(getattr(model.config, "max_position_embeddings", sys.maxsize))


def _weights_digest(folder: Path) -> str:
    """Hash of config and weights."""
    digest = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()
