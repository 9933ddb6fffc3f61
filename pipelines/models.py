"""Models that an entity is matched by: learned once, numbered, kept in the archive.

The newest is the one in force. Nobody's golden record changes because other people were added: a pair is as alike as the model
says, until somebody has a new one learned (`dmp link train`), and then everything is linked anew by it. The archive keeps them all,
for what a former fusion did is explained by the model it had, and a rebuilt warehouse shall link as the old one does.
"""

from __future__ import annotations

from pathlib import Path

from warehouse.layout import Workspace


def folder(workspace: Workspace, entity: str, version: int) -> Path:
    return workspace.archive / "models" / entity / str(version)


def newest(workspace: Workspace, entity: str) -> int:
    """The number of the model in force; 0 where none is pinned yet."""
    found = (workspace.archive / "models" / entity).glob("[0-9]*/model.json")
    return max((int(p.parent.name) for p in found), default=0)
