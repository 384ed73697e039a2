"""Sections in their order and nothing beside them; what they say is not asked."""

from __future__ import annotations

import pytest

from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine
from posttrain.rewards.format import Format
from tests.rewards.adversarial import episode

GOOD = ["<think>a</think><answer>b</answer>", " <think>\na\n</think>\n\n<answer> b </answer>\n"]
BAD = [
    "",
    "b",
    "<answer>b</answer><think>a</think>",
    "<think>a</think>",
    "<think></think><answer>b</answer>",
    "<think>a</think><answer> </answer>",
    "Well: <think>a</think><answer>b</answer>",
    "<think>a</think> so <answer>b</answer>",
    "<think>a</think><answer>b</answer> Bye.",
    "<think>a<answer>b</answer></think>",
    "<think>a</think><answer>b</answer><answer>c</answer>",
    "<think>a</think><think>a</think><answer>b</answer>",
    "<think>a</think><answer>b",
    "<THINK>a</THINK><answer>b</answer>",
]


def paid(source: Format, *texts: str, ended: bool = True) -> list[float]:
    with source.open(Inputs({}), Machine()) as scorer:
        rewards = scorer.score([episode({}, text, ended) for text in texts])
    assert rewards.scored.all()
    assert rewards.parts["format"].tolist() == rewards.values.tolist()
    return list(rewards.values.tolist())


def test_sections_in_order_and_nothing_else_are_paid() -> None:
    assert paid(Format(), *GOOD) == [1.0] * len(GOOD)
    assert [text for text, value in zip(BAD, paid(Format(), *BAD), strict=True) if value] == []


def test_a_cut_answer_earns_nothing() -> None:
    assert paid(Format(), *GOOD, ended=False) == [0.0] * len(GOOD)


def test_a_prompt_may_have_opened_the_first_section() -> None:
    texts = ("a</think><answer>b</answer>", *GOOD)
    assert paid(Format(begun=True), *texts) == [1.0, 0.0, 0.0]


def test_tags_are_settings_and_are_checked() -> None:
    assert paid(Format(tags=("plan",)), "<plan>x</plan>", "<think>x</think>") == [1.0, 0.0]
    for tags in ((), ("a", "a"), ("a b",)):
        with pytest.raises(UserError, match="expected different names"):
            Format(tags=tags)
