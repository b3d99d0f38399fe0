"""A tiny lake to evaluate in: a corpus, a tokenizer, problems, random checkpoints."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM

from snow_assets.corpus.benchmarks.human_eval import HUMAN_EVAL
from snow_assets.corpus.problems import read_problems
from snow_assets.curation.tokenizer import tokens
from snow_assets.evaluation.checkpoint import Checkpoint
from snow_assets.evaluation.contract import EvaluationRequest
from snow_assets.evaluation.problems import Problem, sample_problems
from snow_assets.pretraining.model import model_config, save_model
from snow_assets.recipe import SMOKE, EvaluationRecipe, ModelRecipe
from snow_assets.storage import shards
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.corpus import BENCHMARK_PROBLEM
from snow_assets.storage.schemas.curation import DECISION, DOCUMENT
from snow_assets.storage.schemas.evaluation import COMPLETION
from tests.artifacts import finish, point
from tests.tables.lake import row_of

RECIPE = replace(
    SMOKE.evaluation,
    benchmarks=("HumanEval",),
    held_out_documents_per_language=4,
    max_document_bytes=2_000,
    stride_tokens=32,
    batch_windows=4,
    bootstrap_resamples=200,
    max_problems=3,
    max_new_tokens=8,
    part_problems=2,
)
CONTEXT_TOKENS = 64
MODEL = ModelRecipe(
    hidden_size=64,
    intermediate_size=96,
    num_hidden_layers=1,
    num_attention_heads=1,
    num_key_value_heads=1,
    max_seq_len=CONTEXT_TOKENS,
    rope_theta=10_000.0,
)


def an_evaluation_recipe(**changes: Any) -> EvaluationRecipe:
    return replace(RECIPE, **changes)


def finished(lake_url: str, asset: str, partition: str, *, inputs: Sequence[str] = ()) -> str:
    """Close the artifact `g` of an asset and point SMOKE to it; returns its folder."""
    folder = shards.join(lake_url, asset, partition, "g")
    finish(folder, inputs=inputs)
    point(lake_url, folder)
    return folder


def a_tokenizer() -> Tokenizer:
    """Byte-level, with a few merges from code."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=list(tokens.SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(["def add(first, second):\n    return first + second\n"] * 4, trainer)
    return made


