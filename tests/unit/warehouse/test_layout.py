"""Files written whole or not at all, by rivals and after killed ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from warehouse.layout import write_atomically

CONTENTS = [bytes([letter]) * 300_000 for letter in b"abcdefgh"]


def test_a_reader_sees_one_rivals_file_whole_whoever_writes(tmp_path: Path) -> None:
    path = tmp_path / "told.json"
    write_atomically(path, CONTENTS[0])
    with ThreadPoolExecutor(8) as pool:
        writers = [pool.submit(lambda data: [write_atomically(path, data) for _ in range(15)], data) for data in CONTENTS]
        while wait(writers, timeout=0).not_done:
            assert path.read_bytes() in CONTENTS
    assert [w.exception() for w in writers] == [None] * len(writers)
    assert [p.name for p in tmp_path.iterdir()] == ["told.json"]


def test_what_a_killed_writer_left_is_written_over(tmp_path: Path) -> None:
    left = tmp_path / ".told.json.part"
    left.write_bytes(b"half of something much longer")
    left.chmod(0o400)
    write_atomically(tmp_path / "told.json", b"whole", mode=0o400)
    assert [(p.name, p.read_bytes(), p.stat().st_mode & 0o777) for p in tmp_path.iterdir()] == [("told.json", b"whole", 0o400)]
