"""A directory that is no model posttrain can use, in every place where one is named: which file, what was
expected, the fix; and nothing is made before that is told.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.bad_input.answer import Answer, tells

Change = Callable[[Path], Any]


def _config(**settings: Any) -> Change:
    def change(directory: Path) -> None:
        file = directory / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | settings))

    return change


def _written(name: str, text: str) -> Change:
    return lambda directory: (directory / name).write_text(text)


def _pipe(directory: Path) -> None:
    (directory / "model.safetensors").unlink()
    os.mkfifo(directory / "model.safetensors")


# number of the bad input, and what: the harm, and what is told of the directory
HARMS: dict[str, tuple[Change, str]] = {
    "26 no weights": (
        lambda d: (d / "model.safetensors").unlink(),
        r"no \*.safetensors file; expected the weights",
    ),
    "26 pickles": (
        lambda d: (d / "model.safetensors").rename(d / "pytorch_model.bin"),
        r"only pickled weights \(pytorch_model.bin\).*Convert them",
    ),
    "26 remote code": (
        _config(auto_map={"AutoModel": "x.Model"}),
        r"config.json: asks for code of its own .*Use",
    ),
    "26 a program of the hub": (
        _config(_attn_implementation="owner/name"),
        "config.json: _attn_implementation is 'owner/name', expected one of eager",
    ),
    "26 quantised": (
        _config(quantization_config={"bits": 4}),
        r"config.json: the weights are quantised .*Take",
    ),
    "25 config cut short": (
        _written("config.json", '{"a'),
        r"config.json: not JSON \(.*copy the model again",
    ),
    "25 config a list": (
        _written("config.json", "[]"),
        "config.json: expected an object; copy the model again",
    ),
    "25 config no JSON can hold": (
        _written("config.json", "[" * 100_000),
        "config.json: not JSON .*nested more than 64",
    ),
    "25 no heads": (
        _config(num_attention_heads=0),
        "config.json: num_attention_heads is 0, expected a whole number from 1 to",
    ),
    "25 a milliard of layers": (
        _config(num_hidden_layers=10**9),
        "config.json: num_hidden_layers is 1000000000, expected a whole number from 1 to 10,000",
    ),
    "25 a vocabulary of text": (
        _config(vocab_size="x"),
        "config.json: vocab_size is x, expected a whole number from 1 to",
    ),
    "25 no family at all": (
        _config(model_type="nonesuch", architectures=["NonesuchForCausalLM"]),
        "could not be loaded .*nonesuch",
    ),
    "25 a pipe for weights": (_pipe, "model.safetensors: a pipe, expected a regular file"),
    "18 another vocabulary than the weights": (
        _config(vocab_size=10),
        "embed_tokens.weight has 74 rows, config.json says vocab_size 10; .*Copy the model again",
    ),
    "17 no tokenizer": (
        lambda d: (d / "tokenizer.json").unlink(),
        "no tokenizer could be loaded .*expected tokenizer.json .*Copy the tokenizer again",
    ),
    "17 a tokenizer of another form": (
        _written("tokenizer.json", "{}"),
        "no tokenizer could be loaded .*expected",
    ),
    "17 a template that drops messages": (
        _written("chat_template.jinja", "{{ messages[-1]['content'] }}"),
        "drops or rewrites its content, expected one that shows every message as it is; give a template",
    ),
    "17 a template that is none": (
        _written("chat_template.jinja", "{% for"),
        "chat template is not Jinja at line 1 .*give a template",
    ),
}
PLACES: dict[str, Callable[[Path, str], list[str]]] = {
    "base": lambda good, bad: ["run", "dpo", f"base={bad}", "comparisons=good.jsonl"],
    "base, as it is planned": lambda good, bad: [
        "run",
        "dpo",
        f"base={bad}",
        "comparisons=good.jsonl",
        "--dry-run",
    ],
    "base, rehearsed": lambda good, bad: ["doctor", "instructgpt", f"base={bad}", "comparisons=good.jsonl"],
    "sft": lambda good, bad: ["run", "dpo", f"base={good}", f"sft={bad}", "comparisons=good.jsonl"],
    "sft of the embedded recipe": lambda good, bad: ["run", "instructgpt", f"sft={bad}"],
    "teacher": lambda good, bad: [
        "run",
        "instructgpt",
        f"base={good}",
        f"teacher={bad}",
        "comparisons=good.jsonl",
    ],
    "chat": lambda good, bad: ["chat", bad],
    "serve": lambda good, bad: ["serve", bad, "--port", "0"],
    "export": lambda good, bad: ["export", bad, "--to", "hub"],
}


@pytest.mark.parametrize("place", PLACES)
def test_a_model_that_cannot_be_used_is_told_before_anything_is_made(
    place: str, home: Path, llama: Path, refused: Answer
) -> None:
    if place == "serve":
        pytest.importorskip("uvicorn")
        pytest.importorskip("fastapi")
    for name, (harm, told) in HARMS.items():
        bad = home / "bad"
        shutil.copytree(llama, bad)
        harm(bad)
        said = refused(*PLACES[place](llama, "bad"))
        tells(said, r"(?s)\bbad\b.*" + told, case=name)
        shutil.rmtree(bad)


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("empty", r"no config.json \(found: nothing\)|neither a model nor rows|it has no config.json"),
        ("good.jsonl", "good.jsonl: a file|is none|no such product|is a file|good.jsonl"),
        ("~nosuchuser-at-all/x", "no home directory is known for ~nosuchuser-at-all; write the path out"),
        ("/dev/zero", "/dev/zero: a device, expected a regular file|is none|no such product"),
        ("../" * 40, "no config.json|neither a model nor rows|expected a|it has no config.json"),
        ("x" * 5000, "not a path|no such product|is none"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_a_path_that_is_no_directory_of_a_model(
    place: str, path: str, told: str, home: Path, llama: Path, refused: Answer
) -> None:
    (home / "empty").mkdir()
    tells(refused(*PLACES[place](llama, path)), told)
