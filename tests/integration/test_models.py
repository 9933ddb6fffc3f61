"""Models: pinned, in force until another is learned, and watched for drift."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipelines import models
from pipelines.errors import NotFound
from pipelines.link_model import Figures
from pipelines.link_train import train
from tests.integration.test_link_index import APART_FROM, at, days, land, new_town
from tests.support import Town


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A town of one day, small enough that no model is kept by itself."""
    made = new_town(tmp_path_factory.mktemp("models"))
    land(made, 0, days()[0])
    made.run_at(at(0))
    return made


def test_a_model_is_kept_when_asked_for_and_everything_is_linked_by_it_until_the_next(place: Town) -> None:
    def fused() -> list[tuple[str, object]]:
        rows = sorted(place.tables()["ledger.fusion"], key=lambda r: str(r["fusion"]))
        return [(str(r["fusion"]), json.loads(str(r["linking"]))["model"]) for r in rows]

    assert fused() == [("shop#1", None)]
    with place.run(at(0)) as run:
        with pytest.raises(NotFound, match=r"dmp model train shop"):
            models.model(run, "shop")
        assert train(run, "shop")[0] == 1
    before = place.tables()
    place.run_at(at(0))
    assert fused() == [("shop#1", None), ("shop#2", 1)]
    after = place.tables()
    assert after["base.shop"] == before["base.shop"]  # it learned from the same records as the fusion before
    place.run_at(at(0))
    assert {n: r for n, r in place.tables().items() if n not in APART_FROM} == {
        n: r for n, r in after.items() if n not in APART_FROM
    }
    with place.run(at(0)) as run:
        version, known = models.model(run, "shop")
        [told] = models.drift(run, "shop")
    assert (version, told.fusion, told.told) == (1, "shop#2", ())
    assert known.figures and known.figures.records == told.records
    assert {a for a, _, _ in models.weights(known)} == {"shop_name", "phone", "opened_on"}


THEN = Figures(10_000, {"name": 10_000, "phone": 9_000}, 50_000, (100, 100, 100, 200, 500, 4000))


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (Figures(1000, {"name": 990, "phone": 880}, 5_500, (11, 9, 10, 22, 48, 400)), []),
        (Figures(1000, {"name": 1000, "phone": 500}, 5_000, (10, 10, 10, 20, 50, 400)), ["`phone` is filled in 50.0%"]),
        (Figures(1000, {"name": 1000, "phone": 900}, 50_000, (10, 10, 10, 20, 50, 400)), ["50.0 pairs are compared"]),
        (Figures(1000, {"name": 1000, "phone": 900}, 5_000, (200, 100, 100, 50, 50, 0)), ["the likeness of pairs"]),
        (Figures(50, {"name": 0, "phone": 0}, 5_000, (1, 0, 0, 0, 0, 0)), []),
    ],
    ids=["as it was", "phones are lacking", "too many pairs", "less alike", "too few to tell"],
)
def test_what_differs_from_the_training_is_told_in_words(now: Figures, words: list[str]) -> None:
    told = models.compare("person#9", now, THEN).told
    assert len(told) == len(words)
    for word, (zh, en) in zip(words, told, strict=True):
        assert word in en
        assert zh != en


def test_what_has_nothing_to_learn_says_so(tmp_path: Path) -> None:
    empty = new_town(tmp_path)
    with empty.run(at(0)) as run, pytest.raises(NotFound, match="no row of any source of shop is in force"):
        train(run, "shop")
