"""What users really feed it, at every place where rows come in: file, row, field, what was expected, and the
fix; all problems of a file together, nothing written.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posttrain import cli
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.labels import ComparisonRows, RatedRows
from posttrain.stages.problems import ProblemRows
from posttrain.stages.prompts import PromptRows
from posttrain.stages.text import TextRows

TALK = [{"role": "user", "content": "What is ice?"}, {"role": "assistant", "content": "Frozen water."}]
# stage, a good row, the field that is spoilt
ENTRIES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "demonstrations": (DemonstrationRows, {"messages": TALK}, "messages"),
    "demonstrations in two columns": (DemonstrationRows, {"prompt": "a", "completion": "b"}, "completion"),
    "comparisons": (ComparisonRows, {"prompt": "a", "chosen": "b", "rejected": "c"}, "rejected"),
    "comparisons of conversations": (
        ComparisonRows,
        {"chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "Cold."}]},
        "chosen",
    ),
    "ratings": (RatedRows, {"prompt": "a", "completion": "b", "label": True}, "completion"),
    "prompts": (PromptRows, {"prompt": "a"}, "prompt"),
    "problems": (ProblemRows, {"prompt": "2 + 2?", "answer": "4"}, "prompt"),
    "text": (TextRows, {"text": "Once."}, "text"),
}


def many(row: dict[str, Any], count: int = 10) -> list[dict[str, Any]]:
    """Rows of that form that say different things."""
    words = (("ice?", "ice {}?"), ('"a"', '"a {}"'), ("2 + 2?", "2 + {}?"), ("Once.", "Once {}."))
    made = [json.dumps(row)] * count
    for old, new in words:
        made = [text.replace(old, new.format(number)) for number, text in enumerate(made)]
    return [json.loads(text) for text in made]


def refused(entry: str, data: bytes | Callable[[Path], Any], tmp_path: Path, name: str = "rows.jsonl") -> str:
    stage, _, _ = ENTRIES[entry]
    path = tmp_path / name
    data(path) if callable(data) else path.write_bytes(data)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UserError) as raised:
        stage(source=SourceFile(str(path), "datasets")).preflight(Inputs({}), Machine(workspace=tmp_path))
    assert sorted(tmp_path.iterdir()) == before
    said = str(raised.value)
    assert str(path) in said
    return said


def lines(rows: list[Any]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


# row of BAD_INPUT.md: spoils the field of the third row, and what is said of it
SPOILT: dict[str, tuple[Any, str]] = {
    "12 empty": ("", "row 3: {field} is (empty|text)"),
    "12 white space": (" \n", "row 3: {field} is (empty|text)"),
    "15 null": (None, "row 3: {field} is null"),
    "15 a number": (7, r"row 3: {field} is a number \(7\), expected"),
    "15 an empty list": ([], "row 3: {field} is an empty list, expected"),
    "15 an object": ({"a": 1}, "row 3: {field}(.*) is an object, expected|row 3: {field}.*is None"),
    "15 messages as text": (json.dumps(TALK), "row 3: {field} is a list stored as text"),
    "14 a role that is none": (
        [{"role": "usr", "content": "a"}, {"role": "assistant", "content": "b"}],
        r"row 3: {field}\[0\].role is 'usr'; did you mean user\?",
    ),
    "14 a system turn in between": (
        [*TALK, {"role": "system", "content": "b"}],
        r"row 3: {field}\[2\].role is system; only the first|row 3: {field}\[0\].role is user, expected",
    ),
    "14 the wrong order": ([TALK[0], TALK[0]], r"row 3: {field}\[[01]\].role is user, expected assistant"),
    "15 content null": (
        [TALK[0] | {"content": None}],
        r"row 3: {field}\[0\].content is null, expected text|row 3: {field}\[0\].role is user, expected",
    ),
}
LISTS = ("messages", "chosen")  # fields that are messages and never text
FOR_LISTS = ("14", "15 messages", "15 content")


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_spoilt_field_is_told_by_row_path_and_expectation(entry: str, tmp_path: Path) -> None:
    _, good, field = ENTRIES[entry]
    for name, (value, told) in SPOILT.items():
        if name.startswith(FOR_LISTS) and not (
            field in LISTS or (field in ("completion", "rejected", "prompt") and isinstance(value, list))
        ):
            continue
        rows = many(good)
        rows[2][field] = value
        said = refused(entry, lines(rows), tmp_path)
        if (
            "expected text" in said
            and not name.endswith("content null")
            and isinstance(value, list | dict | int)
        ):  # where only text may be
            told = "row 3: {field} is .*, expected text"
        assert re.search(told.replace("{field}", field), said), (name, said)


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_missing_cell_is_one_problem_a_row_and_a_missing_column_one_of_the_file(
    entry: str, tmp_path: Path
) -> None:
    _, good, field = ENTRIES[entry]
    rows = many(good)
    del rows[4][field]
    said = refused(entry, lines(rows), tmp_path)
    assert f"row 5: {field} is missing" in said or "row 5: " in said
    assert said.count("row ") == 1
    for row in rows:
        row[f"{field}x"] = row.pop(field, "a")
    said = refused(entry, lines(rows), tmp_path)
    assert re.search(rf"no column {field}; did you mean {field}x\?|these are \w+; give", said), said
    assert "row 5" not in said


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_file_that_is_no_rows_is_told(entry: str, tmp_path: Path) -> None:
    _, good, _ = ENTRIES[entry]
    whole = lines(many(good))
    cases: dict[str, tuple[Any, str]] = {
        "1 empty": (b"", "0 rows; needs at least 1"),
        "1 blank": (b"\n\n \n", "0 rows|row"),
        "20 not UTF-8": (whole + b'{"prompt": "\xff"}\n', "line 11: not UTF-8 at byte"),
        "20 NUL": (whole + b"\0\n", "line 11: a NUL byte at byte"),
        "20 half a surrogate": (whole + b'{"prompt": "\\ud800"}\n', "line 11: half of a surrogate pair"),
        "21 cut short": (whole[:-4], "line 10: not JSON at column .*the last line is cut short"),
        "21 NaN": (whole + b'{"prompt": NaN}\n', "line 11: NaN is not JSON"),
        "21 no object": (
            whole + b"[1]\n7\n",
            "line 11: expected an object .*found list\n.*line 12: .*found int",
        ),
        "32 deep": (whole + b'{"a":' * 100_000, "line 11: nested more than 64 levels deep"),
        "32 damaged gzip": (gzip.compress(whole)[:-12], "gzip that cannot be unpacked"),
        "23 a directory": (Path.mkdir, "a directory; name one file of rows"),
    }
    for number, (name, (data, told)) in enumerate(cases.items()):
        said = refused(entry, data, tmp_path, f"rows{number}.jsonl")
        assert re.search(told, said), (name, said)


@pytest.mark.parametrize("entry", ENTRIES)
def test_good_rows_in_every_form_are_read(entry: str, tmp_path: Path) -> None:
    """BOM and CRLF, an array, gzip, other scripts."""
    stage, good, _ = ENTRIES[entry]
    rows = many(good, 80)
    rows[1] = json.loads(json.dumps(rows[1]).replace("ice 1?", "جليد 🧊").replace('"a 1"', '"שלום 👋🏽"'))
    forms = {
        "rows.jsonl": lines(rows),
        "bom.jsonl": b"\xef\xbb\xbf" + lines(rows).replace(b"\n", b"\r\n"),
        "rows.json": json.dumps(rows, ensure_ascii=False).encode(),
        "rows.jsonl.gz": gzip.compress(lines(rows)),
    }
    for name, data in forms.items():
        (tmp_path / name).write_bytes(data)
        source = SourceFile(str(tmp_path / name), "datasets")
        assert stage(source=source).preflight(Inputs({}), Machine(workspace=tmp_path)) == []


def test_all_files_are_told_together_with_exit_code_2_and_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "talks.jsonl").write_bytes(lines([{"messages": TALK[:1]}]))
    (tmp_path / "pairs.jsonl").write_bytes(lines([{"prompt": "a", "chosen": "b", "rejected": "b"}]))
    wishes = ["demonstrations=talks.jsonl", "comparisons=pairs.jsonl"]
    assert cli.main(["run", "instructgpt", *wishes]) == 2
    said = capsys.readouterr().err
    assert "stage demonstrations: talks.jsonl: row 1: messages[0].role is the last and not assistant" in said
    assert "stage labels: pairs.jsonl: row 1: rejected is the same as chosen" in said
    assert "Traceback" not in said
    assert not (tmp_path / "workspace").exists()


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        (["text=a.jsonl"], "text=a.jsonl: .*set ptx"),
        (
            ["base=~nosuchuser-at-all/x", "comparisons=b.jsonl"],
            "no home directory is known for ~nosuchuser-at-all",
        ),
        (["base=/usr", f"comparisons={__file__}"], r"/usr: no config.json \(found: "),
        (["base=/dev/zero", "comparisons=b.jsonl"], "/dev/zero: a device, expected a regular file"),
        (["sft=~nosuchuser-at-all/x"], "no home directory is known"),
        (["sft=/dev/zero"], "the value must be the directory of a finished product"),
        (["pairs.answers=1"], "answers is 1, expected at least 2"),
        (["rl.steps=1" + "0" * 400], r"rl.steps=10+\.\.\.: expected a whole number"),
        ([f"seed={1 << 70}"], "seed is .*, expected 0 or more, and less than 2"),
        (["rl.learning_rate=nan"], "not a number"),
        (["rl.learning_rate=1e999"], "learning_rate is inf"),
        (["rl.method=" + "[" * 3000], "no such choice"),
        (["--workspace", "~nosuchuser-at-all/x"], "no home directory is known"),
    ],
)
def test_settings_that_cannot_be_are_told(
    wishes: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "instructgpt", *wishes, "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert re.search(told, said), said
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


BOMB = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} {{{', '.join(f'k{k}: *{chr(97 + n)}' for k in range(9))}}}\n"
    for n in range(9)
)
EMPTY_BOMB = BOMB.replace("{x: 1, y: 2}", "{}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: &a\n  b: *a\n", "levels deep, or an alias of itself"),
        (BOMB, "more than 10000 settings; aliases of aliases"),
        (EMPTY_BOMB, "more than 10000 settings; aliases of aliases"),
        ("a: " * 30, "settings.yaml"),
        ("{" * 5000, "more than 100 brackets are open"),
        ("[" * 5000, "more than 100 brackets are open"),
        ("- " * 3000, "nested too deep|expected lines"),
        ("a: *b\n", "settings.yaml:1:4: found undefined alias"),
        ("a: [[1]]\n", "a is a list of more than plain values"),
        ("- a\n", "expected lines such as"),
        ("seed: 1\nseed: 2\n", "settings.yaml:2:1: seed is set twice"),
        ("rl:\n\tsteps: 1\n", "indent with spaces, not tabs"),
        ("a: \x01\n", "settings.yaml"),
        ("? [a]\n: 1\n", "expected a name such as"),
    ],
)
@pytest.mark.timeout(60)
def test_a_settings_file_that_cannot_be_is_told(
    text: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text(text)
    assert cli.main(["run", "instructgpt", "--config", "settings.yaml", "--dry-run"]) == 2
    said = capsys.readouterr().err
    assert re.search(told, said), said
    assert "Traceback" not in said


def test_a_settings_file_that_is_none_is_not_waited_for(tmp_path: Path, capsys: Any) -> None:
    for path, told in (
        ("/dev/zero", "a device, expected a regular file"),
        (str(tmp_path), "a directory, expected"),
    ):
        assert cli.main(["run", "instructgpt", "--config", path, "--dry-run"]) == 2
        assert told in capsys.readouterr().err
