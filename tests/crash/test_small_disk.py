"""A disk that runs full in the middle, or turns read-only: one message, the state before or after, and a second run mends it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.crash.small_disk import LEFT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def can_mount(folder: Path) -> bool:
    if not shutil.which("unshare"):
        return False
    probe = [*NAMESPACE, "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(probe, capture_output=True).returncode == 0


def test_a_full_or_read_only_disk_loses_and_doubles_nothing(tmp_path: Path) -> None:
    disk, out = tmp_path / "disk", tmp_path / "told.json"
    disk.mkdir()
    if not can_mount(disk):
        pytest.skip("this machine lets nobody mount a disk of his own (unshare --user --mount)")
    script = 'mount -t tmpfs -o size=200m none "$1" && exec "$2" -m tests.crash.small_disk "$1" "$3"'
    subprocess.run([*NAMESPACE, "sh", "-c", script, "sh", disk, sys.executable, out], check=True)
    found = json.loads(out.read_text())
    assert found["differences"] == []
    assert found["problems"] == []
    assert len(found["told"]) == len(LEFT) + 1
    for trouble, code, said in found["told"]:
        assert code in (0, 60), f"{trouble}: {said}"
        assert "Traceback" not in said, trouble
        assert (code == 60) == said.startswith("The disk "), f"{trouble}: {said}"
    failed = sum(code == 60 for _, code, _ in found["told"])
    print(
        f"\n{failed} of {len(found['told'])} runs met a full or read-only disk; {found['batches']} batches, none lost or doubled"
    )
    assert failed >= 5
    assert found["told"][-1][1] == 60, "nothing can be written on a read-only disk"
