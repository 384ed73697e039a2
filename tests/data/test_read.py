"""What users really feed it, and what they are told: file, row, field, what was expected, the fix."""

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posttrain.data.read import ReadOptions, read_comparisons, read_messages, read_prompts
from posttrain.data.rows import Problems, numbered_rows
from posttrain.pipeline.finding import UserError
from posttrain.storage.jsonl import read_jsonl, write_jsonl

ASKED = [{"role": "user", "content": "What is ice?"}]
SAID = [{"role": "assistant", "content": "Frozen water. ❄ مرحبا"}]
TALK = [*ASKED, *SAID]


def read_rows(source: str) -> list[dict[str, Any]]:
    """Every row of a file, or UserError for the first that is none."""
    problems = Problems(source)
    rows = numbered_rows(source, None, problems)
    problems.stop_if_any()
    return [row for _, row in rows]


def wrote(tmp_path: Path, content: Any, name: str = "rows.jsonl") -> str:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(
            "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content), encoding="utf-8"
        )
    return str(path)


def test_the_same_rows_in_every_form(tmp_path: Path) -> None:
    rows = [{"prompt": "a, b"}, {"prompt": 'line\nbreak "quoted" é'}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    forms = {
        "plain.jsonl": lines.encode(),
        "bom.jsonl": b"\xef\xbb\xbf" + lines.encode(),
        "crlf.jsonl": lines.replace("\n", "\r\n").encode(),
        "open.jsonl": lines.rstrip("\n").encode(),
        "array.json": json.dumps(rows, indent=2).encode(),
        "packed.jsonl.gz": gzip.compress(lines.encode()),
        "cells.csv": 'prompt\n"a, b"\n"line\nbreak ""quoted"" é"\n'.encode(),
        "packed.csv.gz": gzip.compress('prompt\n"a, b"\n"line\nbreak ""quoted"" é"\n'.encode()),
    }
    for name, content in forms.items():
        assert read_rows(wrote(tmp_path, content, name)) == rows, name


def test_parquet_reads_as_json_lines_do(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist([{"messages": TALK}]), tmp_path / "rows.parquet")
    assert read_messages(str(tmp_path / "rows.parquet")) == [{"messages": TALK}]
    whole = (tmp_path / "rows.parquet").read_bytes()
    with pytest.raises(UserError, match="not whole Parquet"):
        read_rows(wrote(tmp_path, whole[: len(whole) // 2], "cut.parquet"))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "rows.jsonl: 0 rows; needs at least 1"),
        (b'{"a": 1}\n{"a": "\xff"}\n', "line 2: not UTF-8 at byte 16"),
        (b'{"a": "x\0y"}\n', "line 1: a NUL byte at byte 8"),
        (b'{"a": 1}\n{"a": NaN}\n', "line 2: NaN is not JSON"),
        (b'{"a": 1}\n{"a": "cu', "line 2: not JSON .* the last line is cut short"),
        (b'{"a": 1}\n[1]\n', "line 2: expected an object .* found list"),
        (b'{"a": "\\ud800"}\n', "line 1: half of a surrogate pair"),
        (b"\x1f\x8b\x08cut", "gzip that cannot be unpacked"),
    ],
)
def test_a_file_that_is_not_rows_is_told_by_line_and_byte(tmp_path: Path, content: bytes, told: str) -> None:
    with pytest.raises(UserError, match=told):
        read_rows(wrote(tmp_path, content))


def test_the_first_ten_problems_are_told_and_how_many_there_are(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        read_rows(wrote(tmp_path, b'{"a": 1}\n' + b"oops\n" * 25))
    assert str(caught.value).count("not JSON at column 1") == 10
    assert "line 2:" in str(caught.value)
    assert "and 15 more, 25 in all" in str(caught.value)


def test_lines_that_are_no_rows_do_not_hide_what_is_wrong_with_the_others(tmp_path: Path) -> None:
    content = b'{"prompt": "a"}\noops\n{"prompt": 7}\n'
    with pytest.raises(UserError, match=r"(?s)line 2: not JSON.*row 3: prompt is a number"):
        read_prompts(wrote(tmp_path, content))


def test_bad_rows_can_be_skipped_and_are_named(tmp_path: Path) -> None:
    rows = b'{"prompt": "a"}\noops\n{"prompt": 7}\n[1]\n{"prompt": "b"}\n'
    for name, content in {
        "rows.jsonl": rows,
        "rows.json": b'[{"prompt": "a"}, "oops", {"prompt": 7}, [1], {"prompt": "b"}]',
        "rows.csv": b"prompt,id\na,1\noops\n,2\nx,y,z\nb,3\n",
    }.items():
        skipped = Problems(name)
        found = read_prompts(wrote(tmp_path, content, name), reading=ReadOptions(skipped=skipped))
        assert [row["prompt"][0]["content"] for row in found] == ["a", "b"], name
        assert len(skipped.rows) == 3, name
        assert any("row 3: prompt is" in text for text in skipped.shown_lines()), name


def test_a_file_of_bad_rows_only_is_refused_also_when_they_are_skipped(tmp_path: Path) -> None:
    for content in (b"oops\nno\n", b'{"prompt": ""}\n{"prompt": 1}\n'):
        with pytest.raises(UserError, match=r"(line|row) 2"):
            read_prompts(wrote(tmp_path, content), reading=ReadOptions(skipped=Problems("rows.jsonl")))


def test_a_missing_file_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file"):
        read_rows(str(tmp_path / "absent.jsonl"))
    with pytest.raises(UserError, match="a directory; name one file"):
        read_rows(str(tmp_path))


def changed(number: int, **fields: Any) -> list[dict[str, Any]]:
    talk = [{"role": "system", "content": "Be kind."}, *TALK]
    return [{**message, **(fields if place == number else {})} for place, message in enumerate(talk)]


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        (changed(1, role="usr"), r"messages[1].role is 'usr'; did you mean user?"),
        (changed(2, role="bot"), r"messages[2].role is 'bot'"),
        (changed(1, role="system"), "messages[1].role is system, expected user or assistant: only the first"),
        (changed(2, role="user"), "messages[2].role is user, expected assistant"),
        (changed(2, content=None), "messages[2].content is null, expected text"),
        (changed(2, content=[1]), "messages[2].content is a list, expected text"),
        (changed(2, content=7), "messages[2].content is a number (7), expected text"),
        (changed(2, content=" "), "messages[2].content is empty"),
        (TALK[:1], "messages[0].role is the last, expected assistant"),
        (SAID, "messages[0].role is assistant, expected user"),
        (json.dumps(TALK), "messages is a list stored as text"),
        (None, "messages is null"),
        ([], "messages is an empty list"),
        ({"role": "user"}, "messages is an object"),
        (["hello"], "messages[0] is str"),
        (changed(2, weight=2), "messages[2].weight is 2, expected 0 (read, not learned) or 1"),
        (changed(2, weight=0), "messages has weight 0 on every answer"),
    ],
)
def test_a_faulty_conversation_is_told_by_field_path(tmp_path: Path, messages: Any, told: str) -> None:
    good = {"messages": TALK}
    with pytest.raises(UserError, match=re.escape(f"row 2: {told}")):
        read_messages(wrote(tmp_path, [good, {"messages": messages}]))


def test_a_turn_of_weight_zero_keeps_it_and_others_are_as_without(tmp_path: Path) -> None:
    more = [*TALK[:-1], {**SAID[0], "weight": 0}, *ASKED, {**SAID[0], "weight": 1}]
    (row,) = read_messages(wrote(tmp_path, [{"messages": more}]))
    assert [message.get("weight") for message in row["messages"]] == [None, 0, None, None]


def test_a_misspelt_column_is_one_mistake_and_a_missing_cell_one_a_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no column messages; did you mean mesages"):
        read_messages(wrote(tmp_path, [{"mesages": TALK}] * 3))
    with pytest.raises(UserError, match="no column prompt; did you mean prmpt"):
        read_comparisons(wrote(tmp_path, [{"prmpt": "a", "chosen": "b", "rejected": "c"}]))
    with pytest.raises(UserError, match="row 2: prompt is missing"):
        read_prompts(wrote(tmp_path, [{"prompt": "a"}, {"promt": "b"}]))


def test_demonstrations_as_prompt_and_completion(tmp_path: Path) -> None:
    rows = [
        {"id": 7, "prompt": "What is ice?", "completion": SAID[0]["content"]},
        {"prompt": ASKED, "completion": SAID},
    ]
    assert read_messages(wrote(tmp_path, rows)) == [{"id": "7", "messages": TALK}, {"messages": TALK}]


def test_comparisons_in_their_three_forms_are_the_same_rows(tmp_path: Path) -> None:
    worse = [{"role": "assistant", "content": "Fire."}]
    forms = [
        {"prompt": "What is ice?", "chosen": SAID[0]["content"], "rejected": "Fire."},
        {"prompt": ASKED, "chosen": SAID, "rejected": worse},
        {"prompt": ASKED, "chosen": TALK, "rejected": [*ASKED, *worse]},
    ]
    wanted = [{"prompt": ASKED, "chosen": SAID, "rejected": worse}]
    for form in forms:
        assert read_comparisons(wrote(tmp_path, [form])) == wanted
    assert read_comparisons(wrote(tmp_path, [{"chosen": TALK, "rejected": [*ASKED, *worse]}])) == wanted


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"prompt": "p", "chosen": "a", "rejected": "a"}, "row 2: rejected is the same as chosen"),
        ({"prompt": " ", "chosen": "a", "rejected": "b"}, "row 2: prompt is empty"),
        ({"prompt": "p", "chosen": "", "rejected": "b"}, "row 2: chosen is empty"),
        (
            {"prompt": TALK, "chosen": "a", "rejected": "b"},
            r"row 2: prompt\[1\]\.role is the last, expected user",
        ),
        ({"id": "x", "prompt": "p", "chosen": "a", "rejected": "b"}, "row 2: id 'x' is also that of row 1"),
        (
            {"prompt": "p", "chosen": "a", "rejected": "b", "margin": -1},
            "row 2: margin is -1, expected a number",
        ),
    ],
)
def test_a_faulty_comparison_is_told(tmp_path: Path, row: dict[str, Any], told: str) -> None:
    good = {"id": "x", "prompt": "q", "chosen": "better", "rejected": "worse"}
    with pytest.raises(UserError, match=told):
        read_comparisons(wrote(tmp_path, [good, row]))


@pytest.mark.parametrize("read", [read_messages, read_prompts, read_comparisons])
def test_nothing_is_a_mistake_of_its_own(tmp_path: Path, read: Callable[[str], Any]) -> None:
    with pytest.raises(UserError, match="0 rows"):
        read(wrote(tmp_path, b"\n\n"))


def test_a_line_separator_inside_a_text_is_no_end_of_a_row(tmp_path: Path) -> None:
    rows = [{"text": "one\u2028two\x85three\x0cfour"}]
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert read_jsonl(tmp_path / "rows.jsonl") == rows
    assert read_rows(str(tmp_path / "rows.jsonl")) == rows
