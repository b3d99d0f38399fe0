"""Sequences of packs: any rows by range, checked, and in a form that other trainers read."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from snow_assets.pretraining.sequences import (
    CHECKSUMS,
    TOKENS,
    PackedSequences,
    open_sequences,
    put_sequences,
    read_tokens,
    token_dtype,
    tokens_name,
)
from snow_assets.storage import shards
from snow_assets.storage.shards import DamagedFileError
from tests.pretraining.builders import CONTEXT, a_tokenizer, clean_text, finish, put_packs

VOCAB_SIZE = a_tokenizer().get_vocab_size()


def put_random_packs(
    folder: str, *, num_shards: int, shape: tuple[int, int], vocab_size: int
) -> np.ndarray:
    """Packs of random tokens without spans; returns all sequences."""
    random = np.random.default_rng(0)
    dtype = token_dtype(vocab_size)
    tokens = random.integers(0, vocab_size, (num_shards, *shape)).astype(dtype)
    for index in range(num_shards):
        stats = {"language": "c", "passes": [shape[0]]}
        put_sequences(folder, index, tokens[index], stats=stats)
    finish(folder)
    return tokens.reshape(-1, shape[1])


def opened(packs: str) -> PackedSequences:
    return open_sequences(packs, max_seq_len=CONTEXT, vocab_size=VOCAB_SIZE)


def test_any_rows_come_in_the_order_of_their_indices(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    manifest = shards.manifest(packs)
    expected = np.concatenate([read_tokens(packs, entry) for entry in manifest.tables(TOKENS)])
    sequences = opened(packs)
    assert sequences.shape == expected.shape == (40, CONTEXT)
    assert sequences.size == expected.size
    order = np.random.default_rng(0).permutation(40)
    assert np.array_equal(sequences[order], expected[order])
    assert np.array_equal(sequences[[39, 0, 39]], expected[[39, 0, 39]])
    assert sequences[[]].shape == (0, CONTEXT)


@pytest.mark.parametrize(("vocab_size", "dtype"), [(65_536, np.uint16), (65_537, np.uint32)])
def test_tokens_take_two_bytes_where_the_vocabulary_fits(
    lake_url: str, vocab_size: int, dtype: type
) -> None:
    packs = f"{lake_url}/general_packs/all/g"
    expected = put_random_packs(packs, num_shards=2, shape=(3, 8), vocab_size=vocab_size)
    sequences = open_sequences(packs, max_seq_len=8, vocab_size=vocab_size)
    assert sequences[range(6)].dtype == dtype
    assert np.array_equal(sequences[range(6)], expected)
    raw = np.concatenate([np.fromfile(f"{packs}/{tokens_name(i)}", dtype) for i in range(2)])
    assert np.array_equal(raw, expected.ravel())


def test_a_row_outside_of_the_packs_is_an_index_error(lake_url: str) -> None:
    sequences = opened(put_packs(lake_url, clean_text(lake_url)))
    for index in (-1, 40):
        with pytest.raises(IndexError, match=r"sequences 0 to 39"):
            sequences[[index]]


def test_packs_of_another_length_or_vocabulary_are_refused(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    with pytest.raises(ValueError, match="sequences of 32 tokens, and the model's context is 64"):
        open_sequences(packs, max_seq_len=64, vocab_size=VOCAB_SIZE)
    largest = max(entry.stats["max_token"] for entry in shards.manifest(packs).tables(TOKENS))
    with pytest.raises(ValueError, match=f"holds token {largest}, outside"):
        open_sequences(packs, max_seq_len=CONTEXT, vocab_size=largest)


def test_a_changed_or_missing_byte_is_damage_of_its_sequence_alone(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    path = Path(packs, tokens_name(0))
    content = path.read_bytes()
    path.write_bytes(content[:70] + bytes([content[70] ^ 1]) + content[71:-1])
    sequences = opened(packs)
    for row in (70 // (2 * CONTEXT), 7):
        with pytest.raises(DamagedFileError, match=rf"sequence {row} .*materialize general_packs"):
            sequences[[0, row]]
    assert sequences[[0, 2, 8]].shape == (3, CONTEXT)
    assert shards.names(f"{packs}/{shards.DAMAGED}") == [tokens_name(0)]


def test_changed_checksums_are_damage(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    path = Path(packs, f"{CHECKSUMS}-00000.bin")
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(DamagedFileError, match=CHECKSUMS):
        opened(packs)[[0]]


def test_rows_are_read_from_an_object_store_and_a_changed_one_is_damage(s3_lake_url: str) -> None:
    packs = f"{s3_lake_url}/general_packs/all/g"
    shape = (256, CONTEXT)
    expected = put_random_packs(packs, num_shards=3, shape=shape, vocab_size=VOCAB_SIZE)
    order = np.random.default_rng(1).permutation(len(expected))[:100]
    assert np.array_equal(opened(packs)[order], expected[order])
    content = shards.get(f"{packs}/{tokens_name(1)}")
    shards.put(f"{packs}/{tokens_name(1)}", bytes([content[0] ^ 1]) + content[1:])
    with pytest.raises(DamagedFileError, match="sequence 0 is not what was written"):
        opened(packs)[[255, 256]]


def test_olmo_core_reads_the_same_sequences(lake_url: str, tmp_path: Path) -> None:
    from olmo_core.data import NumpyFSLDataset

    packs = put_packs(lake_url, clean_text(lake_url))
    entries = shards.manifest(packs).tables(TOKENS)
    dataset = NumpyFSLDataset(
        *(shards.join(packs, entry.name) for entry in entries),
        sequence_length=CONTEXT,
        pad_token_id=a_tokenizer().token_to_id("<pad>"),
        eos_token_id=a_tokenizer().token_to_id("<|endoftext|>"),
        vocab_size=VOCAB_SIZE,
        dtype=np.uint16,
    )
    dataset.work_dir = tmp_path
    dataset.prepare()
    sequences = opened(packs)
    assert len(dataset) == len(sequences)
    for index in range(len(dataset)):
        assert dataset[index]["input_ids"].tolist() == sequences[[index]][0].tolist()


_PEAK = """
import resource, sys
import numpy as np
from snow_assets.pretraining.sequences import open_sequences
sequences = open_sequences(sys.argv[1], max_seq_len=1024, vocab_size=50_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
order = np.random.default_rng(0).permutation(len(sequences))
for start in range(0, len(order), 16):
    sequences[order[start : start + 16]]
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_memory_does_not_grow_with_the_packs(lake_url: str) -> None:
    peaks = []
    for num_shards in (2, 32):
        packs = f"{lake_url}/packs{num_shards}/all/g"
        put_random_packs(packs, num_shards=num_shards, shape=(1024, 1024), vocab_size=50_000)
        reader = subprocess.run(
            [sys.executable, "-c", _PEAK, packs], capture_output=True, text=True, check=True
        )
        peaks.append(int(reader.stdout))
    assert peaks[1] < peaks[0] + 4_000  # KiB; the larger packs hold 61 MiB more


def test_a_sequence_is_compared_with_its_own_checksum(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    path = Path(packs, f"{CHECKSUMS}-00000.bin")
    path.write_bytes(path.read_bytes()[:-1])
    sequences = opened(packs)
    rows_of_shard = shards.manifest(packs).tables(TOKENS)[0].num_rows or 0
    assert len(sequences[[0, rows_of_shard - 2]]) == 2
    with pytest.raises(DamagedFileError, match=CHECKSUMS):
        sequences[[0, rows_of_shard - 1]]
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{CHECKSUMS}.*materialize general_packs"):
        sequences[[0]]


def test_missing_tokens_are_an_error(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    Path(packs, tokens_name(0)).unlink()
    with pytest.raises(FileNotFoundError, match=tokens_name(0)):
        opened(packs)[[0]]