def a_model(*, seed: int = 0, uniform: bool = False) -> LlamaForCausalLM:
    """Random weights; `uniform` ones give each token the same probability everywhere."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    config = LlamaConfig(**model_config(MODEL, a_tokenizer()))
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if uniform:
                weights.zero_()
            else:
                weights.mul_(3)  # far from uniform, so that a wrong context shows
    return model


def a_loaded_checkpoint(**model: Any) -> Checkpoint:
    tokenizer = a_tokenizer()
    return Checkpoint(
        model=a_model(**model),
        tokenizer=tokenizer,
        end_of_text=tokenizer.token_to_id(tokens.END_OF_TEXT),
        max_seq_len=CONTEXT_TOKENS,
        device="cpu",
    )


def put_checkpoint(lake_url: str, name: str, **model: Any) -> str:
    asset = f"{name}_checkpoint"
    with tempfile.TemporaryDirectory() as local:
        own, written = Path(local) / "tokenizer", Path(local) / "model"
        own.mkdir()
        a_tokenizer().save(str(own / "tokenizer.json"))
        weights = a_model(**model).state_dict()
        weights.pop("lm_head.weight")  # tied
        save_model(weights, MODEL, a_tokenizer(), own, written)
        shards.put_folder(shards.join(lake_url, asset, "all", "g"), written, prefix="model")
    return finished(lake_url, asset, "all")


def put_tokenizer(lake_url: str) -> str:
    folder = shards.join(lake_url, "tokenizer", "all", "g")
    name = f"{tokens.FOLDER}/tokenizer.json"
    shards.put_file(folder, name, a_tokenizer().to_str().encode())
    return finished(lake_url, "tokenizer", "all")


def put_problems(lake_url: str, rows: list[dict[str, Any]] | None = None) -> str:
    folder = shards.join(lake_url, "benchmark_problems", "all", "g")
    shards.put_table(
        folder, "problems", 0, rows or read_problems(["HumanEval"])[:6], BENCHMARK_PROBLEM
    )
    return finished(lake_url, "benchmark_problems", "all")


def put_corpus(lake_url: str, language: str, held_out: list[str], *, train: list[str]) -> str:
    """A clean_corpus of one shard: each text a file of a repository of its own."""
    documents = shards.join(lake_url, "documents", language, "g")
    texts = [(text, "held_out") for text in held_out] + [(text, "train") for text in train]
    rows = [_document(f"{language}-{at}", language, text) for at, (text, _) in enumerate(texts)]
    shards.put_table(documents, "documents", 0, rows, DOCUMENT, stats={"language": language})
    finished(lake_url, "documents", language)
    folder = shards.join(lake_url, "clean_corpus", language, "g")
    decisions = [
        {
            **row,
            "kept": True,
            "reason": None,
            "evidence": None,
            "cluster_id": None,
            "split": split,
            "num_tokens": len(row["text"]),
        }
        for row, (_, split) in zip(rows, texts, strict=True)
    ]
    chosen = [{name: row[name] for name in DECISION.names} for row in decisions]
    beside = {"documents": f"{language}/g/documents-00000.parquet", "language": language}
    shards.put_table(folder, "decisions", 0, chosen, DECISION, stats=beside)
    return finished(lake_url, "clean_corpus", language, inputs=[documents])


def _document(name: str, language: str, text: str) -> dict[str, Any]:
    return row_of(
        DOCUMENT,
        document_id=name,
        repository=f"of-{name}",
        text_id=text_id(text),
        language=language,
        text=text,
    )


def put_lake(
    lake_url: str,
    *,
    languages: tuple[str, ...] = ("python", "sql"),
    problems: list[dict[str, Any]] | None = None,
) -> None:
    """All that an evaluation reads; `sql` has no held-out document."""
    put_tokenizer(lake_url)
    put_problems(lake_url, problems)
    for seed, name in enumerate(("general", "continued", "enhanced")):
        put_checkpoint(lake_url, name, seed=seed)
    for language in languages:
        held_out = [f"def f{n}():\n    return {n} * {n}\n" * 9 for n in range(6)]
        put_corpus(
            lake_url,
            language,
            [] if language == "sql" else held_out,
            train=["select 1 from never_held_out"],
        )


def a_request(lake_url: str, **changes: Any) -> EvaluationRequest:
    def folder(asset: str, partition: str = "all") -> str:
        return shards.join(lake_url, asset, partition, "g")

    request = EvaluationRequest(
        checkpoint="general",
        checkpoint_folder=folder("general_checkpoint"),
        tokenizer=folder("tokenizer"),
        corpora={name: folder("clean_corpus", name) for name in ("python", "sql")},
        problems=folder("benchmark_problems"),
        output=folder("benchmark_results", "general"),
        precision="fp32",
        recipe=RECIPE,
    )
    return replace(request, **changes)


def a_completion(problem_id: str, text: str = "", **changes: Any) -> dict[str, Any]:
    """A row of `completions`."""
    return {
        "checkpoint": "general",
        "problem_id": problem_id,
        "decoding": "greedy",
        "sample_index": 0,
        "completion": text,
        "stop_reason": "length",
        "num_tokens": 1,
        "num_stripped_newlines": 1,
        "num_cut_prompt_tokens": 0,
        "engine": "none",
        **changes,
    }


def put_completions(request: EvaluationRequest) -> None:
    """An empty greedy completion of each problem that the recipe chooses."""
    recipe = request.recipe
    chosen = sample_problems(
        request.problems, recipe.benchmarks, num=recipe.max_problems, seed=recipe.seed
    )
    rows = [a_completion(problem.problem_id) for problem in chosen]
    shards.put_table(request.output, "completions", 0, rows, COMPLETION)


def a_problem(**changes: Any) -> Problem:
    problem = Problem(
        problem_id="Own/0",
        benchmark="Own",
        subset="test_half",
        prompt='def add(first, second):\n    """Add."""',
        num_stripped_newlines=1,
        solution="\n    return first + second\n",
        test="def check(candidate):\n    assert candidate(2, 3) == 5\n\n\ncheck(candidate)\n",
        entry_point="add",
        stop_sequences=HUMAN_EVAL.stop_sequences,
    )
    return replace(problem, **changes)
