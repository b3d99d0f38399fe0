"""What a recipe would reuse and redo, why, and what it would cost: `make plan`.

A look-up: every asset's own wiring is asked for its address, in the graph's order, over a lake in
which nothing is made. An input that has to be made anew is *pending*, and so is all that reads it;
should it come out as it was, what follows is reused after all.
"""

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import dagster as dg
from pydantic import TypeAdapter
from rich.console import Console

from snow_assets import estimates, planned, shards
from snow_assets.corpus.source_sizes import source_size
from snow_assets.differences import by_asset, changed_code, changed_settings
from snow_assets.estimates import Size
from snow_assets.integrity import readable_records
from snow_assets.materialize import (
    PENDING,
    UNPARTITIONED,
    Planning,
    Upstream,
    Wanted,
    half_done,
)
from snow_assets.order import steps
from snow_assets.past import Past
from snow_assets.planned import HalfDone, Plan, Step
from snow_assets.recipe import Recipe, chosen_recipe
from snow_assets.tables import sources as table_sources
from snow_resources.lake import Lake
from snow_resources.publishing import project_digest

INCREMENTAL = "snow/incremental"
"""An asset's tag: the input of which it works off only the shards that are new."""


@dataclass
class Planner:
    recipe: Recipe
    lake: Lake
    past: Past
    resources: Mapping[str, Any]
    planning: Planning = field(default_factory=Planning)
    sizes: dict[tuple[str, str], Size] = field(default_factory=dict)
    half_done: list[HalfDone] = field(default_factory=list)
    fault: Exception | None = None
    """What stopped the last step's wiring; with pending inputs, that they cannot be read yet."""

    def step(self, node: Any, context: Any, num_partitions: int) -> Step:
        asset = node.key.path[-1]
        place = context.partition_key if context.has_partition_key else UNPARTITIONED
        made = node.assets_def
        fault: Exception | None = None
        # The I/O manager is Dagster's own.
        needed = made.required_resource_keys - {"io_manager"}
        given = {name: self.resources[name] for name in needed}
        try:
            with self.planning.active():
                made(context=context, **given)
        except (OSError, ValueError) as error:
            # Pending inputs cannot be read; whatever else is wrong, the run would meet it too.
            fault = error
        self.fault = fault
        wanted, asked = self.planning.told()
        pending = [given for given in asked if given.digest == PENDING]
        latest = self.past.latest(asset, place, wanted)
        if fault is not None and not pending:
            found = Step(asset=asset, partition=place, verdict="fails", reasons=(str(fault),))
            return self._pending(found, latest, num_partitions, asked)
        if wanted is not None and not pending:
            folder = self.lake.generation(asset, place, wanted.generation)
            if self.past.manifest(folder) is not None and not self.past.violations(folder):
                return self._reused(asset, place, wanted.generation, latest)
        found = self._redone(asset, place, wanted, asked, latest, node.tags.get(INCREMENTAL))
        if wanted is not None and not pending:
            found = replace(found, generation=wanted.generation)
        self.half_done += self._half_done(asset, place, wanted if not pending else None)
        return self._pending(found, latest, num_partitions, asked)

    def keep_current(self, asset: str, partition: str) -> bool:
        """Plan with what the recipe's pointer names, whatever it was made from; whether it is."""
        manifest = self.past.current(asset, partition)
        if manifest is None:
            return False
        self._plan(asset, partition, manifest.generation, manifest.digest)
        self.sizes[asset, partition] = estimates.size_of(manifest)
        return True

    def _reused(
        self, asset: str, partition: str, generation: str, latest: shards.Manifest | None
    ) -> Step:
        manifest = self.past.manifest(self.lake.generation(asset, partition, generation))
        assert manifest is not None
        self._plan(asset, partition, generation, manifest.digest)
        self.sizes[asset, partition] = estimates.size_of(manifest)
        is_other = latest is None or latest.generation != generation
        pointer = self.lake.pointer(self.recipe.name, asset, partition)
        reasons = ["made earlier, not the current one"] if is_other else []
        reasons += [self.past.damaged[pointer]] if pointer in self.past.damaged else []
        return Step(
            asset=asset,
            partition=partition,
            verdict="reuse",
            generation=generation,
            reasons=tuple(reasons),
            size=self.sizes[asset, partition],
        )

    def _redone(
        self,
        asset: str,
        partition: str,
        wanted: Wanted | None,
        asked: Sequence[Upstream],
        latest: shards.Manifest | None,
        incremental: str | None,
    ) -> Step:
        inputs = list(wanted.inputs) if wanted else list(asked)
        is_pending = any(given.digest == PENDING for given in inputs)
        found = Step(asset=asset, partition=partition, verdict="redo", reasons=("never made",))
        if latest is not None:
            given = changed_inputs(latest, inputs, is_whole=wanted is not None)
            numbers = (
                []
                if wanted is None
                else [
                    *changed_settings(latest.settings, wanted.settings),
                    *changed_code(latest, wanted),
                ]
            )
            found = replace(found, reasons=(*numbers, *given))
            num_new = self._new_shards(latest, inputs, incremental)
            if num_new is not None and not numbers and not is_pending:
                found = replace(
                    found, verdict="new shards", new_shards=num_new[0], all_shards=num_new[1]
                )
        if wanted is not None and not is_pending:
            folder = self.lake.generation(asset, partition, wanted.generation)
            if damaged := self._damaged(wanted.asset, wanted.partition, folder):
                return replace(found, verdict="redo", reasons=damaged)
            if done := shards.names(shards.join(folder, shards.RECORDS)):
                there = f"{len(done)} files are there already"
                found = replace(found, verdict="go on", reasons=(there, *found.reasons))
        return found

    def _damaged(self, asset: str, partition: str, folder: str) -> tuple[str, ...]:
        """What is wrong with a finished artifact or the pointer to it, each with its file."""
        if not shards.is_finished(folder):
            return ()
        urls = (
            shards.join(folder, shards.MANIFEST),
            self.lake.pointer(self.recipe.name, asset, partition),
        )
        named = [self.past.damaged[url] for url in urls if url in self.past.damaged]
        return (*named, *(f"{folder}/{text}" for text in self.past.violations(folder)))

    def _new_shards(
        self, latest: shards.Manifest, inputs: Sequence[Upstream], incremental: str | None
    ) -> tuple[int, int] | None:
        """How many shards of the incremental input are new; None: more than that has changed."""
        known = {(given.asset, given.partition): given for given in latest.inputs}
        changed = [
            given
            for given in inputs
            if (old := known.get((given.asset, given.partition))) is None
            or old.digest != given.digest
        ]
        if incremental is None or any(given.asset != incremental for given in changed):
            return None
        before = {
            entry.sha256
            for given in latest.inputs
            if given.asset == incremental
            for entry in self.past.files(given.asset, given.partition, given.generation)
        }
        now = [
            entry.sha256
            for given in inputs
            if given.asset == incremental
            for entry in self.past.files(given.asset, given.partition, given.generation)
        ]
        return sum(digest not in before for digest in now), len(now)

    def _pending(
        self,
        step: Step,
        latest: shards.Manifest | None,
        num_partitions: int,
        asked: Sequence[Upstream],
    ) -> Step:
        """The step with its size and cost; who reads it will find it pending."""
        self._plan(step.asset, step.partition, PENDING, PENDING)
        reads = estimates.together(
            self.sizes.get((given.asset, given.partition), Size()) for given in asked
        )
        if latest is None:
            text = self._text(step.asset, step.partition, num_partitions)
            size = estimates.first_size(
                step.asset, self.recipe, num_partitions=num_partitions, text=text
            )
        else:
            size = estimates.size_of(latest).times(self.past.growth(latest, reads))
        self.sizes[step.asset, step.partition] = size
        if step.verdict == "fails":
            return step
        share = step.new_shards / step.all_shards if step.all_shards else 1.0
        cost = self.past.cost(step.asset, reads=reads, makes=size, share=share)
        return replace(step, size=size.times(share), cost=cost)

    def _text(self, asset: str, partition: str, num_partitions: int) -> Size | None:
        """The text that a partition is made from, by the files of its source or of all sources."""
        if asset == "raw_code_corpus":
            return self._listed_text(partition)
        corpus = {
            name: estimates.text_of_stored("raw_code_corpus", size)
            for (made, name), size in self.sizes.items()
            if made == "raw_code_corpus"
        }
        if partition in corpus:
            return corpus[partition]
        total = estimates.together(corpus.values())
        return total.times(1 / num_partitions) if total.num_bytes else None

    def _listed_text(self, partition: str) -> Size | None:
        corpus = self.recipe.corpus
        source = next((one for one in corpus.sources if one.name == partition), None)
        if source is None:
            return None
        try:
            listed = source_size(source, languages=self.recipe.curation.languages, recipe=corpus)
        except (OSError, ValueError, ImportError):  # the step itself says what is wrong with it
            return None
        return estimates.size_of_text(
            documents=listed.num_files, num_bytes=listed.num_bytes, recipe=self.recipe
        )

    def _plan(self, asset: str, partition: str, generation: str, digest: str) -> None:
        folder = self.lake.generation(asset, partition, generation)
        self.planning.plan(
            Upstream(
                asset=asset,
                partition=partition,
                folder=folder,
                generation=generation,
                digest=digest,
            )
        )

    def _half_done(self, asset: str, partition: str, wanted: Wanted | None) -> Iterator[HalfDone]:
        for generation, note in half_done(self.lake, asset, partition).items():
            if wanted is not None and generation == wanted.generation:
                continue
            files = readable_records(self.lake.generation(asset, partition, generation))
            differs = (
                ["an input is pending"]
                if wanted is None
                else [
                    *changed_settings(note.settings, wanted.settings),
                    *changed_code(note, wanted),
                    *changed_inputs(note, wanted.inputs, is_whole=True),
                ]
            )
            yield HalfDone(
                asset=asset,
                partition=partition,
                generation=generation,
                recipe=note.recipe,
                num_files=len(files),
                num_bytes=sum(entry.num_bytes for entry in files),
                started=note.started,
                reasons=tuple(differs),
            )


