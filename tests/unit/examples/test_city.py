"""The synthetic city: same seed, same bytes; the truth is complete; every fault is where the truth says."""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import json
import re
from collections import Counter, defaultdict
from fnmatch import fnmatch
from pathlib import Path

import openpyxl
import pytest
from stdnum.cn import ric, uscc

from catalog.contract import Contract
from catalog.registry import open_catalog
from examples.city.city import make_city
from examples.city.numbers import organisation_check, registration_check
from pipelines.rules import find_rule
from quality.expectations import prepare

CATALOG = open_catalog(Path(__file__).parents[3] / "catalog")
Table = dict[int, list[str]]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("city") / "out"
    make_city(out, scale=0.25)
    return out


def read_truth(city: Path, name: str) -> list[dict[str, str]]:
    with (city / "truth" / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contract_of(file: str) -> Contract:
    """By department and file name, as the pipeline finds it: drops/<wave>/<department>/<name>."""
    _, _, department, name = file.split("/")
    return next(
        c for c in CATALOG.contracts.values() if c.department.id == department and any(fnmatch(name, p) for p in c.arrival.drop)
    )


def header_row(contract: Contract) -> int:
    return (contract.format.header_row or (1,))[-1]


def read_back(path: Path, contract: Contract) -> Table:
    """Row number -> cells, header included, read by the contract alone and by none of the generator's code."""
    if contract.format.reader == "workbook":
        sheet = openpyxl.load_workbook(path)[(contract.format.sheet or ("",))[0]]
        rows = {}
        for number, cells in enumerate(sheet.iter_rows(values_only=True), 1):
            if number >= header_row(contract):
                rows[number] = [_shown(cell) for cell in cells]
        return rows
    return {
        number: next(csv.reader([line], delimiter=contract.format.delimiter or ","), [])
        for number, line in enumerate(text_lines(path, contract), 1)
    }


def _shown(cell: object) -> str:
    if cell is None:
        return ""
    return cell.date().isoformat() if isinstance(cell, dt.datetime) else str(cell)


def text_lines(path: Path, contract: Contract) -> list[str]:
    text = path.read_bytes().decode(contract.format.encoding[0], errors="replace").removeprefix("\ufeff")
    text = text.replace("\ue826", "\u9fb5")  # FE61 in GB 18030-2022; Python decodes it by the edition of 2005
    return re.split("\r?\n", text.removesuffix("\n").removesuffix("\r"))


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_the_same_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    for name, seed in (("one", 7), ("two", 7), ("three", 8)):
        make_city(tmp_path / name, seed=seed, scale=0.05)

    one, two, three = (digests(tmp_path / name) for name in ("one", "two", "three"))

    assert one == two
    assert one.keys() == three.keys()
    assert all(one[name] != three[name] for name in one if name.startswith("drops/"))


def test_a_used_folder_and_a_scale_too_small_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="not empty"):
        make_city(tmp_path)
    with pytest.raises(ValueError, match=r"use 0\.05 or more"):
        make_city(tmp_path / "new", scale=0.001)


def test_every_row_of_every_file_stands_in_the_truth_once(city: Path) -> None:
    told: dict[str, list[int]] = defaultdict(list)
    for row in read_truth(city, "rows"):
        told[row["file"]].append(int(row["row"]))
    dropped = {str(p.relative_to(city)) for p in (city / "drops").rglob("*") if p.is_file()}

    assert dropped == set(told)
    for file, numbers in told.items():
        contract = contract_of(file)
        present = set(read_back(city / file, contract)) - {header_row(contract)}
        assert sorted(numbers) == sorted(present), file


def test_rows_without_a_fault_carry_the_identity_of_their_truth(city: Path) -> None:
    """Also where a row moved down by blank lines, duplicates or a repeated header above it."""
    columns = {
        "police__resident": "公民身份号码", "police__residence_permit": "公民身份号码", "human_resources__insured": "证件号码",
        "civil_affairs__marriage": "证件号码", "market_regulation__enterprise": "统一社会信用代码",
        "taxation__taxpayer": "社会信用代码", "civil_affairs__social_organisation": "统一社会信用代码",
        "market_regulation__licence": "证照编号", "credit_office__permit": "XK_XKBH",
    }  # fmt: skip
    true = {r["truth"]: r["resident_id"] for r in read_truth(city, "people")}
    true |= {r["truth"]: r["uscc"] for r in read_truth(city, "entities")}
    true |= {r["truth"]: r["licence_no"] for r in read_truth(city, "licences")}
    faulty = {(f["file"], f["row"]) for f in read_truth(city, "faults")}
    tables: dict[str, Table] = {}
    checked = Counter[str]()
    for row in read_truth(city, "rows"):
        if row["source"] not in columns or row["kind"] != "data" or (row["file"], row["row"]) in faulty:
            continue
        contract = CATALOG.contract(row["source"])
        if row["file"] not in tables:
            tables[row["file"]] = read_back(city / row["file"], contract)
        table = tables[row["file"]]
        place = table[header_row(contract)].index(columns[row["source"]])
        assert table[int(row["row"])][place] == true[row["truth"]], (row["file"], row["row"])
        checked[row["source"]] += 1

    assert set(checked) == set(columns)


