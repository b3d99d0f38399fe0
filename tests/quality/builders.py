"""A small lake up to an annotator, with a random BERT that knows single characters."""

import json
import string
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel

from snow_assets.quality import examples, training
from snow_assets.quality.contract import AnnotatorReport, AnnotatorTrainingRequest, ScoringRequest
from snow_assets.quality.scores import finished_artifacts
from snow_assets.recipe import SMOKE, AnnotatorRecipe, ExemplarRecipe
from snow_assets.runtime import worker
from snow_assets.storage import shards
from snow_assets.storage.ids import text_id
from snow_assets.storage.schemas.corpus import EXEMPLAR
from tests.artifacts import finish, point
from tests.curation.builders import a_file, a_problem, a_program, clean_corpora

NEAR = SMOKE.curation.near_duplicates
FINGERPRINT = "0" * 32
GROUP = SMOKE.exemplars.groups[0]


class Quiet(worker.Progress):
    """Progress that nobody listens to; it keeps the metrics."""

    def __init__(self) -> None:
        self.told: list[dict[str, float]] = []

    def log(self, line: str) -> None:
        pass

    def metrics(self, step: int, **values: float) -> None:
        self.told.append({"step": step, **values})


_CONFIG_FIELDS: dict[str, dict[str, Any]] = {
    "roberta": {"pad_token_id": 0},
    # Each second layer sees 8 tokens to either side.
    "modernbert": {
        "local_attention": 16,
        "global_attn_every_n_layers": 2,
        "pad_token_id": 0,
        "bos_token_id": 2,
        "eos_token_id": 3,
        "cls_token_id": 2,
        "sep_token_id": 3,
    },
}


