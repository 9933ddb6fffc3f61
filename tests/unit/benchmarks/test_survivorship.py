"""The town that survivorship is measured on: what is true, what registers write down, and how three rules choose from it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from benchmarks.survivorship import ATTRIBUTES, LATE, REGISTERS, Choice, Town, choices, losses, make_town, play, table


@pytest.fixture(scope="module")
def town() -> Town:
    return make_town(80, seed=2)


def last_said(town: Town, register: str) -> dict[tuple[str, str], str]:
    """Of one register, by person and attribute, the last value that was not empty, later rounds over earlier ones."""
    said: dict[tuple[str, str], str] = {}
    files = sorted((turn, rows) for r, turn, rows in town.files if r.id == register)
    for _, rows in files:
        said |= {(row["resident_no"], a): v for row in rows for a, v in row.items() if v and a != "resident_no"}
    return said


def test_the_same_seed_gives_the_same_town_and_another_another(town: Town) -> None:
    assert make_town(80, seed=2) == town
    assert make_town(80, seed=3) != town


def test_registers_conflict_copy_and_come_late_as_they_are_said_to(town: Town) -> None:
    real = {p["resident_no"]: p for p in town.truth[-1]}
    wrong: Counter[str] = Counter()
    for register in REGISTERS:
        wrong[register.id] = sum(v != real[no][a] for (no, a), v in last_said(town, register.id).items())
    assert all(wrong.values()), wrong
    mistakes = {k: v for k, v in last_said(town, "utilities__account").items() if v != real[k[0]][k[1]]}
    copied = last_said(town, "bank__client")
    assert sum(copied.get(k) == v for k, v in mistakes.items()) > len(mistakes) / 3
    assert {(r.id, turn) for r, turn, _ in town.files[-len(LATE) :]} == set(LATE)


def test_a_table_counts_what_each_rule_has_right() -> None:
    found = [
        Choice("R1", "phone", "1", frozenset("12"), "1", "authority", "2", "2"),
        Choice("R2", "phone", "1", frozenset("12"), "2", "authority", "1", "2"),
    ]
    line = next(line for line in table(found) if line.startswith("phone"))
    assert line.split()[1:6] == ["2", "0.5000", "0.5000", "0.0000", "1.0000"]
    told = losses(found, Town([[{"resident_no": "R2"} | dict.fromkeys(ATTRIBUTES, "2")]]))
    assert told[0] == "majority is right where ours is wrong: 1 fields; ours is right where majority is wrong: 1"
    assert told[1].strip() == "1  phone, authority: out of date"


@pytest.mark.slow
def test_merge_takes_what_the_authority_said_last_however_late_files_come(town: Town, tmp_path: Path) -> None:
    """So a golden field is true wherever its authority is right, and wrong wherever it is wrong."""
    play(tmp_path, town)
    found = choices(tmp_path, town)
    authority = {
        "person_name": "police__register", "birth_date": "police__register", "residence_address": "housing__residence",
        "phone": "health__patient", "employer_name": "insurance__insured",
    }  # fmt: skip
    said = {register: last_said(town, register) for register in set(authority.values())}
    assert len(found) > 300
    for c in found:
        believed = said[authority[c.attribute]].get((c.resident, c.attribute))
        assert (believed is None) == (c.status == "unconfirmed"), c
        assert c.ours in ({believed} if believed else c.said), c
