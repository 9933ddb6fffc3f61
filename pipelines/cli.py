"""The command `dmp`. Each command imports what it needs when it runs, so that `dmp --help` answers at once."""

from __future__ import annotations

import json
import sys
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from pipelines.review_cli import app as review_app

if TYPE_CHECKING:
    import duckdb
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
model_app = typer.Typer(no_args_is_help=True, help="The models by which records without a common number are linked.")
app.add_typer(contract_app, name="contract")
app.add_typer(model_app, name="model")
app.add_typer(review_app, name="review")

Now = Annotated[str | None, typer.Option("--now", help="Act as at this instant, as in 2026-03-02T08:30:00+08:00.")]
Json = Annotated[bool, typer.Option("--json", help="For machines: JSON on standard output.")]


def main() -> None:
    """Run the command line. Our own exceptions carry an exit code and are one message, and so is a full disk; anything else
    is a bug and shows."""
    try:
        app()
    except ValueError as error:
        _fail(error, getattr(error, "exit_code", 12))
    except Exception as error:
        from pipelines.errors import storage_trouble

        if hasattr(error, "exit_code"):
            _fail(error, error.exit_code)
        if trouble := storage_trouble(error):
            _fail(trouble, 60)
        raise


def _fail(error: Exception | str, code: int) -> NoReturn:
    print(error, file=sys.stderr)
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


def _aware(text: str) -> datetime:
    if _instant(text).tzinfo is None:
        raise ValueError(f"`{text}` has no time zone; write it as 2026-03-02T08:30:00+08:00")
    return _instant(text)


def _say(data: Any) -> None:
    print(json.dumps(data, ensure_ascii=False, indent=1, default=str))


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
            print(f"-- {stage}: {title}\n{text.strip().rstrip(';')};\n")


@app.command()
def trace(
    entity: Annotated[str, typer.Argument(help="Entity, such as legal_entity.")],
    id_: Annotated[str, typer.Argument(metavar="ID", help="Id of the golden record (its beginning will do), or an identifier.")],
    reveal: Annotated[bool, typer.Option(help="Show personal values in full; use it where the law lets you.")] = False,
    lang: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    json_: Json = False,
) -> None:
    """A golden record in words: who says each value, in which cell and since when, who says otherwise, and why each row belongs here."""
    from dataclasses import asdict

    from pipelines.trace import trace as trace_record
    from pipelines.trace_words import told

    with _run() as run:
        found = trace_record(run, entity, id_, reveal=reveal)
    if json_:
        _say(asdict(found))
    else:
        print(told(found, lang), end="")


@app.command("changes")
def changes_(
    entity: Annotated[str, typer.Argument(help="Entity, such as legal_entity.")],
    since: Annotated[str, typer.Option(help="A fusion number (`upto` of the last answer) or an instant.")] = "0",
    limit: Annotated[int | None, typer.Option(min=1, help="About so many: whole fusions only, at least one.")] = None,
    json_: Json = False,
) -> None:
    """What happened to golden records and their ids since a fusion: created, changed, merged, split, restored, ended."""
    from dataclasses import asdict

    from pipelines.changes import changes

    number = since.rpartition("#")[2]
    with _run() as run:
        found = changes(run, entity, int(number) if number.isdecimal() else _aware(since), limit)
    if json_:
        _say(asdict(found))
        return
    for c in found.changes:
        to = f" {'->' if c.change == 'merged' else '<-'} {c.other}" if c.other else ""
        print(f"{c.number}  {c.recorded_at.isoformat(timespec='seconds')}  {c.entity_id}  {c.change}{to}: {c.en} {c.zh}")
    print(f"{len(found.changes)} changes; next time: dmp changes {entity} --since {found.upto}")


@app.command("contradictions")
def contradictions_(
    entity: Annotated[str, typer.Argument(help="Entity, such as legal_entity.")],
    department: Annotated[str | None, typer.Option(help="Only what this department should mend, or lost.")] = None,
    out: Annotated[str | None, typer.Option(help="Write all of them as CSV into this file; - is standard output.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Rows of each department on the screen, oldest first.")] = 5,
    reveal: Annotated[bool, typer.Option(help="Show personal values in full; use it where the law lets you.")] = False,
    lang: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    json_: Json = False,
) -> None:
    """Where departments differ about golden records: who says what since when, who is believed, and who should mend it."""
    from dataclasses import asdict

    from pipelines.contradiction_pages import told
    from pipelines.contradictions import contradictions, write_contradictions

    with _run() as run:
        if out:
            count = write_contradictions(run, entity, out, department, reveal=reveal)
            print(f"{count} rows written to {out}", file=sys.stderr)
            return
        found = contradictions(run, entity, department, limit, reveal=reveal)
        if json_:
            _say(asdict(found))
            return
        for line in told(run, found, lang):
            print(line)


