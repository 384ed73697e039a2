"""A batch is a function of step and weights, and is what the trainer believes it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.core.batch import Rollouts, Wants
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.chat import Chat
from posttrain.models.language_policy import LanguagePolicy
from posttrain.pipeline.finding import UserError
from posttrain.policy_gradients.dapo import DAPO
from posttrain.rewards.base import Episode, Rewards, all_scored
from posttrain.rollouts.collect import Collector
from posttrain.rollouts.sample import scored_groups
from posttrain.storage.jsonl import RowsInFile, write_jsonl
from posttrain.storage.lazy import Mapped

PROMPTS = [
    {"id": str(n), "prompt": [{"role": "user", "content": text}]}
    for n, text in enumerate(["Hi", "What is this?", "a", "Name three birds.", "Who?"])
]


@dataclass
class Scored:
    """A scorer made of a function of episodes."""

    rule: Callable[[Sequence[Episode]], Rewards]

    def score(self, episodes: Sequence[Episode]) -> Rewards:
        return self.rule(episodes)


def by_length(episodes: Sequence[Episode]) -> Rewards:
    return all_scored(torch.tensor([len(episode.response) + 0.5 for episode in episodes]), "length")


@pytest.fixture
def collector(small_llama: Any, letters: Any) -> Callable[..., Collector]:
    def make(rule: Callable[..., Rewards] = by_length, **changed: Any) -> Collector:
        sampling = changed.pop("sampling", Sampling(temperature=0.7, max_tokens=16))
        settings = {"prompts": PROMPTS, "prompts_per_step": 4, "group_size": 3, "seed": 5, **changed}
        engine = BuiltinEngine(small_llama, version=settings.pop("version", 0))
        prompts = settings.pop("prompts")
        return Collector(engine, Chat(letters), prompts, Scored(rule), sampling, **settings)

    return make


def same(first: Rollouts, second: Rollouts) -> bool:
    pairs: list[tuple[Tensor, Tensor]] = [
        (first.actions, second.actions),
        (first.logprobs.nan_to_num(), second.logprobs.nan_to_num()),
        (first.rewards, second.rewards),
        (first.group, second.group),
    ]
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)


def test_a_row_holds_what_was_sampled_and_its_reward(
    collector: Callable[..., Collector], letters: Any
) -> None:
    collect = collector(version=2)
    batch = collect(0)
    assert len(batch) == 12
    assert batch.group.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert batch.version.tolist() == [2] * 12
    assert batch.temperature.tolist() == pytest.approx([0.7] * 12)
    for row, episode in enumerate(collect.last_episodes):
        mask = batch.action_mask[row]
        said = batch.actions[row][mask].tolist()
        assert letters.decode(said, skip_special_tokens=True) == episode["response"]
        assert (said[-1] == letters.eos_token_id) == episode["ended"] == (not batch.truncated[row])
        # paid at a step the policy chose, and in full
        assert float((batch.rewards[row] * mask).sum()) == episode["reward"] == len(episode["response"]) + 0.5
        prompt = batch.context["tokens"][row][: int(mask.nonzero()[0]) + 1].tolist()
        assert prompt == Chat(letters).prompt_ids(episode["prompt"]["prompt"])
    assert batch.parts["length"].tolist() == [episode["reward"] for episode in collect.last_episodes]


def test_sampler_and_trainer_agree(collector: Callable[..., Collector], small_llama: Any) -> None:
    batch = collector()(0)
    now = LanguagePolicy(small_llama).evaluate(batch, Wants())
    delta = (now.logprobs - batch.logprobs)[batch.action_mask].abs().max()
    assert batch.logprobs[batch.action_mask].isfinite().all()
    assert delta <= 2e-5


def test_a_step_is_the_same_whoever_collected_before(collector: Callable[..., Collector]) -> None:
    old = collector()
    batches = [old(step) for step in range(3)]
    assert same(collector()(2), batches[2])
    assert same(old(0), batches[0])
    assert not same(batches[0], batches[1])
    assert not same(collector(seed=6)(0), batches[0])


def test_no_random_number_comes_back(collector: Callable[..., Collector]) -> None:
    """One prompt, the same weights: what differs is chance alone, over rows, steps and later turns."""
    collect = collector(prompts=PROMPTS[:1], prompts_per_step=1, group_size=8)
    answers = []
    for step in range(3):
        collect(step)
        answers.append([episode["response"] for episode in collect.last_episodes])
    assert all(len(set(one)) > 4 for one in answers)
    assert not any(
        a == b for i, j in ((0, 1), (0, 2), (1, 2)) for a, b in zip(answers[i], answers[j], strict=True)
    )


def alike(episodes: Sequence[Episode]) -> Rewards:
    return all_scored(torch.ones(len(episodes)), "alike")


def test_a_refill_is_answered_with_random_numbers_of_its_own(collector: Callable[..., Collector]) -> None:
    """Both prompts are one text, and no reward differs, so the second is asked in place of the first."""
    twice = [{**PROMPTS[0], "id": name} for name in ("first", "second")]
    settings: dict[str, Any] = {"prompts": twice, "prompts_per_step": 1, "group_size": 8}
    collect = collector(alike, refills=1, informative=DAPO().informative, **settings)
    collect(0)
    answers = [episode["response"] for episode in collect.last_episodes]
    assert len(answers) == 16
    assert not any(a == b for a, b in zip(answers[:8], answers[8:], strict=True))


def test_the_prompts_of_a_refill_change_from_step_to_step(collector: Callable[..., Collector]) -> None:
    many = [{**PROMPTS[0], "id": str(n)} for n in range(40)]
    settings: dict[str, Any] = {"prompts": many, "prompts_per_step": 3, "group_size": 2}
    collect = collector(alike, refills=1, informative=DAPO().informative, **settings)
    asked = []
    for step in range(4):
        collect(step)
        ids = [episode["prompt"]["id"] for episode in collect.last_episodes]
        assert len(ids) == 12
        asked.append(frozenset(ids[6:]))
    assert len(set().union(*asked)) > 8  # of 12, some may come twice by chance


def test_prompts_that_teach_nothing_are_replaced(collector: Callable[..., Collector]) -> None:
    """DAPO's dynamic sampling, section 3.2: groups of equal rewards make room for others."""

    def rule(episodes: Sequence[Episode]) -> Rewards:
        values = [float(i % 3) if "i" in str(e.prompt["prompt"]) else 1.0 for i, e in enumerate(episodes)]
        return all_scored(torch.tensor(values), "checked")

    dapo = DAPO()
    more = [
        {**PROMPTS[0], "prompt": [{"role": "user", "content": x}]} for x in ("b", "fish", "birds", "ship")
    ]
    for refills, full in ((0, False), (6, True)):
        settings: dict[str, Any] = {"refills": refills, "informative": dapo.informative}
        settings["prompts"] = [*PROMPTS, *more]
        collect = collector(rule, **settings)
        batch = collect(0)
        kept = batch.group[dapo.keep(batch)]
        assert (len(kept.unique()) == 4) == full
        assert all((kept == group).sum() == 3 for group in kept.unique())
        assert len(collect.last_episodes) == len(batch) == collect.last_metrics["answers"]
        assert len({str(one["prompt"]) for one in collect.last_episodes}) == len(batch) // 3
        assert same(collector(rule, **settings)(0), batch)
    assert same(collector(rule)(0), collector(rule, informative=dapo.informative)(0))


