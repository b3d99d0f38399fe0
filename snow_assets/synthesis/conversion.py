"""Conversion job: a packaged GGUF model to a Hugging Face folder that vLLM serves."""

import tempfile
from functools import cache
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_assets.synthesis.contract import MODEL, ConversionReport, ConversionRequest
from snow_assets.synthesis.teacher import file_digest, packaged_gguf


def work(request: ConversionRequest, progress: worker.Progress) -> ConversionReport:
    """Dequantise to bfloat16.

    The result differs from the weights before quantisation: fit for demonstration, not for
    evaluating the teacher. ValueError if the GGUF file's sha256 is not the request's.
    """
    gguf = packaged_gguf(request.package)
    digest = file_digest(str(gguf))
    if digest != request.sha256:
        raise ValueError(
            f"{gguf} has sha256 {digest}, and {request.sha256} was requested: install the version "
            "of the package that the request was made with"
        )
    _cache_gguf_parsing()
    model = AutoModelForCausalLM.from_pretrained(
        str(gguf.parent),
        gguf_file=gguf.name,
        quantization_config=GgufConfig(dequantize=True),
        dtype=torch.bfloat16,
    )
    # Transformers 5 refuses to save a model that still names a quantisation.
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer = AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name)
    with tempfile.TemporaryDirectory(prefix="conversion-") as scratch:
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        written = shards.put_folder(request.output, Path(scratch), prefix=MODEL)
    progress.log(f"{len(written)} files of {sum(file.num_bytes for file in written)} bytes")
    return ConversionReport(num_parameters=sum(weights.numel() for weights in model.parameters()))


def _cache_gguf_parsing() -> None:
    """Cache GGUF readers and name maps, which transformers 5.19 rebuilds for config, weights,
    tokenizer and each tensor: 14 instead of 35 CPU seconds."""
    import gguf  # only needed for packaged teachers

    gguf.GGUFReader = cache(gguf.GGUFReader)
    gguf.get_tensor_name_map = cache(gguf.get_tensor_name_map)


if __name__ == "__main__":
    worker.main(ConversionRequest, work)