def test_every_fault_is_in_the_file_at_its_place(city: Path) -> None:
    tables: dict[str, Table] = {}
    for fault in read_truth(city, "faults"):
        contract = contract_of(fault["file"])
        if fault["file"] not in tables:
            tables[fault["file"]] = read_back(city / fault["file"], contract)
        table = tables[fault["file"]]
        header, cells = table[header_row(contract)], table[int(fault["row"])]
        where = (fault["file"], fault["row"], fault["kind"])
        match fault["kind"]:
            case "blank_line":
                assert not any(cells), where
            case "repeated_header":
                assert cells == header, where
            case "duplicate_row":
                number = int(fault["row"])
                assert cells in [table.get(n) for n in range(number - 9, number)], where
            case "totals_row":
                assert fault["written"] in cells and sum(map(bool, cells)) == 1, where
            case "test_row":
                assert fault["written"] in cells, where
            case "extra_delimiter":
                assert len(cells) == len(header) + 1, where
            case "missing_delimiter":
                assert len(cells) == len(header) - 1, where
            case "truncated_last_line":
                assert int(fault["row"]) == max(table) and len(cells) < len(header), where
                assert not (city / fault["file"]).read_bytes().endswith(b"\n"), where
            case "undecodable_byte":
                assert "\ufffd" in cells[header.index(fault["column"])], where
                with pytest.raises(UnicodeDecodeError):
                    (city / fault["file"]).read_bytes().decode(contract.format.encoding[0])
            case _:
                assert fault["written"] != fault["original"], where
                assert cells[header.index(fault["column"])] == fault["written"], where


def test_a_row_has_at_most_one_fault(city: Path) -> None:
    places = Counter((f["file"], f["row"]) for f in read_truth(city, "faults"))

    assert [place for place, count in places.items() if count > 1] == []


def test_the_promised_kinds_of_dirt_are_there_and_those_not_expected_to_be_found_say_why(tmp_path: Path) -> None:
    make_city(tmp_path / "city")
    faults = read_truth(tmp_path / "city", "faults")
    shown = {f"D{n:02d}" for n in (*range(1, 11), *range(14, 25), 27, 28, 29, 31, 32)}

    assert {f["code"] for f in faults} == shown
    assert all(bool(f["reason"]) == (f["covered"] == "no") for f in faults)
    assert Counter(f["covered"] for f in faults)["yes"] > 0.6 * len(faults)


def test_numbers_in_the_truth_have_right_check_digits(city: Path) -> None:
    people, entities = read_truth(city, "people"), read_truth(city, "entities")

    assert len({p["resident_id"] for p in people}) == len(people)
    for person in people:
        number = person["resident_id"]
        assert ric.calc_check_digit(number) == number[-1]
        assert number[6:14] == person["birth_date"].replace("-", "")
        assert int(number[16]) % 2 == int(person["sex_code"]) % 2
        assert number[14] == "9"  # marks it as synthetic
    for entity in entities:
        code, old = entity["uscc"], entity["old_reg_no"]
        assert code or old
        if code:
            assert uscc.calc_check_digit(code) == code[-1]
            assert organisation_check(code[8:16]) == code[16]
            assert code[8] == "X"  # marks it as synthetic
        if old:
            assert registration_check(old[:14]) == old[14]


def test_old_registration_numbers_satisfy_iso_7064_mod_11_10() -> None:
    """The definition, written the other way round: the running product over all 15 digits ends at 1."""
    number = "44040300012345"
    digits = number + registration_check(number)
    product = 10
    for digit in digits[:-1]:
        product = ((product + int(digit)) % 10 or 10) * 2 % 11

    assert (product + int(digits[-1])) % 10 == 1


def test_one_drop_each_is_late_missing_unchanged_held_and_superseded(city: Path) -> None:
    files = read_truth(city, "files")
    fates = Counter(f["fate"] for f in files)

    assert {fate: fates[fate] for fate in ("late", "missing", "unchanged", "held", "superseded")} == dict.fromkeys(
        ("late", "missing", "unchanged", "held", "superseded"), 1
    )
    by_slot: dict[tuple[str, str], list[bytes]] = defaultdict(list)
    for file in files:
        if file["file"]:
            by_slot[file["source"], file["period"]].append((city / file["file"]).read_bytes())
    again = next(f for f in files if f["fate"] == "unchanged")
    old = next(f for f in files if f["fate"] == "superseded")
    assert len(set(by_slot[again["source"], again["period"]])) == 1
    assert len(set(by_slot[old["source"], old["period"]])) == 2
    assert {slot for slot, versions in by_slot.items() if len(versions) > 1} == {
        (again["source"], again["period"]), (old["source"], old["period"])
    }  # fmt: skip


