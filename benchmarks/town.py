"""A town whose departments write down the same people and firms each in its own way, with the truth kept beside.

Harder than `examples/city`, which plants each kind of fault at the rates of a tolerable delivery: here two rows in five carry no
number, and a row may have several things wrong at once. Every habit below is drawn for itself, so that few rows are alike:

    names      homophones, traditional forms, a character that the system could not write, a blank inside
    numbers    missing (most of the water company's), never wrong: wrong ones are the business of `tests/integration/test_clash.py`
    dates      missing, one digit mistyped, day and month swapped
    addresses  the one before the last move; without city and district; 幢, 座, 号楼 or # for 栋; Chinese numerals; without room
    phones     an older one, none
    firms      division left out or in brackets, legal form confused or left out, industry cut short, the former name, branches
               that share all but place and number with their parent
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from random import Random

import duckdb
import pyarrow as pa

from examples.city import names
from examples.city.companies import Company, make_enterprises
from examples.city.numbers import Numbers
from examples.city.people import make_people

TODAY = dt.date(2026, 3, 2)
Row = dict[str, str | None]

#: Department -> share of the people or firms it knows, share of its rows without a number.
OFFICES = {"police": (0.8, 0.05), "insurance": (0.6, 0.3), "schools": (0.35, 0.5), "water": (0.5, 0.9)}
REGISTERS = {"market": (0.95, 0.05), "tax": (0.8, 0.3), "insurance": (0.6, 0.5), "licences": (0.4, 0.8)}
_NUMERALS = "零一二三四五六七八九"


def people(con: duckdb.DuckDBPyConnection, count: int = 3000, seed: int = 7) -> None:
    """Writes records (`_record`, `_source`, attributes of the entity person) and truth (`_record`, `entity`)."""
    rng = Random(f"{seed}:people")
    numbers = Numbers(Random(f"{seed}:numbers"))
    rows: list[tuple[str, str, Row]] = []
    for person in make_people(rng, numbers, count, TODAY):
        old_home = names.address(rng, rng.choice(tuple(names.DISTRICTS)))
        old_phone = numbers.mobile()
        for office, (known, unnumbered) in OFFICES.items():
            if rng.random() >= known:
                continue
            row: Row = {
                "resident_id": None if rng.random() < unnumbered else person.resident_id,
                "person_name": _name(rng, person.name),
                "birth_date": _date(rng, person.born),
                "phone": _one_of(rng, person.phone or None, (0.12, old_phone), (0.15, None)),
                "residence_address": _written(rng, _one_of(rng, person.residence_address, (0.12, old_home), (0.08, None))),
            }
            rows.append((office, person.truth, row))
    _store(con, rng, rows)


def firms(con: duckdb.DuckDBPyConnection, count: int = 2000, seed: int = 7) -> None:
    """Writes records (`_record`, `_source`, attributes of legal_entity) and truth (`_record`, `entity`); a branch is one by itself."""
    rng = Random(f"{seed}:firms")
    numbers = Numbers(Random(f"{seed}:numbers"))
    made = make_enterprises(rng, numbers, count, TODAY)
    made += [_branch(rng, numbers, firm) for firm in made if firm.kind == "91" and rng.random() < 0.08]
    rows: list[tuple[str, str, Row]] = []
    for firm in made:
        former = names.CITY + names.company_brand(rng) + "实业有限公司"
        moved, phone, head = names.business_address(rng, firm.division), numbers.fixed_phone(), names.person_name(rng, "1")
        for register, (known, unnumbered) in REGISTERS.items():
            if rng.random() >= known:
                continue
            row: Row = {
                "uscc": None if rng.random() < unnumbered else firm.uscc or None,
                "entity_name": _firm_name(rng, _one_of(rng, firm.name, (0.02, former)) or "", firm),
                "legal_rep_name": _one_of(rng, _name(rng, firm.legal_rep), (0.06, head), (0.06, None)),
                "established_on": _date(rng, firm.established),
                "address": _written(rng, _one_of(rng, firm.address, (0.1, moved), (0.05, None))),
                "phone": _one_of(rng, firm.phone, (0.15, phone), (0.1, None)),
            }
            rows.append((register, firm.truth, row))
    _store(con, rng, rows)


def _store(con: duckdb.DuckDBPyConnection, rng: Random, rows: list[tuple[str, str, Row]]) -> None:
    rng.shuffle(rows)
    ids = [f"{n:07d}" for n in range(len(rows))]
    columns = {name: pa.array([row[name] for _, _, row in rows], pa.string()) for name in rows[0][2]}
    tables = {
        "records": pa.table({"_record": ids, "_source": [source for source, _, _ in rows], **columns}),
        "truth": pa.table({"_record": ids, "entity": [truth for _, truth, _ in rows]}),
    }
    for name, drawn in tables.items():
        con.register("_drawn", drawn)
        con.execute(f"CREATE TABLE {name} AS FROM _drawn")
        con.unregister("_drawn")


def _one_of(rng: Random, value: str | None, *others: tuple[float, str | None]) -> str | None:
    """`value`, or with its own chance each of the others."""
    for share, other in others:
        if rng.random() < share:
            return other
    return value


def _name(rng: Random, name: str) -> str:
    roll = rng.random()
    if roll < 0.06:
        return _mapped(rng, name, names.HOMOPHONES)
    if roll < 0.12:
        return "".join(names.TRADITIONAL.get(c, c) for c in name)
    if roll < 0.14:
        return name[0] + "\u3000" + name[1:]
    if roll < 0.15:
        return name.encode("gbk", errors="replace").decode("gbk")
    return name


def _mapped(rng: Random, text: str, words: dict[str, str]) -> str:
    places = [i for i, c in enumerate(text) if c in words]
    if not places:
        return text
    i = rng.choice(places)
    return text[:i] + words[text[i]] + text[i + 1 :]


def _date(rng: Random, day: dt.date) -> str | None:
    roll = rng.random()
    if roll < 0.12:
        return None
    if roll < 0.14 and day.day <= 12:
        return f"{day.year}-{day.day:02d}-{day.month:02d}"
    if roll < 0.17:
        return (day + dt.timedelta(days=rng.choice((-10, -1, 1, 10)))).isoformat()
    return day.isoformat()


def _written(rng: Random, address: str | None) -> str | None:
    """One address in the spelling of whoever typed it in."""
    if address is None:
        return None
    city, district, rest = address.partition("区")
    if rng.random() < 0.4:
        city, district = "", ""
    elif rng.random() < 0.2:
        city, district = city[len(names.CITY) :], "区"
    if rng.random() < 0.4:
        rest = rest.replace("栋", rng.choice(("幢", "号楼", "座", "栋-", "#楼")))
    if rng.random() < 0.3:
        rest = rest.replace("房", rng.choice(("室", "号", "")))
    if rng.random() < 0.1:
        rest = "".join(chr(ord(c) + 0xFEE0) if c.isdigit() else c for c in rest)
    elif rng.random() < 0.1:
        head, unit, tail = rest.partition("单元")
        if unit and head[-1].isdigit():
            rest = head[:-1] + _NUMERALS[int(head[-1])] + unit + tail
    elif rng.random() < 0.06:
        rest = rest.partition("单元")[0].rstrip("0123456789") if "单元" in rest else rest.partition("号")[0] + "号"
    return city + district + rest


def _firm_name(rng: Random, name: str, firm: Company) -> str:
    district = names.DISTRICTS[firm.division]
    roll = rng.random()
    if roll < 0.15:
        name = name.removeprefix(names.CITY)
    elif roll < 0.25:
        name = name.replace(names.CITY, names.CITY + district, 1)
    elif roll < 0.3:
        name = name.replace(names.CITY, "云泽", 1)
    roll = rng.random()
    if roll < 0.1:
        name = name.replace("有限责任公司", "有限公司")
    elif roll < 0.16:
        name = name.replace("股份有限公司", "公司").replace("有限公司", "公司")
    if rng.random() < 0.15:
        name = name.replace("（", "(").replace("）", ")")
    elif rng.random() < 0.15:
        name = name.replace(f"（{district}）", "")
    roll = rng.random()
    if roll < 0.05:
        name = "".join(names.TRADITIONAL.get(c, c) for c in name)
    elif roll < 0.08:
        name = (
            name.replace("建筑工程", "建筑").replace("粮油贸易", "粮油").replace("技术研究", "技术").replace("数据服务", "数据")
        )
    return name


def _branch(rng: Random, numbers: Numbers, firm: Company) -> Company:
    division = rng.choice(tuple(names.DISTRICTS))
    place = rng.choice((names.DISTRICTS[division].removesuffix("区"), *(r[:2] for r in names.ROADS[:8])))
    return replace(
        firm,
        truth=firm.truth + "-1",
        uscc=numbers.credit_code("91", division),
        name=firm.name + place + "分公司",
        legal_rep=names.person_name(rng, "2"),
        phone=firm.phone if rng.random() < 0.4 else numbers.fixed_phone(),
        division=division,
        address=names.business_address(rng, division),
        established=firm.established + dt.timedelta(days=rng.randrange(100, 900)),
    )
