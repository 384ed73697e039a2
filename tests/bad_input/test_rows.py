"""What users really feed it, at every place where rows come in: file, row, field, what was expected, and the
fix; exit code 2, all problems of a file together, no traceback, nothing written.
"""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.answer import Answer, outcome, tells
from tests.bad_input.entries import ENTRIES, PAIR, TALK, WAYS, Entry, lines, many
from tests.data.test_hostile_files import gzip_bomb

SKIP = r"\d+ rows are good; --skip-bad goes on with those"
MESSAGES = r'expected (text or )?messages \[\{"role", "content"\}, \.\.\.\]'
# number of the bad input, and what: the value of the third row's field, what is said, what was expected
VALUES: dict[str, tuple[Any, str, str]] = {
    "12 empty": ("", "is (empty|text)", "expected (text|messages)"),
    "12 white space": (" \n", "is (empty|text)", "expected (text|messages)"),
    "15 null": (None, "is null", "expected (text|messages)"),
    "15 a number": (7, r"is a number \(7\)", "expected (text|messages)"),
    "15 an empty list": ([], "is an empty list", "expected (text|messages)"),
    "15 an object": ({"a": 1}, "is an object", "expected (text|messages)"),
    "15 messages as text": (
        json.dumps(TALK),
        "is a list stored as text",
        f"{MESSAGES}; store the list itself",
    ),
    "15 messages as Python wrote them": (str(TALK), "is a list stored as text", "store the list itself"),
    "14 a role that is none": (
        [{"role": "usr", "content": "a"}, {"role": "assistant", "content": "b"}],
        r"\[0\].role is 'usr'",
        r"did you mean user\? There is: assistant, system, user",
    ),
    "14 bot": (
        [TALK[0], {"role": "bot", "content": "b"}],
        r"\[[01]\].role is ('bot'|user)",
        "There is: assistant, system, user|expected assistant",
    ),
    "14 a system turn in between": (
        [*TALK, {"role": "system", "content": "b"}],
        r"\[[02]\].role is (system|user)",
        "expected (user or assistant: only the first|assistant)",
    ),
    "14 the wrong order": ([TALK[0], TALK[0]], r"\[[01]\].role is user", "expected assistant"),
    "14 no message at all": ([None], r"\[0\] is null", r'expected \{"role", "content"\}'),
    "15 content null": (
        [TALK[0] | {"content": None}],
        r"\[0\].(content is null|role is user)",
        "expected (text|assistant)",
    ),
    "15 content a list": (
        [TALK[0] | {"content": [{"type": "text", "text": "a"}]}, TALK[1]],
        r"\[0\].(content is a list|role is user)",
        "expected (text|assistant)",
    ),
}
LAST = {  # what is missing at the end of a conversation, by what a field holds
    "messages": (TALK[:1], r"messages\[0\].role is the last, expected assistant"),
    "chosen": (TALK[:1], r"chosen\[0\].role is the last, expected assistant"),
    "prompt": (TALK, r"prompt\[1\].role is the last, expected user"),
}
ONLY_TEXT = ("text",)


def refusal(entry: Entry, data: bytes, home: Path, llama: Path, refused: Answer) -> str:
    (home / "sums.jsonl").write_bytes(lines(many({"prompt": "2 + 2?", "answer": "4"})))
    (home / "rows.jsonl").write_bytes(data)
    said = refused(*entry.command(llama, "rows.jsonl"))
    assert re.match(r"posttrain: stage \w+: rows\.jsonl: ", said), said
    return said


@pytest.mark.parametrize("name", ENTRIES)
def test_a_spoilt_field_is_told_by_file_row_path_expectation_and_fix(
    name: str, home: Path, llama: Path, refused: Answer
) -> None:
    entry = ENTRIES[name]
    for case, (value, told, expected) in VALUES.items():
        if entry.field in ONLY_TEXT:
            if isinstance(value, str) and value.strip():
                continue  # any text is text
            if isinstance(value, list) and value:
                told, expected = "is a list", "expected text"
        rows = many(entry.good)
        rows[2][entry.field] = value
        said = refusal(entry, lines(rows), home, llama, refused)
        tells(said, rf"rows\.jsonl: row 3: {entry.field} ?{told}", expected, SKIP, case=case)
        assert said.count("row 3") == said.count(": row ") == 1, said


