"""The people of the city: households, who lives where, who works, studies, marries and moves."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from random import Random

from examples.city import names
from examples.city.numbers import Numbers


@dataclass(frozen=True)
class Person:
    """The true values. `local` people are in the police register; the others hold residence permits."""

    truth: str
    resident_id: str
    name: str
    former_name: str
    sex: str
    ethnic: str
    born: dt.date
    local: bool
    household_no: str
    hukou_division: str
    hukou_address: str
    residence_division: str
    residence_address: str
    phone: str
    marital: str
    died: dt.date | None = None
    school: str = ""
    employer: str = ""
    head: bool = False

    def age(self, on: dt.date) -> int:
        return on.year - self.born.year - ((on.month, on.day) < (self.born.month, self.born.day))


def make_people(rng: Random, numbers: Numbers, count: int, today: dt.date) -> list[Person]:
    """About `count` people in whole households, oldest member first."""
    people: list[Person] = []
    household = 0
    while len(people) < count:
        household += 1
        people += _household(rng, numbers, household, len(people), today)
    return people[:count]


def _household(rng: Random, numbers: Numbers, household: int, before: int, today: dt.date) -> list[Person]:
    local = rng.random() < 0.74
    division = rng.choice(tuple(names.DISTRICTS))
    home = names.address(rng, division)
    origin = rng.choice(names.ELSEWHERE)
    dotted = rng.random() < 0.012
    ethnic = "05" if dotted else rng.choices([p[0] for p in names.PEOPLES], [p[2] for p in names.PEOPLES])[0]
    made: list[Person] = []

    def add(sex: str, born: dt.date, marital: str, surname: str | None, is_head: bool = False) -> Person:
        issued_in = _division_of_birth(rng, division, born) if local else origin
        name = names.dotted_name(rng) if dotted else names.person_name(rng, sex, surname)
        age = today.year - born.year
        gone = local and age > 55 and rng.random() < 0.03
        person = Person(
            truth=f"P{before + len(made) + 1:07d}",
            resident_id=numbers.resident_id(issued_in, born, sex),
            name=name,
            former_name=names.person_name(rng, sex, name[:1]) if local and rng.random() < 0.02 else "",
            sex=sex,
            ethnic=ethnic,
            born=born,
            local=local,
            household_no=f"HZ{household:08d}",
            hukou_division=division if local else origin,
            hukou_address=home if local else "",
            residence_division=division,
            residence_address=home,
            phone=numbers.mobile() if age >= 13 else "",
            marital=marital,
            died=_day(rng, today - dt.timedelta(days=500), today - dt.timedelta(days=30)) if gone else None,
            school=names.SCHOOLS[min(age // 3, 5)] if 7 <= age <= 17 else "",
            head=is_head,
        )
        made.append(person)
        return person

    head_sex = rng.choice("12")
    head_age = rng.randrange(22, 84)
    alone = rng.random() < 0.25
    marital = rng.choice(("10", "10", "40", "30" if head_age > 60 else "10")) if alone else "20"
    head = add(head_sex, _birthday(rng, today, head_age), marital, None, is_head=True)
    if not alone:
        spouse_age = min(88, max(21, head_age + rng.randrange(-6, 7)))
        add("2" if head_sex == "1" else "1", _birthday(rng, today, spouse_age), "20", None)
        for _ in range(rng.choice((0, 1, 1, 1, 2)) if head_age > 24 else 0):
            child_age = head_age - rng.randrange(22, 38)
            if 0 <= child_age <= 24:
                surname = None if dotted else _surname(head.name)
                add(rng.choice("12"), _birthday(rng, today, child_age), "10" if child_age > 19 else "", surname)
    return made


def _surname(name: str) -> str:
    return name[:2] if name[:2] in ("欧阳", "上官", "尉迟", "司徒", "诸葛", "万俟") else name[:1]


def _division_of_birth(rng: Random, division: str, born: dt.date) -> str:
    """An identity number keeps the division that issued it; 440403 and 440404 exist since 2001."""
    if born.year >= 2001:
        return division
    return rng.choice(("440402", names.ABOLISHED_DIVISION))


def _birthday(rng: Random, today: dt.date, age: int) -> dt.date:
    return _day(rng, today.replace(year=today.year - age - 1) + dt.timedelta(days=1), today.replace(year=today.year - age))


def _day(rng: Random, first: dt.date, last: dt.date) -> dt.date:
    return first + dt.timedelta(days=rng.randrange((last - first).days + 1))


def true_changes(rng: Random, numbers: Numbers, people: list[Person], share: float, day: dt.date) -> list[Person]:
    """Some locals get a new phone, address or name, or die; returns their new state and puts it into `people`."""
    places = [i for i, p in enumerate(people) if p.local and p.died is None and p.phone]
    changed = []
    for i in sorted(rng.sample(places, min(len(places), max(12, round(share * len(places)))))):
        person, roll = people[i], rng.random()
        if roll < 0.5:
            person = replace(person, phone=numbers.mobile())
        elif roll < 0.85:
            division = rng.choice(tuple(names.DISTRICTS))
            home = names.address(rng, division)
            person = replace(
                person, hukou_division=division, hukou_address=home, residence_division=division, residence_address=home
            )
        elif roll < 0.95 and "·" not in person.name:
            name = names.person_name(rng, person.sex, _surname(person.name))
            person = replace(person, former_name=person.name, name=name)
        elif person.age(day) > 55:
            person = replace(person, died=day - dt.timedelta(days=rng.randrange(1, 9)))
        people[i] = person
        changed.append(person)
    return changed
