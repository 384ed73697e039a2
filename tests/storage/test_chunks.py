from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest

from posttrain.storage.chunks import Chunks, in_chunks, ranges
from posttrain.storage.unfinished import Log, Scratch


class Work:
    """Squares of numbers, in chunks of three; which chunks were made, and what the user was told."""

    def __init__(self, directory: Path, identity: str = "inputs") -> None:
        directory.mkdir(exist_ok=True)
        self.said: list[str] = []
        self.made: list[range] = []
        self.scratch = Scratch(directory, identity, say=self.said.append)

    def run(self, count: int = 10, stop: int | None = None, size: int = 3) -> list[Any]:
        def make(piece: range) -> list[dict[str, Any]]:
            if len(self.made) == stop:
                raise KeyboardInterrupt
            self.made.append(piece)
            return [{"n": n, "square": n * n / 7} for n in piece]

        pieces = ranges(count, size)
        return [row for some in in_chunks(Chunks(self.scratch, "side/train"), pieces, make) for row in some]


def expected(count: int = 10) -> list[Any]:
    return [{"n": n, "square": n * n / 7} for n in range(count)]


@pytest.mark.parametrize("killed_after", [0, 1, 2, 3])
def test_a_killed_stage_goes_on_at_the_next_chunk(tmp_path: Path, killed_after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        Work(tmp_path).run(stop=killed_after)
    again = Work(tmp_path)
    assert again.run() == expected()
    assert again.made == ranges(10, 3)[killed_after:]
    assert bool(again.scratch.resumed) == (killed_after > 0)


def file_of(directory: Path) -> Path:
    return directory / "side-train.chunks"


def damaged(data: bytes, how: str) -> bytes:
    lines = data.splitlines(keepends=True)
    third = sum(map(len, lines[:2])) + 80
    return {
        "cut": data[: third + 3],
        "flipped": data[:third] + bytes([data[third] ^ 1]) + data[third + 1 :],
        "empty": b"",
        "torn": data[:-1],
        "zeros": data + b"\0" * 4096,
        "twice": b"".join([*lines, lines[-1]]),
        "text": data + b"not a line of ours\n",
    }[how]


@pytest.mark.parametrize("how", ["cut", "flipped", "empty", "torn", "zeros", "twice", "text"])
def test_with_any_damage_the_values_are_the_same(tmp_path: Path, how: str) -> None:
    Work(tmp_path).run()
    file = file_of(tmp_path)
    file.write_bytes(damaged(file.read_bytes(), how))
    again = Work(tmp_path)
    assert again.run() == expected()
    assert len(again.made) == {"cut": 3, "flipped": 3, "empty": 4, "torn": 1}.get(how, 0)
    third = Work(tmp_path)
    assert third.run() == expected()
    assert third.made == []
    assert [line for line in third.said if "goes on" not in line] == []


def test_what_was_made_of_other_inputs_or_in_other_pieces_is_not_used(tmp_path: Path) -> None:
    Work(tmp_path).run()
    other = Work(tmp_path, identity="other inputs")
    assert other.run() == expected()
    assert len(other.made) == 4
    assert any("other inputs" in line for line in other.said)
    assert len(Work(tmp_path, identity="other inputs").run(count=11)) == 11
    smaller = Work(tmp_path, identity="other inputs")
    assert smaller.run(count=11, size=2) == expected(11)
    assert len(smaller.made) == 6


def test_a_full_disk_is_told_once_and_loses_no_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Log, "write", full)
    work = Work(tmp_path)
    assert work.run() == expected()
    assert len([line for line in work.said if "No space left" in line]) == 1


def test_two_pieces_of_work_of_one_name_are_refused(tmp_path: Path) -> None:
    work = Work(tmp_path)
    work.run()
    with pytest.raises(ValueError, match="kept twice"):
        work.run()


def test_a_line_is_checked_by_its_own_hash(tmp_path: Path) -> None:
    """A value that was changed together with nothing else is made again, never used."""
    Work(tmp_path).run()
    file = file_of(tmp_path)
    file.write_bytes(file.read_bytes().replace(b'"n": 4', b'"n": 5'))
    again = Work(tmp_path)
    assert again.run() == expected()
    assert json.loads(file.read_text().splitlines()[2].partition(" ")[2])[1]["n"] == 4