def an_encoder(folder: Path, *, seed: int = 0, model_type: str = "bert") -> str:
    """A random encoder of two layers whose tokens are single characters."""
    folder.mkdir(parents=True)
    characters = [c for c in string.printable if not c.isspace()]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *characters, *(f"##{c}" for c in characters)]
    vocab_size = {token: place for place, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.WordPiece(vocab_size, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        model_type,
        vocab_size=len(tokens),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        **_CONFIG_FIELDS.get(model_type, {}),
    )
    AutoModel.from_config(config).save_pretrained(folder)
    return str(folder)


def a_recipe(encoder: str, **numbers: Any) -> AnnotatorRecipe:
    """SMOKE's, small, with gates that anything passes."""
    small: dict[str, Any] = {
        "window_tokens": 32,
        "batch_tokens": 128,
        "precision": "fp32",
        "validation_negatives": 20,
        "length_match_ratio": 4.0,
        "part_texts": 4,
        "threads": 1,
        "min_auc": 0.0,
        "min_length_matched_auc": 0.0,
        "min_benchmark_auc": 0.0,
    }
    return replace(SMOKE.annotator, encoder=encoder, **{**small, **numbers})


def good_code(name: str) -> str:
    """Programs in capitals: easy to tell from `a_program`."""
    return a_program(name, functions=4).upper()


def exemplars(lake: str, texts: Sequence[tuple[str, str]], *, group: str = GROUP.name) -> str:
    """A finished artifact of (repository, text) of a group."""
    folder = f"{lake}/exemplars/all/{FINGERPRINT}"
    rows = [
        {
            "text_id": text_id(text),
            "group": group,
            "kind": "file",
            "repository": repository,
            "path": "a.py",
            "license": "MIT",
            "language": "python",
            "text": text,
        }
        for repository, text in texts
    ]
    shards.put_table(folder, "exemplars", 0, rows, EXEMPLAR)
    return finish(folder)


def corpus_files(repositories: int = 12, files: int = 4, **known: Any) -> list[dict[str, Any]]:
    """Files of different lengths, none like another."""
    return [
        a_file(
            f"{number}.py",
            a_program(f"{known}{place}x{number}", functions=2 + number),
            repository=f"repository-{place}",
            **known,
        )
        for place in range(repositories)
        for number in range(files)
    ]


def some_problems() -> list[dict[str, Any]]:
    return [
        a_problem(
            f"Task/{number}",
            is_validation=number % 2 == 0,
            prompt=f"DEF TASK_{number}(X):\n",
            solution=good_code(f"solution {number}"),
        )
        for number in range(8)
    ]


def a_lake(lake: str, files: Sequence[dict[str, Any]] | None = None) -> dict[str, str]:
    """Language -> clean corpus; exemplars of three repositories, and problems, beside it."""
    clean = clean_corpora(lake, files or corpus_files(), problem_rows=some_problems())
    texts = [(f"good-{n % 3}", good_code(f"good {n}")) for n in range(18)]
    point(lake, exemplars(lake, texts))
    return clean


def drawn(
    lake: str,
    clean: dict[str, str],
    recipe: AnnotatorRecipe,
    groups: ExemplarRecipe = SMOKE.exemplars,
    graded_folders: Sequence[str] = (),
) -> str:
    """A finished `annotator_examples` artifact."""
    folder = f"{lake}/annotator_examples/all/{FINGERPRINT}"
    given = f"{lake}/exemplars/all/{FINGERPRINT}"
    stats = examples.write(
        folder,
        exemplars_folder=given,
        clean_folders=list(clean.values()),
        recipe=recipe,
        exemplars=groups,
        near_duplicates=NEAR,
        graded_folders=graded_folders,
    )
    return finish(folder, inputs=[given, *graded_folders, *clean.values()], stats=stats)


def trained(
    lake: str, examples_folder: str, recipe: AnnotatorRecipe, *, name: str = FINGERPRINT
) -> tuple[str, AnnotatorReport]:
    """A finished `quality_annotator` artifact, and its report."""
    folder = f"{lake}/quality_annotator/all/{name}"
    problems = f"{lake}/benchmark_problems/all/{FINGERPRINT}"
    request = AnnotatorTrainingRequest(
        examples=examples_folder, problems=problems, output=folder, recipe=recipe
    )
    report = training.work(request, Quiet())
    return finish(folder, inputs=[examples_folder, problems]), report


def an_annotator(lake: str, clean: dict[str, str], recipe: AnnotatorRecipe) -> str:
    return trained(lake, drawn(lake, clean, recipe), recipe)[0]


def a_scoring(
    lake: str, clean: str, annotator: str, *, name: str, **numbers: Any
) -> ScoringRequest:
    """A request whose output is artifact `name`, reusing all finished ones beside it."""
    partition = f"{lake}/quality_scores/python"
    known: dict[str, Any] = {"part_texts": 4, "batch_tokens": 128, "num_threads": 1}
    return ScoringRequest(
        clean=clean,
        annotator=annotator,
        earlier=finished_artifacts(partition),
        output=f"{partition}/{name}",
        **{**known, **numbers},
    )


def job_folder(folder: Path, request: Any) -> Path:
    """A job that `python -m MODULE FOLDER` runs."""
    folder.mkdir(parents=True)
    content = TypeAdapter(type(request)).dump_json(request)
    (folder / worker.REQUEST).write_bytes(content)
    return folder


def change_annotator(folder: str, **fields: Any) -> None:
    """Rewrite what an annotator says of itself."""
    url = shards.join(folder, "annotator.json")
    content = json.dumps({**json.loads(shards.get(url)), **fields}).encode()
    shards.put_file(folder, "annotator.json", content)
    if shards.is_finished(folder):
        made = shards.manifest(folder)
        shards.remove(shards.join(folder, shards.MANIFEST))
        shards.finish(
            folder,
            asset=made.asset,
            partition=made.partition,
            fingerprint=made.fingerprint,
            code_version=made.code_version,
            recipe=made.recipe,
            config=made.config,
            inputs=made.inputs,
            stats=made.stats,
        )
