"""A file's hash is that of all its bytes; what is flushed must be there."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from posttrain.storage.durable import flush, hash_file


def test_the_hash_is_of_every_byte(tmp_path: Path) -> None:
    data = bytes(range(256)) * 5000  # more than is read at once
    (tmp_path / "file").write_bytes(data)
    assert hash_file(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_files_and_directories_are_flushed_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    synced: list[int] = []
    monkeypatch.setattr("posttrain.storage.durable.os.fsync", synced.append)
    for path in (tmp_path / "file", tmp_path):
        flush(path)
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(synced[-1])
    assert len(synced) == 2
    with pytest.raises(FileNotFoundError):
        flush(tmp_path / "none")