def test_the_schedule_is_in_order_and_names_every_drop(city: Path) -> None:
    waves = json.loads((city / "schedule.json").read_text(encoding="utf-8"))
    instants = [dt.datetime.fromisoformat(wave["at"]) for wave in waves]
    drops = [drop for wave in waves for drop in wave["drops"]]

    assert instants == sorted(instants)
    assert len(drops) <= 34
    assert {d["file"] for d in drops} == {f["file"] for f in read_truth(city, "files") if f["file"]}
    for drop in drops:
        contract = CATALOG.contract(drop["source"])
        assert drop["department"] == contract.department.id
        assert any(fnmatch(drop["name"], pattern) for pattern in contract.arrival.drop)
        assert re.search(contract.period.pattern or "", drop["name"])


def test_every_file_has_exactly_the_columns_of_its_contract(city: Path) -> None:
    for file in {r["file"] for r in read_truth(city, "rows")}:
        contract = contract_of(file)
        header = read_back(city / file, contract)[header_row(contract)]
        spelled = {alias: column.source for column in contract.columns for alias in column.from_}
        assert [spelled[cell] for cell in header] == [column.source for column in contract.columns], file


def test_people_meet_in_several_sources_with_and_without_an_identity_number(city: Path) -> None:
    """Otherwise there is nothing to match and no authority to follow."""
    sources = [p["sources"].split() for p in read_truth(city, "people")]
    assert sum(len(s) >= 3 for s in sources) > 0.1 * len(sources)
    water = next(f["file"] for f in read_truth(city, "files") if f["source"] == "utilities__water_account")
    table = read_back(city / water, CATALOG.contract("utilities__water_account"))
    numbers = [cells[2] for row, cells in table.items() if row > 1]
    assert 0.5 < sum(not n for n in numbers) / len(numbers) < 0.85


# --- the shipped catalogue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("source", list(CATALOG.contracts))
def test_a_shipped_contract_names_only_what_exists(source: str) -> None:
    contract = CATALOG.contract(source)
    for column in contract.mapped:
        for rule in (*contract.clean, *column.clean):
            find_rule(rule.name, "clean")
        for rule in column.check:
            find_rule(rule.name, "check")
    prepare(contract)
    for line in contract.expect:
        if line.kind == "value_in_code_table":
            assert CATALOG.code_table(line.options["table"]) is not None
    if contract.entity:
        shared = {a.name for a in CATALOG.entity(contract.entity).attributes} & {c.name for c in contract.mapped}
        assert len(shared) >= 3
    assert contract.department.zh != contract.department.id


@pytest.mark.parametrize("entity", list(CATALOG.entities))
def test_a_shipped_entity_is_fed_by_sources_and_names_only_those(entity: str) -> None:
    spec = CATALOG.entity(entity)
    sources = [c.id for c in CATALOG.sources_of(entity)]
    fed = {column.name for c in CATALOG.sources_of(entity) for column in c.mapped}

    assert len(sources) >= 2
    for attribute in spec.attributes:
        assert attribute.name in fed, f"no source feeds {attribute.name}"
        for pattern in attribute.authority or spec.authority:
            assert any(fnmatch(source, pattern) for source in sources), pattern


def test_a_column_of_one_name_has_one_type_in_every_source_and_entity() -> None:
    types: dict[str, set[str]] = defaultdict(set)
    for contract in CATALOG.contracts.values():
        for column in contract.mapped:
            types[column.name].add(column.type)
    for entity in CATALOG.entities.values():
        for attribute in entity.attributes:
            types[attribute.name].add(attribute.type)

    assert {name: kinds for name, kinds in types.items() if len(kinds) > 1} == {}


def test_identity_numbers_are_digested_and_marked_as_personal_everywhere() -> None:
    assert CATALOG.entity("person").attribute("resident_id").digest
    for contract in CATALOG.contracts.values():
        for column in contract.mapped:
            if column.name in ("resident_id", "person_name", "birth_date", "phone") and contract.entity == "person":
                assert column.personal, f"{contract.id}.{column.name}"
            if column.name == "resident_id":
                assert column.grade == "G4"


@pytest.mark.parametrize("path", sorted((CATALOG.root / "standards").glob("*.csv")), ids=lambda p: p.stem)
def test_a_code_table_begins_with_a_code_that_occurs_once(path: Path) -> None:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    codes = [row["code"] for row in rows]

    assert next(iter(rows[0])) == "code"
    assert len(codes) == len(set(codes))
    assert all(code and code == code.strip() for code in codes)
