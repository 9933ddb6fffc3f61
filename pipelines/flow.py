"""The whole way without a scheduler: every source through its stages, then every entity that changed. What `dmp run` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipelines.clean import clean
from pipelines.collect import collect
from pipelines.dedupe import dedupe
from pipelines.gate import Verdict, gate
from pipelines.merge import merge
from pipelines.receipt import deliver
from pipelines.run import Run


@dataclass(frozen=True)
class Outcome:
    """What one run did."""

    verdicts: tuple[Verdict, ...]
    fused: tuple[str, ...]


def intake(run: Run, source: str) -> list[Verdict]:
    """Collect, clean and gate everything that waits for one source, in order of arrival; then what waited for a verdict.
    At last every drop has its receipt."""
    verdicts = []
    while batches := collect(run, source):
        for batch in batches:
            clean(run, batch)
            verdicts.append(gate(run, batch))
    deliver(run, source)
    return verdicts


def fuse(run: Run, entity: str) -> bool:
    """Link and merge one entity. False: none of its sources changed."""
    if not dedupe(run, entity):
        return False
    merge(run, entity)
    return True


def run_all(
    run: Run,
    sources: Sequence[str] | None = None,
    entities: Sequence[str] | None = None,
    step: Callable[[str, str], None] = lambda kind, name: None,
) -> Outcome:
    """Intake of the sources (default: all), then fusion of the entities (default: those fed by the sources).

    `step(kind, name)` is called before each piece of work, for a progress bar.
    Again: does only what is left to do, so a killed run is finished by the next one.
    """
    chosen = list(run.catalog.contracts) if sources is None else list(sources)
    if entities is None:
        fed = {run.catalog.contract(s).entity for s in chosen}
        entities = [e for e in run.catalog.entities if sources is None or e in fed]
    verdicts: list[Verdict] = []
    for source in chosen:
        step("source", source)
        verdicts += intake(run, source)
    fused = []
    for entity in entities:
        step("entity", entity)
        if fuse(run, entity):
            fused.append(entity)
    return Outcome(tuple(verdicts), tuple(fused))
