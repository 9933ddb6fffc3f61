"""The command `dmp`. Each command imports what it needs when it runs, so that `dmp --help` answers at once."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from pipelines.run import Run

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Data middle platform: collect, clean, gate, deduplicate, merge and score a city's departmental extracts.\n\n"
    "Start with `dmp init`, put files into workspace/landing/<department>/, then `dmp run` and `dmp report`. "
    "DMP_WORKSPACE and DMP_CATALOG name your own folders.",
)
contract_app = typer.Typer(no_args_is_help=True, help="Scaffold and check contracts: one YAML per source.")
app.add_typer(contract_app, name="contract")

Now = Annotated[str | None, typer.Option("--now", help="Act as at this instant, as in 2026-03-02T08:30:00+08:00.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output.")]


def main() -> None:
    """Run the command line. Our own exceptions carry an exit code and are one message; anything else is a bug and shows."""
    try:
        app()
    except ValueError as error:
        _fail(error, getattr(error, "exit_code", 12))
    except Exception as error:
        if not hasattr(error, "exit_code"):
            raise
        _fail(error, error.exit_code)


def _fail(error: Exception, code: int) -> NoReturn:
    print(error, file=sys.stderr)  # noqa: T201
    raise SystemExit(code) from None


def _console() -> Console:
    from rich.console import Console

    return Console()


def _run(now: str | None = None) -> Run:
    from pipelines.run import open_run

    return open_run(now=_instant(now) if now else None)


def _instant(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`{text}` is no ISO instant such as 2026-03-02T08:30:00+08:00") from None


def _say(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=1, default=str))  # noqa: T201


@app.command()
def init(catalog: Annotated[Path | None, typer.Option(help="Also make an empty catalogue folder there.")] = None) -> None:
    """Create the workspace: landing folders, archive, lake, secret. A second call changes nothing."""
    from catalog.registry import open_catalog
    from warehouse import lake
    from warehouse.layout import open_workspace

    workspace = open_workspace()
    lake.create(workspace)
    if catalog:
        for folder in ("sources", "entities", "standards"):
            (catalog / folder).mkdir(parents=True, exist_ok=True)
    departments = sorted({c.department.id for c in open_catalog(catalog).contracts.values()})
    for department in departments:
        (workspace.landing / department).mkdir(exist_ok=True)
    console = _console()
    console.print(f"Workspace: {workspace.root}")
    console.print(f"Drop files into {workspace.landing}/<department>/  ({', '.join(departments) or 'no departments yet'})")
    console.print("Next: dmp run")


@app.command()
def status(json_: Json = False, now: Now = None) -> None:
    """Every source: last batch, what is due, scores; and files that wait in the landing folders."""
    from pipelines.score_table import scores_table
    from pipelines.status import scoreboard, waiting_files

    with _run(now) as run:
        rows, waiting = scoreboard(run), waiting_files(run)
    if json_:
        _say({"now": run.now, "simulated_clock": run.simulated, "sources": rows, "waiting": waiting})
        return
    console = _console()
    if run.simulated:
        console.print(f"[bold yellow]Simulated clock: {run.now.isoformat()}[/]")
    console.print(scores_table(rows))
    for source, files in waiting.items():
        where = source or "expected by no contract"
        console.print(f"Waiting ({where}): {', '.join(files)}", markup=False)
    if waiting:
        console.print("Next: dmp run")


@app.command("run")
def run_(
    source: Annotated[list[str] | None, typer.Option(help="Only these sources (and what they feed).")] = None,
    entity: Annotated[list[str] | None, typer.Option(help="Only fuse these entities.")] = None,
    day: Annotated[str | None, typer.Option(help="Act as at the end of this day (2026-03-02), for a replay.")] = None,
    now: Now = None,
    json_: Json = False,
) -> None:
    """The whole way without Airflow: collect, clean, gate, deduplicate, merge. Finishes what a killed run left."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from pipelines.flow import run_all

    with _run(f"{day}T23:59:59+08:00" if day else now) as run:
        sources: list[str] | None = list(source) if source else ([] if entity else None)
        steps = len(run.catalog.contracts if sources is None else sources) + len(entity or run.catalog.entities)
        console = _console()
        with Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=json_,
            transient=True,
        ) as progress:
            task = progress.add_task("", total=steps)

            def step(kind: str, name: str) -> None:
                progress.update(task, description=f"{kind} {name}", advance=1)

            outcome = run_all(run, sources, list(entity) if entity else None, step)
    if json_:
        _say(
            {
                "verdicts": [{"batch": v.batch, "verdict": v.state, "zh": v.zh, "en": v.en} for v in outcome.verdicts],
                "fused": outcome.fused,
            }
        )
        return
    for verdict in outcome.verdicts:
        style = {"pass": "green", "warn": "yellow", "hold": "red"}[verdict.state]
        console.print(f"[{style}]{verdict.state:4}[/] {verdict.batch}", end="  ")
        console.print(verdict.zh, markup=False)
    console.print(f"{len(outcome.verdicts)} batches; merged: {', '.join(outcome.fused) or 'nothing changed'}. Next: dmp report")


