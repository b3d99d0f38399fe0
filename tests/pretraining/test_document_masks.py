"""Attention within documents: borders, equality with separate documents, and its recipe value."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pydantic import TypeAdapter

from snow_assets.curation.tokenizer.tokens import END_OF_TEXT, FILE_SEP, REPO_NAME
from snow_assets.defs.pretraining import CHECKPOINTS
from snow_assets.experiments.arms import ArmRun, arm_recipe
from snow_assets.pretraining.contract import PretrainingRequest
from snow_assets.pretraining.document_masks import attention_lengths, first_tokens
from snow_assets.pretraining.model import initial_weights
from snow_assets.pretraining.sequences import open_sequences
from snow_assets.pretraining.train_module import DecoderTrainModule, build_train_module
from snow_assets.pretraining.training import work
from snow_assets.recipe import ARCTIC, SMOKE, Attention, ModelRecipe
from snow_assets.recipe.experiments import Arm, Change
from snow_assets.storage import shards
from tests.pretraining.builders import (
    CONTEXT,
    EXECUTION,
    MODEL,
    OPTIMIZATION,
    PACKING,
    PHASE,
    QuietProgress,
    a_request,
    a_tokenizer,
    clean_text,
    put_packs,
)

GROUPED = replace(MODEL, hidden_size=256, num_attention_heads=4, num_key_value_heads=2)
TOKENIZER = a_tokenizer()
END, FILE, REPOSITORY = map(TOKENIZER.token_to_id, (END_OF_TEXT, FILE_SEP, REPO_NAME))


def a_module(
    attention: Attention, recipe: ModelRecipe = MODEL, **execution: Any
) -> DecoderTrainModule:
    module = build_train_module(
        recipe,
        OPTIMIZATION,
        replace(EXECUTION, **execution),
        torch.device("cpu"),
        vocab_size=TOKENIZER.get_vocab_size(),
        attention=attention,
    )
    weights = initial_weights(module.weight_shapes(), seed=0)
    # Five times the initial spread, so that attention is far from uniform.
    module.load_weights(
        {name: weight if "norm" in name else 5 * weight for name, weight in weights.items()}
    )
    return module


def losses(module: DecoderTrainModule, ids: np.ndarray, lengths: Any = None) -> torch.Tensor:
    """Per predicted token."""
    documents = {} if lengths is None else {"doc_lens": lengths, "max_doc_lens": [CONTEXT]}
    input_ids = torch.from_numpy(ids.astype(np.int64))
    with torch.no_grad():
        logits = module.model(input_ids, **documents)
    return F.cross_entropy(logits[0, :-1], input_ids[0, 1:], reduction="none")


@pytest.mark.parametrize("recipe", [MODEL, GROUPED], ids=["one_head", "grouped_heads"])
def test_a_packed_row_has_the_losses_of_its_separate_documents(recipe: ModelRecipe) -> None:
    row = np.random.RandomState(0).randint(10, 300, (1, CONTEXT))
    row[0, [9, 20]] = END
    module = a_module("document", recipe)
    packed = losses(module, row, attention_lengths(row, "document", TOKENIZER))
    for begin, end in ((0, 10), (10, 21), (21, CONTEXT)):
        alone = losses(module, row[:, begin:end])
        assert torch.allclose(packed[begin : end - 1], alone, rtol=0, atol=1e-5)
    causal = losses(module, row)
    assert torch.allclose(causal[:9], packed[:9], rtol=0, atol=1e-5)
    assert (causal[10:] - packed[10:]).abs().max() > 0.01


def test_gradients_under_a_mask_do_not_depend_on_the_micro_batches() -> None:
    batch = np.random.RandomState(0).randint(10, 300, (6, CONTEXT))
    batch[np.arange(6), [3, 9, 12, 20, 25, 31]] = END
    lengths = attention_lengths(batch, "document", TOKENIZER)
    results = []
    for changes in ({"micro_batch_size": 4}, {"micro_batch_size": 6}):
        module = a_module("document", **changes)
        results.append(module.train_step(batch, 1e-3, lengths))
    assert results[0].loss_bits == pytest.approx(results[1].loss_bits, abs=1e-5)
    assert results[0].gradient_norm == pytest.approx(results[1].gradient_norm, rel=1e-5)


@pytest.mark.parametrize("has_repository_tokens", [False, True])
def test_borders_are_those_of_the_packs_spans(lake_url: str, has_repository_tokens: bool) -> None:
    packing = replace(PACKING, repository_tokens=has_repository_tokens, file_order="path")
    packs = put_packs(lake_url, clean_text(lake_url), packing=packing)
    vocab_size = TOKENIZER.get_vocab_size()
    sequences = open_sequences(packs, max_seq_len=CONTEXT, vocab_size=vocab_size)
    tokens = sequences[range(len(sequences))]
    spans = shards.read(packs, "spans").to_pylist()
    documents = np.zeros(tokens.shape, bool)
    repositories = np.zeros(tokens.shape, bool)
    previous = None
    for span in spans:
        at = span["sequence"], span["sequence_offset"]
        repository = span["repository"], span["pass_index"]
        documents[at] = True
        repositories[at] = span["sequence_offset"] == 0 or repository != previous
        previous = repository
    found = first_tokens(tokens, "document", TOKENIZER)
    assert not (documents & ~found).any()
    # After a repository's name that the sequence's start has cut off.
    for sequence, offset in np.argwhere(found & ~documents):
        before = tokens[sequence, :offset]
        assert tokens[sequence, offset] == FILE
        assert not np.isin(before, [FILE, REPOSITORY]).any()
    if has_repository_tokens:
        assert (first_tokens(tokens, "repository", TOKENIZER) == repositories).all()
        assert documents.sum() > repositories.sum()


def test_a_phase_trains_under_its_mask(lake_url: str) -> None:
    packs = put_packs(lake_url, clean_text(lake_url))
    curves = {}
    kinds: tuple[Attention, ...] = ("causal", "document")
    for kind in kinds:
        recipe = replace(PHASE, attention=kind)
        progress = QuietProgress()
        work(a_request(lake_url, packs, output=kind, recipe=recipe), progress)
        curves[kind] = [step["loss_bits"] for step in progress.steps]
    assert curves["document"] != curves["causal"]
    assert curves["document"][-1] < curves["document"][0]


def test_causal_attention_is_no_part_of_addresses_and_a_mask_is(lake_url: str) -> None:
    for recipe in (SMOKE, ARCTIC):
        config = CHECKPOINTS["general"].config(SimpleNamespace(recipe=recipe))
        assert "attention" not in config["phase"]
    masked = replace(PHASE, attention="document")
    for phase, is_stated in ((PHASE, False), (masked, True)):
        request = a_request(lake_url, "packs", recipe=phase)
        content = TypeAdapter(PretrainingRequest).dump_json(request)
        assert (b'"attention"' in content) is is_stated
        assert TypeAdapter(PretrainingRequest).validate_json(content) == request


def test_an_experiment_s_arm_can_have_a_mask() -> None:
    (experiment,) = SMOKE.experiments
    change = Change(field="pretraining.phases.continued.attention", value="document")
    arm = Arm(name="masked", changes=(change,))
    experiment = replace(experiment, arms=(*experiment.arms, arm))
    recipe = arm_recipe(SMOKE, ArmRun(experiment=experiment, arm="masked", seed=0))
    config = CHECKPOINTS["continued"].config(SimpleNamespace(recipe=recipe))
    assert config["phase"]["attention"] == "document"
    config = CHECKPOINTS["general"].config(SimpleNamespace(recipe=recipe))
    assert "attention" not in config["phase"]


def test_attention_within_repositories_needs_their_tokens() -> None:
    phases = tuple(replace(phase, attention="repository") for phase in SMOKE.pretraining.phases)
    with pytest.raises(ValueError, match=r"needs packing\.repository_tokens"):
        replace(SMOKE.pretraining, phases=phases)
    packing = replace(SMOKE.pretraining.packing, repository_tokens=True)
    replace(SMOKE.pretraining, phases=phases, packing=packing)
