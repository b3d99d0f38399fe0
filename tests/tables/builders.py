"""Every table that the dbt project reads, written to a tiny lake as the assets write theirs."""

from collections.abc import Mapping
from typing import Any

from snow_assets.storage.schemas.corpus import DROP, RAW_FILE
from snow_assets.storage.schemas.curation import (
    CONTAMINATION,
    DECISION,
    DOCUMENT,
    DUPLICATE_CLUSTER,
)
from snow_assets.storage.schemas.evaluation import EXECUTION, RESULT
from snow_assets.storage.schemas.fields import without
from snow_assets.storage.schemas.pretraining import SEEN
from snow_assets.storage.schemas.quality import (
    ANNOTATOR_GATE,
    LANGUAGE_SELECTION,
    RANK_CORRELATION,
    SCORE,
    SELECTION,
)
from snow_assets.storage.schemas.synthesis import SYNTHETIC_DOCUMENT, SYNTHETIC_REFUSAL
from tests.tables.lake import TinyLake, provenance, row_of, sha, text_of


def put_corpus(lake: TinyLake) -> None:
    """Seven files come in: one oversized, one binary, five documents of two languages."""
    names = ["good", "poor", "copy", "leak", "query"]
    lake.put(
        "raw_code_corpus",
        {
            "files": (
                RAW_FILE,
                [row_of(RAW_FILE, **provenance(name)) for name in [*names, "binary"]],
            ),
            "drops": (
                DROP,
                [
                    row_of(
                        DROP,
                        document_id=sha("huge"),
                        source="web",
                        repository="flask",
                        path="huge.py",
                        num_bytes=9_000_000,
                        reason="too_large",
                        evidence="9000000 bytes",
                    )
                ],
            ),
        },
        partition="web",
    )
    lake.put(
        "documents",
        {
            "documents": (
                DOCUMENT,
                [
                    row_of(
                        DOCUMENT,
                        **provenance(name),
                        text_id=text_of(name),
                        num_bytes=100,
                        language="sql" if name == "query" else "python",
                    )
                    for name in names
                ],
            ),
            "drops": (
                DROP,
                [
                    row_of(
                        DROP,
                        document_id=sha("binary"),
                        source="web",
                        repository="flask",
                        path="binary.py",
                        num_bytes=5,
                        reason="not_text",
                        language="python",
                    )
                ],
            ),
        },
        partition="web",
        inputs=[("raw_code_corpus", "web")],
    )


def put_curation(lake: TinyLake) -> None:
    """`copy` is a near duplicate of `good`, `leak` quotes a benchmark, `held` text stays out."""
    lake.put(
        "near_duplicates",
        {
            "clusters": (
                DUPLICATE_CLUSTER,
                [
                    row_of(
                        DUPLICATE_CLUSTER,
                        document_id=sha("good"),
                        cluster_id=sha("good"),
                        text_id=text_of("good"),
                        is_canonical=True,
                    ),
                    row_of(
                        DUPLICATE_CLUSTER,
                        document_id=sha("copy"),
                        cluster_id=sha("good"),
                        text_id=text_of("copy"),
                        kind="near",
                        jaccard=0.9,
                    ),
                ],
            )
        },
    )
    lake.put(
        "contamination",
        {
            "hits": (
                CONTAMINATION,
                [
                    row_of(
                        CONTAMINATION,
                        document_id=sha("leak"),
                        problem_id="HumanEval/3",
                        method="substring",
                        evidence="def below_zero",
                    )
                ],
            )
        },
        partition="web",
    )
    dropped = {
        "copy": ("near_duplicate", f"of {sha('good')}"),
        "leak": ("contaminated", "HumanEval/3"),
    }
    for language, names in {"python": ["good", "poor", "copy", "leak"], "sql": ["query"]}.items():
        lake.put(
            "clean_corpus",
            {
                "decisions": (
                    DECISION,
                    [
                        row_of(
                            DECISION,
                            **provenance(name),
                            text_id=text_of(name),
                            language=language,
                            num_bytes=100,
                            kept=name not in dropped,
                            reason=dropped.get(name, (None, None))[0],
                            evidence=dropped.get(name, (None, None))[1],
                            split=None if name in dropped else "train",
                            num_tokens=None if name in dropped else 50,
                        )
                        for name in names
                    ],
                )
            },
            partition=language,
            inputs=[("documents", "web")],
        )


def scores(annotator: str, logits: Mapping[str, float]) -> list[dict[str, Any]]:
    return [
        row_of(
            SCORE,
            text_id=text_of(name),
            annotator=annotator,
            logit=logit,
            top_logit=logit,
            num_windows=1,
        )
        for name, logit in logits.items()
    ]