def test_where_nothing_can_replace_what_teaches_nothing_the_batch_is_the_first(
    collector: Callable[..., Collector],
) -> None:
    def rule(episodes: Sequence[Episode]) -> Rewards:
        return all_scored(torch.ones(len(episodes)), "alike")

    collect = collector(rule, refills=2, informative=DAPO().informative)
    batch = collect(0)
    assert len(batch) == 12
    assert len(collect.last_episodes) == 15  # the fifth prompt was tried
    with pytest.raises(ValueError, match="informative"):
        collector(rule, refills=2)


def test_published_weights_are_the_ones_that_speak(
    collector: Callable[..., Collector], small_llama: Any
) -> None:
    collect = collector()
    first = collect(0)
    with torch.no_grad():
        for parameter in small_llama.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    assert same(collect(0), first)
    collect.engine.load(small_llama.state_dict().items(), 1)
    second = collect(0)
    assert second.version.unique().tolist() == [1]
    assert not same(second, first)


def test_what_cannot_be_scored_is_dropped_and_counted(collector: Callable[..., Collector]) -> None:
    def rule(episodes: Sequence[Episode]) -> Rewards:
        scored = torch.tensor([i % 4 != 1 for i in range(len(episodes))])
        values = torch.arange(len(episodes)).float()
        return Rewards(values=values.masked_fill(~scored, float("nan")), scored=scored, parts={"x": values})

    collect = collector(rule)
    batch = collect(0)
    assert (batch.rewards * batch.action_mask).sum(-1).tolist() == [0, 2, 3, 4, 6, 7, 8, 10, 11]
    assert batch.group.tolist() == [0, 0, 1, 1, 2, 2, 2, 3, 3]
    assert collect.last_metrics["unscored"] == 3
    assert [episode["reward"] for episode in collect.last_episodes][:3] == [0.0, None, 2.0]


