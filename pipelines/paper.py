"""How our sheets come out of a printer."""

from __future__ import annotations

from typing import Any

from openpyxl.worksheet.properties import PageSetupProperties


def on_paper(place: Any) -> None:
    """A sheet of openpyxl printed lying on A4, as wide as the page and as many pages long as it needs."""
    place.page_setup.orientation, place.page_setup.paperSize = "landscape", 9
    place.page_setup.fitToWidth, place.page_setup.fitToHeight = 1, 0
    place.sheet_properties.pageSetUpPr = PageSetupProperties(fitToPage=True)
