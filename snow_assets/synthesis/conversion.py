"""The conversion job: a packaged GGUF model in, a Hugging Face folder that vLLM serves out."""

import tempfile
from functools import cache
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from snow_assets import shards, worker
from snow_assets.synthesis.contract import MODEL, Conversion, Converted
from snow_assets.synthesis.teacher import file_digest, packaged_gguf


def work(request: Conversion, progress: worker.Progress) -> Converted:
    """De-quantise into bfloat16. These are not the weights that were quantised: good enough to
    show how a teacher works, not to judge one by."""
    gguf = packaged_gguf(request.package)
    found = file_digest(str(gguf))
    if found != request.sha256:
        raise ValueError(
            f"{gguf} has sha256 {found}, and {request.sha256} was asked for: install the version "
            "of the package that the request was made with"
        )
    _parse_once()
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
    return Converted(num_parameters=sum(weights.numel() for weights in model.parameters()))


def _parse_once() -> None:
    """transformers 5.19 parses the file for configuration, weights and tokenizer anew, and makes
    the table of names for each tensor: 35 CPU s, of which 14 are left."""
    import gguf  # with the packaged teachers, not with the trainer

    gguf.GGUFReader = cache(gguf.GGUFReader)
    gguf.get_tensor_name_map = cache(gguf.get_tensor_name_map)


if __name__ == "__main__":
    worker.main(Conversion, work)
