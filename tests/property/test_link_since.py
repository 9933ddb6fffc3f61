"""Linking a day's changes beside the index gives what linking everything anew gives: the same groups, links, likenesses, clashes and doubts."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.decision import Decision
from catalog.entity import Entity
from pipelines import link as linking
from pipelines import link_index
from pipelines.link import Since, link, looked_at
from pipelines.link_index import Mark
from warehouse.layout import Workspace

PERSON = Entity.model_validate(
    {
        "id": "person",
        "title": {"zh": "人", "en": "Person"},
        "authority": "*",
        "identifiers": ["resident_id", ["household", "person_name"]],
        "match": {"compare": ["person_name", "born_on", "phone"], "threshold": 0.9},
        "clash": ["person_name", "born_on"],
        "attributes": [
            {"name": "resident_id", "kind": "code"},
            {"name": "household", "kind": "code"},
            {"name": "person_name", "kind": "person_name"},
            {"name": "born_on", "kind": "date"},
            {"name": "phone", "kind": "phone"},
            {"name": "remark"},
        ],
    }
)
COLUMNS = ("resident_id", "household", "person_name", "born_on", "phone", "remark")
Person = Mapping[str, str | None]

SURNAMES, GIVEN = "王李张刘陈杨黄赵", ["伟", "芳", "娜", "秀英", "敏", "静", "丽", "强", "磊", "军", "文静", "建国"]


def people(count: int, seed: int) -> list[dict[str, str | None]]:
    """Some in two rows, some of those with a slip of the pen; half without a number."""
    draw = random.Random(seed)
    rows: list[dict[str, str | None]] = []
    for n in range(count):
        one: dict[str, str | None] = {
            "resident_id": f"{n:06d}" if draw.random() < 0.5 else None,
            "household": f"h{draw.randrange(count)}" if draw.random() < 0.3 else None,
            "person_name": draw.choice(SURNAMES) + draw.choice(GIVEN),
            "born_on": str(date(1950, 1, 1) + timedelta(days=draw.randrange(20000))),
            "phone": f"13{draw.randrange(10**9):09d}",
            "remark": None,
        }
        rows.append(one)
        if draw.random() < 0.5:
            slip = dict(one, resident_id=one["resident_id"] if draw.random() < 0.5 else None)
            slip[draw.choice(["person_name", "born_on", "phone"])] = None
            rows.append(slip)
    return rows


class Store:
    """Records, linked step by step beside an index; the accumulated answer is in `answer` and `clashes`."""

    def __init__(self, folder: Path, pinned: Path) -> None:
        self.workspace, self.place, self.pinned = Workspace(folder), folder / "staged", pinned
        self.place.mkdir(parents=True)
        self.records: dict[str, Person] = {}
        self.answer: dict[str, tuple[object, ...]] = {}
        self.clashes: dict[str, set[tuple[object, ...]]] = {}
        self.doubts: set[tuple[object, ...]] = set()
        self.mark = Mark(0, "rules", {"s": "shape"})
        self.looked_at = 0

    def step(self, after: Mapping[str, Person], decisions: tuple[Decision, ...] = ()) -> None:
        con = duckdb.connect()
        fill(con, "records", after)
        known = link_index.attach(con, self.workspace, "person", self.mark)
        gone = set(self.records) - set(after)
        if known is None:
            assert self.mark.number == 0
            con.execute("CREATE VIEW written AS FROM records")
            link(con, PERSON, "records", "linked", "clashes", decisions, doubts="doubts", pinned=self.pinned, delta="delta")
        else:
            wanted = looked_at(PERSON, frozenset(COLUMNS))
            says = {r: tuple(p[a] for a in wanted) for r, p in after.items()}
            said = {r: tuple(p[a] for a in wanted) for r, p in self.records.items()}
            changed = {r: after[r] for r in after if says[r] != said.get(r)}
            moved = [r for r in after if r not in changed and after[r] != self.records[r]]
            fill(con, "changed", changed)
            fill(con, "written", {**changed, **{r: after[r] for r in moved}})
            for name, those in (("gone", sorted(gone)), ("moved", moved)):
                con.execute(f"CREATE TABLE {name} AS SELECT unnest($1::VARCHAR[]) AS _record", [those])
            since = Since(known, "gone", "moved")
            told = {"clashes": "clashes", "doubts": "doubts", "delta": "delta"}
            link(con, PERSON, "changed", "linked", decisions=decisions, pinned=self.pinned, since=since, **told)
        self.mark = replace(self.mark, number=self.mark.number + 1)
        named = sorted({r for d in decisions for r in d.records})
        link_index.stage(con, self.place, self.mark, [], named, "written", whole=known is None)
        rows = con.execute("SELECT * FROM linked").fetchall()
        self.looked_at = len(rows)
        for record in gone | {str(r[0]) for r in rows}:
            self.answer.pop(record, None)
            self.clashes.pop(record, None)
        self.answer |= {str(r[0]): r for r in rows}
        for row in con.execute("SELECT * FROM clashes").fetchall():
            self.clashes.setdefault(str(row[0]), set()).add(row)
        at_hand = gone | {str(r[0]) for r in rows}
        self.doubts = {d for d in self.doubts if not at_hand & {d[0], d[1]}} | set(con.execute("SELECT * FROM doubts").fetchall())
        con.close()
        link_index.learn(self.workspace, "person", self.place)
        self.records = dict(after)


def fill(con: duckdb.DuckDBPyConnection, table: str, rows: Mapping[str, Person]) -> None:
    con.execute(
        f"CREATE TABLE {table} (_record VARCHAR, {', '.join(f'{c} VARCHAR' for c in COLUMNS)}, _source VARCHAR DEFAULT 's')"
    )
    if rows:
        values = [[r, *(p[c] for c in COLUMNS)] for r, p in rows.items()]
        con.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * (len(COLUMNS) + 1))}, 's')", values)


def anew(after: Mapping[str, Person], pinned: Path, decisions: tuple[Decision, ...]) -> tuple[object, object, object]:
    con = duckdb.connect()
    fill(con, "records", after)
    link(con, PERSON, "records", "linked", "clashes", decisions, doubts="doubts", pinned=pinned)
    clashes: dict[str, set[tuple[object, ...]]] = {}
    for row in con.execute("SELECT * FROM clashes").fetchall():
        clashes.setdefault(str(row[0]), set()).add(row)
    doubts = set(con.execute("SELECT * FROM doubts").fetchall())
    return {str(r[0]): r for r in con.execute("SELECT * FROM linked").fetchall()}, clashes, doubts


@pytest.fixture(scope="module")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model learned from 600 people, in which a value may make few pairs: names become too common, and cease to be."""
    folder = tmp_path_factory.mktemp("model") / "1"
    con = duckdb.connect()
    fill(con, "records", {f"t{n:04d}": p for n, p in enumerate(people(600, 1))})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linking, "PIN_AT", 1)
        patch.setattr("pipelines.link_pairs.ALWAYS_PAIRS", 8)
        patch.setattr("pipelines.link_pairs.PAIRS_PER_RECORD", 2)
        link(con, PERSON, "records", "linked", keep=folder)
    con.close()
    yield folder


