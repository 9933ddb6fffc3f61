"""`dmp review`: doubts out, verdicts in, where it stands."""

from __future__ import annotations

from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.run import Run

app = typer.Typer(
    no_args_is_help=True,
    help="Clerical review: people decide about records that linking is not sure of, and every later run obeys.\n\n"
    "`dmp review export ENTITY --reviewer NAME` writes a workbook of doubts; fill it in; `dmp review import FILE`; `dmp run`. "
    "A second reviewer gets a sample with `--second`; `dmp review status ENTITY` says how well the two agree.",
)
Entity = Annotated[str, typer.Argument(help="Entity, such as person.")]
Now = Annotated[str | None, typer.Option("--now", help="Act as at this instant, as in 2026-03-02T08:30:00+08:00.")]


def _run(now: str | None = None) -> Run:
    from pipelines.cli import _run as open_

    return open_(now)


@app.command("export")
def export_(
    entity: Entity,
    out: Annotated[Path | None, typer.Option(help="The workbook; default: review_<entity>.xlsx in this folder.")] = None,
    reviewer: Annotated[str, typer.Option(help="Who will decide; it stands in the workbook and in every decision.")] = "",
    second: Annotated[bool, typer.Option("--second", help="For a second reviewer: a sample, decided doubts included.")] = False,
    sample: Annotated[float | None, typer.Option(help="Share of the sample (0.1 unless given); implies --second.")] = None,
    now: Now = None,
) -> None:
    """Write the doubts about an entity as a workbook, most pressing first, personal values masked."""
    from pipelines.review import SAMPLE, export

    share = sample if sample is not None else SAMPLE if second else None
    with _run(now) as run:
        done = export(run, entity, out, reviewer, share)
    part = f", a sample of {share:.0%}" if share is not None else ""
    print(
        f"{done.path}: {done.doubts} doubts{part}; the last fusion found {done.found}. Fill it in, then: dmp review import {done.path}"
    )
    if done.asked > done.doubts:
        print(f"{done.asked - done.doubts} are left out: a record of theirs is in force no more")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The workbook, filled in.")],
    reviewer: Annotated[str, typer.Option(help="Who decided, where the workbook does not say.")] = "",
    now: Now = None,
) -> None:
    """Read a workbook of doubts back. A wrong line refuses the whole, told by row (exit code 12); the same file again changes nothing."""
    from pipelines.review import take_workbook

    with _run(now) as run:
        taken = take_workbook(run, file, reviewer)
    if taken.problems:
        lines = [f"{file}:{f' row {p.row}:' if p.row else ''} {p.zh} · {p.en}" for p in taken.problems]
        raise ValueError("\n".join([*lines, "Nothing was taken; mend these rows and import the workbook again."]))
    print(f"{taken.reviewer}: {taken.equation}")
    if taken.disputed:
        print(f"{taken.disputed} contradict another reviewer and are disputed now: nothing is decided about them")
    print(f"Next: dmp run; dmp review status {taken.entity}")


@app.command("status")
def status_(
    entity: Entity, json_: Annotated[bool, typer.Option("--json", help="For machines, with every verdict.")] = False
) -> None:
    """Open, decided and disputed doubts; how well reviewers agree, with the four counts it is made of."""
    from pipelines.review import status

    with _run() as run:
        found = status(run, entity)
    if json_:
        from pipelines.cli import _say

        both = [asdict(a) | {"share": _decimal(a.share), "kappa": _decimal(a.kappa)} for a in found.agreements]
        _say(asdict(found) | {"agreements": both})
        return
    print(f"{entity}: {found.found} doubts in the last fusion, {found.in_queue} in the queue")
    print(f"  open       {found.open}  ({found.unsure} left unsure)")
    print(f"  decided    {found.same + found.different}  (same {found.same}, different {found.different})")
    print(f"  disputed   {found.disputed}")
    if found.overruled:
        print(
            f"  overruled  {found.overruled}  (decided, but catalog/decisions/{entity}.yaml or an earlier decision says otherwise)"
        )
    for who, count in found.reviewers.items():
        print(f"  {who}: {count} verdicts")
    for a in found.agreements:
        print(f"agreement of {a.a} and {a.b} on {a.n} doubts ({a.unsure} more left unsure by one of them):")
        print(
            f"  same/same {a.same_same}, same/different {a.same_different}, different/same {a.different_same}, different/different {a.different_different}"
        )
        print(
            f"  share {_decimal(a.share) or '-'}, Cohen's kappa {_decimal(a.kappa) or '- (not defined: both always said the same one)'}"
        )
    if found.open or found.disputed:
        print(f"Next: dmp review export {entity} --reviewer NAME")


def _decimal(value: Fraction | None) -> str | None:
    """Four digits, rounded half up, as a pocket calculator's user would."""
    if value is None:
        return None
    whole = (abs(value) * 20000 + 1) // 2
    return f"{'-' if value < 0 and whole else ''}{whole // 10000}.{whole % 10000:04}"
