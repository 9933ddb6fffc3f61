"""Clerical review from end to end: doubts go out, people decide, and what they decided is obeyed for ever."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from catalog.contract import Title
from catalog.entity import Attribute
from pipelines import review_queue
from pipelines.errors import NotFound
from pipelines.flow import fuse
from pipelines.rebuild import rebuild
from pipelines.review import Exported, Status, Taken, export, status, take_workbook
from pipelines.review_book import OWN, SHEET, write
from pipelines.review_journal import Agreement, is_sampled
from pipelines.review_mask import Compared, compared
from pipelines.review_page import body, pages
from pipelines.review_queue import Question, Side
from pipelines.verify import verify
from tests.support import Town, tables, town
from warehouse.lake import reading
from warehouse.layout import Workspace

PERSON_SOURCE = """\
title: {{zh: {zh}, en: {en}}}
department: {{id: {department}, zh: {zh}局, en: {en} office}}
entity: shop
load: snapshot
period: {{from: file_name, pattern: "{dataset}_(?P<date>\\\\d{{8}})"}}
arrival: {{drop: "{dataset}_*.csv", cycle: daily, due: "09:00 next working day"}}
columns:
  - {{from: 编号, to: row_no, key: true}}
  - {{from: 证件号, to: resident_id, personal: true}}
  - {{from: 姓名, to: person_name, personal: true}}
  - {{from: 生日, to: born_on, type: date, clean: date_any_format, personal: true}}
  - {{from: 电话, to: phone, personal: true}}
expect:
  - {{columns_as_declared: , severity: hold}}
"""
SOURCES = {
    "police__resident": PERSON_SOURCE.format(zh="公安", en="Police", department="police", dataset="resident"),
    "school__pupil": PERSON_SOURCE.format(zh="教育", en="School", department="school", dataset="pupil"),
}
ENTITY = """\
title: {zh: 人口, en: Person}
identifiers: [resident_id]
clash: [person_name, born_on, phone]
authority: [police__resident, "*"]
attributes:
  - {name: row_no, kind: code}
  - {name: resident_id, kind: code, grade: G4, personal: true, digest: true}
  - {name: person_name, kind: person_name, grade: G3, personal: true}
  - {name: born_on, type: date, kind: date, grade: G3, personal: true}
  - {name: phone, kind: phone, grade: G3, personal: true}
