"""MLflow, through an explicit client: one run per materialization, links both ways."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dagster as dg


@dataclass(frozen=True, kw_only=True)
class TrackedDataset:
    """A generation as MLflow sees it: its name is asset/partition, its digest the manifest's."""

    name: str
    url: str
    digest: str


@dataclass(frozen=True, kw_only=True)
class TrackedModel:
    """A checkpoint to log and register; `parent` is the registered name it was trained from."""

    name: str
    parent: str | None


@dataclass(frozen=True, kw_only=True)
class RunLink:
    """Where a materialization stands in MLflow: ids for the lake, links for Dagster's page."""

    ids: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


class Tracking(dg.ConfigurableResource):  # type: ignore[type-arg]
    """Records materializations in the MLflow store at `uri`; an empty `uri` records nothing."""

    uri: str
    ui_url: str = ""  # base of links to the MLflow UI; empty: no links

    def record(
        self,
        context: dg.AssetExecutionContext,
        *,
        asset: str,
        partition: str,
        recipe: str,
        code_version: str,
        settings: Any,
        inputs: Sequence[TrackedDataset],
        output: TrackedDataset,
        facts: Mapping[str, Any],
        metrics: Sequence[Mapping[str, Any]],
        model: TrackedModel | None,
        started: float,
        reused: bool,
    ) -> RunLink:
        return RunLink()
