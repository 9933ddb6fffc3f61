"""How often records are linked rightly, measured where the truth is known: `python -m benchmarks.accuracy [WORD ...]`.

Pairs of rows count, pairs within one source included. Nothing here is tuned to a data set: every entity below says only
what an entity YAML says (kinds of attributes, and for sites that a site is a place), people and firms use the shipped ones.
The truth is no column of what is linked, and is read after the run. Beside each stands what a plain rule makes of the same
rows, and for Splink's own data what Splink's own quickstart makes of them in the same run.

Exit status 1 where a data set stays below its `floor`. With words, only the data sets whose names hold one of them.

Data: folder `data` of DMP_SHARED, by default ../shared beside the repository; each data set in the folder that it names. febrl-4 and
splink-historical-50k (from github.com/moj-analytical-services/splink_datasets) were first looked at when the linking was done.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from benchmarks import town
from catalog.entity import Entity, load_entity
from catalog.registry import SHIPPED
from examples.city.city import make_city
from pipelines.dedupe import dedupe
from pipelines.dedupe import folder as staged
from pipelines.flow import intake
from pipelines.link import link
from pipelines.run import open_run

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
    """`load` makes records (as `link` reads them) and truth (`_record`, `entity`), from `folder` or, where that is empty, by itself.

    `made` is the entity of the catalogue; without it, `kinds` and `match` say what an entity YAML would. The plain rule wants all of
    `baseline` equal. `rival` groups the same records otherwise: SQL of `_record`, `g`.
    """

    name: str
    folder: str
    load: Callable[[duckdb.DuckDBPyConnection, Path], None]
    kinds: Mapping[str, str]
    baseline: tuple[str, ...]
    match: Mapping[str, Any]
    floor: float = 0.0
    made: str = ""
    rival: tuple[str, Callable[[duckdb.DuckDBPyConnection], str]] | None = None

    @property
    def entity(self) -> Entity:
        if self.made:
            return load_entity(SHIPPED / "entities" / f"{self.made}.yaml")
        return Entity.model_validate(
            {
                "id": "measured",
                "title": {"zh": self.name, "en": self.name},
                "authority": "*",
                "match": {"compare": list(self.kinds), **self.match},
                "attributes": [{"name": name, "kind": kind} for name, kind in self.kinds.items()],
            }
        )

    @property
    def is_here(self) -> bool:
        return not self.folder or (SHARED / self.folder).is_dir()


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


def _febrl(*files: str) -> Callable[[duckdb.DuckDBPyConnection, Path], None]:
    """Each file a register of made people."""

    def load(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        columns = ", ".join(f"nullif(trim({c}), '') AS {c}" for c in FEBRL)
        parts = " UNION ALL ".join(f"SELECT '{file}' AS source, * FROM {_read(folder / f'{file}.csv')}" for file in files)
        con.execute(f"CREATE TABLE raw AS SELECT row_number() OVER () AS n, * FROM ({parts})")
        con.execute(f"CREATE TABLE records AS SELECT format('{{:05d}}', n) AS _record, source AS _source, {columns} FROM raw")
        con.execute(
            "CREATE TABLE truth AS"
            " SELECT format('{:05d}', n) AS _record, regexp_extract(rec_id, 'rec-(\\d+)-', 1) AS entity FROM raw"
        )

    return load


def _historical(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    source = f"read_parquet('{folder / 'historical_figures_with_errors_50k.parquet'}')"
    con.execute(f"CREATE TABLE raw AS SELECT row_number() OVER (ORDER BY hash(unique_id)) AS n, * FROM {source}")
    con.execute(
        f"CREATE TABLE records AS SELECT format('{{:05d}}', n) AS _record, 'wikidata' AS _source, {', '.join(FIGURE)} FROM raw"
    )
    con.execute("CREATE TABLE truth AS SELECT format('{:05d}', n) AS _record, \"cluster\" AS entity FROM raw")


def _fake(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    source = _read(folder / "fake_1000.csv")
    con.execute(f"CREATE TABLE records AS SELECT unique_id AS _record, 'fake' AS _source, {', '.join(FAKE)} FROM {source}")
    con.execute(f'CREATE TABLE truth AS SELECT unique_id AS _record, "cluster" AS entity FROM {source}')


def _splink_quickstart(con: duckdb.DuckDBPyConnection) -> str:
    """Splink's own settings for its own data, as its documentation has them (Getting started, Quickstart; version 5)."""
    import splink.comparison_library as cl
    from splink import SettingsCreator, block_on

    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="_record",
        comparisons=[
            cl.NameComparison("first_name"),
            cl.JaroAtThresholds("surname"),
            cl.DateOfBirthComparison("dob", input_is_string=True),
            cl.ExactMatch("city").configure(term_frequency_adjustments=True),
            cl.EmailComparison("email"),
        ],
        blocking_rules_to_generate_predictions=[block_on("first_name", "dob"), block_on("surname")],
    )
    return _splink(con, settings, ([block_on("first_name", "surname")], 0.7), 1e6, (("first_name", "surname"), ("email",)))


