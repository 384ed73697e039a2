"""Files that nobody should be made to wait for, or be shown a traceback by: BAD_INPUT's rows 20 to 33."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from posttrain.data import rows
from posttrain.data.read import (
    read_comparisons,
    read_messages,
    read_problems,
    read_prompts,
    read_ratings,
    read_text,
)
from posttrain.data.user_rows import UserRows
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.store import Workspace

READERS = (read_messages, read_prompts, read_problems, read_text, read_comparisons, read_ratings)


@contextmanager
def within(seconds: float = 5.0) -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < seconds


def told(source: str | Path, reader: Callable[..., Any] = read_messages) -> str:
    """What a person is told of a file that cannot be used."""
    with within(), pytest.raises(UserError) as raised:
        reader(str(source))
    said = str(raised.value)
    assert said.startswith(str(source)), said
    return said


def gzip_bomb(path: Path) -> None:
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for _ in range(70):
            stream.write(b"\n" * 1_000_000)


FILES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a pipe": (os.mkfifo, "a pipe, expected a regular file"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a device, expected a regular file"),
    "a directory": (Path.mkdir, "a directory; name one file of rows"),
    "a gzip bomb": (gzip_bomb, "gzip that grows to more than 200 times its size"),
    "damaged gzip": (
        lambda path: path.write_bytes(gzip.compress(b'{"messages": 1}\n' * 500)[:-9] + b"\0" * 9),
        "gzip that cannot be unpacked",
    ),
    "gzip with a wrong stream": (
        lambda path: path.write_bytes(gzip.compress(b"a" * 5000)[:12] + b"\xff" * 60),
        "gzip that cannot be unpacked",
    ),
    "gzip cut short": (
        lambda path: path.write_bytes(gzip.compress(b'{"messages": 1}\n' * 500)[:30]),
        "gzip that cannot be unpacked .*cut short",
    ),
    "a line nested 100,000 deep": (
        lambda path: path.write_text('{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}\n"),
        "line 1: nested more than 64 levels deep",
    ),
    "an array nested 100,000 deep": (
        lambda path: path.write_text("[" * 100_000 + "]" * 100_000),
        "nested more than 64 levels deep",
    ),
    "objects nested 100 deep": (
        lambda path: path.write_text('{"a": ' * 100 + "1" + "}" * 100),
        "line 1: nested more than 64 levels deep",
    ),
    "half of a surrogate pair": (
        lambda path: path.write_text('{"messages": "\\ud83d"}'),
        "line 1: half of a surrogate pair",
    ),
    "a number of 5,000 digits": (
        lambda path: path.write_text('{"messages": ' + "9" * 5000 + "}"),
        "line 1: .*4300 digits",
    ),
    "nothing": (Path.touch, "0 rows; needs at least 1"),
    "a Parquet file cut short": (lambda path: path.write_bytes(b"PAR1" + b"\0" * 20), "not whole Parquet"),
}


@pytest.mark.parametrize("form", FILES)
def test_a_file_of_another_kind_is_told_and_not_waited_for(tmp_path: Path, form: str) -> None:
    make, expected = FILES[form]
    path = tmp_path / "rows.jsonl"
    make(path)
    said = told(path)
    assert re.search(expected, said), said


def test_a_socket_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket is short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("rows")
        assert "a socket, expected a regular file" in told("rows")


def test_a_fingerprint_does_not_wait_for_a_pipe_or_a_large_directory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with within(), pytest.raises(UserError, match="pipe: a pipe, expected a regular file"):
        SourceFile(str(tmp_path / "pipe"), "datasets").identity(Workspace(tmp_path))
    with within(), pytest.raises(UserError, match="/: a directory; name one file of rows"):
        SourceFile("/", "datasets").identity(Workspace(tmp_path))
    with within(), pytest.raises(UserError, match=r"/usr: no config.json \(found: .*expected a Hugging Face"):
        SourceFile("/usr").check_directory()
    with within():
        assert SourceFile("/usr").identity(Workspace(tmp_path)) == "no model:/usr"


def test_a_directory_of_many_files_is_no_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posttrain.pipeline.store.MOST_FILES", 5)
    for number in range(7):
        (tmp_path / f"{number}").touch()
    with pytest.raises(UserError, match="more than 5 files"):
        Workspace(tmp_path).files(tmp_path)


@pytest.mark.parametrize("path", ["", "  ", "~nosuchuser-at-all/x.jsonl", "a\0b", "x" * 5000])
def test_a_path_that_is_none_is_named(tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError) as raised:
        SourceFile(path, "datasets").identity(Workspace(tmp_path))
    assert repr(path)[1:40].strip("' ") in str(raised.value)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n")

    def refuse(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read (Permission denied)" in told(path)


def test_gzip_of_a_usual_ratio_is_read(tmp_path: Path) -> None:
    row = {"prompt": "What is ice?", "completion": "Frozen water."}
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(gzip.compress((json.dumps(row) + "\n").encode() * 3))
    assert len(read_messages(str(path))) == 3


def test_parquet_that_says_it_has_too_many_rows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist([{"text": "a"}] * 8), tmp_path / "rows.parquet")
    monkeypatch.setattr(rows, "MOST_ROWS", 7)
    assert "8 rows, the limit is 7" in told(tmp_path / "rows.parquet", read_text)


ODD_ROWS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "turns that are numbers": (read_comparisons, {"chosen": [1, 2], "rejected": [3]}),
    "a score that no float holds": (
        read_comparisons,
        {"prompt": "a", "completions": [{"response": "b", "rank": 10**400}, {"response": "c", "rank": 1}]},
    ),
    "a margin that no float holds": (
        read_comparisons,
        {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 10**400},
    ),
    "a role that is a list": (read_messages, {"messages": [{"role": ["user"], "content": "a"}]}),
    "an answer that is JSON 100,000 deep in a text": (
        read_comparisons,
        {"prompt": "a", "response_a": "[" * 100_000, "response_b": 7, "winner": "model_a"},
    ),
    "turns of a number": (read_messages, {"conversations": 3}),
    "turns of null": (read_messages, {"conversations": [None, {"from": None, "value": None}]}),
    "checks of null": (read_problems, {"prompt": "a", "checks": [None]}),
    "a check whose word is null": (
        read_problems,
        {"prompt": "a", "checks": [{"check": "excludes", "word": None}]},
    ),
    "a check that counts to a milliard": (
        read_problems,
        {"prompt": "a", "checks": [{"check": "sections", "word": "Part", "count": 10**9}]},
    ),
    "instructions that are no list": (
        read_problems,
        {"prompt": "a", "instruction_id_list": {"a": 1}, "kwargs": 7},
    ),
    "a label that is an object": (read_ratings, {"prompt": "a", "completion": "b", "label": {"good": 1}}),
    "cases of text": (read_problems, {"prompt": "a", "cases": ["1 2"]}),
    "text of a list": (read_text, {"text": ["a"]}),
}


@pytest.mark.parametrize("case", ODD_ROWS)
def test_a_row_of_odd_values_is_told_by_row_and_field(tmp_path: Path, case: str) -> None:
    reader, row = ODD_ROWS[case]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row))
    said = told(path, reader)
    assert "row 1: " in said or "no column" in said, said
    assert len(said) < 1000


@pytest.mark.parametrize("reader", READERS)
def test_every_reader_tells_all_problems_together_and_writes_nothing(
    tmp_path: Path, reader: Callable[..., Any]
) -> None:
    names = ("messages", "prompt", "completion", "chosen", "rejected", "label", "text", "answer")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({name: [] for name in names}) + "\n" for _ in range(12)))
    said = told(path, reader)
    assert said.count("row ") == 10
    assert "... and 2 more, 12 in all" in said
    assert sorted(tmp_path.iterdir()) == [path]


def test_a_byte_order_mark_and_other_line_ends_are_no_mistake(tmp_path: Path) -> None:
    row = {"prompt": "مرحبا 👋🏽", "completion": "שלום\u202e"}
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row, ensure_ascii=False).encode() + b"\r\n")
    (read,) = read_messages(str(path))
    assert [message["content"] for message in read["messages"]] == list(row.values())


def test_columns_that_are_not_read_are_named_once(tmp_path: Path) -> None:
    row = {"prompt": "a", "completion": "b", "weight": 2, "tools": ["x"]}
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps(row) + "\n") * 5)
    own = UserRows.read(read_messages, SourceFile(str(path), "datasets"), tmp_path, skip_bad=False, first=0)
    assert [note.rpartition(": ")[2] for note in own.notes] == ["tools, weight"]


def test_a_large_csv_cell_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    made = io.StringIO()
    made.write("prompt,completion\n")
    made.write(f'{"a" * 200_000},"b\nc"\n')
    path.write_text(made.getvalue())
    assert len(read_messages(str(path))[0]["messages"][0]["content"]) == 200_000