def changed_inputs(
    before: shards.Manifest | shards.Begun, inputs: Sequence[Upstream], *, is_whole: bool
) -> list[str]:
    """How the inputs differ; `is_whole`: these are all, so that others are gone."""
    known = {(given.asset, given.partition): given.digest for given in before.inputs}
    now = {(given.asset, given.partition): given.digest for given in inputs}
    changes: dict[str, list[tuple[str, str]]] = {"changes": [], "is new": [], "has changed": []}
    for place, digest in now.items():
        if digest == PENDING:
            changes["changes"].append(place)
        elif place not in known:
            changes["is new"].append(place)
        elif known[place] != digest:
            changes["has changed"].append(place)
    if is_whole:
        changes["is gone"] = [place for place in known if place not in now]
    return [phrase for told, places in changes.items() for phrase in by_asset(told, places)]


def plan(defs: dg.Definitions, lake: Lake, recipe: Recipe, resources: Mapping[str, Any]) -> Plan:
    """Every step of the graph in its order. Reads pointers, manifests and records; writes nothing.

    `resources` are the definitions' own; lake and recipe are given apart.
    """
    past = Past(lake=lake, recipe=recipe)
    planner = Planner(recipe, lake, past, {**resources, "lake": lake, "recipe": recipe})
    graph = defs.resolve_asset_graph()
    found: list[Step] = []
    with dg.DagsterInstance.ephemeral() as instance:
        todo = list(steps(graph))
        counts = Counter(keys[0] for keys, _ in todo)
        for keys, partition in todo:
            if len(keys) > 1:
                found.append(_tables(len(keys), found, planner))
                continue
            context = dg.build_asset_context(partition_key=partition, instance=instance)
            found.append(planner.step(graph.get(keys[0]), context, counts[keys[0]]))
    said, took = past.last_estimate()
    return Plan(
        recipe=recipe.name,
        lake=lake.url,
        currency=recipe.operation.currency,
        steps=found,
        half_done=planner.half_done,
        estimated_seconds=said,
        actual_seconds=took,
    )


