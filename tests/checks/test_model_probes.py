"""Planted faults that train on in silence are found on the real model and rows before the first update."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.checks.model_probes import look_at_records, look_at_sampling
from posttrain.core.batch import Wants
from posttrain.core.preferences import wanted
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.chat import Chat
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy
from posttrain.pipeline.finding import UserError
from posttrain.rewards.base import Episode, Rewards
from posttrain.rollouts import collect
from posttrain.rollouts.collect import Collector
from tests.models.small import causal, gpt2, llama, rows, tokenizer


def forward(policy: LanguagePolicy) -> Callable[[Any], Any]:
    return lambda past: policy.evaluate(past.rollouts, Wants())


def batch(places: list[int]) -> Any:
    return wanted(rollouts([rows()[place] for place in places], 1))


def named(told: pytest.ExceptionInfo[UserError]) -> set[str]:
    lines = str(told.value).splitlines()
    assert lines[0] == "stopped before the first step:"
    return {line.split()[0] for line in lines if " = " in line}


def test_healthy_models_pass() -> None:
    for config in (llama(), gpt2()):
        policy = LanguagePolicy(causal(config, dtype=torch.float32))
        look_at_records(forward(policy), batch, 7, "float32")


def test_dropout_that_was_left_on() -> None:
    model = causal(gpt2(), dtype=torch.float32).train()
    assert any(isinstance(one, torch.nn.Dropout) and one.p > 0 for one in model.modules())
    with pytest.raises(UserError) as told:
        look_at_records(forward(LanguagePolicy(model)), batch, 7, "float32")
    assert "says_the_same_twice" in named(told)


def test_a_row_that_sees_its_neighbours() -> None:
    policy = LanguagePolicy(causal(llama(), dtype=torch.float32))

    def leaking(past: Any) -> Any:
        now = policy.evaluate(past.rollouts, Wants()).logprobs
        return SimpleNamespace(logprobs=now + 0.1 * now.mean(0, keepdim=True))

    with pytest.raises(UserError) as told:
        look_at_records(leaking, batch, 7, "float32")
    assert named(told) == {"reads_rows_alone"}


class Lengths:
    """Pays an answer its length; ``shifted`` pays it to the next, ``unknown`` leaves the first unscored."""

    def __init__(self, shifted: bool = False, unknown: bool = False) -> None:
        self.shifted, self.unknown = shifted, unknown

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        values = torch.tensor([float(sum(one.ids)) for one in episodes])
        if self.shifted:
            values = values.roll(1)
        scored = torch.ones(len(values), dtype=torch.bool)
        if self.unknown:
            values[0], scored[0] = float("nan"), False
        return Rewards(values=values, scored=scored)


def collector(model: Any, scorer: Any = None, temperature: float = 1.0) -> Collector:
    prompts = [{"prompt": [{"role": "user", "content": text}]} for text in ("the cat", "a mat", "where")]
    sampling = Sampling(temperature=temperature, max_tokens=16)
    chat = Chat(tokenizer())
    return Collector(BuiltinEngine(model), chat, prompts, scorer or Lengths(), sampling, prompts_per_step=2)


def test_a_healthy_sampler_passes() -> None:
    model = causal(llama(), dtype=torch.float32)
    policy = LanguagePolicy(model)
    look_at_sampling(collector(model, temperature=0.7), policy, policy, "float32")


def moved(model: Any, by: float) -> Any:
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(1 + by)
    return model


def test_a_sampler_with_stale_weights_and_a_reference_that_drifted() -> None:
    model = causal(llama(), dtype=torch.float32)
    stale = collector(model)
    policy = LanguagePolicy(moved(model, 0.05))
    with pytest.raises(UserError) as told:
        look_at_sampling(stale, policy, policy, "float32")
    assert named(told) == {"sampler_and_trainer"}
    other = LanguagePolicy(moved(causal(llama(), dtype=torch.float32), 0.1))
    with pytest.raises(UserError) as told:
        look_at_sampling(collector(model), policy, other, "float32")
    assert named(told) == {"reference_is_the_start"}
    look_at_sampling(collector(model), policy, None, "float32")


def test_a_sampler_at_another_temperature() -> None:
    model = causal(llama(), dtype=torch.float32)
    policy = LanguagePolicy(model)
    asked = collector(model)
    plain = asked.engine.submit

    def hot(prompt: Any, sampling: Sampling, seed: int) -> int:
        return plain(prompt, Sampling(temperature=1.3, max_tokens=8, stop_ids=sampling.stop_ids), seed)

    asked.engine.submit = hot  # type: ignore[method-assign]
    with pytest.raises(UserError) as told:
        look_at_sampling(asked, policy, policy, "float32")
    assert named(told) == {"sampler_and_trainer"}


def test_answers_that_were_taken_to_text_and_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tokens may say the same text; the sampler's log-probabilities are not theirs."""
    model = causal(llama(), dtype=torch.float32)
    policy = LanguagePolicy(model)
    plain = collect.sample

    def again(*asked: Any) -> list[Episode]:
        return [replace(one, ids=_one_other(one)) for one in plain(*asked)]

    monkeypatch.setattr(collect, "sample", again)
    with pytest.raises(UserError) as told:
        look_at_sampling(collector(model), policy, policy, "float32")
    assert named(told) == {"sampler_and_trainer"}


def _one_other(episode: Episode) -> list[int]:
    """The tokens of an answer, its first one another."""
    first = episode.mask.index(True)
    return [*episode.ids[:first], (episode.ids[first] + 1) % 30, *episode.ids[first + 1 :]]


@pytest.mark.parametrize("unknown", [False, True])
def test_rewards_of_other_rows(unknown: bool) -> None:
    model = causal(llama(), dtype=torch.float32)
    policy = LanguagePolicy(model)
    scorer = Lengths(shifted=True, unknown=unknown)
    with pytest.raises(UserError) as told:
        look_at_sampling(collector(model, scorer), policy, policy, "float32")
    assert named(told) == {"rewards_follow_their_answers"}


def test_a_reward_that_is_a_coin_by_design() -> None:
    from posttrain.rewards.coin_reward import CoinReward

    model = causal(llama(), dtype=torch.float32)
    policy = LanguagePolicy(model)
    with CoinReward().open({}, None) as coin:  # type: ignore[arg-type]
        look_at_sampling(collector(model, coin), policy, policy, "float32")


def test_numbers_that_are_none_do_not_pass() -> None:
    def none(past: Any) -> Tensor:
        return torch.full(past.rollouts.actions.shape, float("nan"))

    with pytest.raises(UserError):
        look_at_records(none, batch, 7, "float32")


def test_rewards_of_another_form_are_told_as_a_run_tells_them() -> None:
    class Listed:
        def score(self, episodes: Any) -> Any:
            return Rewards(values=[1.0] * len(episodes), scored=torch.ones(len(episodes)).bool())  # type: ignore[arg-type]

    model = causal(llama(), dtype=torch.float32)
    policy = LanguagePolicy(model)
    with pytest.raises(UserError, match="tensor"):
        look_at_sampling(collector(model, Listed()), policy, policy, "float32")
