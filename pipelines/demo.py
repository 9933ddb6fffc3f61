"""The demonstration: a synthetic city sends its extracts for three days, and a real Airflow takes them in, wave by wave."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from catalog.registry import SHIPPED, open_catalog
from pipelines import airflow_home
from pipelines.airflow_home import AirflowError, Handle
from pipelines.run import open_run
from pipelines.score_table import scores_table
from pipelines.status import scoreboard
from warehouse.lake import reading
from warehouse.layout import Workspace, write_atomically

#: A wave takes seconds; after this long something is stuck.
PATIENCE = 600

VERDICTS = {"pass": "[green]通过 pass[/]", "warn": "[yellow]警告 warn[/]", "hold": "[red]拦下 hold[/]"}


@dataclass(frozen=True)
class Wave:
    """Files that arrive at one moment of the city's time."""

    at: datetime
    zh: str
    en: str
    drops: tuple[Mapping[str, str], ...]

    @property
    def sources(self) -> set[str]:
        return {drop["source"] for drop in self.drops}


def read_schedule(city: Path) -> list[Wave]:
    """The waves of `schedule.json`, in order."""
    told = json.loads((city / "schedule.json").read_text(encoding="utf-8"))
    return [Wave(datetime.fromisoformat(w["at"]), w["note_zh"], w["note_en"], tuple(w["drops"])) for w in told]


def demo(workspace: Path, console: Console, city: Path | None = None) -> int:
    """Play the city into a new workspace and print where every source stands. 0: all went as it should.

    `city` is a folder made by `examples.city`; by default one is made in the workspace. Held batches, late and missing
    files are part of the play. Stops everything it started, also on Ctrl-C. Raises ValueError where the workspace holds
    something already: a city cannot be played on top of another one; AirflowError where Airflow or a stage fails.
    """
    place = Workspace(workspace.resolve())
    if place.root.exists() and any(place.root.iterdir()):
        raise ValueError(f"{place.root} 不是空文件夹 · is not empty: name a new folder, or remove it: rm -r '{place.root}'")
    began = time.monotonic()
    city = city or place.root / "city"
    waves = _make_city(city)
    set_clock(place, waves[0].at)
    with console.status("准备并启动 Airflow · preparing and starting Airflow"):
        # The city sends what the shipped contracts expect, whatever catalogue is configured.
        environment = airflow_home.prepare(place, SHIPPED)
        handle = airflow_home.start(environment)
    with handle:
        catalog = open_catalog(SHIPPED)
        sources, entities = list(catalog.contracts), list(catalog.entities)
        handle.wait_for_dags([*(f"intake__{s}" for s in sources), *(f"fusion__{e}" for e in entities), "scorecard"])
        console.print(f"Airflow 已就绪 · is up: {handle.url}  ({time.monotonic() - began:.0f} s)\n")
        seen: set[str] = set()
        for number, wave in enumerate(waves, 1):
            asked = sources if number == len(waves) else sorted(wave.sources)
            seen |= _play(handle, place, city, wave, f"{number}/{len(waves)}", asked, entities, seen, console)
        with console.status("评分与报告 · scores and report"):
            _run_to_end(handle, ["scorecard"], "demo__report")
    with open_run(workspace=place.root, catalog=SHIPPED) as run:
        console.print(scores_table(scoreboard(run)))
    console.print(_farewell(place, time.monotonic() - began), highlight=False, soft_wrap=True)
    return 0


def set_clock(workspace: Workspace, instant: datetime) -> None:
    """Every later task lives at this instant."""
    write_atomically(workspace.clock, instant.isoformat().encode())


def drop(workspace: Workspace, city: Path, drops: Iterable[Mapping[str, str]]) -> None:
    """Put the files into the landing folders as a careful sender does: written aside, then renamed."""
    for one in drops:
        folder = workspace.landing / one["department"]
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f".{one['name']}.part"
        shutil.copyfile(city / one["file"], part)
        part.replace(folder / one["name"])


def _make_city(city: Path) -> list[Wave]:
    if not (city / "schedule.json").is_file():
        from examples.city.city import make_city

        make_city(city)
    return read_schedule(city)


