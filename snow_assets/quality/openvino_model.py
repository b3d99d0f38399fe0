"""Encoder on a CPU: a transformers model converted to OpenVINO's IR, in fp32 or what the CPU has.

The annotator's artifact holds the IR and the tokenizer, so that scoring on a CPU reads neither the
encoder's folder nor torch.
"""

import hashlib
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import openvino

from snow_assets.storage import shards

MODEL, WEIGHTS, TOKENIZER = "encoder.xml", "encoder.bin", "tokenizer.json"

_ELEMENT_TYPES = {"fp32": "f32", "fp16": "f16", "bf16": "bf16"}
_MIN_COSINE = 0.9999  # of embeddings by OpenVINO and by transformers, both in fp32


@dataclass(frozen=True, kw_only=True)
class OpenVinoModel:
    """A compiled model for batches of one length; its sums do not depend on the batch size."""

    compiled: Any  # openvino.CompiledModel
    weights: bytes  # OpenVINO reads them where they are
    precision: str
    digest: str  # of the IR

    is_on_gpu: ClassVar[bool] = False
    packs_lengths: ClassVar[bool] = False
    needs_fixed_shape: ClassVar[bool] = False

    def embed(
        self, input_ids: npt.NDArray[np.int32], lengths: Sequence[int], pooling: str
    ) -> Callable[[], npt.NDArray[np.float32]]:
        """Pooled embeddings in fp32 (windows, hidden_size)."""
        batch = input_ids.reshape(len(lengths), -1).astype(np.int64)
        hidden_states = self.compiled.infer_new_request([batch])[0]
        if pooling == "cls":
            embeddings = hidden_states[:, 0].copy()
        else:
            # Window by window: NumPy's order of summation may depend on the whole shape.
            embeddings = np.stack([window.mean(axis=0) for window in hidden_states])
        return lambda: embeddings


def load_openvino(folder: str, *, precision: str, threads: int) -> OpenVinoModel:
    """Compile the IR of an artifact; ValueError if this CPU has no instructions for `precision`.

    `auto` is bf16 where the CPU has it, else fp32. Each of `threads` concurrent batches runs in
    one thread. Memory: the weights twice.
    """
    core = openvino.Core()
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "auto":
        precision = "bf16" if "BF16" in capabilities else "fp32"
    if precision.upper() not in capabilities:
        raise ValueError(
            f"precision {precision}: this CPU has no such floats, and in fp32 scores would differ "
            "from those of CPUs that have: use such a CPU, or name fp32 in the recipe's "
            "annotator.precision and materialize quality_annotator again"
        )
    ir, weights = shards.get_file(folder, MODEL), shards.get_file(folder, WEIGHTS)
    options = {
        "INFERENCE_PRECISION_HINT": _ELEMENT_TYPES[precision],
        "NUM_STREAMS": threads,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_CPU_PINNING": False,  # other jobs of the machine would be pinned to the same cores
    }
    compiled = core.compile_model(core.read_model(ir, weights), "CPU", options)
    # Where its first batch has windows of one token, OpenVINO 2026.4 reads all longer ones wrongly.
    compiled.infer_new_request([np.zeros((1, 2), dtype=np.int64)])
    return OpenVinoModel(
        compiled=compiled,
        weights=weights,
        precision=precision,
        digest=hashlib.sha256(ir + weights).hexdigest(),
    )


def convert(encoder_folder: Path, output: str, *, window_tokens: int) -> None:
    """Convert a Hugging Face folder to IR in fp32; put it and the tokenizer into an artifact.

    Two conversions give the same bytes. ValueError if OpenVINO computes something else than
    transformers. Memory: the weights five times.
    """
    import torch  # slow, and only needed here

    from snow_assets.quality.transformers_model import HiddenStates, read_model

    model = read_model(encoder_folder, dtype=torch.float32, window_tokens=window_tokens)
    hidden_states = HiddenStates(model)
    input_ids = torch.arange(3 * window_tokens).reshape(3, -1) % model.config.vocab_size
    any_shape = [("input_ids", [-1, -1], openvino.Type.i64)]
    with torch.inference_mode():
        ir = openvino.convert_model(hidden_states, example_input=input_ids, input=any_shape)
    # Else names are numbered through all models of a process, or follow the order of a set.
    ir.set_friendly_name("encoder")
    for index, operation in enumerate(ir.get_ordered_ops()):
        operation.set_friendly_name(f"{operation.get_type_name()}_{index}")
        for port in operation.outputs():
            port.set_names(set())
    with tempfile.TemporaryDirectory() as scratch:
        openvino.save_model(ir, Path(scratch) / MODEL, compress_to_fp16=False)
        for name in (MODEL, WEIGHTS):
            shards.put_file(output, name, (Path(scratch) / name).read_bytes())
    shards.put_file(output, TOKENIZER, (encoder_folder / TOKENIZER).read_bytes())
    converted = load_openvino(output, precision="fp32", threads=1)
    for length in (1, 2, window_tokens // 2, window_tokens):
        batch = input_ids[:, :length]
        with torch.inference_mode():
            expected = hidden_states(batch).mean(dim=1)
        flat_ids = batch.reshape(-1).numpy().astype(np.int32)
        embeddings = torch.from_numpy(converted.embed(flat_ids, [length] * len(batch), "mean")())
        if not torch.cosine_similarity(embeddings, expected, dim=-1).min() >= _MIN_COSINE:
            raise ValueError(
                f"OpenVINO and transformers disagree on the {model.config.model_type} in "
                f"{encoder_folder}: name another encoder in the recipe's annotator.encoder, or a "
                "GPU in annotator.gpus"
            )
