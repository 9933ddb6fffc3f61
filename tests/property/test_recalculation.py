"""The script and the workbook make every score of the product again, whatever the checks: the oracle that auditors hold."""

from __future__ import annotations

import tempfile
from decimal import Decimal as D
from pathlib import Path

from hypothesis import Phase, given, settings

from pipelines.recalculation_book import recalculation_book
from pipelines.report_view import City
from quality.policy import Curve, DepartmentWeights, OverallWeights, load_policy
from quality.scoring import CatalogueFields, Check, Corrections
from tests.property.test_scoring_properties import retyped
from tests.recalculation import (
    WORKED_BY_HAND,
    Book,
    cities,
    city_of,
    city_of_ties,
    differences,
    recalculated,
    shown_scores,
    ties,
    worked_city,
    write_tables,
)

#: A workbook takes tenths of a second; the differences it prints lead to the cell without a smaller example.
NO_SHRINKING = (Phase.explicit, Phase.reuse, Phase.generate)

USUAL = load_policy("2026-01")
#: Another policy that bears the same version: a kind with a curve of its own, weights with more decimals, other caps and grades.
OTHER = USUAL.model_copy(
    update={
        "quality_weights": dict(
            zip(USUAL.quality_weights, map(D, ("0.125", "0.333333", "0.25", "0.041667", "0.25")), strict=True)
        ),
        "sub_indicator_weights": {"0502": D("2.5"), "0301": D("0.75")},
        "overall_weights": OverallWeights(timeliness=D("0.375"), quality=D("0.625")),
        "department_weights": DepartmentWeights(sources=D("0.7"), corrections=D("0.2"), catalogue=D("0.1")),
        "caps": USUAL.caps.model_copy(update={"one_major": D("82.5"), "several_majors": D("61.25")}),
        "curves": USUAL.curves.model_copy(update={"by_kind": {"punctuality": Curve(floor=D("0.7"), target=D("0.985"))}}),
        "grades": tuple(g.model_copy(update={"at_least": g.at_least and g.at_least + D("2.5")}) for g in USUAL.grades),
    }
)


def assert_the_script_agrees(city: City) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_tables(city, Path(folder))
        with recalculated(Path(folder)) as con:
            assert differences(con) == []
            counted = con.execute("SELECT count(*) FROM compared WHERE level = 'sub_indicator'").fetchall()[0][0]
            assert counted == 4 * 20 * len(city.sources), "every score is compared"


def assert_the_workbook_agrees(city: City) -> None:
    book = Book(recalculation_book(city))
    assert book.differing() == []
    figures, different = book.verdict
    assert different == 0
    # x, y of checks; S; D and coverage; T, Q, O, coverage, grade; M, R, K, I, rank, grade; the city's: empty ones count as well.
    checks = sum(len(source.card.score.checks) for source in city.sources)
    assert figures == 2 * checks + (20 + 2 * 6 + 5) * len(city.sources) + 6 * len(city.departments) + 3 * 2


@settings(max_examples=25)
@given(cities())
def test_the_script_rebuilds_every_score(city: City) -> None:
    assert_the_script_agrees(city)


@settings(max_examples=10)
@given(cities(other=OTHER))
def test_the_script_follows_the_policy_of_each_source(city: City) -> None:
    assert_the_script_agrees(city)


@settings(max_examples=12, phases=NO_SHRINKING)
@given(cities(most=4))
def test_the_formulas_of_the_workbook_rebuild_every_score(city: City) -> None:
    assert_the_workbook_agrees(city)


@settings(max_examples=8, phases=NO_SHRINKING)
@given(cities(most=3, other=OTHER))
def test_the_workbook_follows_the_policy_of_each_source(city: City) -> None:
    assert_the_workbook_agrees(city)


def test_scores_half_way_between_two_printed_numbers_go_up_in_the_script_and_in_the_workbook() -> None:
    city = city_of_ties()
    found = ties(city)
    assert all(found[level] for level in ("X", "Y", "S", "D", "Q", "O", "M", "R", "K", "I")), found
    sums = [one.formula for source in city.sources for one in source.card.score.dimensions if " = " in one.formula]
    assert any(f"{float(retyped(one)[0]):.2f}" != one.rpartition(" = ")[2] for one in sums), "binary floats alone go wrong here"
    assert_the_script_agrees(city)
    assert_the_workbook_agrees(city)


def test_the_worked_example_comes_out_as_worked_by_hand() -> None:
    city = worked_city()
    first = city.sources[0].id
    with tempfile.TemporaryDirectory() as folder:
        write_tables(city, Path(folder))
        with recalculated(Path(folder)) as con:
            rows = con.execute(
                "SELECT item, as_score(score) FROM recalculated_score WHERE subject IN (?, 'a')", [first]
            ).fetchall()
            assert WORKED_BY_HAND.items() <= dict(rows).items()
            assert con.execute("SELECT grade_zh FROM recalculated_grade WHERE item = 'I'").fetchall() == [("良",)]
            assert differences(con) == []
    book = Book(recalculation_book(city))
    assert WORKED_BY_HAND.items() <= shown_scores(book.rows, first).items()
    assert book.verdict[1] == 0


def test_a_cap_makes_no_score_where_none_applies() -> None:
    """A major check of timeliness below its floor, and nothing that Q is made of."""
    late = Check("late", "0501", 1, 0, 10, major=True)
    city = city_of([("a", "other", [late], 1)], {"a": (Corrections(0, 0), CatalogueFields(0, 0))})
    assert city.sources[0].card.score.q.value is None
    assert_the_script_agrees(city)
    assert_the_workbook_agrees(city)
