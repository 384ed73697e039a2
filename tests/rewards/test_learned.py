"""A reward model's score reaches the policy unharmed and on a known scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.models.chat import Chat
from posttrain.models.loading import save_reward_model, scalar_model
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, Product, Stage
from posttrain.rewards.base import Episode
from posttrain.rewards.learned import LearnedReward, ScoreScale


def episode(chat: Chat, response: str, ended: bool = True) -> Episode:
    prompt = [{"role": "user", "content": "Hi"}]
    start = chat.prompt_ids(prompt)
    said = chat.tokenizer(response, add_special_tokens=False)["input_ids"] + [chat.stop_ids[0]] * ended
    return Episode(
        prompt={"prompt": prompt},
        response=response,
        ids=start + said,
        mask=[False] * len(start) + [True] * len(said),
        logprobs=[0.0] * len(said),
        ended=ended,
        version=0,
    )


@pytest.fixture
def product(tmp_path: Path, small_llama: Any, letters: Any) -> tuple[Stage, Inputs]:
    save_reward_model(tmp_path, scalar_model(small_llama, letters, seed=1), letters)
    stage = Stage()
    product = object.__new__(Product)
    object.__setattr__(product, "path", tmp_path)
    return stage, Inputs({"model": product}, {id(stage): product})


@torch.no_grad()
def test_the_score_is_read_at_the_last_token_said(
    product: tuple[Stage, Inputs], small_llama: Any, letters: Any
) -> None:
    stage, inputs = product
    chat, model = Chat(letters), scalar_model(small_llama, letters, seed=1)
    episodes = [episode(chat, "no"), episode(chat, "yes, it is", ended=False), episode(chat, "yes, it is")]
    with LearnedReward(model=stage, normalise=False).open(inputs, Machine()) as scorer:
        values = scorer.score(episodes).values
    for value, made in zip(values, episodes, strict=True):
        hidden = model.base_model(input_ids=torch.tensor([made.ids])).last_hidden_state[0, -1]
        assert value == pytest.approx(float(model.score(hidden)), abs=1e-5)
    assert values[1] != values[2]  # a text cut short is not the text that ended


def test_normalised_scores_have_the_scale_of_the_answers_it_was_taken_from(
    product: tuple[Stage, Inputs], letters: Any
) -> None:
    stage, inputs = product
    episodes = [episode(Chat(letters), text) for text in ("no", "maybe", "yes", "A list", "why not?")]
    source = LearnedReward(model=stage)
    with pytest.raises(UserError, match="no known scale"), source.open(inputs, Machine()):
        pass
    with LearnedReward(model=stage, normalise=False).open(inputs, Machine()) as scorer:
        ScoreScale.of(scorer.raw(episodes)).save(inputs.of(stage).path)
    with source.open(inputs, Machine()) as scorer:
        values = scorer.score(episodes).values
    assert float(values.mean()) == pytest.approx(0, abs=1e-5)
    assert float(values.std(correction=0)) == pytest.approx(1, abs=1e-5)


def test_a_cut_answer_pays_the_penalty_and_the_part_shows_the_score(
    product: tuple[Stage, Inputs], letters: Any
) -> None:
    stage, inputs = product
    episodes = [episode(Chat(letters), "yes"), episode(Chat(letters), "yes", ended=False)]
    with LearnedReward(model=stage, normalise=False, missing_eos_penalty=2.5).open(
        inputs, Machine()
    ) as scorer:
        rewards = scorer.score(episodes)
    assert (rewards.parts["learned"] - rewards.values).tolist() == pytest.approx([0.0, 2.5])


def test_answers_of_another_vocabulary_are_refused(product: tuple[Stage, Inputs], letters: Any) -> None:
    stage, inputs = product
    made = episode(Chat(letters), "yes")
    other = Episode(**{**vars(made), "response": "oui"})
    with (
        LearnedReward(model=stage, normalise=False).open(inputs, Machine()) as scorer,
        pytest.raises(UserError, match="another vocabulary"),
    ):
        scorer.score([other])


def test_scores_that_do_not_differ_have_no_scale() -> None:
    with pytest.raises(ValueError, match="ranks nothing"):
        ScoreScale.of(torch.ones(4))
