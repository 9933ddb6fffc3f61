"""Where the real extracts lie: DMP_SHARED, else the folder `shared` beside this checkout."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

SHARED = Path(os.environ.get("DMP_SHARED") or Path(__file__).resolve().parents[3] / "shared")


def extracts(name: str) -> Path:
    """The folder of one collection; the test is skipped, and says so, where it is not there."""
    folder = SHARED / "data" / name
    if not folder.is_dir():
        pytest.skip(f"the real extracts are not in {folder}; name the folder that holds data/ in DMP_SHARED")
    return folder
