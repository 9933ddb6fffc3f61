"""Cell by cell against truth: the checks that a person writes from the columns of a table in an hour, and what they find.

`hospital` (public, 1,000 rows, 509 wrong cells: a letter replaced by `x`) has a clean and a dirty table.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from pipelines.flow import intake
from tests.real.conftest import extracts
from tests.support import town

CONTRACT = """\
title: {zh: 医院质量指标, en: Hospital measures}
department: {id: health, zh: 卫健委, en: Health}
load: snapshot
arrival: {drop: "*.csv", cycle: event}
columns:
  - {from: index, to: record_no, key: true}
  - {from: provider_number, to: provider_number}
  - {from: name, to: hospital_name}
  - {from: address_1, to: address}
  - {from: address_2, ignore: always empty}
  - {from: address_3, ignore: always empty}
  - {from: city, to: city}
  - {from: state, to: state}
  - {from: zip, to: zip}
  - {from: county, to: county}
  - {from: phone, to: phone}
  - {from: type, to: hospital_type}
  - {from: owner, to: hospital_owner}
  - {from: emergency_service, to: emergency_service}
  - {from: condition, to: condition}
  - {from: measure_code, to: measure_code}
  - {from: measure_name, to: measure_name}
  - {from: score, to: score}
  - {from: sample, to: sample}
  - {from: state_average, to: state_average}
expect:
  - {value_matches: provider_number, pattern: "^[0-9]{5}$"}
  - {value_matches: zip, pattern: "^[0-9]{5}$"}
  - {value_matches: phone, pattern: "^[0-9]{10}$"}
  - {value_in_set: emergency_service, values: ["yes", "no"]}
  - {value_matches: score, pattern: "^([0-9]{1,3}%|empty)$"}
  - {value_matches: sample, pattern: "^([0-9]+ patients|empty)$"}
"""
#: Column -> what determines it.
DETERMINED = {
    "hospital_name": "provider_number", "address": "provider_number", "city": "provider_number", "state": "provider_number",
    "zip": "provider_number", "county": "provider_number", "phone": "provider_number", "hospital_type": "provider_number",
    "hospital_owner": "provider_number", "emergency_service": "provider_number", "provider_number": "phone",
    "measure_name": "measure_code", "condition": "measure_code", "measure_code": "measure_name",
}  # fmt: skip
HEADERS = {"hospital_name": "name", "address": "address_1", "hospital_type": "type", "hospital_owner": "owner"}
FORM = CONTRACT + "".join(f"  - {{value_agrees_within: [{a}, {b}]}}\n" for a, b in DETERMINED.items()) + (
    '  - {sql: "SELECT * FROM {batch} WHERE state_average <> concat(state, \'_\', measure_code)", id: state_average}\n'
)  # fmt: skip


@pytest.mark.shared
def test_most_wrong_cells_are_found_and_few_right_ones_are_called_wrong(tmp_path: Path) -> None:
    folder = extracts("raha-hospital")
    with (folder / "dirty.csv").open(encoding="utf-8") as a, (folder / "clean.csv").open(encoding="utf-8") as b:
        dirty, clean = list(csv.reader(a)), list(csv.reader(b))
    header = dirty[0]
    truth = {
        (row, header[i]) for row in range(1, len(dirty)) for i in range(len(header)) if dirty[row][i] != clean[row][i]
    }  # fmt: skip
    place = town(tmp_path, {"health__measure": FORM})
    place.drop("health", "measures.csv", (folder / "dirty.csv").read_bytes())
    with place.run("2026-03-02T20:00:00+08:00") as run:
        (verdict,) = intake(run, "health__measure")
    assert verdict.state == "warn"
    tables = place.tables()
    columns = {r["check_id"]: r["check_id"].removeprefix(r["kind"] + "_") for r in tables["quality.check"]}
    columns |= {f"value_agrees_within_{a}_{b}": a for a, b in DETERMINED.items()} | {"state_average": "state_average"}
    found = {(r["_row"] - 1, HEADERS.get(c := columns[r["check_id"]], c)) for r in tables["quality.failing_row"]}
    right = len(found & truth)
    precision, recall = right / len(found), right / len(truth)
    print(f"\n{len(truth)} wrong cells, {len(found)} named, {right} rightly: precision {precision:.3f}, recall {recall:.3f}, "
          f"F1 {2 * precision * recall / (precision + recall):.3f}")  # fmt: skip
    assert len(truth) == 509
    assert precision > 0.9
    assert recall > 0.9
