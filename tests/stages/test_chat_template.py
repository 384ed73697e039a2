"""A user's chat template goes with the model, and what a server would read otherwise is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from posttrain.metrics import flat
from posttrain.models.chat import Chat
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Fingerprints
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, addresses
from posttrain.pipeline.store import Workspace
from posttrain.recipes.dpo import dpo
from posttrain.recipes.instructgpt import instructgpt
from posttrain.rollouts.encode import SERVED_OTHERWISE, conversation_metrics, encode_answer
from posttrain.settings import expression, parse
from posttrain.stages.base import ExistingModel
from posttrain.stages.demonstrations import DemonstrationRows
from posttrain.stages.sft import InstructionTuning
from posttrain.stages.smollm2 import SmolLM2
from tests.conftest import TEMPLATE
from tests.models.small import tokenizer
from tests.stages.test_instructgpt import save_llama

# what the assistant said is shown otherwise once others follow
FORGETFUL = TEMPLATE.replace("<assistant>", "<assistant>{{ '' if loop.last else '-' }}", 1)
USER, YES = {"role": "user", "content": "who?"}, {"role": "assistant", "content": "yes"}


@pytest.fixture
def model(tmp_path: Path, letters: PreTrainedTokenizerFast) -> Path:
    folder = save_llama(tmp_path / "model", letters)
    return folder if folder.is_dir() else tmp_path / "model"


def written(path: Path, text: str) -> SourceFile:
    path.write_text(text, "utf-8")
    return SourceFile(str(path))


def made(tmp_path: Path, stage: Any) -> Run:
    quiet = Machine(quiet=True)
    return run(stage, Workspace(tmp_path / "work"), quiet, accept=None, say=lambda text: None)


def test_the_template_goes_with_the_model_through_every_stage(tmp_path: Path, model: Path) -> None:
    file = written(tmp_path / "mine.jinja", FORGETFUL)
    base = ExistingModel(source=SourceFile(str(model)), chat_template=file)
    rows: list[list[dict[str, Any]]] = [
        [USER, YES],
        [USER, {**YES, "weight": 0}, USER, YES],
        [USER, YES, {**USER, "content": "<end>"}, YES],
    ]
    lines = "".join(
        json.dumps({"messages": [*row[:-1], {**row[-1], "content": f"{n}"}]}) + "\n"
        for n in range(8)
        for row in rows
    )
    data = DemonstrationRows(source=SourceFile(written(tmp_path / "a.jsonl", lines).path, "datasets"))
    products = made(tmp_path, InstructionTuning(base=base, demonstrations=data)).products
    for address in ("base", "sft"):
        assert AutoTokenizer.from_pretrained(products[address].path).chat_template == FORGETFUL
    metrics, notes = products["sft"].report.values, "\n".join(products["sft"].report.notes)
    assert metrics["served_otherwise_share"] == 1.0
    assert int(metrics["special_tokens_as_text"]) > 0
    assert "will be served as other tokens than are trained on" in notes


def test_the_templates_content_counts_and_its_name_does_not(tmp_path: Path, model: Path) -> None:
    def fingerprint(name: str, text: str) -> str:
        stage = ExistingModel(source=SourceFile(str(model)), chat_template=written(tmp_path / name, text))
        return Fingerprints(Workspace(tmp_path / "work")).of(stage)

    assert fingerprint("a.jinja", TEMPLATE) == fingerprint("b.jinja", TEMPLATE)
    assert fingerprint("a.jinja", TEMPLATE) != fingerprint("c.jinja", FORGETFUL)


def test_it_is_a_setting_of_a_recipe(tmp_path: Path, model: Path) -> None:
    file = written(tmp_path / "mine.jinja", TEMPLATE)
    found = expression(
        dpo, parse([f"base={model}", f"base.chat_template={file.path}", "comparisons=b.jsonl"])
    )
    base = addresses(found)["base"]
    assert isinstance(base, ExistingModel)
    assert base.chat_template == file


def test_a_model_that_is_fetched_takes_it_too(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posttrain.models.smollm2.fetch_smollm2", lambda cache: model)
    file = written(tmp_path / "mine.jinja", FORGETFUL)
    words = ["model=smollm2", f"base.chat_template={file.path}"]
    base = addresses(expression(instructgpt, parse(words)))["base"]
    product = made(tmp_path, base).products["base"]
    assert AutoTokenizer.from_pretrained(product.path).chat_template == FORGETFUL
    with pytest.raises(UserError, match=r"chat_template=.*empty.jinja: it is empty"):
        made(tmp_path, SmolLM2(chat_template=written(tmp_path / "empty.jinja", " ")))
    of = Fingerprints(Workspace(tmp_path / "work")).of
    assert of(SmolLM2()) != of(base)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{% for m in messages[-1:] %}{{ m['content'] }}<end>{% endfor %}", r"messages\[0\] \(user\).*drops"),
        ("{% for m in messages %}{{ m['content'] }", "not Jinja at line 1 "),
        (" \n", "is empty"),
        ("{{ raise_exception('no') }}", "refuses roles.*no"),
        ("{{ 1 / 0 }}", "refuses roles.*division by zero"),
    ],
    ids=["drops", "not Jinja", "empty", "raises", "fails"],
)
def test_a_template_that_cannot_be_used_is_told_before_anything_is_made(
    tmp_path: Path, model: Path, text: str, told: str
) -> None:
    file = written(tmp_path / "mine.jinja", text)
    with pytest.raises(UserError, match=f"(?s)stage base: chat_template=.*mine.jinja: .*{told}"):
        made(tmp_path, ExistingModel(source=SourceFile(str(model)), chat_template=file))
    assert not (tmp_path / "work").exists()


def test_a_models_own_template_that_drops_text_is_refused_with_the_setting(
    tmp_path: Path, model: Path
) -> None:
    (model / "chat_template.jinja").write_text(
        "{% for m in messages %}{{ m['content'][0]['text'] }}{% endfor %}"
    )
    with pytest.raises(UserError, match=r"drops or rewrites.*base\.chat_template=FILE"):
        made(tmp_path, ExistingModel(source=SourceFile(str(model))))
    with pytest.raises(UserError, match=r"nowhere.jinja: no such file"):
        ExistingModel(source=SourceFile(str(model)), chat_template=SourceFile("owner/nowhere.jinja"))


def test_what_a_server_reads_otherwise_is_counted_and_shown() -> None:
    plain = Chat(tokenizer())
    talks: list[dict[str, Any]] = [
        {"messages": [USER, YES, USER, YES]},
        {"messages": [USER, YES]},
        {"prompt": "plain text"},
    ]
    assert conversation_metrics(plain, talks) == (SERVED_OTHERWISE.of(0.0), [])
    assert conversation_metrics(plain, talks[1:]) == ({}, [])
    attack: dict[str, Any] = {"prompt": [{"role": "user", "content": "<|end|>"}]}
    metrics, notes = conversation_metrics(plain, [*talks, attack])
    assert flat(metrics) == {"served_otherwise_share": 0.5, "special_tokens_as_text": 1}
    assert notes[0].startswith("1 of 2 conversations will be served as other tokens")


def test_answers_in_the_prompt_of_a_comparison_are_not_learned() -> None:
    made = tokenizer()
    row = encode_answer(Chat(made), [USER, {**YES, "content": "the cat"}, USER], [{**YES, "weight": 0}])
    assert made.decode([t for t, own in zip(row.ids, row.mask, strict=True) if own]) == "yes<|end|>"