@app.command("rows")
def rows_(
    source: Annotated[str, typer.Argument(help="A source, such as police__resident.")],
    as_of: Annotated[str | None, typer.Option("--as-of", help="What was valid at this instant (default: now).")] = None,
    csv: Annotated[str | None, typer.Option(help="Write all of them as CSV into this file; - is standard output.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many rows (on the screen: 20 unless given).")] = None,
    reveal: Annotated[bool, typer.Option(help="Show personal values in full; use it where the law lets you.")] = False,
) -> None:
    """The rows of a source in force, now or at any past instant."""
    from pipelines.current import rows_sql

    with _run() as run:
        _show_rows(run.con, rows_sql(run, source, _aware(as_of) if as_of else None, reveal=reveal), csv, limit)


@app.command("golden")
def golden_(
    entity: Annotated[str, typer.Argument(help="Entity, such as legal_entity.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="As they stood at this instant, or after the fusion of this number.")
    ] = None,
    on: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d"],
            help="As they were true on this day, by all that has arrived since; with --as-of TIME by what had arrived then.",
        ),
    ] = None,
    csv: Annotated[str | None, typer.Option(help="Write all of them as CSV into this file; - is standard output.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="At most so many (on the screen: 20 unless given).")] = None,
    reveal: Annotated[bool, typer.Option(help="Show personal values in full; use it where the law lets you.")] = False,
) -> None:
    """The golden records of an entity: as they stand, as they stood at any past instant, or as they were true on a day."""
    from pipelines.golden import golden_sql
    from pipelines.golden_on import golden_on

    number = (as_of or "").rpartition("#")[2]
    when = None if as_of is None else int(number) if number.isdecimal() else _aware(as_of)
    with _run() as run:
        if on is None:
            _show_rows(run.con, golden_sql(run, entity, when, reveal=reveal), csv, limit)
        elif isinstance(when, int):
            raise typer.BadParameter(
                "beside --on it must be an instant: one fusion made golden records of one day only", param_hint="--as-of"
            )
        else:
            with golden_on(run, entity, on.date(), when, reveal=reveal) as (con, sql):
                _show_rows(con, sql, csv, limit)


#: Characters that a column needs to be read at all.
NARROWEST = 9


def _show_rows(con: duckdb.DuckDBPyConnection, sql: str, csv: str | None, limit: int | None) -> None:
    from rich.table import Table
    from rich.text import Text

    from pipelines.current import write_csv

    if csv:
        write_csv(con, sql, csv, limit)
        return
    found = con.execute(f"{sql}\nLIMIT {20 if limit is None else limit}")
    names, rows = [d[0] for d in found.description or ()], found.fetchall()
    [(count,)] = con.execute(f"SELECT count(*) FROM (\n{sql}\n)").fetchall()
    console = _console()
    shown = [[Text("" if v is None else str(v)) for v in row] for row in rows]
    if len(names) * NARROWEST <= console.width:
        table = Table(*names)
        for cells in shown:
            table.add_row(*cells)
    else:  # side by side nothing could be read
        table = Table("", "", show_header=False)
        for cells in shown:
            for name, cell in zip(names, cells, strict=True):
                table.add_row(name, cell)
            table.add_section()
    console.print(table)
    console.print(f"{len(rows)} of {count} rows")


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
        print(f"{edge.to}  <-  {edge.of or 'UNKNOWN (cannot be proved from the SQL)'}  [{edge.how}]")


@app.command()
def report(
    from_: Annotated[str | None, typer.Option("--from", help="First day of the window (default: 31 days back).")] = None,
    to: Annotated[str | None, typer.Option("--to", help="Last day of the window (default: today).")] = None,
    lang: Annotated[str, typer.Option(help="Language of the path that is printed: zh or en. Both are written.")] = "zh",
    now: Now = None,
) -> None:
    """Score every source and write the report site: Chinese and English, self-contained, opens offline."""
    from pipelines.report import report as write_report

    if bool(from_) != bool(to):
        raise ValueError("give both --from and --to, or neither")
    try:
        window = (date.fromisoformat(from_), date.fromisoformat(to)) if from_ and to else None
    except ValueError:
        raise ValueError(f"--from {from_} --to {to}: days are written as 2026-03-01") from None
    if window and window[0] > window[1]:
        raise ValueError(f"--from {from_} is after --to {to}")
    with _run(now) as run:
        path = write_report(run, window)
    other = path.with_name(path.name.replace(".zh.", f".{lang}."))
    print(other if other.is_file() else path)


@app.command()
def verify(json_: Json = False) -> None:
    """Check archive hashes, the chains of ledger, receipts and reviews, and every row sum. Exit code 40 where something is not as written down."""
    from dataclasses import asdict

    from pipelines.verify import verify as verify_all

    with _run() as run:
        problems = verify_all(run)
    if json_:
        _say([asdict(p) for p in problems])
    else:
        for problem in problems:
            print(f"{problem.part}: {problem.what}")
        if not problems:
            print("content: archive, chains of ledger, receipts and reviews, row sums and entities are as written down")
    raise SystemExit(40 if problems else 0)


@app.command()
def receipts(
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    last: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    json_: Json = False,
) -> None:
    """The last receipts: file, verdict, and where the department finds its copy."""
    from dataclasses import asdict

    from pipelines.receipt import receipts as given

    with _run() as run:
        found = given(run, source)[:last]
    if json_:
        _say([asdict(one) for one in found])
        return
    console = _console()
    for one in found:
        style = {"pass": "green", "warn": "yellow", "hold": "red"}.get(one.verdict, "cyan")
        console.print(f"[{style}]{one.verdict:9}[/] {one.arrived_at[:16]}Z  {one.batch}", end="  ")
        console.print(f"{one.file_name}: {one.zh}", markup=False)
        console.print(f"          {one.outbox}", markup=False, highlight=False, soft_wrap=True)
    if not found:
        console.print("No receipts yet: drop a file, then dmp run")


@app.command()
def findings(
    source: Annotated[str | None, typer.Option(help="Only of this source.")] = None,
    now: Now = None,
    json_: Json = False,
) -> None:
    """What keeps going wrong: per source, code and column since when, when last, the trend, and which waivers cover it."""
    from pipelines.findings_over_time import over_time
    from pipelines.findings_table import as_data, findings_table, waivers_table

    with _run(now) as run:
        found = over_time(run, source)
    if json_:
        _say(as_data(found))
        return
    console = _console()
    for name, one in found.items():
        if one.findings:
            console.print(findings_table(name, one))
        if one.waivers:
            console.print(waivers_table(name, one))
    if not any(one.findings for one in found.values()):
        console.print("Nothing was found wrong.")


@app.command("check")
def check_(
    file: Annotated[Path, typer.Argument(help="The file as it would be sent.")],
    source: Annotated[str, typer.Option(help="The source whose contract it should keep.")],
    out: Annotated[Path | None, typer.Option(help="Write receipt and workbook into this folder.")] = None,
    lang: Annotated[str, typer.Option(help="zh or en.")] = "zh",
    now: Now = None,
    json_: Json = False,
) -> None:
    """The verdict before sending: the same stages, no warehouse. Exit code 0 pass, 1 warn, 2 hold."""
    from pipelines.check_file import check_file, told

    result = check_file(file, source, out, _instant(now) if now else None)
    if json_:
        _say({**result.receipt, "written": result.written})
    else:
        print(told(result, lang), end="")
    raise SystemExit(result.exit_code)


@model_app.command("train")
def model_train(entity: Annotated[str, typer.Argument(help="Entity, such as person.")]) -> None:
    """Learn anew, from the records in force, how alike the rows of one entity are; the next fusion links everything by it.

    The model in force is kept, so that golden records change with the data and never with what other people were added. Train
    again when `dmp model show` tells of drift.
    """
    from pipelines.link_train import train

    with _run() as run, _console().status(f"learning from the records of {entity}"):
        version, learned = train(run, entity)
    print(
        f"model {version} of {entity}, learned from {learned.records} records; `dmp run --entity {entity}` links everything by it"
    )


@model_app.command("show")
def model_show(entity: Annotated[str, typer.Argument(help="Entity, such as person.")], json_: Json = False) -> None:
    """The model in force: what each likeness says for or against, and how far the last fusions drifted from what it learned."""
    from dataclasses import asdict

    from pipelines import models

    with _run() as run:
        version, known = models.model(run, entity)
        drifted = models.drift(run, entity)
    if json_:
        _say({"version": version, "model": asdict(known), "drift": [asdict(d) for d in drifted]})
        return
    print(
        f"model {version} of {entity}, learned from {known.records} records; pairs share {' or '.join(' + '.join(r) for r in known.rules)}"
    )
    for attribute, label, weight in models.weights(known):
        print(f"  {attribute:24} {label:40} {weight:+7.2f} bits")
    for d in drifted:
        psi = "" if d.psi is None else f", stability index {d.psi:.2f}"
        print(f"{d.fusion}: {d.records} records compared in {d.pairs} pairs{psi}")
        for zh, en in d.told:
            print(f"    {en}; `dmp model train {entity}` learns anew\n    {zh}；可用 `dmp model train {entity}` 重新训练")


@app.command()
def rebuild(into: Annotated[Path, typer.Argument(help="A new, empty folder.")]) -> None:
    """Build the warehouse again from the archive alone, into a new workspace."""
    from rich.progress import Progress

    from pipelines.rebuild import rebuild as rebuild_into

    with _run() as run, Progress(console=_console(), transient=True) as progress:
        task = progress.add_task("replaying drops", total=None)
        target = rebuild_into(run, into, lambda done, total: progress.update(task, completed=done, total=total))
    print(f"rebuilt into {target.root}; to use it: DMP_WORKSPACE={target.root} dmp status")


@app.command("upkeep")
def upkeep_(json_: Json = False) -> None:
    """Keep the warehouse quick: rows of the catalogue into files, small files merged, old snapshots and unnamed files gone."""
    from dataclasses import asdict

    from pipelines.upkeep import told, upkeep

    with _run() as run:
        steps = upkeep(run, tell=lambda step: None if json_ else print(*told([step])))
    if json_:
        _say([asdict(step) for step in steps])
    elif not steps:
        print(*told(steps))


@contract_app.command("new")
def contract_new(file: Annotated[Path, typer.Argument(help="A sample extract: CSV or Excel.")]) -> None:
    """Print a contract for files like this one; correct what is marked with ? and save it in catalog/sources/."""
    from pipelines.scaffold import scaffold

    print(scaffold(file), end="")


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
            print(problem)
        if not problems:
            print(f"{len(catalog.contracts)} contracts and {len(catalog.entities)} entities are sound")
    raise SystemExit(10 if problems else 0)


@contract_app.command("diff")
def contract_diff(
    old: Annotated[str, typer.Argument(help="The former contract (YAML), or a source: what its newest batch was read under.")],
    new: Annotated[Path | None, typer.Argument(help="The new contract (YAML); not with a source.")] = None,
    lang: Annotated[str, typer.Option(help="Language of the sentences: zh or en.")] = "zh",
    json_: Json = False,
) -> None:
    """What changed in a contract, and whether it breaks a sender or a reader. Exit code 1 where something does."""
    from dataclasses import asdict

    from catalog.diff import compare, read_contract

    if new is not None:
        changes = compare(read_contract(Path(old)), read_contract(new))
    else:
        from pipelines.drift import newest_contract

        with _run() as run:
            changes = compare(newest_contract(run, old), run.catalog.contract(old))
    if json_:
        _say([asdict(c) for c in changes])
    else:
        for change in changes:
            print(f"{'BREAKING' if change.breaking else 'ok      '}  {change.where}: {change.en if lang == 'en' else change.zh}")
        if not changes:
            print("no difference")
    raise SystemExit(1 if any(c.breaking for c in changes) else 0)


@contract_app.command("history")
def contract_history(source: Annotated[str, typer.Argument(help="A source.")], json_: Json = False) -> None:
    """The headers a source has sent, oldest first: since which file, and what came, went or moved."""
    from dataclasses import asdict

    from pipelines.drift import history

    with _run() as run:
        headers = history(run, source)
    if json_:
        _say([asdict(h) for h in headers])
        return
    for h in headers:
        print(f"{h.arrived}  {h.first} .. {h.last}  ({h.batches} files, {len(h.columns)} columns)")
        moved = [f"+ {c}" for c in h.new] + [f"- {c}" for c in h.gone] + (["order changed"] if h.reordered else [])
        print("    " + ("; ".join(moved) or ", ".join(h.columns)))


@contract_app.command("schema")
def contract_schema_(
    entity: Annotated[bool, typer.Option(help="Of entities instead.")] = False,
    waiver: Annotated[bool, typer.Option(help="Of waivers instead.")] = False,
) -> None:
    """Print the JSON Schema of contracts, for completion in editors (kept in catalog/contract.schema.json)."""
    from pipelines.schemas import contract_schema, entity_schema, waiver_schema

    print(waiver_schema() if waiver else entity_schema() if entity else contract_schema(), end="")


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
    """Start Airflow on this workspace in the foreground: API server, scheduler, DAG processor, triggerer. Ctrl-C stops it."""
    from pipelines.airflow_home import serve
    from warehouse.layout import open_workspace

    serve(workspace or open_workspace().root)


if __name__ == "__main__":
    main()