@app.command()
def sql(name: Annotated[str, typer.Argument(help="A source or an entity.")]) -> None:
    """Print every statement that ran for the newest batch of a source, or the newest fusion of an entity."""
    from pipelines.statements import statements

    with _run() as run:
        for stage, title, text in statements(run, name):
            print(f"-- {stage}: {title}\n{text.strip().rstrip(';')};\n")  # noqa: T201


@app.command()
def trace(
    entity: Annotated[str, typer.Argument(help="Entity, such as legal_entity.")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of the golden record (its beginning will do), or an identifier.")],
    reveal: Annotated[bool, typer.Option(help="Show personal values in full; use it where the law lets you.")] = False,
    json_: Json = False,
) -> None:
    """A golden record, field by field: file, sheet, row, and why this value."""
    from dataclasses import asdict

    from pipelines.trace import trace as trace_record

    with _run() as run:
        found = trace_record(run, entity, id_, reveal=reveal)
    if json_:
        _say(asdict(found))
        return
    print(f"{found.entity} {found.entity_id}")  # noqa: T201
    for f in found.fields:
        print(f"  {f.attribute} = {f.value}   [{f.status}, {f.values_seen} value(s) seen]")  # noqa: T201
        place = f"{f.file_name}, " + (f"sheet {f.sheet}, " if f.sheet else "") + f"row {f.row}"
        sent = f", column {f.header}, sent as {f.as_sent!r}" if f.header else ""
        print(f"      {f.source}: {place}{sent}")  # noqa: T201
        print(f"      sha256 {f.sha256[:16]}, arrived {f.arrived_at.isoformat(timespec='seconds')}")  # noqa: T201
    print("rows that stand in this record:")  # noqa: T201
    for m in found.members:
        place = f"{m.file_name}, " + (f"sheet {m.sheet}, " if m.sheet else "") + f"row {m.row}"
        how = f"same {m.identifier}" if m.identifier else {"alone": "alone", "matched": "matched by likeness"}.get(m.link, m.link)
        probability = "" if m.probability is None else f", probability {m.probability:.4f}"
        print(f"  {m.source}: {place}   [{how}{probability}]")  # noqa: T201


@app.command()
def lineage(column: Annotated[str, typer.Argument(help="entity.attribute or source.column")], json_: Json = False) -> None:
    """Where a column comes from, down to the headers of the files. What cannot be proved is said to be unknown."""
    from dataclasses import asdict

    from pipelines.lineage import trace_column

    with _run() as run:
        edges = trace_column(run, column)
    if json_:
        _say([asdict(e) for e in edges])
        return
    for edge in edges:
        print(f"{edge.to}  <-  {edge.of or 'UNKNOWN (cannot be proved from the SQL)'}  [{edge.how}]")  # noqa: T201


@app.command()
def report(
    from_: Annotated[str | None, typer.Option("--from", help="First day of the window (default: 31 days back).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Last day of the window (default: today).")] = None,
    lang: Annotated[str, typer.Option(help="Language of the path that is printed: zh or en. Both are written.")] = "zh",
    now: Now = None,
) -> None:
    """Score every source and write the report site: Chinese and English, self-contained, opens offline."""
    from pipelines.report import report as write_report

    window = (date.fromisoformat(from_), date.fromisoformat(to)) if from_ and to else None
    if bool(from_) != bool(to):
        raise ValueError("give both --from and --to, or neither")
    with _run(now) as run:
        path = write_report(run, window)
    other = path.with_name(path.name.replace(".zh.", f".{lang}."))
    print(other if other.is_file() else path)  # noqa: T201


@app.command()
def verify(json_: Json = False) -> None:
    """Check archive hashes, the ledger's chain and every row sum. Exit code 40 where something is not as written down."""
    from dataclasses import asdict

    from pipelines.verify import verify as verify_all

    with _run() as run:
        problems = verify_all(run)
    if json_:
        _say([asdict(p) for p in problems])
    else:
        for problem in problems:
            print(f"{problem.part}: {problem.what}")  # noqa: T201
        if not problems:
            print("content: archive, ledger chain, row sums and entities are as written down")  # noqa: T201
    raise SystemExit(40 if problems else 0)


@app.command()
def rebuild(into: Annotated[Path, typer.Argument(help="A new, empty folder.")]) -> None:
    """Build the warehouse again from the archive alone, into a new workspace."""
    from rich.progress import Progress

    from pipelines.rebuild import rebuild as rebuild_into

    with _run() as run, Progress(console=_console(), transient=True) as progress:
        task = progress.add_task("replaying drops", total=None)
        target = rebuild_into(run, into, lambda done, total: progress.update(task, completed=done, total=total))
    print(f"rebuilt into {target.root}; to use it: DMP_WORKSPACE={target.root} dmp status")  # noqa: T201


@contract_app.command("new")
def contract_new(file: Annotated[Path, typer.Argument(help="A sample extract: CSV or Excel.")]) -> None:
    """Print a contract for files like this one; correct what is marked with ? and save it in catalog/sources/."""
    from pipelines.scaffold import scaffold

    print(scaffold(file), end="")  # noqa: T201


@contract_app.command("check")
def contract_check(json_: Json = False) -> None:
    """Check every contract and entity: keys, rules, expectations, due rules. Errors name file and line."""
    from catalog.registry import open_catalog
    from pipelines.contract_check import check

    catalog = open_catalog()
    problems = check(catalog)
    if json_:
        _say(problems)
    else:
        for problem in problems:
            print(problem)  # noqa: T201
        if not problems:
            print(f"{len(catalog.contracts)} contracts and {len(catalog.entities)} entities are sound")  # noqa: T201
    raise SystemExit(10 if problems else 0)


@contract_app.command("schema")
def contract_schema_(entity: Annotated[bool, typer.Option(help="Of entities instead.")] = False) -> None:
    """Print the JSON Schema of contracts, for completion in editors (kept in catalog/contract.schema.json)."""
    from pipelines.schemas import contract_schema, entity_schema

    print(entity_schema() if entity else contract_schema(), end="")  # noqa: T201


@app.command()
def demo(
    workspace: Annotated[Path | None, typer.Option(help="Where to play it; default: a folder `demo` in the workspace.")] = None,
) -> None:
    """Play three days of a synthetic city through Airflow and print the scoreboard."""
    import shutil

    from pipelines.demo import demo as play
    from warehouse.layout import open_workspace

    place = workspace or open_workspace().root / "demo"
    if workspace is None and (place / "clock").is_file():
        shutil.rmtree(place)  # the play before this one: only a simulated workspace has a clock
    raise SystemExit(play(place, _console()))


@app.command()
def airflow(
    workspace: Annotated[Path | None, typer.Option(help="The workspace to serve; default: the configured one.")] = None,
) -> None:
    """Start Airflow on this workspace in the foreground: API server, scheduler, DAG processor. Ctrl-C stops it."""
    from pipelines.airflow_home import serve
    from warehouse.layout import open_workspace

    serve(workspace or open_workspace().root)


if __name__ == "__main__":
    main()