def nothing(episodes: Sequence[Episode]) -> Rewards:
    return Rewards(values=torch.zeros(len(episodes)), scored=torch.zeros(len(episodes), dtype=torch.bool))


def not_a_number(episodes: Sequence[Episode]) -> Rewards:
    values = torch.zeros(len(episodes))
    values[4] = float("nan")
    return all_scored(values, "broken")


def one_short(episodes: Sequence[Episode]) -> Rewards:
    return all_scored(torch.zeros(len(episodes) - 1), "short")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (nothing, "none of 12 answers could be scored"),
        (not_a_number, "1 of 12 rewards are not finite"),
        (one_short, r"got a tensor \[11\] of float32, expected a tensor \[12\]"),
    ],
)
def test_a_broken_reward_is_named(
    collector: Callable[..., Collector], rule: Callable[..., Rewards], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        collector(rule)(0)


def test_prompts_without_room_are_left_out_and_counted(collector: Callable[..., Collector]) -> None:
    long = {"id": "long", "prompt": [{"role": "user", "content": "why " * 15}]}
    collect = collector(prompts=[*PROMPTS, long], prompts_per_step=6)
    collect(0)
    assert collect.too_long == 1
    assert "long" not in {episode["prompt"]["id"] for episode in collect.last_episodes}
    with pytest.raises(UserError, match="none of 1 prompts fits"):
        collector(prompts=[long])


def test_prompts_in_a_file_are_asked_as_those_in_memory(
    collector: Callable[..., Collector], tmp_path: Path
) -> None:
    write_jsonl(tmp_path / "rows.jsonl", PROMPTS)
    there, here = collector(prompts=RowsInFile(tmp_path / "rows.jsonl")), collector()
    for step in range(2):
        assert same(there(step), here(step))
        assert there.last_episodes == here.last_episodes


def test_a_prompt_is_read_when_it_is_asked(collector: Callable[..., Collector]) -> None:
    read: list[int] = []

    def prompt(place: int) -> dict[str, Any]:
        read.append(place)
        return PROMPTS[place]

    collect = collector(prompts=Mapped(len(PROMPTS), prompt), prompts_per_step=2)
    assert read == list(range(len(PROMPTS)))  # once, for those that are too long
    read.clear()
    collect(0)
    assert len(read) == len(set(read)) == 2


@pytest.mark.parametrize("settings", [{"temperature": 0.0}, {"top_p": 0.9}])
def test_samples_that_are_not_the_policys_are_refused(
    collector: Callable[..., Collector], settings: dict[str, float]
) -> None:
    with pytest.raises(UserError, match="samples of the policy itself"):
        collector(sampling=Sampling(**settings))


def test_a_greedy_answer_is_a_number_beside_its_rows_and_no_row(
    collector: Callable[..., Collector], small_llama: Any, letters: Any
) -> None:
    plain, collect = collector(), collector(greedy=True)
    batch = collect(0)
    assert same(batch, plain(0))
    assert plain(0).greedy is None
    assert batch.greedy is not None
    assert batch.greedy.shape == (12,)
    assert len(collect.last_episodes) == 12
    engine, chat = BuiltinEngine(small_llama), Chat(letters)
    for group in range(4):
        asked = collect.last_episodes[3 * group]["prompt"]["prompt"]
        sampling = Sampling(temperature=0.0, max_tokens=16, stop_ids=chat.stop_ids)
        engine.submit(chat.prompt_ids(asked), sampling, 99)
        (answer,) = engine.finished()
        reward = len(chat.decode(answer.tokens)) + 0.5
        assert batch.greedy[batch.group == group].tolist() == [reward] * 3
    assert collect.last_metrics["greedy_reward"] == pytest.approx(float(batch.greedy.mean()))


def test_a_greedy_answer_that_cannot_be_scored_is_not_a_number(collector: Callable[..., Collector]) -> None:
    def rule(episodes: Sequence[Episode]) -> Rewards:
        values = torch.ones(len(episodes))
        scored = torch.tensor([len(episodes) == 12 or i != 1 for i in range(len(episodes))])
        return Rewards(values=values, scored=scored)

    greedy = collector(rule, greedy=True)(0).greedy
    assert greedy is not None
    assert greedy.isnan().tolist() == [False] * 3 + [True] * 3 + [False] * 6


def test_a_prompt_that_just_fits_is_asked(collector: Callable[..., Collector], letters: Any) -> None:
    """Of a context of 64 an answer may take 16 tokens."""
    length = len(Chat(letters).prompt_ids(PROMPTS[2]["prompt"])) - 1

    def said(extra: int) -> dict[str, Any]:
        text = "a" * (48 + extra - length)
        return {"id": str(extra), "prompt": [{"role": "user", "content": text}]}

    collect = collector(prompts=[said(0), said(1)], prompts_per_step=1)
    assert collect.too_long == 1
    collect(0)
    assert {episode["prompt"]["id"] for episode in collect.last_episodes} == {"0"}


def test_groups_that_are_scored_are_several_answers_to_each_prompt(small_llama: Any, letters: Any) -> None:
    def rule(episodes: Sequence[Episode]) -> Rewards:
        values = torch.arange(len(episodes)).float()
        return Rewards(values=values, scored=values % 5 != 1)

    sampling = Sampling(max_tokens=12)
    engine, chat = BuiltinEngine(small_llama), Chat(letters)
    groups, rewards = scored_groups(engine, chat, PROMPTS[:3], Scored(rule), sampling, 5, (0, "test"))
    assert [{str(e.prompt["id"]) for e in group} for group in groups] == [{"0"}, {"1"}, {"2"}]
    assert all(len({e.response for e in group}) > 1 for group in groups)
    assert rewards == [[5.0 * n, None, *(5.0 * n + k for k in (2, 3, 4))] for n in range(3)]


def test_groups_of_which_all_answers_are_paid_the_same_are_counted(
    collector: Callable[..., Collector],
) -> None:
    def half(episodes: Sequence[Episode]) -> Rewards:
        """Of four groups of three the first two are flat, one of them but for an answer that has no score."""
        paid = torch.tensor([1.0] * 6 + [1.0, 1.0, 2.0] * 2)
        return Rewards(values=paid, scored=torch.arange(12) != 5, parts={"paid": paid})

    collect = collector(half)
    collect(0)
    assert collect.last_metrics["flat_groups"] == 0.5
    alone = collector(group_size=1)
    alone(0)
    assert "flat_groups" not in alone.last_metrics