@pytest.mark.parametrize("name", ENTRIES)
def test_a_conversation_without_its_end_is_told(name: str, home: Path, llama: Path, refused: Answer) -> None:
    entry = ENTRIES[name]
    if entry.field not in LAST:
        pytest.skip("no conversation: its one message is the answer, or text")
    rows = many(entry.good)
    rows[2][entry.field], told = LAST[entry.field]
    tells(refusal(entry, lines(rows), home, llama, refused), f"row 3: {told}", SKIP)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_missing_cell_is_one_problem_a_row_and_a_missing_column_one_of_the_file(
    name: str, home: Path, llama: Path, refused: Answer
) -> None:
    entry, field = ENTRIES[name], ENTRIES[name].field
    rows = many(entry.good)
    del rows[4][field]
    said = refusal(entry, lines(rows), home, llama, refused)
    tells(said, f"row 5: {field} is missing, expected (text|messages)", SKIP)
    assert said.count(": row ") == 1
    rows[4] = {"foo": 1, "bar": 2}  # 16: rows of different shape
    said = refusal(entry, lines(rows), home, llama, refused)
    there = ", ".join(sorted(entry.good))
    tells(said, rf"row 5: \w+ is missing, expected .*; this row has bar, foo, and row 1 has {there}", SKIP)
    rows = [
        {f"{key}x" if key == field else key: value for key, value in row.items()} for row in many(entry.good)
    ]
    said = refusal(entry, lines(rows), home, llama, refused)
    tells(
        said,
        rf"no column {field}; did you mean {field}x\? There is: .*|these are \w+; give",
        f"say so: columns={field}:NAME|give",
    )
    assert ": row " not in said


@pytest.mark.parametrize("name", ENTRIES)
def test_rows_of_which_none_can_be_used_are_counted(
    name: str, home: Path, llama: Path, refused: Answer
) -> None:
    """2 and 19: the first ten are told and how many there are; ``--skip-bad`` would leave nothing."""
    entry = ENTRIES[name]
    rows = [{**row, entry.field: []} for row in many(entry.good)]
    for more in ((), ("--skip-bad",)):
        changed = Entry(
            lambda model, file, more=more: [*entry.command(model, file), *more], entry.good, entry.field
        )  # type: ignore[misc]
        said = refusal(changed, lines(rows), home, llama, refused)
        assert said.count(f": {entry.field} is an empty list, expected") == 10
        tells(said, r"\.\.\. and 2 more, 12 in all")
        assert "--skip-bad" not in said
    same = [{**row, "id": "a"} for row in many(entry.good, 4)]
    said = refusal(entry, lines(same), home, llama, refused)
    tells(said, "row 2: id 'a' is also that of row 1, expected once", "1 rows are good")
    assert said.count(" is also that of row 1") == 3


def files(whole: bytes) -> dict[str, tuple[Any, str, str]]:
    """What is in the file, where it is told to be wrong, and what was expected or is to be done."""
    return {
        "1 empty": (b"", "0 rows", "needs at least 1"),
        "1 blank": (b"\n\n \n", "0 rows", "needs at least 1"),
        "20 not UTF-8": (whole + b'{"prompt": "\xff"}\n', "line 13: not UTF-8 at byte", SKIP),
        "20 NUL": (whole + b"\0\n", "line 13: a NUL byte at byte", SKIP),
        "20 half a surrogate": (
            whole + b'{"prompt": "\\ud800"}\n',
            "line 13: half of a surrogate pair",
            SKIP,
        ),
        "21 cut short": (whole[:-4], "line 12: not JSON at column .*the last line is cut short", SKIP),
        "21 NaN": (whole + b'{"prompt": NaN}\n', "line 13: NaN is not JSON; write null", SKIP),
        "21 no object": (
            whole + b"[1]\n7\n",
            "line 13: expected an object .*found list\n.*line 14: .*found int",
            SKIP,
        ),
        "21 an array cut short": (
            b"[" + whole.replace(b"\n", b",\n")[:-10],
            r"line \d+, column \d+: not JSON",
            "Expecting|Unterminated",
        ),
        "32 deep": (whole + b'{"a":' * 100_000, "line 13: nested more than 64 levels deep", SKIP),
        "32 damaged gzip": (gzip.compress(whole)[:-12], "gzip that cannot be unpacked", "copy it again"),
        "32 no Parquet": (b"PAR1" + b"\0" * 30, "not whole Parquet", r"\("),
        "23 a directory": (Path.mkdir, "a directory", "name one file of rows"),
        "32 a pipe": (lambda path: os.mkfifo(path), "a pipe", "expected a regular file"),
        "32 a device": (lambda path: path.symlink_to("/dev/zero"), "a device", "expected a regular file"),
        "38 nothing there": (lambda path: None, "no such file", "not a name on the hub|hub"),
    }