STEP = st.lists(
    st.one_of(
        st.tuples(st.just("come"), st.integers(0, 400)),
        st.tuples(st.just("go"), st.integers(0, 400)),
        st.tuples(st.just("swap"), st.integers(0, 400), st.sampled_from(COLUMNS), st.integers(0, 400)),
        st.tuples(st.just("blank"), st.integers(0, 400), st.sampled_from(COLUMNS)),
        st.tuples(st.just("one"), st.integers(0, 400), st.integers(0, 400)),
        st.tuples(st.just("apart"), st.integers(0, 400), st.integers(0, 400)),
        st.tuples(st.just("forget")),
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 5), st.lists(STEP, min_size=1, max_size=4))
def test_changes_beside_the_index_give_what_everything_anew_gives(
    pinned: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, steps: list[list[tuple[object, ...]]]
) -> None:
    everybody = {f"{n * 7919 % 100003:064x}": p for n, p in enumerate(people(280, seed + 2))}
    ids = sorted(everybody)
    now = {r: everybody[r] for r in ids[: len(ids) * 2 // 3]}
    store = Store(tmp_path_factory.mktemp("store"), pinned)
    store.step(now)
    decisions: list[Decision] = []
    for step in steps:
        now = dict(now)
        for what, *told in step:
            places = [ids[n % len(ids)] for n in told if isinstance(n, int)]
            if what == "come":
                now[places[0]] = everybody[places[0]]
            elif what == "forget":
                decisions = []
            elif what in ("one", "apart"):
                if len(set(places)) == 2:
                    key = "must_link" if what == "one" else "cannot_link"
                    decisions = [
                        Decision.model_validate(
                            {
                                key: places,
                                "reason": {"zh": "核实", "en": "checked"},
                                "decided_by": "x",
                                "decided_on": "2026-03-02",
                            }
                        )
                    ]
            elif places[0] in now:
                if what == "go":
                    now.pop(places[0])
                elif what == "blank":
                    now[places[0]] = {**now[places[0]], str(told[1]): None}
                elif what == "swap":
                    now[places[0]] = {**now[places[0]], str(told[1]): everybody[places[1]][str(told[1])]}
        store.step(now, tuple(decisions))
    assert store.mark.number == len(steps) + 1
    answer, clashes, doubts = anew(now, pinned, tuple(decisions))
    assert store.answer == answer
    assert store.clashes == clashes
    assert store.doubts == doubts


def test_only_what_hangs_together_with_a_change_is_looked_at(pinned: Path, tmp_path: Path) -> None:
    everybody = {f"{n:064x}": p for n, p in enumerate(people(400, 3))}
    store = Store(tmp_path, pinned)
    store.step(everybody)
    assert store.doubts, "or nothing is said about doubts here"
    one = f"{5:064x}"
    store.step({**everybody, one: {**everybody[one], "remark": "moved"}})
    assert 1 <= store.looked_at < 20
    store.step({**everybody, one: {**everybody[one], "phone": None}})
    assert 1 <= store.looked_at < 20