def _splink_historical(con: duckdb.DuckDBPyConnection) -> str:
    """Splink's own settings for its own data, as its documentation has them (Examples, Deduplicate 50k rows historical persons)."""
    import splink.comparison_library as cl
    from splink import SettingsCreator, block_on

    con.execute("ALTER TABLE records ADD COLUMN both_names VARCHAR")
    con.execute("UPDATE records SET both_names = concat_ws(' ', first_name, surname)")
    blocks = (
        ("substr(first_name,1,3)", "substr(surname,1,4)"), ("surname", "dob"), ("first_name", "dob"), ("postcode_fake", "first_name"),
        ("postcode_fake", "surname"), ("dob", "birth_place"), ("substr(postcode_fake,1,3)", "dob"),
        ("substr(postcode_fake,1,3)", "first_name"), ("substr(postcode_fake,1,3)", "surname"),
        ("substr(first_name,1,2)", "substr(surname,1,2)", "substr(dob,1,4)"),
    )  # fmt: skip
    settings = SettingsCreator(
        link_type="dedupe_only",
        unique_id_column_name="_record",
        comparisons=[
            cl.ForenameSurnameComparison("first_name", "surname", forename_surname_concat_col_name="both_names"),
            cl.DateOfBirthComparison("dob", input_is_string=True),
            cl.PostcodeComparison("postcode_fake"),
            cl.ExactMatch("birth_place").configure(term_frequency_adjustments=True),
            cl.ExactMatch("occupation").configure(term_frequency_adjustments=True),
        ],
        blocking_rules_to_generate_predictions=[block_on(*names) for names in blocks],
    )
    certain = (
        ("first_name", "surname", "dob"),
        ("substr(first_name,1,2)", "surname", "substr(postcode_fake,1,2)"),
        ("dob", "postcode_fake"),
    )
    return _splink(con, settings, ([block_on(*names) for names in certain], 0.6), 5e6, (("first_name", "surname"), ("dob",)))


def _splink(
    con: duckdb.DuckDBPyConnection,
    settings: Any,
    certain: tuple[list[Any], float],
    sampled: float,
    trained: Sequence[tuple[str, ...]],
) -> str:
    """Trained as Splink's documentation does it, and grouped at 0.95."""
    from splink import DuckDBAPI, Linker, block_on

    logging.getLogger("splink").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        linker = Linker(DuckDBAPI(con).register("records"), settings, log_level=None)
        linker.training.estimate_probability_two_random_records_match(certain[0], recall=certain[1])
        linker.training.estimate_u_using_random_sampling(max_pairs=sampled, seed=1)
        for names in trained:
            linker.training.estimate_parameters_using_expectation_maximisation(block_on(*names))
        pairs = linker.inference.predict(threshold_match_weight=-5)
        groups = linker.clustering.cluster_pairwise_predictions_at_threshold(pairs, 0.95)
    return f"SELECT _record, cluster_id AS g FROM {groups.physical_name}"


CITY_SCALE = 0.4


