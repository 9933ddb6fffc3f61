"""One run: its clock, its workspace, its catalogue, its connection. The first argument of every stage."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import duckdb

from catalog.registry import Catalog, open_catalog
from warehouse import lake
from warehouse.layout import Workspace, open_workspace


@dataclass(frozen=True)
class Run:
    """`now` is the only clock: whoever replays a day sets it, and every deadline and arrival follows."""

    id: str
    now: datetime
    workspace: Workspace
    catalog: Catalog
    simulated: bool

    @cached_property
    def con(self) -> duckdb.DuckDBPyConnection:
        """DuckDB with the lake attached for writing; opened at first use, so that forked tasks have their own."""
        con = lake.connect(self.workspace)
        lake.attach(con, self.workspace, read_only=False)
        return con

    def close(self) -> None:
        if "con" in self.__dict__:
            self.con.close()
            del self.__dict__["con"]

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_run(
    run_id: str | None = None,
    now: datetime | None = None,
    workspace: Path | None = None,
    catalog: Path | None = None,
) -> Run:
    """A run on the named (or configured) workspace and catalogue; makes the workspace if it is new, and adds the
    tables of a newer version of the software.

    Clock, first that is given: `now`, DMP_NOW, the file `clock` in the workspace (simulated cities), the system.
    """
    place = open_workspace(workspace)
    if not lake.is_ready(place):
        lake.create(place)
    told = now or _told(place)
    instant = told or datetime.now(UTC)
    if instant.tzinfo is None:
        raise ValueError(f"the clock `{instant}` has no time zone; write it as 2026-03-02T08:30:00+08:00")
    return Run(
        run_id or f"cli__{instant.isoformat(timespec='seconds')}",
        instant,
        place,
        open_catalog(catalog),
        simulated=told is not None,
    )


def _told(workspace: Workspace) -> datetime | None:
    text = os.environ.get("DMP_NOW") or (workspace.clock.read_text() if workspace.clock.is_file() else "")
    try:
        return datetime.fromisoformat(text.strip()) if text.strip() else None
    except ValueError:
        raise ValueError(f"the clock `{text.strip()}` is no ISO instant such as 2026-03-02T08:30:00+08:00") from None
