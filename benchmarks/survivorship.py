"""Which rule finds the true value where sources conflict: our authority order, majority vote, or the most recent.

    python -m benchmarks.survivorship [--people 2000] [--seed 1] [--keep DIR]

A made-up town whose truth is known: people move, marry, change phones and employers over six rounds, and seven registers hear of it more or less
late, with errors of their own that stay until they hear again. One register copies another with its mistakes, one delivers late, the
authority of phones hears of a change only when somebody sees a doctor, and cells are left empty now and then. The registers go through the shipped pipeline
(collect, clean, gate, dedupe, merge). All three rules choose from the same cells: of each register what its row in force says of a person. The truth
is read after the run. What each rule does badly is printed too.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random

from examples.city import names
from pipelines.flow import run_all
from pipelines.run import Run, open_run
from pipelines.said import tell
from warehouse.lake import quoted, reading

ROUNDS = 6
FIRST = date(2026, 3, 2)
ATTRIBUTES = ("person_name", "birth_date", "residence_address", "phone", "employer_name")
#: Share of the people in whose life an attribute changes between two rounds.
CHANGES = {"person_name": 0.004, "birth_date": 0.0, "residence_address": 0.04, "phone": 0.05, "employer_name": 0.04}

ENTITY = """\
title: {zh: 居民, en: Resident}
identifiers: [resident_no]
clash: []
authority: [police__register, "insurance__*", "health__*", "housing__*", "utilities__*", "*"]
attributes:
  - {name: resident_no, kind: code}
  - {name: person_name, kind: person_name}
  - {name: birth_date, type: date, kind: date}
  - {name: residence_address, kind: address, authority: [housing__residence, police__register, "utilities__*", "*"]}
  - {name: phone, kind: phone, authority: [health__patient, housing__residence, "*"]}
  - {name: employer_name, kind: organisation_name, authority: [insurance__insured, "*"]}