def _city(entity: str) -> Callable[[duckdb.DuckDBPyConnection, Path], None]:
    """The records that the fusion of the synthetic city's last day links, with its maker's truth."""

    def load(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            make_city(root / "city", scale=CITY_SCALE)
            file_of = {}
            for wave in json.loads((root / "city" / "schedule.json").read_text(encoding="utf-8")):
                with open_run(now=datetime.fromisoformat(wave["at"]), workspace=root / "workspace", catalog=SHIPPED) as run:
                    for drop in wave["drops"]:
                        if run.catalog.contract(drop["source"]).entity != entity:
                            continue
                        landing = run.workspace.landing / drop["department"]
                        landing.mkdir(parents=True, exist_ok=True)
                        shutil.copy(root / "city" / drop["file"], landing / drop["name"])
                        for verdict in intake(run, drop["source"]):
                            file_of[verdict.batch] = drop["file"]
            with open_run(now=datetime.fromisoformat(wave["at"]), workspace=root / "workspace", catalog=SHIPPED) as run:
                dedupe(run, entity)
                con.execute(
                    "CREATE TABLE records AS FROM read_parquet($1)", [str(staged(run.workspace, entity) / "records.parquet")]
                )
            con.execute("CREATE TABLE file_of (_batch VARCHAR, file VARCHAR)")
            con.executemany("INSERT INTO file_of VALUES (?, ?)", [list(pair) for pair in file_of.items()])
            con.execute(
                "CREATE TABLE truth AS SELECT r._record, t.truth AS entity FROM records AS r JOIN file_of USING (_batch)"
                f" JOIN {_read(root / 'city' / 'truth' / 'rows.csv')} AS t ON t.file = file_of.file AND CAST(t.row AS BIGINT) = r._row"
                " WHERE t.truth <> ''"
            )

    return load


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
FIGURE = {
    "first_name": "person_name",
    "surname": "person_name",
    "dob": "date",
    "birth_place": "text",
    "postcode_fake": "code",
    "occupation": "text",
}
SITE = {"site_name": "organisation_name", "address": "address", "phone": "phone", "zip": "code"}
PERSON = ("given_name", "surname", "date_of_birth")

CHICAGO = "chicago-early-childhood"
SITE_RULE = ("address", "phone")
NAMED = ("person_name", "birth_date")
DATA = (
    DataSet("chicago, nothing said", CHICAGO, _chicago, SITE, SITE_RULE, {}),
    DataSet("chicago, a site is a place", CHICAGO, _chicago, SITE, SITE_RULE, {"block": ["address"]}, 0.95),
    *(
        DataSet(f"febrl {n}", "febrl-1-2-3", _febrl(f"dataset{n}"), FEBRL, PERSON, {}, floor)
        for n, floor in ((1, 0.99), (2, 0.97), (3, 0.95))
    ),
    DataSet(
        "splink fake_1000",
        "splink-fake-1000",
        _fake,
        FAKE,
        ("first_name", "surname", "dob"),
        {},
        rival=("Splink's quickstart", _splink_quickstart),
    ),
    DataSet("febrl 4", "febrl-4", _febrl("dataset4a", "dataset4b"), FEBRL, PERSON, {}),
    DataSet(
        "splink historical 50k",
        "splink-historical-50k",
        _historical,
        FIGURE,
        ("first_name", "surname", "dob"),
        {},
        rival=("Splink's demo", _splink_historical),
    ),
    DataSet("city, people", "", _city("person"), {}, NAMED, {}, 0.98, "person"),
    DataSet("city, firms", "", _city("legal_entity"), {}, ("entity_name",), {}, 0.98, "legal_entity"),
    DataSet("town, people", "", lambda con, _: town.people(con), {}, NAMED, {}, 0.98, "person"),
    DataSet("town, firms", "", lambda con, _: town.firms(con), {}, ("entity_name",), {}, 0.98, "legal_entity"),
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
    ours, plain, _ = compare(data)
    return ours, plain


def compare(data: DataSet) -> tuple[Score, Score, Score | None]:
    """The same, and the rival where there is one."""
    con = duckdb.connect()
    data.load(con, SHARED / data.folder)
    con.execute("ALTER TABLE truth RENAME TO hidden")  # nothing that links can read it by its name
    link(con, data.entity, "records", "linked")
    same = " || '|' || ".join(f"upper({c}::VARCHAR)" for c in data.baseline)
    plain = f"SELECT _record, coalesce({same}, 'alone/' || _record) AS g FROM records"
    other = data.rival and data.rival[1](con)
    con.execute("ALTER TABLE hidden RENAME TO truth")
    return score(con, "SELECT _record, _cluster AS g FROM linked"), score(con, plain), score(con, other) if other else None


def main(words: list[str]) -> int:
    heads = ("data set", "rows", "true pairs", "precision", "recall", "F1", "floor", "plain rule F1", "seconds")
    print("{:28} {:>6} {:>10} {:>9} {:>7} {:>7} {:>6} {:>13} {:>8}".format(*heads))
    below = []
    for data in DATA:
        if words and not any(word in data.name for word in words):
            continue
        if not data.is_here:
            print(f"{data.name:28} skipped: {SHARED / data.folder} is not here; set DMP_SHARED to the folder that holds `data`")
            continue
        start = time.monotonic()
        ours, plain, rival = compare(data)
        print(
            f"{data.name:28} {ours.rows:6} {ours.true_pairs:10} {ours.precision:9.4f} {ours.recall:7.4f} {ours.f1:7.4f}"
            f" {f'{data.floor:.2f}' if data.floor else '':>6} {plain.f1:13.4f} {time.monotonic() - start:8.1f}",
            flush=True,
        )
        if rival and data.rival:
            print(f"  {data.rival[0]:26} {'':17} {rival.precision:9.4f} {rival.recall:7.4f} {rival.f1:7.4f}", flush=True)
        if ours.f1 < max(data.floor, plain.f1, rival.f1 if rival else 0):
            below.append(data.name)
    if below:
        print(f"below the floor, the plain rule or the rival: {', '.join(below)}")
    return 1 if below else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
