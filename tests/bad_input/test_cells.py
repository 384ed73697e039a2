"""Cells of the table that need a command line of their own: settings, recipes, products, and rows that are
wrong beside a model alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaConfig, LlamaForSequenceClassification, PreTrainedTokenizerFast

from posttrain.pipeline.files import lock
from tests.bad_input.answer import Answer, answer, tells
from tests.bad_input.entries import TALK, lines
from tests.pipeline.test_hostile_records import RECIPE

ABOVE_0 = "expected a number above 0"
ANOTHER = r"no setting lerning_rate; did you mean learning_rate\? There is: "
SETTINGS: dict[str, tuple[list[str], str]] = {
    "4 of a stage": (["instructgpt", "rl.lerning_rate=1"], rf"rl\.lerning_rate=1: rl has {ANOTHER}"),
    "4 of a recipe": (
        ["instructgpt", "sead=1"],
        r"sead=1: nothing is called sead; did you mean seed\? There is: ",
    ),
    "4 in a file": (
        ["instructgpt", "--config", "settings.yaml"],
        rf"settings\.yaml:2:17: rl\.lerning_rate=1: rl has {ANOTHER}",
    ),
    "5 twice": (["instructgpt", "seed=1", "seed=2"], "seed=2: seed is set twice, first by seed=1; keep one"),
    "6 learning rate": (
        ["instructgpt", "sft.learning_rate=0"],
        rf"sft\.learning_rate=0: learning_rate is 0\.0, {ABOVE_0}",
    ),
    "6 clip range": (
        ["instructgpt", "rl.method.clip_range=-0.2"],
        rf"rl\.method\.clip_range=-0\.2: PPO\.clip_range is -0\.2, {ABOVE_0}",
    ),
    "6 temperature": (
        ["instructgpt", "rl.temperature=nan"],
        r"rl\.temperature=nan: not a number; give one that can be compared",
    ),
    "6 beta": (
        ["dpo", "alignment.method.beta=-1"],
        rf"alignment\.method\.beta=-1: DPO\.beta is -1\.0, {ABOVE_0}",
    ),
    "6 widths": (["cartpole", "rl.hidden=[0]"], rf"rl\.hidden=\[0\]: hidden is \(0,\), {ABOVE_0}"),
    "7 of answers": (
        ["instructgpt", "rl.method=grpo", "rl.group_size=1"],
        r"rl\.group_size=1: GRPO compares answers to the same prompt: group_size is 1, expected 2 or more",
    ),
    "7 of plays": (
        ["cartpole", "rl.method=grpo"],
        r"rl\.method=grpo: group_size is 1, and GRPO compares plays that begin alike: expected at least 2",
    ),
    "27 type": (["instructgpt", "rl.compute=int8"], r"rl\.compute=int8: expected float32, bfloat16"),
    "27 device": (["instructgpt", "--device", "gpu"], "--device gpu: expected auto, cpu, mps, cuda"),
    "33 of a reward": (
        ["instructgpt", "rl.reward.missing_eos_penalty=much"],
        r"rl\.reward\.missing_eos_penalty=much: expected a number",
    ),
}


@pytest.mark.parametrize("command", ["run", "doctor"])
@pytest.mark.parametrize("what", SETTINGS)
def test_a_setting_that_cannot_be_is_told_by_its_path(
    what: str, command: str, home: Path, refused: Answer
) -> None:
    wishes, told = SETTINGS[what]
    (home / "settings.yaml").write_text("rl:\n  lerning_rate: 1\n")
    tells(refused(command, *wishes), told, case=what)


RECIPES = {
    "1 empty": ("", r"own\.py: expected a function own\(\) that returns a stage"),
    "no Python": ("def own(:\n", r"own\.py:1: invalid syntax"),
    "raises": ("\n\nraise KeyError('x')\n", r"own\.py:3: KeyError: 'x'"),
    "imports what is absent": ("import absent_module\n", r"own\.py:1: ModuleNotFoundError: .*absent_module"),
    "another name": ("other = 1\n", r"own\.py: expected a function own\(\) that returns a stage"),
    "no stage": ("def own(): return 3\n", r"own\(\) returned int, expected its last stage"),
    "raises when called": ("def own(): return {}['x']\n", r"own\(\) raised KeyError: 'x'"),
}


@pytest.mark.parametrize("command", ["run", "doctor"])
@pytest.mark.parametrize("what", RECIPES)
def test_a_recipe_that_is_none_is_told_by_its_line(
    what: str, command: str, home: Path, refused: Answer
) -> None:
    text, told = RECIPES[what]
    (home / "own.py").write_text(text)
    sys.modules.pop("own", None)
    tells(refused(command, "own.py"), told, case=what)


LONG = {"prompt": "Is ice cold?", "chosen": "a" * 300, "rejected": "No."}
COUNTED = (
    r"is 1024, the model has 256 positions, and \d+ of \d+ rows are longer \(\d+ to learn from, \d+ held"
)
BESIDE: dict[str, tuple[str, list[dict[str, Any]], str]] = {
    "35 demonstrations": (
        "instructgpt base={} demonstrations=rows.jsonl comparisons=good.jsonl sft.max_length=1024",
        [{"messages": [TALK[0], {**TALK[1], "content": "a" * 300}]}],
        rf"stage sft: stopped before anything is trained:\n.*\n +sft\.max_length {COUNTED}"
        r"[\s\S]*set sft\.max_length=256",
    ),
    "35 a part of comparisons": (
        "dpo base={} comparisons=rows.jsonl alignment.max_length=1024 judge.max_length=1024",
        [LONG],
        rf"stage alignment: stopped before[\s\S]*alignment\.max_length {COUNTED}[\s\S]*set alignment\."
        rf"max_length=256[\s\S]*stage judge: stopped before[\s\S]*judge\.max_length {COUNTED}",
    ),
    "35 none fits": (
        "dpo base={} comparisons=rows.jsonl alignment.max_length=32 judge.max_length=32",
        [LONG],
        r"none of \d+ rows to learn from fits into alignment\.max_length=32; the shortest has \d+ tokens\n "
        "+raise",
    ),
    "13 prompts to measure with": (
        "dpo base={} comparisons=good.jsonl prompts=rows.jsonl evaluate.max_completion_length=32",
        [{"prompt": "a" * 250}],
        r"stage evaluate: stopped before[\s\S]*none of \d+ prompts leaves room for evaluate\."
        r"max_completion_length=32: the shortest has \d+ tokens, the model 256 positions\n +set "
        r"evaluate\.max_completion_length lower",
    ),
    "17 a template that is empty": (
        "dpo base={} comparisons=good.jsonl base.chat_template=empty.jinja",
        [LONG],
        r"stage base: chat_template=empty\.jinja: it is empty, expected a Jinja template",
    ),
    "13 an answer as long as the context": (
        "dpo base={} comparisons=good.jsonl evaluate.max_completion_length=256",
        [LONG],
        r"stage evaluate: .*\n.*= 256, threshold 255\n +evaluate\.max_completion_length is 256, the model "
        r"has 256 positions for a prompt and its answer\n +set evaluate\.max_completion_length to less",
    ),
}
READ = ("base", "labels", "demonstrations", "prompts")


@pytest.mark.parametrize("what", BESIDE)
def test_rows_that_do_not_fit_a_model_are_counted_before_anything_is_trained(
    what: str, home: Path, llama: Path
) -> None:
    """What was read stays, and nothing that was trained or made of it: a rehearsal leaves nothing at all."""
    command, rows, told = BESIDE[what]
    numbered = [
        json.loads(json.dumps(rows[0]).replace("ice", f"ice {n}").replace("aaa", f"{n:03}aaa", 1))
        for n in range(60)
    ]
    (home / "rows.jsonl").write_bytes(lines(numbered))
    (home / "empty.jinja").write_text(" ")
    tells(answer(["run", *command.format(llama).split()], home, llama, made=READ), told, case=what)
    made = (path.name.rpartition("-")[0] for path in home.glob("workspace/products/*"))
    assert set(made) <= set(READ)


def _scored(place: Path, letters: PreTrainedTokenizerFast) -> None:
    config = LlamaConfig(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_labels=1,
        pad_token_id=letters.pad_token_id,
    )
    LlamaForSequenceClassification(config).save_pretrained(place)
    letters.save_pretrained(place)


KINDS: dict[str, tuple[str, str]] = {
    "a model for a reward model": (
        "run instructgpt rm={llama}",
        r"stage rl: rm={llama} is a language model; expected a reward model for rl\.reward\.model",
    ),
    "a reward model for a policy": (
        "run dpo base={llama} sft=scored comparisons=good.jsonl",
        r"sft=scored is a reward model; expected a language model for ",
    ),
    "a reward model to serve": ("serve scored --port 0", "scored: .* scores (answers|text)"),
    "a reward model for a teacher": (
        "run instructgpt base={llama} teacher=scored comparisons=good.jsonl",
        "stage teacher: scored: LlamaForSequenceClassification scores answers.*expected a language model",
    ),
    "a reward model to talk to": (
        "chat scored",
        "scored: .* scores answers and cannot write any; expected a language model",
    ),
}


@pytest.mark.parametrize("what", KINDS)
def test_a_product_of_another_kind_is_told_by_both_kinds(
    what: str, home: Path, llama: Path, letters: PreTrainedTokenizerFast
) -> None:
    """34."""
    _scored(home / "scored", letters)
    command, told = KINDS[what]
    said = answer(command.format(llama=llama).split(), home, llama)
    tells(said, told.replace("{llama}", str(llama)), case=what)


def test_a_teacher_of_another_vocabulary_is_told_by_both_sizes(home: Path, llama: Path) -> None:
    """18: as many tokens, one of them another: before anything is trained."""
    shutil.copytree(llama, home / "other")
    file = home / "other/tokenizer.json"
    vocabulary = json.loads(file.read_text())
    vocabulary["model"]["vocab"]["zebra"] = vocabulary["model"]["vocab"].pop("z")
    file.write_text(json.dumps(vocabulary))
    command = ["run", "instructgpt", f"base={llama}", "teacher=other", "comparisons=good.jsonl"]
    tells(
        answer(command, home, llama, made=(*READ, "teacher")),
        r"stage rl: stopped before anything is trained:\n.*one_vocabulary = (\d+), threshold \1",
        r"teacher \(.*teacher-\w+\) has a vocabulary of (\d+) tokens that is not the policy's \(\1 tokens\)",
        "give a teacher made from the same base",
    )


def test_a_second_process_is_told_by_whom_a_product_is_made(home: Path) -> None:
    """24: who holds it, and what to do."""
    (home / "counting.py").write_text(RECIPE)
    sys.modules.pop("counting", None)
    from posttrain import cli

    assert cli.main(["run", "counting.py", "--quiet"]) == 0
    (count,) = (home / "workspace/products").glob("count-*")
    shutil.rmtree(count)
    sys.modules.pop("counting", None)
    with lock(count.parent / f".{count.name}.lock", count.name):
        said = answer(["run", "counting.py"], home, made=("count",))
    tells(
        said,
        f"stage count: {count.name} is being made by process {os.getpid()}; wait until it is done, or use",
    )