def _play(
    handle: Handle,
    place: Workspace,
    city: Path,
    wave: Wave,
    number: str,
    sources: Sequence[str],
    entities: Sequence[str],
    seen: set[str],
    console: Console,
) -> set[str]:
    """One wave: files land, intake runs, the fusions it wakes. Returns the batches it committed."""
    console.rule(f"{number}  {wave.at:%m-%d %H:%M}  {wave.zh}", align="left")
    console.print(f"[dim]{escape(wave.en)}[/]")
    set_clock(place, wave.at)
    drop(place, city, wave.drops)
    dags, fusions = [f"intake__{s}" for s in sources], [f"fusion__{e}" for e in entities]
    run_id = f"demo__{wave.at:%Y%m%dT%H%M}"
    with _progress(console) as progress:
        intake = progress.add_task("入库 intake", total=len(dags))
        fusion = progress.add_task("归并 fusion", total=None, start=False)
        _run_to_end(handle, dags, run_id, lambda done: progress.update(intake, completed=done))
        progress.start_task(fusion)
        handle.wait(lambda: _is_quiet(handle, fusions), PATIENCE, "the fusions to end")
        progress.update(fusion, total=1, completed=1)
    batches = _new_batches(place, seen)
    if batches:
        console.print(_batches(batches))
    console.print()
    return {b[0] for b in batches}


def _run_to_end(handle: Handle, dags: Sequence[str], run_id: str, show: Any = lambda done: None) -> None:
    """Trigger one run of each DAG and wait. A run that is red for another reason than a held batch raises."""
    for dag in dags:
        handle.api.trigger(dag, run_id)

    def ended() -> bool:
        _no_accidents(handle)
        states = [r["state"] for r in handle.api.runs(dags, ("success", "failed")) if r["dag_run_id"] == run_id]
        show(len(states))
        return len(states) == len(dags)

    handle.wait(ended, PATIENCE, f"{len(dags)} runs to end")
    for run in handle.api.runs(dags, ("failed",)):
        if run["dag_run_id"] == run_id:
            failed = {t["task_id"] for t in handle.api.tasks(run["dag_id"], run_id) if t["state"] == "failed"}
            if failed != {"held"}:
                raise AirflowError(_accident(handle, f"{run['dag_id']} {', '.join(sorted(failed))}"))


def _is_quiet(handle: Handle, fusions: Sequence[str]) -> bool:
    _no_accidents(handle)
    return handle.api.is_idle(fusions)


def _no_accidents(handle: Handle) -> None:
    """A task that waits for its next try would keep a spectator waiting for minutes: say so at once."""
    if failed := handle.api.retrying():
        raise AirflowError(_accident(handle, ", ".join(sorted({f"{t['dag_id']} {t['task_id']}" for t in failed}))))


def _accident(handle: Handle, what: str) -> str:
    home = handle.environment.home
    return (
        f"任务失败 · failed: {what}. 日志 · log: {home / 'logs'}/dag_id=.../run_id=.../task_id=.../attempt=1.log; "
        f"通知 · notices: {handle.environment.workspace.notices}"
    )


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
    )


def _new_batches(place: Workspace, seen: set[str]) -> list[tuple[Any, ...]]:
    with reading(place) as con:
        rows = con.execute(
            "SELECT batch, rows_read, rows_accepted, rows_refused, verdict, reason_zh, reason_en "
            "FROM lake.ledger.batch ORDER BY batch"
        ).fetchall()
    return [row for row in rows if row[0] not in seen]


def _batches(batches: Sequence[tuple[Any, ...]]) -> Group:
    """One line a batch, and below it why one is held. Fits eighty columns."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("批次\nbatch", no_wrap=True)
    for name in ("行\nrows", "接收\naccepted", "拒收\nrefused"):
        table.add_column(name, justify="right")
    table.add_column("结论\nverdict", no_wrap=True)
    reasons = []
    for batch, read, accepted, refused, verdict, zh, en in batches:
        table.add_row(batch, f"{read:,}", f"{accepted:,}", f"{refused:,}", VERDICTS.get(verdict, verdict))
        if verdict == "hold":
            reasons.append(Text.from_markup(f"[red]拦下 held[/] {escape(batch)}\n  {escape(zh)}\n  [dim]{escape(en)}[/]"))
    return Group(table, *reasons)


def _farewell(place: Workspace, seconds: float) -> str:
    with reading(place) as con:
        code = con.execute("SELECT min(uscc) FROM lake.base.legal_entity WHERE _sources > 1").fetchall()[0][0]
    shown = min(os.path.relpath(place.root), str(place.root), key=len)
    return f"""
报告 report      {place.reports / "index.html"}
通知 notices     {place.notices / "notices.txt"}
全程 took        {seconds:.0f} s

打开 Airflow · open Airflow again:   DMP_WORKSPACE={shown} dmp airflow
    http://127.0.0.1:8080   用户 user: {airflow_home.USER}   密码 password: {place.airflow / "secrets" / "passwords.json"}
查来源 · follow one golden record back to file and row:   DMP_WORKSPACE={shown} dmp trace legal_entity {code}
自己的来源 · a source of your own:   dmp contract new FILE
"""