def put_quality(lake: TinyLake) -> None:
    """Two annotators have scored Python; `second` is the current one."""
    first, second = {"good": 0.25, "poor": 0.5}, {"good": 2.0, "poor": -1.0}
    lake.put(
        "quality_scores",
        {"scores": (SCORE, scores("first", first))},
        partition="python",
        fingerprint="1",
        point=False,
    )
    lake.put(
        "quality_scores",
        {"scores": (SCORE, scores("second", second))},
        partition="python",
        fingerprint="2",
    )
    lake.put(
        "high_quality_subset",
        {
            "documents": (
                SELECTION,
                [
                    row_of(
                        SELECTION,
                        document_id=sha(name),
                        text_id=text_of(name),
                        repository="flask",
                        license="MIT",
                        num_tokens=50,
                        logit=logit,
                        percentile=percentile,
                        repeats=repeats,
                    )
                    for name, logit, percentile, repeats in [
                        ("good", 2.0, 0.5, 4),
                        ("poor", -1.0, 0.0, 0),
                    ]
                ],
            ),
            "languages": (
                LANGUAGE_SELECTION,
                [
                    row_of(
                        LANGUAGE_SELECTION,
                        language="python",
                        annotator="second",
                        selected=True,
                        budget_tokens=200,
                        selected_tokens=200,
                    )
                ],
            ),
        },
        partition="python",
    )
    lake.put(
        "quality_annotator",
        {
            "gates": (
                ANNOTATOR_GATE,
                [
                    row_of(
                        ANNOTATOR_GATE,
                        annotator="second",
                        language=language,
                        gate="held_out",
                        auc=auc,
                        low=auc - 0.1,
                        high=auc + 0.1,
                        minimum=0.6,
                        passed=auc > 0.7,
                    )
                    for language, auc in [(None, 0.8), ("c", 0.5), ("python", 0.9)]
                ],
            ),
            "rank_correlations": (
                RANK_CORRELATION,
                [
                    row_of(
                        RANK_CORRELATION,
                        annotator="second",
                        language=None,
                        graders="some-model",
                        rank_correlation=0.5,
                        low=0.4,
                        high=0.6,
                        num_texts=200,
                        minimum=0.3,
                        passed=True,
                    )
                ],
            ),
        },
    )
    lake.put(
        "synthetic_set",
        {
            "documents": (
                without(SYNTHETIC_DOCUMENT, "mode", "execution"),
                [
                    row_of(
                        SYNTHETIC_DOCUMENT,
                        document_id=sha("written"),
                        text_id=text_of("written"),
                        language="python",
                        num_tokens=30,
                        seed_document_id=sha("good"),
                        seed_repository="flask",
                        seed_license="MIT",
                    )
                ],
            ),
            "refusals": (
                SYNTHETIC_REFUSAL,
                [
                    row_of(
                        SYNTHETIC_REFUSAL,
                        document_id=sha("refused"),
                        language="python",
                        seed_document_id=sha("good"),
                        seed_repository="flask",
                        reason="does_not_compile",
                        mode="oss_instruct",
                    )
                ],
            ),
        },
    )


def seen(name: str, *, num_tokens: int, num_passes: int = 1) -> dict[str, Any]:
    return row_of(
        SEEN,
        document_id=sha(name),
        text_id=text_of(name),
        repository="flask",
        license="MIT",
        language="python",
        num_tokens=num_tokens,
        num_passes=num_passes,
    )


def put_checkpoints(lake: TinyLake) -> None:
    """Three chained checkpoints of 100, 200 and 30 tokens, and results of two."""
    phases = {
        "general_checkpoint": [seen("good", num_tokens=50), seen("poor", num_tokens=50)],
        "continued_checkpoint": [seen("good", num_tokens=200, num_passes=4)],
        "enhanced_checkpoint": [seen("written", num_tokens=30)],
    }
    parent: list[tuple[str, str]] = []
    for asset, content in phases.items():
        lake.put(asset, {"seen": (SEEN, content)}, inputs=parent)
        parent = [(asset, "all")]
    for checkpoint in ("general", "enhanced"):
        lake.put(
            "benchmark_results",
            {
                "results": (
                    RESULT,
                    [
                        row_of(
                            RESULT,
                            checkpoint=checkpoint,
                            benchmark="held_out",
                            metric="bits_per_byte",
                            subset="python",
                            value=2.5,
                            num_samples=3,
                        )
                    ],
                ),
                "executions": (
                    EXECUTION,
                    [
                        row_of(
                            EXECUTION,
                            checkpoint=checkpoint,
                            problem_id="HumanEval/0",
                            outcome="failed",
                            isolation="landlock",
                        )
                    ],
                ),
            },
            partition=checkpoint,
        )


def a_whole_lake(url: str) -> TinyLake:
    lake = TinyLake(url=url)
    for step in (put_corpus, put_curation, put_quality, put_checkpoints):
        step(lake)
    return lake
