"""32 health commissions as a user would write them: one form, 32 files of a few lines, one entity."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

FORM = """\
# The bulletin every commission publishes; each source says only which file is its own.
title: {zh: 新冠肺炎疫情日报, en: Daily epidemic bulletin}
load: increment
entity: epidemic_day
clean: [trim_text]
period: {from: file_name, pattern: "(?P<date>\\\\d{4}-\\\\d{2}-\\\\d{2})"}
arrival: {drop: "to be said by each source", cycle: daily, due: "24:00 same day", calendar: every_day, since: 2020-01-19, until: 2020-01-31}
columns:
  - {from: date, to: reported_on, type: date, key: true}
  - {from: country, to: country_name, key: true}
  - {from: countryCode, ignore: the name says it}
  - {from: province, to: province_name, key: true, on_missing: keep}
  - {from: provinceCode, to: province_code}
  - {from: city, to: city_name, key: true, on_missing: keep}
  - {from: cityCode, to: city_code}
  - {from: confirmed, to: confirmed, type: integer}
  - {from: suspected, to: suspected, type: integer}
  - {from: cured, to: cured, type: integer}
  - {from: dead, to: dead, type: integer}
"""

ENTITY = """\
title: {zh: 地区疫情日报, en: Epidemic figures of a place and day}
identifiers:
  - [reported_on, country_name, "province_name?", "city_name?"]
authority: ["health_*", "nhc__*"]   # the own commission before the national one
attributes:
  - {name: reported_on, type: date}
  - {name: country_name}
  - {name: province_name}
  - {name: province_code}
  - {name: city_name}
  - {name: city_code}
  - {name: confirmed, type: integer}
  - {name: suspected, type: integer}
  - {name: cured, type: integer}
  - {name: dead, type: integer}
"""


def write_catalog(data: Path, catalog: Path) -> dict[str, str]:
    """Write the catalogue; returns commission (as in the file names, `` the national one) -> department id."""
    (catalog / "sources").mkdir(parents=True)
    (catalog / "entities").mkdir()
    (catalog / "sources" / "_bulletin.yaml").write_text(FORM, encoding="utf-8")
    (catalog / "entities" / "epidemic_day.yaml").write_text(ENTITY, encoding="utf-8")
    with (data / "ChinaAreaCode.csv").open(encoding="utf-8-sig", newline="") as file:
        code_of = {name: code for code, name in list(csv.reader(file))[1:] if code.endswith("0000")}
    commissions = {p.stem[10:] for p in (data / "reports").glob("*.csv")}
    departments = {}
    for commission in sorted(commissions):
        department = f"health_{code_of[commission]}" if commission else "nhc"
        name = f"{commission}卫生健康委员会" if commission else "国家卫生健康委员会"
        departments[commission] = department
        (catalog / "sources" / f"{department}__bulletin.yaml").write_text(
            f"like: _bulletin\ndepartment: {{id: {department}, zh: {name}, en: {department}}}\n"
            f'arrival: {{drop: "????-??-??{commission}.csv"}}\n',
            encoding="utf-8",
        )
    return departments


def days() -> Iterator[date]:
    for offset in range(13):
        yield date(2020, 1, 19) + timedelta(days=offset)


def consolidated(data: Path) -> dict[tuple[str, str], str]:
    """(day, province) -> confirmed, as the careful person wrote it."""
    found = {}
    for day in days():
        with (data / "consolidated" / f"{day}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["province"] and not row["city"]:
                    found[row["date"], row["province"]] = row["confirmed"]
    return found