def _tables(num_tables: int, before: Sequence[Step], planner: Planner) -> Step:
    """The published tables: built together, anew when anything that they show is."""
    name = f"{num_tables} tables"
    if any(step.verdict != "reuse" for step in before):
        return Step(
            asset=name,
            partition=UNPARTITIONED,
            verdict="redo",
            reasons=("what they show changes",),
        )
    warehouse = planner.resources["warehouse"]
    current = [planner.planning.ask(step.asset, step.partition).folder for step in before]
    made = table_sources.lake_tables(
        planner.lake.url,
        current,
        recipe=planner.recipe.name,
        project=project_digest(warehouse.project),
    )
    if warehouse.published(made.digest) is not None:
        return Step(asset=name, partition=UNPARTITIONED, verdict="reuse")
    return Step(
        asset=name,
        partition=UNPARTITIONED,
        verdict="redo",
        reasons=("what is published was made from something else",),
    )


def main(arguments: Sequence[str]) -> None:
    """No argument: the chosen recipe. One: that recipe. Two: both, side by side.

    Exit code 1 if a step of a single recipe would fail.
    """
    if len(arguments) == 2:
        left, right = (_in_a_process(choice) for choice in arguments)
        planned.compare(_console(), left, right)
        return
    if arguments:
        os.environ["SNOW_RECIPE"] = arguments[0]
    found = _of_this_installation()
    if os.environ.get(_AS_JSON):
        sys.stdout.write(_PLAN.dump_json(found).decode())
    else:
        planned.show(_console(), found)
        sys.exit(any(step.verdict == "fails" for step in found.steps))


def _console() -> Console:
    """The terminal as wide as it is; a file or a pipe as wide as the table."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 150)


_PLAN = TypeAdapter(Plan)
_AS_JSON = "SNOW_PLAN_AS_JSON"


def _of_this_installation() -> Plan:
    # The graph's partitions belong to the recipe: it has to be chosen before they are loaded.
    from snow_assets import definitions

    recipe = chosen_recipe()
    resources = definitions.resources(recipe)
    found = plan(definitions.defs, resources["lake"], recipe, resources)
    seconds = {
        f"{step.asset}/{step.partition}": step.cost.seconds for step in found.steps if step.cost
    }
    Past(lake=resources["lake"], recipe=recipe).keep_estimates(seconds, now=time.time())
    return found


def _in_a_process(choice: str) -> Plan:
    """The plan of another recipe, whose graph has other partitions."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "snow_assets.plan", choice],
        env={**os.environ, _AS_JSON: "1"},
        stdout=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the plan of {choice} failed; its error is above")
    return _PLAN.validate_json(done.stdout)


if __name__ == "__main__":
    main([argument for argument in sys.argv[1:] if argument])
