"""Settings that cannot be, on the command line and in a file: which, where, what was expected."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.bad_input.answer import Answer, accepted, tells


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
        (["sft="], "sft=: nothing is given after the equals sign, expected a value; leave sft out where"),
        (["rl="], "rl is a stage, and no directory is named after the equals sign"),
        (["rl.steps=1" + "0" * 400], r"rl.steps=10+\.\.\.: expected a whole number"),
        ([f"seed={1 << 70}"], "seed is .*, expected 0 or more, and less than 2"),
        (["rl.learning_rate=nan"], "not a number"),
        (["rl.learning_rate=1e999"], "learning_rate is inf"),
        (["rl.method=" + "[" * 3000], "no such choice"),
        (["--workspace", "~nosuchuser-at-all/x"], "no home directory is known"),
    ],
)
def test_settings_that_cannot_be_are_told(wishes: list[str], told: str, refused: Answer) -> None:
    tells(refused("run", "instructgpt", *wishes), told)


@pytest.mark.parametrize("recipe", ["rounds", "iterated_dpo"])
@pytest.mark.parametrize("count", ["0", "-1", "51", "1000000000"])
def test_rounds_are_some_and_not_any_number(recipe: str, count: str, refused: Answer) -> None:
    tells(refused("run", recipe, f"count={count}"), f"count={count}: expected from 1 to 50 rounds")


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
        ("rl:\n  steps: 1\n  steps: 2\n", "settings.yaml:3:3: .*steps is set twice"),
        (b"seed: \xff\n", "settings.yaml: .*UTF-8"),
        (b"seed: 1\0\n", "settings.yaml"),
        (b'rl: {method: "\\ud800"}\n', "settings.yaml"),
    ],
)
@pytest.mark.timeout(60)
def test_a_settings_file_that_cannot_be_is_told(
    text: str | bytes, told: str, home: Path, refused: Answer
) -> None:
    (home / "settings.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    tells(refused("run", "instructgpt", "--config", "settings.yaml"), "settings.yaml", told)


def test_a_settings_file_that_is_none_is_not_waited_for(home: Path, refused: Answer) -> None:
    os.mkfifo(home / "pipe.yaml")
    for path, told in (
        ("/dev/zero", "/dev/zero: a device, expected a regular file"),
        (str(home), "a directory, expected"),
        ("pipe.yaml", "pipe.yaml: a pipe, expected a regular file"),
        ("nowhere.yaml", "nowhere.yaml: cannot be read"),
        ("", "an empty path"),
    ):
        tells(refused("run", "instructgpt", "--config", path), told, case=path)


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "\ufeff", "\ufeff# nothing\r\n"])
def test_an_empty_settings_file_changes_nothing(text: str, home: Path) -> None:
    """1 and 20."""
    (home / "settings.yaml").write_text(text)
    plan = ["run", "instructgpt", "--dry-run"]
    assert accepted([*plan, "--config", "settings.yaml"], home) == accepted(plan, home)


@pytest.mark.parametrize("sizes", [(5, 3, 4), (1, 2, 7), (7, 2, 5)])
def test_batches_of_any_size_are_planned(sizes: tuple[int, int, int], home: Path) -> None:
    """8: a batch is counted in prompts, each answered ``group_size`` times, and cut into any minibatches."""
    prompts, answers, minibatches = sizes
    wishes = [f"rl.prompts_per_step={prompts}", f"rl.group_size={answers}"]
    wishes += ["rl.method=grpo", f"rl.method.minibatches={minibatches}"]
    assert "rl" in accepted(["run", "instructgpt", *wishes, "--dry-run"], home)
