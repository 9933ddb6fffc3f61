"""Train: learn the model of an entity anew from the records in force, and put it in force."""

from __future__ import annotations

from catalog.entity import Entity
from pipelines import models
from pipelines.clean import working
from pipelines.dedupe import records_in_force
from pipelines.errors import NotFound
from pipelines.link import link
from pipelines.link_model import Model
from pipelines.run import Run


def train(run: Run, entity_id: str) -> tuple[int, Model]:
    """Learn from all records that are in force now and keep the model under the next number; the next fusion links everything by it.

    Again: another model, equal to the one before while the records are. Raises NotFound where there is nothing to learn from.
    """
    entity = run.catalog.entity(entity_id)
    with run.workspace.locked(f"entity-{entity_id}"):
        return _train(run, entity)


def _train(run: Run, entity: Entity) -> tuple[int, Model]:
    if entity.match is None:
        raise NotFound(
            f"{entity.id} is linked by identifiers alone; there is nothing to learn. `match:` in its YAML compares records"
        )
    version = models.newest(run.workspace, entity.id) + 1
    with working(run) as con:
        records_in_force(run, con, entity)
        keep = models.folder(run.workspace, entity.id, version)
        learned = link(con, entity, "records", "clusters", keep=keep, pin_at=2).model
    if learned is None:
        raise NotFound(f"the records of {entity.id} say too little to learn from: no two of them share a value that is compared")
    return version, learned
