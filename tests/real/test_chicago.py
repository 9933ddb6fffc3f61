"""Nine lists of early-childhood sites in Chicago, as nine departmental drops: real duplicates, merged without an identifier.

The true ids are read by this test alone, after the pipeline has ended.
"""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from pipelines.flow import Outcome, run_all
from pipelines.run import Run, open_run
from pipelines.trace import trace
from pipelines.verify import verify
from tests.real.conftest import extracts

pytestmark = [pytest.mark.shared, pytest.mark.timeout(900)]

MAPPED = {
    "Site name": "{from: Site name, to: site_name, clean: upper}",
    "Address": "{from: Address, to: address, clean: upper}",
    "Zip": "{from: Zip, to: zip, clean: digits_only}",
    "Phone": "{from: Phone, to: phone, clean: digits_only}",
    "Id": "{from: Id, to: row_id, key: true}",
}
FORM = """\
title: {zh: 早教机构名单, en: Early-childhood sites}
load: snapshot
entity: site
clean: [trim_text]
period: {from: arrival}
arrival: {drop: "sites*.csv", cycle: daily, due: "09:00 next working day", calendar: every_day}
columns:
"""
ENTITY = """\
title: {zh: 早教机构, en: Early-childhood site}
authority: ["*"]
match:
  compare: [site_name, address, phone, zip]
attributes:
  - {name: site_name, kind: organisation_name}
  - {name: address, kind: address}
  - {name: phone, kind: phone}
  - {name: zip, kind: code}
"""


@dataclass(frozen=True)
class Merged:
    data: Path
    run: Run
    outcome: Outcome
    #: source -> its file as it was dropped: header and rows, read by csv alone
    sent: Mapping[str, list[list[str]]]


@pytest.fixture(scope="module")
def merged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Merged]:
    data = extracts("chicago-early-childhood")
    root = tmp_path_factory.mktemp("chicago")
    with (data / "csv_example_messy_input.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    header = list(rows[0])
    lists: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        lists[re.sub(r"[^a-z0-9]+", "_", row["Source"].rsplit(".csv", 1)[0].lower()).strip("_")].append(row)
    (root / "catalog" / "sources").mkdir(parents=True)
    (root / "catalog" / "entities").mkdir()
    columns = [MAPPED.get(name, f"{{from: '{name}', ignore: not published}}") for name in header]
    (root / "catalog/sources/_site.yaml").write_text(FORM + "".join(f"  - {c}\n" for c in columns), encoding="utf-8")
    (root / "catalog/entities/site.yaml").write_text(ENTITY, encoding="utf-8")
    sent = {}
    for department, own in lists.items():
        (root / f"catalog/sources/{department}__sites.yaml").write_text("like: _site\n", encoding="utf-8")
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, header)
        writer.writeheader()
        writer.writerows(own)
        folder = root / "workspace" / "landing" / department
        folder.mkdir(parents=True)
        (folder / "sites.csv").write_text(text.getvalue(), encoding="utf-8", newline="")
        sent[f"{department}__sites"] = list(csv.reader(io.StringIO(text.getvalue(), newline="")))
    with open_run(
        now=datetime.fromisoformat("2026-03-02T08:00:00-06:00"), workspace=root / "workspace", catalog=root / "catalog"
    ) as run:
        yield Merged(data, run, run_all(run), sent)


def test_nine_drops_and_every_row_is_accounted_for(merged: Merged) -> None:
    assert len(merged.sent) == len(merged.outcome.verdicts) == 9
    assert all(verdict.accepted for verdict in merged.outcome.verdicts), merged.outcome.verdicts
    assert merged.outcome.fused == ("site",)
    rows = {
        source: (read, accepted, refused)
        for source, read, accepted, refused in merged.run.con.execute(
            "SELECT source, rows_read, rows_accepted, rows_refused FROM lake.ledger.batch"
        ).fetchall()
    }
    assert {source: counts[0] for source, counts in rows.items()} == {s: len(table) - 1 for s, table in merged.sent.items()}
    assert sum(counts[0] for counts in rows.values()) == 3337
    assert all(read == accepted + refused for read, accepted, refused in rows.values())
    members = merged.run.con.execute("SELECT count(*), count(DISTINCT _record) FROM lake.base.site__member").fetchall()[0]
    assert members == (sum(accepted for _, accepted, _ in rows.values()),) * 2
    assert verify(merged.run) == []


def test_true_sites_come_together(merged: Merged) -> None:
    """Pairwise F1 against the true ids; printed with `pytest -s`."""
    with (merged.data / "csv_example_input_with_true_ids.csv").open(encoding="utf-8", newline="") as file:
        truth = {row["Id"]: row["True Id"] for row in csv.DictReader(file)}
    found = {}
    for source, row, entity in merged.run.con.execute("SELECT _source, _row, _entity FROM lake.base.site__member").fetchall():
        table = merged.sent[source]
        found[table[row - 1][table[0].index("Id")]] = entity
    assert set(found) == set(truth)
    ours, true = _pairs(found), _pairs(truth)
    both = len(ours & true)
    precision, recall, f1 = both / len(ours), both / len(true), 2 * both / (len(ours) + len(true))
    print(
        f"\nChicago: precision {precision:.4f}, recall {recall:.4f}, F1 {f1:.4f}, {len(set(found.values()))} sites of {len(set(truth.values()))}"
    )
    assert f1 >= 0.90


def _pairs(group_of: Mapping[str, str]) -> set[tuple[str, str]]:
    groups: dict[str, list[str]] = defaultdict(list)
    for row, group in group_of.items():
        groups[group].append(row)
    return {pair for rows in groups.values() for pair in itertools.combinations(sorted(rows), 2)}


def test_every_golden_field_is_a_cell_that_was_sent(merged: Merged) -> None:
    """Every field of every golden record, by its origin, against the dropped files."""
    fields = merged.run.con.execute(
        "SELECT o.attribute, o._source, o._row, CASE o.attribute WHEN 'site_name' THEN g.site_name WHEN 'address' THEN g.address "
        "WHEN 'phone' THEN g.phone WHEN 'zip' THEN g.zip END "
        "FROM lake.base.site__origin AS o JOIN lake.base.site AS g USING (_entity)"
    ).fetchall()
    filled = merged.run.con.execute(
        "SELECT sum((site_name IS NOT NULL)::INT + (address IS NOT NULL)::INT + (phone IS NOT NULL)::INT "
        "+ (zip IS NOT NULL)::INT) FROM lake.base.site"
    ).fetchall()[0][0]
    assert len(fields) == filled > 3000
    header = {"site_name": "Site name", "address": "Address", "phone": "Phone", "zip": "Zip"}
    for attribute, source, row, value in fields:
        table = merged.sent[source]
        cell = " ".join(table[row - 1][table[0].index(header[attribute])].split())
        assert value == (re.sub(r"\D", "", cell) if attribute in ("phone", "zip") else cell.upper())


def test_trace_shows_the_cell_as_it_was_sent(merged: Merged) -> None:
    ids = [
        row[0]
        for row in merged.run.con.execute("SELECT _entity FROM lake.base.site ORDER BY _records DESC, _entity LIMIT 5").fetchall()
    ]
    for one in ids:
        found = trace(merged.run, "site", one)
        assert found.fields and len(found.members) > 1
        for field in found.fields:
            table = merged.sent[field.source]
            assert field.header is not None
            assert field.file_name == "sites.csv" and field.as_sent == table[field.row - 1][table[0].index(field.header)]
        assert {m.source for m in found.members} >= {f.source for f in found.fields}