"""

CONTRACT = """\
title: {{zh: {id}, en: {id}}}
department: {department}
entity: resident
load: {load}
period: {{from: file_name, pattern: "{name}_(?P<date>\\\\d{{8}})"}}
arrival: {{drop: "{name}_*.csv", cycle: daily, due: "09:00 next working day"}}
columns:
  - {{from: resident_no, to: resident_no, key: true}}
{columns}
"""


@dataclass(frozen=True)
class Register:
    """One source. `errors`: share of the values heard that are written down wrong; `hears`: share of its people whose changes it hears of in
    a round; `lag`: how many rounds old what it hears is; `rounds`: those it delivers in; `copies`: the register it copies from."""

    id: str
    knows: tuple[str, ...]
    covers: float
    errors: float
    load: str = "snapshot"
    hears: float = 1.0
    lag: int = 0
    rounds: tuple[int, ...] = tuple(range(ROUNDS))
    copies: str | None = None
    blanks: float = 0.0

    @property
    def department(self) -> str:
        return self.id.split("__")[0]

    @property
    def name(self) -> str:
        return self.id.split("__")[1]


REGISTERS = (
    Register("police__register", ("person_name", "birth_date"), 1.0, 0.005, "increment", blanks=0.01),
    Register("housing__residence", ("residence_address", "phone"), 0.6, 0.01, "increment", lag=1, blanks=0.02),
    Register("insurance__insured", ("person_name", "birth_date", "phone", "employer_name"), 0.7, 0.02),
    Register("health__patient", ("person_name", "residence_address", "phone"), 0.8, 0.03, "increment", hears=0.25, blanks=0.02),
    Register("utilities__account", ("person_name", "residence_address", "phone"), 0.9, 0.06),
    Register(
        "bank__client", ("person_name", "residence_address", "phone", "employer_name"), 0.7, 0.02, copies="utilities__account"
    ),
    Register("education__guardian", ("person_name", "birth_date", "residence_address"), 0.3, 0.03, rounds=(0,)),
)

#: Deliveries that arrive after all others: what was true then comes last.
LATE = (("education__guardian", 0), ("housing__residence", 3))

Person = dict[str, str]


@dataclass
class Town:
    """`truth` per round, person and attribute; `files` in the order in which they arrive: register, round, rows."""

    truth: list[list[Person]] = field(default_factory=list)
    files: list[tuple[Register, int, list[Person]]] = field(default_factory=list)


def make_town(people: int, seed: int) -> Town:
    """The same people and seed give the same town."""
    rng, town = Random(seed), Town()
    employers = [
        f"{rng.choice('东西南北')}{rng.choice('风山海湖城')}{rng.choice(['机械', '纺织', '餐饮', '物流'])}有限公司{n}"
        for n in range(60)
    ]
    town.truth.append([_person(rng, employers, n) for n in range(people)])
    for _ in range(1, ROUNDS):
        now = [dict(p) for p in town.truth[-1]]
        for person in now:
            for attribute, share in CHANGES.items():
                if rng.random() < share:
                    person[attribute] = _value(rng, attribute, employers)
        town.truth.append(now)
    known: dict[str, list[Person | None]] = {}
    late: list[tuple[Register, int, list[Person]]] = []
    for register in REGISTERS:
        held: list[Person | None] = [{} if rng.random() < register.covers else None for _ in range(people)]
        heard: list[Person] = [{} for _ in range(people)]
        known[register.id] = held
        for turn in register.rounds:
            rows = _round(rng, register, turn, town, held, heard, known, employers)
            (late if (register.id, turn) in LATE else town.files).append((register, turn, rows))
    town.files.sort(key=lambda f: f[1])
    town.files += late
    return town


def _round(
    rng: Random,
    register: Register,
    turn: int,
    town: Town,
    held: list[Person | None],
    heard: list[Person],
    known: Mapping[str, Sequence[Person | None]],
    employers: Sequence[str],
) -> list[Person]:
    """What one register delivers in one round; `held` is what it has written down, `heard` what it was told."""
    rows = []
    for n, real in enumerate(town.truth[max(turn - register.lag, 0)]):
        mine = held[n]
        if mine is None or (turn and rng.random() >= register.hears):
            if mine and register.load == "snapshot":
                rows.append(mine)
            continue
        before = dict(mine)
        other = known[register.copies][n] if register.copies else None
        for attribute in register.knows:
            told = (other or {}).get(attribute) or real[attribute]
            if heard[n].get(attribute) != told:
                heard[n][attribute] = told
                mine[attribute] = _mistaken(rng, attribute, told, employers) if rng.random() < register.errors else told
        row = {a: "" if turn and rng.random() < register.blanks else v for a, v in mine.items()} | {
            "resident_no": real["resident_no"]
        }
        mine["resident_no"] = real["resident_no"]
        if register.load == "snapshot" or mine != before or "" in row.values():
            rows.append(row)
    return rows


def _person(rng: Random, employers: Sequence[str], n: int) -> Person:
    return {"resident_no": f"R{n:07}", **{a: _value(rng, a, employers) for a in ATTRIBUTES}}


def _value(rng: Random, attribute: str, employers: Sequence[str]) -> str:
    if attribute == "person_name":
        return names.person_name(rng, rng.choice("12"))
    if attribute == "birth_date":
        return (date(1940, 1, 1) + timedelta(days=rng.randrange(25_000))).isoformat()
    if attribute == "residence_address":
        return names.address(rng, rng.choice(tuple(names.DISTRICTS)))
    if attribute == "phone":
        return f"16{rng.randrange(10**9):09}"
    return rng.choice(employers)


def _mistaken(rng: Random, attribute: str, value: str, employers: Sequence[str]) -> str:
    """The value as somebody writes it down wrongly: a character or digit of a name or phone, another date, address or employer."""
    if attribute in ("person_name", "phone"):
        place = rng.randrange(1, len(value))
        signs = "0123456789" if attribute == "phone" else "伟芳娜敏静丽强磊军洋"
        return value[:place] + rng.choice([s for s in signs if s != value[place]]) + value[place + 1 :]
    while (other := _value(rng, attribute, employers)) == value:
        pass
    return other


def write_catalogue(root: Path) -> None:
    for folder in ("sources", "entities"):
        (root / folder).mkdir(parents=True)
    (root / "entities" / "resident.yaml").write_text(ENTITY, encoding="utf-8")
    for r in REGISTERS:
        columns = "\n".join(f"  - {{from: {a}, to: {a}{', type: date' if a == 'birth_date' else ''}}}" for a in r.knows)
        text = CONTRACT.format(id=r.id, department=r.department, load=r.load, name=r.name, columns=columns)
        (root / "sources" / f"{r.id}.yaml").write_text(text, encoding="utf-8")


def play(root: Path, town: Town) -> None:
    """Deliver every file in order through the whole pipeline; one round at a time, the late ones last."""
    write_catalogue(root / "catalog")
    turns: dict[int, list[tuple[Register, int, list[Person]]]] = {}
    for place, file in enumerate(town.files):
        turns.setdefault(ROUNDS if place >= len(town.files) - len(LATE) else file[1], []).append(file)
    for turn, files in sorted(turns.items()):
        with _open(root, turn) as run:
            for register, day, rows in files:
                folder = run.workspace.landing / register.department
                folder.mkdir(parents=True, exist_ok=True)
                out = io.StringIO()
                writer = csv.DictWriter(out, ["resident_no", *register.knows], lineterminator="\n")
                writer.writeheader()
                writer.writerows(rows)
                name = f"{register.name}_{FIRST + timedelta(days=7 * day):%Y%m%d}.csv"
                (folder / f".{name}").write_text(out.getvalue(), encoding="utf-8")
                (folder / f".{name}").replace(folder / name)
            run_all(run)


def _open(root: Path, turn: int) -> Run:
    now = datetime.fromisoformat("2026-03-03T08:00:00+08:00") + timedelta(days=7 * turn)
    return open_run(now=now, workspace=root / "workspace", catalog=root / "catalog")


@dataclass(frozen=True)
class Choice:
    """One field of one person: what each rule chose, and why ours stands."""

    resident: str
    attribute: str
    real: str
    said: frozenset[str]
    ours: str
    status: str
    majority: str
    recent: str


def choices(root: Path, town: Town) -> list[Choice]:
    """Every field that anybody says something about, as chosen by merge and by two other rules from the same cells. Both break a tie
    by the later delivery, then by the name of the register."""
    real = {p["resident_no"]: p for p in town.truth[-1]}
    with _open(root, ROUNDS) as run, reading(run.workspace) as con:
        entity = run.catalog.entity("resident")
        con.execute("CREATE TEMP TABLE wanted AS SELECT _entity, attribute FROM lake.base.resident__origin")
        tell(run, con, entity)
        golden = ", ".join(f"CAST({quoted(a)} AS VARCHAR) AS {quoted(a)}" for a in ATTRIBUTES)
        rows = con.execute(
            f"""WITH cell AS (
  SELECT s._entity, s.attribute, s.value, s._source, b.period,
    count(*) OVER (PARTITION BY s._entity, s.attribute, s.value) AS votes
  FROM said AS s JOIN lake.ledger.batch AS b ON b.batch = s._batch WHERE s.attribute <> 'resident_no'
), chosen AS (
  SELECT _entity, attribute, list(DISTINCT value) AS said, arg_max(value, row(votes, period, _source)) AS majority,
    arg_max(value, row(period, _source)) AS recent
  FROM cell GROUP BY ALL
), ours AS (
  UNPIVOT (SELECT _entity, resident_no, {golden} FROM lake.base.resident) ON {", ".join(ATTRIBUTES)} INTO NAME attribute VALUE value
)
SELECT resident_no, attribute, said, o.value, status, majority, recent
FROM ours AS o JOIN chosen USING (_entity, attribute) JOIN lake.base.resident__origin USING (_entity, attribute) ORDER BY ALL"""
        ).fetchall()
    return [Choice(no, a, real[no][a], frozenset(said), ours, status, vote, new) for no, a, said, ours, status, vote, new in rows]


def table(found: Sequence[Choice]) -> list[str]:
    """Share of fields that each rule has right; `ceiling`: somebody says the truth. `disputed`: fields on which registers differ."""
    lines = [
        f"{'attribute':20}{'fields':>8}{'ours':>8}{'majority':>10}{'recent':>8}{'ceiling':>9}   ours, by why the value stands"
    ]
    groups = [(a, [c for c in found if c.attribute == a]) for a in ATTRIBUTES]
    groups += [
        ("all", list(found)),
        ("all but phone", [c for c in found if c.attribute != "phone"]),  # whose authority hears of changes late
        ("disputed only", [c for c in found if len(c.said) > 1]),
    ]
    for name, some in groups:
        right = [
            sum(c.ours == c.real for c in some),
            sum(c.majority == c.real for c in some),
            sum(c.recent == c.real for c in some),
        ]
        ceiling = sum(c.real in c.said for c in some)
        why = Counter(c.status for c in some)
        by = ", ".join(
            f"{status} {sum(c.ours == c.real for c in some if c.status == status) / n:.3f} of {n}"
            for status, n in sorted(why.items())
        )
        shares = [n / max(len(some), 1) for n in (*right, ceiling)]
        lines.append(f"{name:20}{len(some):8}{shares[0]:8.4f}{shares[1]:10.4f}{shares[2]:8.4f}{shares[3]:9.4f}   {by}")
    return lines


def losses(found: Sequence[Choice], town: Town) -> list[str]:
    """Where another rule had the truth and ours had not, and what ours had instead: what was true of this person once, or never was."""
    once = {(p["resident_no"], a, p[a]) for people in town.truth for p in people for a in ATTRIBUTES}
    lines = []
    for name in ("majority", "recent"):
        lost = [c for c in found if getattr(c, name) == c.real != c.ours]
        won = sum(getattr(c, name) != c.real == c.ours for c in found)
        lines.append(f"{name} is right where ours is wrong: {len(lost)} fields; ours is right where {name} is wrong: {won}")
        kinds = Counter(
            (c.attribute, c.status, "out of date" if (c.resident, c.attribute, c.ours) in once else "mistaken") for c in lost
        )
        lines += [f"  {n:6}  {attribute}, {status}: {kind}" for (attribute, status, kind), n in sorted(kinds.items(), key=_most)]
    return lines


def _most(item: tuple[tuple[str, ...], int]) -> tuple[int, tuple[str, ...]]:
    return -item[1], item[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--people", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="a new folder for the town, which stays")
    given = parser.parse_args()
    town = make_town(given.people, given.seed)
    rows = sum(len(rows) for _, _, rows in town.files)
    print(
        f"survivorship: {given.people} people, seed {given.seed}, {len(REGISTERS)} registers, {len(town.files)} files, {rows} rows"
    )
    with tempfile.TemporaryDirectory() as folder:
        root = given.keep or Path(folder)
        play(root, town)
        found = choices(root, town)
    print("\n".join([*table(found), "", *losses(found, town)]))


if __name__ == "__main__":
    main()
