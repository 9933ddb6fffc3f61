"""Three years of the US Department of Labor's H-2B decisions: one contract, written for the first year, and what became of the
columns since. https://github.com/BuzzFeedNews/H-2-certification-data keeps the department's files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from pipelines.flow import intake
from tests.real.conftest import extracts
from tests.support import Town, town

pytestmark = pytest.mark.shared

SOURCE = "labor__h2b"
NOW = "2010-12-01T09:00:00+00:00"
ROWS = {2008: 11_181, 2009: 7_086, 2010: 4_535}  # told by the collection's README
FY2008 = """\
title: {zh: H-2B 劳工认证决定, en: H-2B labour certifications}
department: {id: labor, zh: 劳工部, en: Department of Labor}
load: append
period: {from: file_name, pattern: "H-2B_FY(?P<year>\\\\d{4})"}
arrival: {drop: "H-2B_FY*.xlsx", cycle: yearly}
format: {reader: workbook, sheet: ["H-2B*"]}
clean: [trim_text]
columns:
  - {from: CASE_NO, to: case_no, key: true}
  - {from: DECISION_DATE, to: decided_on, type: date, clean: date_any_format}
  - {from: NPC_SUBMITTED_DATE, to: submitted_on, type: date, clean: date_any_format}
  - {from: CASE_STATUS, to: case_status}
  - {from: ALIEN_WORK_STATE, to: work_state}
  - {from: CERTIFICATION_BEGIN_DATE, to: valid_from, type: date, clean: date_any_format}
  - {from: CERTIFICATION_END_DATE, to: valid_to, type: date, clean: date_any_format, check: {not_before: {start: valid_from}}, on_fail: keep}
  - {from: EMPLOYER_NAME, to: employer_name}
  - {from: EMPLOYER_ADDRESS1, to: employer_address}
  - {from: EMPLOYER_ADDRESS2, to: employer_address_more}
  - {from: EMPLOYER_CITY, to: employer_city}
  - {from: EMPLOYER_STATE, to: employer_state}
  - {from: EMPLOYER_POSTAL_CODE, to: employer_postal_code}
  - {from: AGENT_ATTORNEY_ADDRESS, to: attorney_address}
  - {from: AGENT_ATTORNEY_CITY, to: attorney_city}
  - {from: AGENT_ATTORNEY_STATE, to: attorney_state}
  - {from: JOB_TITLE, to: job_title}
  - {from: NBR_WORKERS_CERTIFIED, to: workers_certified, type: integer, clean: integer}
  - {from: PREVAILING_WAGE, to: prevailing_wage, type: number, clean: number}
  - {from: PW_UNIT_OF_PAY, to: prevailing_wage_unit}
  - {from: BASIC_RATE_OF_PAY, to: basic_rate, type: number, clean: number}
  - {from: BASIC_UNIT_OF_PAY, to: basic_rate_unit}
"""
NEW = {"APPLICATION_TYPE", "DOT_OCCUPATIONAL_CODE", "NBR_WORKERS_REQUESTED"}
GONE = "AGENT_ATTORNEY_ADDRESS"


def send(place: Town, year: int) -> str:
    name = f"H-2B_FY{year}.xlsx"
    place.drop("labor", name, (extracts("us-labor-h2b") / name).read_bytes())
    with place.run(NOW) as run:
        [verdict] = intake(run, SOURCE)
    return verdict.state


def told(place: Town, batch: str) -> dict[str, dict[str, dict[str, Any]]]:
    """code -> header -> finding, of one batch."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for row in place.tables()["quality.finding"]:
        if row["batch"] == f"{SOURCE}@{batch}":
            found.setdefault(row["code"], {})[row["header"]] = row
    return found


def pasted(contract: str, findings: dict[str, dict[str, dict[str, Any]]]) -> str:
    """The contract after somebody did what every proposal says: use what is new, allow what is gone to be absent."""
    for header, found in findings["column_optional_proposed"].items():
        line = re.search(r"write into the contract: (.+)$", found["message_en"])
        assert line
        contract = re.sub(rf"(?m)^  - \{{from: {header},.*$", f"  - {{{line.group(1)}}}", contract)
    for found in findings["column_add_proposed"].values():
        line = re.search(r"add to the contract: (.+?); not", found["message_en"])
        assert line
        contract += f"  - {{{line.group(1)}}}\n"
    return contract


def test_three_years_come_into_one_table_once_somebody_follows_what_is_proposed(tmp_path: Path) -> None:
    extracts("us-labor-h2b")
    place = town(tmp_path, {SOURCE: FY2008})
    assert send(place, 2008) in ("pass", "warn")
    assert send(place, 2009) in ("pass", "warn")
    assert not {code for code in told(place, "2009.v1") if code.startswith("column")} - {"column_retyped"}

    assert send(place, 2010) == "hold"
    found = told(place, "2010.v1")
    assert set(found["column_missing"]) == set(found["column_gone"]) == set(found["column_optional_proposed"]) == {GONE}
    assert set(found["column_new"]) == set(found["column_undeclared"]) == set(found["column_add_proposed"]) == NEW
    assert "column_rename_proposed" not in found, "none of the new columns is the attorney's address"
    assert "whole numbers" in found["column_add_proposed"]["NBR_WORKERS_REQUESTED"]["message_en"]

    place.contract(SOURCE, pasted(FY2008, found))
    assert send(place, 2010) in ("pass", "warn")
    assert not {"column_missing", "column_undeclared"} & set(told(place, "2010.v2"))
    tables = place.tables()
    years = {b["period"]: b for b in tables["ledger.batch"] if b["verdict"] != "hold"}
    assert {int(y): b["rows_read"] for y, b in years.items()} == ROWS
    assert {int(y): b["rows_accepted"] + b["rows_refused"] for y, b in years.items()} == ROWS
    std = tables[f"std.{SOURCE}"]
    assert len(std) == sum(b["rows_accepted"] for b in years.values()) >= 0.99 * sum(ROWS.values())
    assert len({(r["_batch"], r["case_no"]) for r in std}) == len(std), "CASE_NO is unique in each file"
    asked = [r["nbr_workers_requested"] for r in std if r["_batch"].endswith("2010.v2")]
    assert sum(a is not None for a in asked) > 4_000
    assert {r["nbr_workers_requested"] for r in std if not r["_batch"].endswith("2010.v2")} == {None}
