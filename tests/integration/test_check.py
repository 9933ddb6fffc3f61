"""`dmp check` gives the verdict before sending, changes nothing, and tells by its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from openpyxl import load_workbook

from pipelines import cli
from pipelines.check_file import check_file
from pipelines.errors import NotFound
from tests.support import Town, town

Said = Callable[..., tuple[int, str]]

WHEN = "2026-03-03T08:30:00+08:00"
GOOD = "编号,名称,成立日期\n1,甲,2020-01-02\n2,乙,2021-01-02\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Town:
    """A machine with a catalogue and nothing else."""
    return town(tmp_path_factory.mktemp("department"))


@pytest.fixture
def said(place: Town, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Said:
    monkeypatch.setenv("DMP_CATALOG", str(place.catalog))
    monkeypatch.setenv("DMP_WORKSPACE", str(tmp_path / "untouched"))

    def command(name: str, data: str | bytes, *options: str, source: str = "market__shop") -> tuple[int, str]:
        file = tmp_path / name
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        monkeypatch.setattr("sys.argv", ["dmp", "check", str(file), "--source", source, "--now", WHEN, *options])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert file.read_bytes() == (data.encode() if isinstance(data, str) else data), "the file stays where and as it is"
        assert not (tmp_path / "untouched").exists(), "no warehouse is touched"
        return int(end.value.code or 0), capsys.readouterr().out

    return command


def test_a_good_file_passes_with_0(said: Said) -> None:
    code, text = said("shop_20260302.csv", GOOD)
    assert code == 0 and "读到 2 行，接收 2 行，拒收 0 行" in text


def test_a_file_with_refused_rows_warns_with_1_and_names_row_and_cure(said: Said) -> None:
    code, text = said("shop_20260302.csv", GOOD + "3,丙,昨天\n")
    assert code == 1 and "第 4 行" in text and "2026-03-02 的形式" in text


def test_a_file_that_would_be_held_ends_with_2_in_english_too(said: Said) -> None:
    code, text = said("shop_20260302.csv", "编号,成立日期\n1,2020-01-02\n", "--lang", "en")
    assert code == 2 and text.startswith("held") and "missing" in text


def test_a_wrong_name_is_told_and_the_content_is_judged_all_the_same(said: Said) -> None:
    code, text = said("导出数据.csv", GOOD + "3,丙,昨天\n", "--json")
    told = json.loads(text)
    codes = {f["code"] for f in told["findings"]}
    assert code == 1 and {"file_name_unexpected", "date_unreadable"} <= codes and told["rows"]["accepted"] == 2


def test_receipt_and_workbook_are_written_where_asked_and_personal_values_are_masked(said: Said, tmp_path: Path) -> None:
    data = "编号,电话\n1,057188880001\n,057188880004\n".encode("gb18030")
    code, text = said("payer_20260302.csv", data, "--out", str(tmp_path / "out"), source="tax__payer")
    assert code == 1 and "057188880004" not in text
    written = sorted(p.suffix for p in (tmp_path / "out").iterdir())
    assert written == [".html", ".json", ".xlsx"]
    [book] = (tmp_path / "out").glob("*.xlsx")
    assert "057188880004" in [c.value for c in load_workbook(book).worksheets[0][2]]


def test_a_check_says_what_the_intake_says_then(place: Town, tmp_path: Path) -> None:
    file = tmp_path / "shop_20260302.csv"
    file.write_text(GOOD + "3,丙,昨天\n,丁,2020-01-01\n", encoding="utf-8")
    with place.run(WHEN) as run:
        checked = check_file(file, "market__shop", now=run.now, catalog=place.catalog)
    place.drop("market", file.name, file.read_bytes())
    [verdict] = place.run_at(WHEN).verdicts
    assert (verdict.state, verdict.zh) == (checked.receipt["verdict"]["state"], checked.receipt["verdict"]["zh"])


def test_a_workbook_that_mends_is_not_a_whole_file(place: Town, tmp_path: Path) -> None:
    file = tmp_path / "shop_20260302.csv"
    file.write_text(GOOD + "3,丙,昨天\n", encoding="utf-8")
    check_file(file, "market__shop", tmp_path / "out", catalog=place.catalog)
    [book] = (tmp_path / "out").glob("*.xlsx")
    with pytest.raises(NotFound, match="mends market__shop@2026-03-02"):
        check_file(book, "market__shop", catalog=place.catalog)
