"""Settings that cannot be, on the command line and in a file: which, where, what was expected."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from posttrain import cli


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
        (
            ["sft=" + "x" * 5000],
            "sft: 'xx.*': not a path .File name too long.; expected a file or a dir",
        ),
        (["sft=~nosuchuser-at-all/x"], "no home directory is known"),
        (["sft=/dev/zero"], "the value must be the directory of a finished product"),
        (["pairs.answers=1"], "answers is 1, expected at least 2"),
        (["rl="], "rl is a stage, and no directory is named after the equals sign"),
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


@pytest.mark.parametrize("recipe", ["rounds", "iterated_dpo"])
@pytest.mark.parametrize("count", ["0", "-1", "51", "1000000000"])
def test_rounds_are_some_and_not_any_number(recipe: str, count: str, tmp_path: Path, capsys: Any) -> None:
    command = ["run", recipe, f"count={count}", "--workspace", str(tmp_path), "--dry-run"]
    assert cli.main(command) == 2
    assert f"count={count}: expected from 1 to 50 rounds" in capsys.readouterr().err
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