@pytest.mark.parametrize("name", [*ENTRIES, *WAYS])
def test_a_file_that_is_no_rows_is_told(name: str, home: Path, llama: Path, refused: Answer) -> None:
    entry = ENTRIES[name] if name in ENTRIES else Entry(WAYS[name], ENTRIES["comparisons"].good, "")
    (home / "sums.jsonl").write_bytes(lines(many({"prompt": "2 + 2?", "answer": "4"})))
    path = home / "rows.jsonl"
    for case, (data, told, fix) in files(lines(many(entry.good))).items():
        path.rmdir() if path.is_dir() else path.unlink(missing_ok=True)
        data(path) if callable(data) else path.write_bytes(data)
        entry.command(llama, "rows.jsonl")  # writes what it needs besides
        said = refused(*entry.command(llama, "rows.jsonl"))
        tells(said, r"rows\.jsonl: ", f"rows\\.jsonl: (.*\\n)*.*({told})", fix, case=case)


@pytest.mark.parametrize("name", WAYS)
def test_every_way_to_a_file_reads_it_before_anything_is_made(
    name: str, home: Path, llama: Path, refused: Answer
) -> None:
    entry = Entry(WAYS[name], ENTRIES["comparisons"].good, "rejected")
    entry.command(llama, "rows.jsonl")
    rows = many(entry.good)
    rows[2]["rejected"], rows[3]["rejected"] = [{"role": "bot", "content": "a"}], None
    rows[4]["rejected"], rows[5]["chosen"] = rows[4]["chosen"], {}
    del rows[6]["rejected"]
    said = refusal(entry, lines(rows), home, llama, refused)
    tells(
        said,
        r"row 3: rejected\[0\].role is 'bot'",
        "row 4: rejected is null, expected text or messages",
        "row 5: rejected is the same as chosen; delete the row",
        "row 6: chosen is an object, expected text or messages",
        "row 7: rejected is missing",
        "7 rows are good; --skip-bad goes on with those",
    )


@pytest.mark.parametrize(
    ("name", "field", "value", "told"),
    [
        ("ratings", "label", "maybe", r"row 3: label is 'maybe', expected true \(wanted\) or false"),
        ("ratings", "label", 5, r"row 3: label is 5, expected true \(wanted\) or false"),
        ("comparisons", "margin", -1, "row 3: margin is -1, expected a number from 0 upwards"),
        ("comparisons", "confidence", 1.5, "row 3: confidence is 1.5, expected a share from 0 to 1"),
        ("comparisons", "tie", "perhaps", "row 3: tie is 'perhaps', expected true"),
        (
            "problems",
            "answer",
            None,
            "row 3: answer is null, expected something to verify answers by: answer",
        ),
        ("problems", "answer", True, "row 3: answer is True, expected text or a number"),
        ("problems", "cases", ["1 2"], "row 3: cases is a list, expected a list of objects"),
        ("problems", "checks", [{"check": "excludes", "word": None}], "row 3: checks .*word.*expected"),
        ("problems", "checks", [{"check": "excludes", "word": 5}], "row 3: checks .*word.*expected"),
        (
            "problems",
            "checks",
            [{"check": "sections", "word": "Part", "count": 1e9}],
            "row 3: checks .*count.*expected",
        ),
        ("problems", "checks", [{"check": "exludes", "word": "a"}], "row 3: checks .*excludes"),
        ("prompts", "checks", [{"check": "excludes", "word": None}], "row 3: checks .*word.*expected"),
        (
            "demonstrations",
            "messages",
            [TALK[0], {**TALK[1], "weight": 3}],
            r"row 3: messages\[1\].weight is 3, expected 0 \(read, not learned\) or 1",
        ),
    ],
)
def test_a_value_off_its_scale_is_told(
    name: str, field: str, value: Any, told: str, home: Path, llama: Path, refused: Answer
) -> None:
    """12, 22 and 33."""
    rows = many(ENTRIES[name].good)
    rows[2][field] = value
    tells(refusal(ENTRIES[name], lines(rows), home, llama, refused), told, SKIP)


@pytest.mark.parametrize("name", ENTRIES)
def test_good_rows_in_every_form_are_read(name: str, home: Path, llama: Path) -> None:
    """20, 21 and 29: BOM and CRLF, an array, gzip, other scripts."""
    entry = ENTRIES[name]
    (home / "sums.jsonl").write_bytes(lines(many({"prompt": "2 + 2?", "answer": "4"}, 80)))
    rows = many(entry.good, 80)
    rows[1] = json.loads(json.dumps(rows[1]).replace("ice 1?", "جليد 🧊").replace('"a 1"', '"שלום 👋🏽"'))
    forms = {
        "rows.jsonl": lines(rows),
        "bom.jsonl": b"\xef\xbb\xbf" + lines(rows).replace(b"\n", b"\r\n"),
        "rows.json": json.dumps(rows, ensure_ascii=False).encode(),
        "rows.jsonl.gz": gzip.compress(lines(rows)),
    }
    for file, data in forms.items():
        (home / file).write_bytes(data)
        ended = outcome([*entry.command(llama, file), "--dry-run"], home, llama)
        assert ended.code == 0 or "answers_fit_the_model" in ended.err, (file, ended.err)
        assert file not in ended.err


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("prompts", "rows.jsonl: 1 different prompts; needs at least 2"),
        (
            "problems",
            "rows.jsonl: 1 rows: none is left to train on; give more rows|none of 1 problems is held out",
        ),
    ],
)
def test_one_row_is_not_enough_to_split(
    name: str, told: str, home: Path, llama: Path, refused: Answer
) -> None:
    """28."""
    tells(refusal(ENTRIES[name], lines(many(ENTRIES[name].good, 1)), home, llama, refused), told)


