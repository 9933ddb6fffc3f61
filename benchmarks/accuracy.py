"""How often records are linked rightly, measured on public data whose truth is known: `python -m benchmarks.accuracy`.

Pairs of rows count, pairs within one source included. Nothing here is tuned to a data set: every entity below says only
what an entity YAML says (kinds of attributes, and for sites that a site is a place). The truth is read after the run.

Data: folder `data` of DMP_SHARED, by default ../shared beside the repository.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from catalog.entity import Entity
from pipelines.link import link

SHARED = Path(os.environ.get("DMP_SHARED", Path(__file__).resolve().parent.parent.parent / "shared")) / "data"


@dataclass(frozen=True)
class Score:
    rows: int
    true_pairs: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class DataSet:
    """`load` makes records (as `link` reads them) and truth (`_record`, `entity`); the plain rule wants `baseline` equal."""

    name: str
    folder: str
    load: Callable[[duckdb.DuckDBPyConnection, Path], None]
    kinds: Mapping[str, str]
    baseline: tuple[str, ...]
    match: Mapping[str, Any]

    @property
    def entity(self) -> Entity:
        return Entity.model_validate(
            {
                "id": "measured",
                "title": {"zh": self.name, "en": self.name},
                "authority": "*",
                "match": {"compare": list(self.kinds), **self.match},
                "attributes": [{"name": name, "kind": kind} for name, kind in self.kinds.items()],
            }
        )


def _read(path: Path) -> str:
    return f"read_csv('{path}', all_varchar = true, header = true)"


def _chicago(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    con.execute(
        f"""CREATE TABLE records AS
SELECT "Source" || '/' || "Id" AS _record, "Source" AS _source,
  nullif(trim(regexp_replace("Site name", '\\s+', ' ', 'g')), '') AS site_name,
  nullif(trim(regexp_replace(address, '\\s+', ' ', 'g')), '') AS address,
  nullif(regexp_replace(phone, '\\D', '', 'g'), '') AS phone,
  nullif(trim(zip), '') AS zip
FROM {_read(folder / "csv_example_messy_input.csv")}"""
    )
    con.execute(
        f"""CREATE TABLE truth AS SELECT "Source" || '/' || "Id" AS _record, "True Id" AS entity"""
        f" FROM {_read(folder / 'csv_example_input_with_true_ids.csv')}"
    )


def _febrl(number: int) -> Callable[[duckdb.DuckDBPyConnection, Path], None]:
    def load(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        columns = ", ".join(f"""nullif(trim({c}), '') AS {c}""" for c in FEBRL)
        con.execute(f"CREATE TABLE raw AS SELECT row_number() OVER () AS n, * FROM {_read(folder / f'dataset{number}.csv')}")
        con.execute(f"CREATE TABLE records AS SELECT format('{{:05d}}', n) AS _record, 'febrl' AS _source, {columns} FROM raw")
        con.execute(
            "CREATE TABLE truth AS"
            " SELECT format('{:05d}', n) AS _record, regexp_extract(rec_id, 'rec-(\\d+)-', 1) AS entity FROM raw"
        )

    return load


def _fake(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    source = _read(folder / "fake_1000.csv")
    con.execute(f"CREATE TABLE records AS SELECT unique_id AS _record, 'fake' AS _source, {', '.join(FAKE)} FROM {source}")
    con.execute(f'CREATE TABLE truth AS SELECT unique_id AS _record, "cluster" AS entity FROM {source}')


FEBRL = {
    "given_name": "person_name",
    "surname": "person_name",
    "street_number": "code",
    "address_1": "address",
    "address_2": "text",
    "suburb": "text",
    "postcode": "code",
    "state": "code",
    "date_of_birth": "date",
    "soc_sec_id": "code",
}
FAKE = {"first_name": "person_name", "surname": "person_name", "dob": "date", "city": "text", "email": "email"}
SITE = {"site_name": "organisation_name", "address": "address", "phone": "phone", "zip": "code"}
PERSON = ("given_name", "surname", "date_of_birth")

DATA = (
    DataSet("chicago, nothing said", "chicago-early-childhood", _chicago, SITE, ("address", "phone"), {}),
    DataSet(
        "chicago, a site is a place", "chicago-early-childhood", _chicago, SITE, ("address", "phone"), {"block": ["address"]}
    ),
    *(DataSet(f"febrl {n}", "febrl-1-2-3", _febrl(n), FEBRL, PERSON, {}) for n in (1, 2, 3)),
    DataSet("splink fake_1000", "splink-fake-1000", _fake, FAKE, ("first_name", "surname", "dob"), {}),
)


def score(con: duckdb.DuckDBPyConnection, groups: str) -> Score:
    """Pairwise, `groups` being a query of `_record` and `g`."""

    def pairs(by: str) -> int:
        counted = con.execute(
            "SELECT coalesce(sum(n * (n - 1) // 2), 0)::BIGINT FROM"
            f" (SELECT count(*) AS n FROM truth JOIN ({groups}) USING (_record) GROUP BY {by})"
        ).fetchall()
        return int(counted[0][0])

    rows = con.execute("SELECT count(*) FROM records").fetchall()[0][0]
    true, found, both = pairs("entity"), pairs("g"), pairs("entity, g")
    return Score(rows, true, both / max(found, 1), both / true, 2 * both / (found + true))


def measure(data: DataSet) -> tuple[Score, Score]:
    """The project's linking and the plain rule `baseline`, both on the same cleaned rows."""
    con = duckdb.connect()
    data.load(con, SHARED / data.folder)
    link(con, data.entity, "records", "linked")
    same = " || '|' || ".join(f"upper({c})" for c in data.baseline)
    plain = f"SELECT _record, coalesce({same}, 'alone/' || _record) AS g FROM records"
    return score(con, "SELECT _record, _cluster AS g FROM linked"), score(con, plain)


def main() -> None:
    heads = ("data set", "rows", "true pairs", "precision", "recall", "F1", "plain rule F1", "seconds")
    print("{:28} {:>6} {:>10} {:>9} {:>7} {:>7} {:>13} {:>8}".format(*heads))
    for data in DATA:
        if not (SHARED / data.folder).is_dir():
            print(f"{data.name:28} skipped: {SHARED / data.folder} is not here; set DMP_SHARED to the folder that holds `data`")
            continue
        start = time.monotonic()
        ours, plain = measure(data)
        print(
            f"{data.name:28} {ours.rows:6} {ours.true_pairs:10} {ours.precision:9.4f} {ours.recall:7.4f} {ours.f1:7.4f}"
            f" {plain.f1:13.4f} {time.monotonic() - start:8.1f}"
        )


if __name__ == "__main__":
    main()