"""
HEAD = "编号,证件号,姓名,生日,电话\n"
#: Two numbers, each on a person of the police and on a quite different one of the school.
TWINS, LENT = "11010119900307123X", "110101198512120022"
POLICE = f"A1,{TWINS},王小明,1949-12-31,13800138000\nA2,{LENT},赵钱孙,1961-05-06,13900139000\n"
SCHOOL = f"B1,{TWINS},李芳,1992-11-11,13700137000\nB2,{LENT},周吴郑,1999-08-09,=1+1\n"
MORNING, NOON, EVENING = (f"2026-03-05T{hour}:00:00+08:00" for hour in ("08", "12", "18"))


def made(root: Path) -> Town:
    place = town(root, SOURCES)
    (place.catalog / "entities" / "shop.yaml").write_text(ENTITY, encoding="utf-8")
    place.drop("police", "resident_20260304.csv", HEAD + POLICE)
    place.drop("school", "pupil_20260304.csv", HEAD + SCHOOL)
    place.run_at(MORNING)
    return place


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pristine")
    made(root)
    return root


@pytest.fixture
def place(pristine: Path, tmp_path: Path) -> Town:
    """The town after its first run: moving a workspace moves its data."""
    shutil.copytree(pristine, tmp_path, dirs_exist_ok=True)
    return Town(Workspace(tmp_path / "workspace"), tmp_path / "catalog")


def fused(place: Town, when: str = EVENING) -> bool:
    """The next run, of which only the fusion has anything to do."""
    with place.run(when) as run:
        return fuse(run, "shop")


def exported(place: Town, out: Path, reviewer: str = "李警官", share: float | None = None) -> Exported:
    with place.run(NOON) as run:
        return export(run, "shop", out, reviewer, share)


def taken(place: Town, book: Path, when: str = NOON) -> Taken:
    with place.run(when) as run:
        return take_workbook(run, book)


def state(place: Town) -> Status:
    with place.run(EVENING) as run:
        return status(run, "shop")


def column(sheet: Any, name: str) -> int:
    return next(c.column for c in sheet[1] if c.value == OWN[name])


def questions(book: Path) -> dict[str, int]:
    """What the town calls a doubt (the surname of its police record) -> the first row of its question."""
    sheet = openpyxl.load_workbook(book)[SHEET]
    found = {}
    for row in range(2, sheet.max_row + 1, 3):
        texts = " ".join(str(c.value) for r in sheet.iter_rows(row, row + 2) for c in r)
        found["王" if "王" in texts else "赵"] = row
    return found


def fill(book: Path, **said: tuple[str, str]) -> Path:
    """Choose and give a reason, as a clerk does: `王=("不是 different", "seen")`."""
    rows = questions(book)
    made = openpyxl.load_workbook(book)
    for name, (decision, reason) in said.items():
        made[SHEET].cell(rows[name], column(made[SHEET], "decision")).value = decision
        made[SHEET].cell(rows[name], column(made[SHEET], "reason")).value = reason
    made.save(book)
    return book


def golden(place: Town) -> set[frozenset[str]]:
    """The groups, each record by its row of the file."""
    sql = "SELECT list(_source[1] || (_row - 1)) FROM lake.base.shop__member GROUP BY _entity"
    return {frozenset(group) for (group,) in rows(place, sql)}


def rows(place: Town, sql: str) -> list[tuple[Any, ...]]:
    with reading(place.workspace) as con:
        return con.execute(sql).fetchall()


def doubts(place: Town) -> set[str]:
    return {doubt for (doubt,) in rows(place, "SELECT doubt FROM lake.quality.review")}


def sets(*members: str) -> set[frozenset[str]]:
    return {frozenset(m.split()) for m in members}


def test_what_reviewers_decide_in_a_workbook_the_next_run_obeys_and_asks_no_more(place: Town, tmp_path: Path) -> None:
    assert golden(place) == sets("p1", "p2", "s1", "s2")
    book = tmp_path / "out.xlsx"
    assert exported(place, book).doubts == 2
    done = taken(place, fill(book, 王=("是同一个 same", "改名，档案已核对"), 赵=("不确定 unsure", "")))
    assert (done.new, done.unchanged, done.problems, done.reviewer) == (2, 0, (), "李警官")
    assert done.equation == "2 = 2 new + 0 unchanged + 0 blank"
    assert fused(place)
    assert golden(place) == sets("p1 s1", "p2", "s2")
    assert len(doubts(place)) == 1, "settled doubts are asked no more, unsure ones are"
    found = state(place)
    assert (found.open, found.same, found.different, found.unsure) == (1, 1, 0, 1)
    again = tmp_path / "again.xlsx"
    assert exported(place, again).doubts == 1
    taken(place, fill(again, 赵=("different", "两人均已见面")))
    fused(place)
    assert golden(place) == sets("p1 s1", "p2", "s2")
    assert doubts(place) == set()
    assert not fused(place)
    with place.run(EVENING) as run, pytest.raises(NotFound, match="nothing to decide"):
        export(run, "shop", tmp_path / "none.xlsx")


def test_the_same_workbook_again_changes_nothing(place: Town, tmp_path: Path) -> None:
    book = tmp_path / "out.xlsx"
    exported(place, book)
    taken(place, fill(book, 王=("same", "seen")))
    fused(place, NOON)
    before = golden(place), journal(place)
    assert (done := taken(place, book, EVENING)).new == 0 and done.unchanged == 1 and done.blank == 1
    assert not fused(place)
    assert (golden(place), journal(place)) == before


def journal(place: Town) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (place.workspace.archive / "reviews" / "shop").glob("*.json")}


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda one, two: one.write_text(one.read_text().replace('"same"', '"different"')), "000002.json: the chain of reviews is broken"),
        (lambda one, two: two.write_text(two.read_text().replace("李警官", "王警官")), "the newest import of reviews is missing or was"),
        (lambda one, two: two.unlink(), "the newest import of reviews is missing or was"),
        (lambda one, two: one.unlink(), "000002.json: the journal of reviews is damaged (number 1 is missing"),
        (lambda one, two: two.write_text("{"), "000002.json: the journal of reviews is damaged"),
    ],
    ids=["changed", "newest changed", "newest gone", "gone", "cut"],
)  # fmt: skip
def test_a_decision_that_was_changed_behind_our_back_is_named_by_verify(
    harm: Callable[[Path, Path], None], said: str, place: Town, tmp_path: Path
) -> None:
    for n, name in enumerate(("王", "赵")):
        exported(place, tmp_path / f"{n}.xlsx")
        fill(tmp_path / f"{n}.xlsx", **{name: ("same", "seen")})
        taken(place, tmp_path / f"{n}.xlsx")
    folder = place.workspace.archive / "reviews" / "shop"
    with place.run(EVENING) as run:
        assert verify(run) == []
        harm(folder / "000001.json", folder / "000002.json")
        (problem,) = verify(run)
    assert problem.part == "reviews" and said in problem.what


def test_a_doubt_keeps_its_id_over_runs_and_whatever_else_arrives(place: Town) -> None:
    before = doubts(place)
    place.drop("school", "pupil_20260305.csv", HEAD + SCHOOL + "B3,,孙李,2001-01-01,\n")
    place.run_at(EVENING)
    assert doubts(place) == before and len(before) == 2


def test_decisions_survive_a_rebuild_and_say_who_decided_when_and_why(place: Town, tmp_path: Path) -> None:
    book = tmp_path / "out.xlsx"
    exported(place, book)
    taken(place, fill(book, 王=("same", "改名，档案已核对")))
    fused(place, NOON)
    with place.run(EVENING) as run:
        target = rebuild(run, tmp_path / "rebuilt")
    before, after = place.tables(), tables(target)
    same = [t for t in before if t.startswith("base.") or t == "quality.review"]
    assert {t: after[t] for t in same} == {t: before[t] for t in same} and len(same) == 5
    (case,) = state(place).cases
    said = {k: str(v) for k, v in case["said"][0].items()}
    assert said["reviewer"] == "李警官" and said["reason"] == "改名，档案已核对" and said["at"] == "2026-03-05 12:00:00+08:00"


def test_the_queue_holds_the_most_pressing_a_few_about_each_record_and_counts_the_rest(
    place: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_queue, "MOST", 4)
    with place.run(NOON) as run:
        for n in range(10):  # one record near to five others, and five pairs of their own
            left = "x" if n < 5 else f"l{n}"
            run.con.execute(
                "INSERT INTO lake.quality.review (entity, doubt, kind, priority, left_record, right_record, left_records, right_records) "
                "VALUES ('other', ?, 'near', ?, ?, ?, 1, 1)",
                [f"d{n}", 1 - n / 10, left, f"r{n}"],
            )
        asked, found = review_queue.queue(run, "other")
    assert ([q.doubt for q in asked], found) == (["d0", "d1", "d2", "d5"], 10)


# --- personal values ------------------------------------------------------------------------------


def cells(book: Path) -> Iterator[str]:
    for sheet in openpyxl.load_workbook(book).worksheets:
        for row in sheet.iter_rows(values_only=True):
            yield from (str(c) for c in row if c is not None)


def test_no_workbook_holds_a_plain_number(place: Town, tmp_path: Path) -> None:
    book = tmp_path / "out.xlsx"
    exported(place, book)
    texts = list(cells(book))
    for number in (TWINS, LENT, "13800138000", "13900139000", "13700137000"):
        assert not any(number in text or number[:-4] in text for text in texts)
    assert {"…123X", "…0022", "…8000"} <= set(texts)
    assert {"王小明", "李芳", "1949-12-31"} <= set(texts), "what differs has to be seen"
    assert book.stat().st_mode & 0o077 == 0


def test_a_page_of_airflow_shows_no_personal_value_whole(place: Town) -> None:
    with place.run(NOON) as run:
        found = pages(run, "shop", 20)
    text = "".join(p["subject"] + p["body"] for p in found).replace("\\", "")
    assert len(found) == 2 and all(shown in text for shown in ("1949-**-**", "…8000", "…123X", "王*明"))
    for value in (TWINS, LENT, TWINS[6:14], "13800138000", "王小明", "赵钱孙", "1949-12-31", "12-31"):
        assert value not in text


def test_what_a_file_says_is_text_on_a_page_and_runs_nothing() -> None:
    side = Side("a" * 64, "e", "公安局", "Police", "<b>{{ 7*7 }}.csv", None, 2)
    field = Compared("name", "名称", "name", "{% x %}|[a](http://b)", "`code`\n# head", "differs")
    text = body(Question("d" * 32, "near", 0.9, side, side, (1, 1), (field,)))
    assert not any(mark in text for mark in ("{{", "{%", "<b>", "](", " `code`", "\n# head"))
    assert text.count("\n| ") == 4, "a bar in a value makes no column of its own"


@pytest.mark.parametrize(
    ("more", "left", "right", "shown"),
    [
        ({"kind": "person_name", "personal": True}, "欧阳文静", "欧阳文静", ("欧**静", "欧**静", "same", 0)),
        ({"kind": "person_name", "personal": True}, "李芳", "李芳", ("李*", "李*", "same", 0)),
        ({"kind": "person_name", "personal": True}, "李芳", "李方", ("李芳", "李方", "differs", 0)),
        ({"kind": "person_name", "personal": True}, "王小明", None, ("王*明", "", "missing", 0)),
        ({"type": "date", "kind": "date", "personal": True}, "1992-11-11", "1992-11-11", ("1992-**-**", "1992-**-**", "same", 0)),
        ({"kind": "code", "personal": True}, "11010119900307123X", "11010119900307213X", ("…123X", "…213X", "differs", 2)),
        ({"grade": "G4"}, "秘密的内容", "秘密的内容", ("…内容", "…内容", "same", 0)),
        ({"kind": "code", "personal": True}, "12", "13", ("…", "…", "differs", 1)),
        ({"kind": "address", "personal": True}, "幸福路12号", "幸福路12号", ("幸***号", "幸***号", "same", 0)),
        ({"kind": "code"}, "A1", "B1", ("A1", "B1", "differs", 0)),
    ],
)
def test_a_reviewer_sees_as_much_of_a_value_as_the_question_needs(
    more: dict[str, Any], left: str, right: str | None, shown: tuple[Any, ...]
) -> None:
    found = compared(Attribute.model_validate({"name": "tested", **more}), left, right)
    assert (found.left, found.right, found.verdict, found.characters) == shown


def test_a_reviewer_sees_what_linking_saw_also_where_the_newest_row_leaves_it_empty(place: Town, tmp_path: Path) -> None:
    place.contract("police__resident", SOURCES["police__resident"].replace("load: snapshot", "load: increment"))
    place.drop("police", "resident_20260305.csv", HEAD + f"A1,{TWINS},王小明,1949-12-31,\n")
    place.run_at(NOON)
    exported(place, tmp_path / "out.xlsx")
    texts = list(cells(tmp_path / "out.xlsx"))
    assert "…8000" in texts and "resident_20260305.csv，第 2 行 row" in texts
    assert [t for t in texts if "earlier" in t] == ["不同（2 位）；甲为较早报送 differs in 2; A from an earlier file"]
    with place.run(NOON) as run:
        assert any("A from an earlier file" in p["body"] for p in pages(run, "shop", 20))


def test_a_value_that_would_run_as_a_formula_is_text(tmp_path: Path) -> None:
    side = Side("a" * 64, "e", "公安局", "Police", "=cmd.csv", None, 2)
    field = Compared("name", "名称", "name", "=HYPERLINK(1)", "+1", "differs")
    book = tmp_path / "out.xlsx"
    write(book, "shop", Title(zh="店铺", en="Shop"), "李", [Question("d" * 32, "near", 0.9, side, side, (1, 1), (field,))], [])
    risky = [c for row in openpyxl.load_workbook(book)[SHEET].iter_rows() for c in row if str(c.value)[:1] in ("=", "+")]
    assert len(risky) == 4 and all(c.data_type == "s" and c.quotePrefix for c in risky)


# --- what cannot be taken -------------------------------------------------------------------------


def wrong(change: Callable[[Any, int], None], place: Town, book: Path) -> Taken:
    exported(place, book)
    row = questions(fill(book, 赵=("same", "seen")))["王"]
    made = openpyxl.load_workbook(book)
    change(made[SHEET], row)
    made.save(book)
    return taken(place, book)


def put(name: str, text: str | None, below: int = 0) -> Callable[[Any, int], None]:
    def change(sheet: Any, row: int) -> None:
        sheet.cell(row + below, column(sheet, name)).value = text

    return change


def both(*changes: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    def change(sheet: Any, row: int) -> None:
        for each in changes:
            each(sheet, row)

    return change


def other_record(sheet: Any, row: int) -> None:
    mark = sheet.cell(row, column(sheet, "mark"))
    doubt, left, _, kind = str(mark.value).split(" ")
    mark.value = f"{doubt} {left} {'0' * 64} {kind}"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (put("decision", "same"), "the reason is missing"),
        (put("decision", "perhaps"), "choose the decision"),
        (put("reason", "seen"), "a reason without a decision"),
        (
            both(put("decision", "same"), put("reason", "seen"), put("decision", "different", 1)),
            "contradicts the decision in row",
        ),
        (both(put("decision", "same"), put("reason", "seen"), put("mark", None)), "no line of ours"),
        (both(put("decision", "same"), put("reason", "seen"), other_record), "no doubt of this workspace"),
    ],
    ids=["no reason", "no choice", "no decision", "two decisions", "no mark", "another record"],
)
def test_one_wrong_row_is_told_and_nothing_is_taken(
    change: Callable[[Any, int], None], told: str, place: Town, tmp_path: Path
) -> None:
    done = wrong(change, place, tmp_path / "out.xlsx")
    assert [told in p.en for p in done.problems] == [True] and done.problems[0].row
    assert done.new == 0 and journal(place) == {}


def test_a_decision_against_the_catalogue_is_refused_with_its_file_and_line(place: Town, tmp_path: Path) -> None:
    book = tmp_path / "out.xlsx"
    exported(place, book)
    one = [record for (record,) in rows(place, "SELECT _record FROM lake.base.shop__member WHERE _row = 2 ORDER BY 1")]
    (place.catalog / "decisions").mkdir()
    path = place.catalog / "decisions" / "shop.yaml"
    path.write_text(
        f"# twins\ndecisions:\n  - {{cannot_link: [{', '.join(one)}], reason: {{zh: 查过, en: seen}}, decided_by: office, decided_on: 2026-03-05}}\n",
        encoding="utf-8",
    )
    done = taken(place, fill(book, 王=("same", "seen")))
    assert f"{path}:3" in done.problems[0].en and journal(place) == {}


def test_a_line_put_into_the_catalogue_later_overrules_a_reviewer_and_the_status_says_so(place: Town, tmp_path: Path) -> None:
    book = tmp_path / "out.xlsx"
    exported(place, book)
    taken(place, fill(book, 王=("same", "seen")))
    fused(place, NOON)
    (case,) = state(place).cases
    (place.catalog / "decisions").mkdir()
    (place.catalog / "decisions" / "shop.yaml").write_text(
        f"decisions:\n  - {{cannot_link: {json.dumps(case['records'])}, reason: {{zh: 查过, en: seen}}, decided_by: office, decided_on: 2026-03-05}}\n",
        encoding="utf-8",
    )
    fused(place)
    assert golden(place) == sets("p1", "p2", "s1", "s2")
    assert state(place).overruled == 1


def test_a_workbook_that_may_hold_answers_is_not_written_over(place: Town, tmp_path: Path) -> None:
    book = tmp_path / "out.xlsx"
    exported(place, book)
    with pytest.raises(ValueError, match="may hold answers"):
        exported(place, book)


# --- two reviewers --------------------------------------------------------------------------------


def test_where_two_reviewers_disagree_nothing_is_decided_until_one_of_them_changes_his_mind(place: Town, tmp_path: Path) -> None:
    first, second = tmp_path / "first.xlsx", tmp_path / "second.xlsx"
    exported(place, first)
    taken(place, fill(first, 王=("same", "seen"), 赵=("same", "seen")))
    fused(place, NOON)
    assert golden(place) == sets("p1 s1", "p2 s2")
    assert exported(place, second, "王科长", 1.0).doubts == 2, "a second reviewer sees decided doubts as well"
    done = taken(place, fill(second, 王=("different", "unlike"), 赵=("same", "seen")))
    assert done.disputed == 1
    assert exported(place, tmp_path / "at_once.xlsx").doubts == 1, "a disputed doubt is asked before the next run"
    fused(place)
    assert golden(place) == sets("p1", "s1", "p2 s2")
    found = state(place)
    assert (found.disputed, found.same, found.reviewers) == (1, 1, {"李警官": 2, "王科长": 2})
    (agreed,) = found.agreements
    assert (agreed.same_same, agreed.same_different, agreed.different_same, agreed.different_different) == (1, 1, 0, 0)
    third = tmp_path / "third.xlsx"
    assert exported(place, third).doubts == 1
    assert any("有分歧" in text for text in cells(third))
    taken(place, fill(third, 王=("different", "convinced")))
    found = state(place)
    assert (found.disputed, found.different) == (0, 1)
    assert found.agreements == (agreed,), "agreement is about what both said without knowing of the other"


def test_kappa_is_what_a_pocket_calculator_says() -> None:
    """The example of Cohen's kappa in most textbooks: 20, 5, 10, 15 give 0.7 observed, 0.5 by chance, 0.4."""
    one = Agreement("a", "b", 20, 5, 10, 15, 3)
    assert (one.n, one.share, one.kappa) == (50, Fraction(7, 10), Fraction(2, 5))
    assert Agreement("a", "b", 7, 0, 0, 0, 0).kappa is None