SHORT = r"too few rows, counted before anything was made:\n"
FEW = {  # the entry, what it is given besides, how many good rows, and what is said of them
    "one demonstration": (
        "demonstrations",
        1,
        rf"stage sft: rows\.jsonl: {SHORT}.*rows_to_learn_from = 1, "
        r"threshold 2\n +1 row to learn from, 0 rows held out; needs at least 2\n +give more rows|"
        r"stage demonstrations: rows\.jsonl: 1 rows: none is left to train on",
    ),
    "one comparison": (
        "comparisons",
        1,
        r"rows\.jsonl: (none of 1 training rows falls to this part: give more rows, or judge_share=0|"
        r"1 rows: none is left to train on; give more rows)",
    ),
    "one comparison for the embedded model": (
        "the embedded model",
        1,
        rf"stage rm: rows\.jsonl: {SHORT}.*rows_to_learn_from = 1, threshold 2\n.*needs at least 2\n +give"
        r"|stage labels: rows\.jsonl: 1 rows: none is left to train on; give more rows",
    ),
    "demonstrations that fill no batch": (
        "demonstrations",
        5,
        rf"stage sft: rows\.jsonl: {SHORT}.*rows_fill_a_batch = (\d), threshold 8\n +sft.batch_size is 8, "
        r"and there are \1 rows to learn from, \d rows? held out\n +set sft.batch_size=\1 or less, or give",
    ),
    "comparisons that fill no batch": (
        "comparisons",
        12,
        rf"stage alignment: rows\.jsonl: {SHORT}.*rows_fill_a_batch = (\d), threshold 8\n +"
        r"alignment.batch_size is 8, and there are \1 rows to learn from, \d rows? held out\n +set "
        rf"alignment.batch_size=\1 or less(.*\n)+stage judge: rows\.jsonl: {SHORT}",
    ),
}


@pytest.mark.parametrize("dry", [[], ["--dry-run"]], ids=["run", "dry run"])
@pytest.mark.parametrize("case", FEW)
def test_rows_that_fill_no_batch_are_counted_before_anything_is_made(
    case: str, dry: list[str], home: Path, llama: Path, refused: Answer
) -> None:
    """28."""
    name, count, told = FEW[case]
    command = ENTRIES[name].command if name in ENTRIES else WAYS[name]
    good = ENTRIES[name].good if name in ENTRIES else PAIR
    (home / "rows.jsonl").write_bytes(lines(many(good, count)))
    tells(refused(*command(llama, "rows.jsonl"), *dry), told, case=case)


def test_a_rehearsal_counts_the_rows_of_the_run_and_not_its_own(
    home: Path, llama: Path, refused: Answer
) -> None:
    """28: a rehearsal reads 16 rows of any file, which fill no batch of the run's."""
    (home / "rows.jsonl").write_bytes(lines(many(PAIR, 12)))
    command = ["doctor", "dpo", f"base={llama}", "comparisons=rows.jsonl"]
    tells(refused(*command), r"rows_fill_a_batch = \d, threshold 8", "set alignment.batch_size=")


def test_a_gzip_bomb_is_told(home: Path, llama: Path, refused: Answer) -> None:
    gzip_bomb(home / "rows.jsonl")
    said = refused(*ENTRIES["comparisons"].command(llama, "rows.jsonl"))
    tells(said, "rows.jsonl: gzip that grows to more than 200 times its size; .*unpack it yourself")


def test_all_files_are_told_together(home: Path, refused: Answer) -> None:
    (home / "talks.jsonl").write_bytes(lines([{"messages": TALK[:1]}]))
    (home / "pairs.jsonl").write_bytes(lines([{"prompt": "a", "chosen": "b", "rejected": "b"}]))
    said = refused("run", "instructgpt", "demonstrations=talks.jsonl", "comparisons=pairs.jsonl")
    tells(
        said,
        r"stage demonstrations: talks.jsonl: row 1: messages\[0\].role is the last, expected assistant",
        "stage labels: pairs.jsonl: row 1: rejected is the same as chosen",
    )
