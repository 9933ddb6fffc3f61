"""The workbook to mend, opened and saved again by a real spreadsheet program, is still known and taken."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.integration.test_mend import CSV, FIRST, SECOND, csv_bytes, mended, newest, play, returned
from tests.support import town

pytestmark = pytest.mark.pages

OFFICE = shutil.which("soffice") or "/usr/bin/soffice"


def saved_by_an_office(data: bytes, folder: Path) -> bytes:
    """The same workbook as LibreOffice writes it."""
    sent, out = folder / "sent" / "mended.xlsx", folder / "saved"
    sent.parent.mkdir()
    sent.write_bytes(data)
    subprocess.run(
        [OFFICE, "--headless", f"-env:UserInstallation=file://{folder}/profile", "--convert-to", "xlsx:Calc MS Excel 2007 XML",
         "--outdir", str(out), str(sent)],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    return (out / "mended.xlsx").read_bytes()


def test_a_workbook_that_libreoffice_saved_is_taken_row_by_row(tmp_path: Path) -> None:
    place = town(tmp_path / "town", CSV)
    place.drop("market", "shop_20260302.csv", csv_bytes())
    play(place, FIRST)
    corrected = mended(returned(place), {(3, "成立日期"): "2020-02-03", (4, "编号"): "003"})
    place.drop("market", "改正.xlsx", saved_by_an_office(corrected, tmp_path))
    play(place, SECOND)
    batch, codes = newest(place)
    assert (batch["version"], batch["mends"], batch["rows_accepted"], batch["rows_refused"]) == (
        2,
        "market__shop@2026-03-02.v1",
        3,
        1,
    )
    assert not [code for code in codes if code.startswith("mend_")]
    rows = {r["shop_no"]: r["shop_name"] for r in place.tables()["std.market__shop"] if r["_batch"] == batch["batch"]}
    assert rows == {"001": "甲", "002": "乙", "003": "丙"}, "leading zeros survive the program"