def test_a_sample_is_the_same_for_everybody_and_of_the_size_asked_for() -> None:
    doubts = [f"{i * 2654435761 % 2**32:08x}".ljust(32, "0") for i in range(10_000)]
    small = {d for d in doubts if is_sampled(d, 0.1)}
    assert 900 < len(small) < 1100
    assert small < {d for d in doubts if is_sampled(d, 0.2)} and all(is_sampled(d, 1.0) for d in doubts)


# --- kills ----------------------------------------------------------------------------------------

CHILD = """
import os, signal, sys
from pathlib import Path
from pipelines import review_journal
from pipelines.cli import main
when, _, *sys.argv = sys.argv
sys.argv = ["dmp", *sys.argv]
write = review_journal.write_atomically
def dying(path, data, mode):
    if when == "after":
        write(path, data, mode=mode)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(f".{path.name}.part").write_bytes(data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)
review_journal.write_atomically = dying
main()
"""


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_in_an_import_loses_nothing(when: str, place: Town, tmp_path: Path) -> None:
    book = tmp_path / "out.xlsx"
    exported(place, book)
    fill(book, 王=("same", "seen"))
    variables = {"DMP_WORKSPACE": str(place.workspace.root), "DMP_CATALOG": str(place.catalog), "DMP_NOW": NOON}
    root = Path(__file__).resolve().parents[2]
    code = CHILD.replace("when, _, *sys.argv = sys.argv", f"when = {when!r}; sys.argv = sys.argv[1:]")
    done = subprocess.run(
        [sys.executable, "-c", code, "review", "import", str(book)], env=os.environ | variables, cwd=root, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    again = taken(place, book)
    assert again.new + again.unchanged == 1 and again.problems == ()
    assert list(journal(place)) == ["000001.json"]
    fused(place)
    assert golden(place) == sets("p1 s1", "p2", "s2")
