"""Batches of experience: ask, answer, score, and put in rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Rollouts
from posttrain.core.seeds import derive
from posttrain.engines.base import Engine, Sampling
from posttrain.metrics import declare_metric
from posttrain.models.chat import Chat
from posttrain.models.collate import rollouts
from posttrain.pipeline.finding import UserError
from posttrain.rewards.base import Episode, Rewards, Scorer, all_scored, rewards_of
from posttrain.rollouts.prompt_order import PromptOrder
from posttrain.rollouts.sample import encode_prompts, sample
from posttrain.storage.token_rows import TokenRow

SAMPLED = declare_metric(
    "answers",
    "Answers that were sampled in a step.",
    unit="answers",
    better="none",
    where="log",
)
UNSCORED = declare_metric(
    "unscored",
    "Answers that could not be scored; they are dropped and never paid.",
    unit="answers",
    better="down",
)
ENDED = declare_metric(
    "ended",
    "Share of a step's sampled answers that ended by themselves, before the length limit.",
    unit="share of answers",
    better="up",
    where="log",
    title="Answers that end by themselves",
)
FLAT_GROUPS = declare_metric(
    "flat_groups",
    "Share of groups of answers to one prompt that were all paid the same and so teach nothing; of a run, "
    "the mean over its steps.",
    unit="share of groups",
    better="down",
    title="All paid the same",
    order=9,
)
VERIFIER_FAILED = declare_metric(
    "verifier_failed",
    "Answers on which the verifier itself failed; neither paid nor counted as wrong.",
    unit="answers",
    better="down",
)
OF_ANSWERS = declare_metric(
    "answers/{metric}",
    "Of all answers that a step sampled, also those that it dropped:",
    unit="",
    better="none",
    title="{metric}",
)
GREEDY_REWARD = declare_metric(
    "greedy_reward",
    "Reward of the greedy answers, the baseline of ReMax, mean over prompts.",
    unit="reward per completion",
    better="up",
)


class Collector:
    """``collector(step)`` is a batch of ``prompts_per_step * group_size`` answers, less those not scored.

    With ``greedy`` each prompt is also answered by the likeliest token at each step; that answer is no row,
    its reward is in ``Rollouts.greedy`` of the rows to that prompt (NaN where it could not be scored).
    With ``refills`` other prompts are asked in place of those that ``informative`` leaves out, at most that
    often, until ``prompts_per_step`` are full (DAPO: Yu et al. 2025, section 3.2); those left out are then
    among the rows as well. Where nothing was informative in the end the batch is that of the first turn.
    The batch of a step is a function of the arguments, the step and the engine's weights: nothing is lost
    when a run continues. After a call ``last_episodes`` has a plain dict an answer (also of those dropped)
    and ``last_metrics`` what there was to count. ``too_long`` prompts were left out from the start.
    """

    def __init__(
        self,
        engine: Engine,
        chat: Chat,
        prompts: Sequence[Mapping[str, Any]],
        scorer: Scorer,
        sampling: Sampling,
        *,
        prompts_per_step: int,
        group_size: int = 1,
        greedy: bool = False,
        refills: int = 0,
        informative: Callable[[Rollouts], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        """Raises UserError for a sampling that a loss over the full support would read wrongly, ValueError
        for refills beside greedy answers or without ``informative``.
        """
        if not sampling.temperature > 0 or sampling.top_p < 1:
            raise UserError(
                f"temperature={sampling.temperature}, top_p={sampling.top_p}: training needs samples of the "
                "policy itself; use a temperature above 0 and top_p=1"
            )
        if prompts_per_step < 1 or group_size < 1:
            raise UserError(
                f"prompts_per_step={prompts_per_step}, group_size={group_size}: expected at least 1"
            )
        if refills and (greedy or informative is None):
            raise ValueError("refills need an informative, and no greedy answers")
        self.engine, self.chat, self.scorer = engine, chat, scorer
        self.sampling, self.greedy = sampling, greedy
        self.prompts_per_step, self.group_size, self.seed = prompts_per_step, group_size, seed
        self.asked, self.too_long = encode_prompts(chat, prompts, engine.context - sampling.max_tokens)
        self.order = PromptOrder(len(self.asked), seed)
        self.refills, self.informative = refills, informative
        self.spare = PromptOrder(len(self.asked), derive(seed, "spare prompts"))
        self.last_episodes: list[dict[str, Any]] = []
        self.last_metrics: dict[str, float] = {}

    def __call__(self, step: int) -> Rollouts:
        """The batch of a step. Raises UserError where no answer could be scored."""
        n = self.prompts_per_step
        self.last_episodes, self.last_metrics = [], {}
        numbers = [self.order.at(step * n + i) for i in range(n)]
        rows = self._turn(step, 0, numbers)
        batch = rollouts(rows, self.chat.pad_id)
        if self.greedy:
            return replace(batch, greedy=self._greedy(numbers)[batch.group])
        return self._refilled(step, numbers, rows, batch)

    def probe(self, tokens: int) -> tuple[list[Episode], list[TokenRow]]:
        """Answers of at most ``tokens`` tokens to the first prompts, two to each where a batch has groups,
        and their rows as in a batch, with reward 0. No reward is computed, and no state changes.
        """
        small = copy(self)
        small.prompts_per_step, small.group_size = (3, 2) if self.group_size > 1 else (4, 1)
        prompts = [self.asked[row % len(self.asked)] for row in range(small.prompts_per_step)]
        asked = [one for one in prompts for _ in range(small.group_size)]
        sampling = replace(self.sampling, max_tokens=min(tokens, self.sampling.max_tokens))
        seeds = [derive(self.seed, "probe", row) for row in range(len(asked))]
        episodes = sample(self.engine, self.chat, asked, sampling, seeds)
        unpaid = all_scored(torch.zeros(len(episodes)), "probe")
        return episodes, [small._row(i, one, unpaid, 0) for i, one in enumerate(episodes)]

    def _refilled(self, step: int, numbers: Sequence[int], rows: list[TokenRow], first: Rollouts) -> Rollouts:
        """The batch with answers to other prompts besides, as many as there are groups to stand in for."""
        batch, others = first, self._others(step, numbers)
        for turn in range(1, self.refills + 1):
            more = list(islice(others, self.prompts_per_step - self._informative_groups(batch)))
            if not more:
                break
            rows = rows + self._turn(step, turn, more)
            batch = rollouts(rows, self.chat.pad_id)
        return batch if len(batch) == len(first) or self._informative_groups(batch) else first

    def _others(self, step: int, asked: Sequence[int]) -> Iterator[int]:
        """Numbers of prompts that this step has not asked, each once."""
        asked_already, first = set(asked), step * self.prompts_per_step
        for position in range(first, first + 2 * len(self.asked)):
            number = self.spare.at(position)
            if number not in asked_already:
                asked_already.add(number)
                yield number

    def _informative_groups(self, batch: Rollouts) -> int:
        assert self.informative is not None  # where there are refills
        return len(batch.group[self.informative(batch)].unique())

    def _turn(self, step: int, turn: int, numbers: Sequence[int]) -> list[TokenRow]:
        """Rows of the answers to these prompts; replacements of uninformative prompts have
        a later ``turn``.
        """
        prompts = [self.asked[number] for number in numbers]
        asked = [one for one in prompts for _ in range(self.group_size)]
        later = () if turn == 0 else (turn,)
        seeds = [derive(self.seed, "sample", step, row, *later) for row in range(len(asked))]
        episodes = sample(self.engine, self.chat, asked, self.sampling, seeds)
        rewards = rewards_of(self.scorer, episodes)
        first = turn * self.prompts_per_step
        self._remember(step, episodes, rewards, first)
        scored_rows = [i for i, scored in enumerate(rewards.scored.tolist()) if scored]
        if turn == 0 and not scored_rows:
            raise UserError(_nothing_scored(step, episodes, rewards))
        return [self._row(i, episodes[i], rewards, first) for i in scored_rows]

    def _greedy(self, numbers: Sequence[int]) -> Tensor:
        """[prompts] float32: the reward of the greedy answer to each; NaN where it could not be scored."""
        prompts, greedy = [self.asked[number] for number in numbers], replace(self.sampling, temperature=0.0)
        episodes = sample(self.engine, self.chat, prompts, greedy, [0] * len(prompts))
        rewards = rewards_of(self.scorer, episodes)
        scored = rewards.scored
        self.last_metrics[GREEDY_REWARD.name] = (
            float(rewards.values[scored].mean()) if bool(scored.any()) else 0.0
        )
        return rewards.values.float().masked_fill(~scored, float("nan"))

    def _row(self, i: int, episode: Episode, rewards: Rewards, first: int) -> TokenRow:
        return TokenRow(
            ids=episode.ids,
            mask=episode.mask,
            logprobs=episode.logprobs,
            reward=float(rewards.values[i]),
            truncated=not episode.ended,
            group=first + i // self.group_size,
            temperature=self.sampling.temperature,
            version=episode.version,
            parts={name: float(values[i]) for name, values in rewards.parts.items()},
        )

    def _remember(self, step: int, episodes: Sequence[Episode], rewards: Rewards, first: int) -> None:
        values, scored = rewards.values.tolist(), rewards.scored.tolist()
        self.last_episodes += [
            {
                "step": step,
                "group": first + i // self.group_size,
                "prompt": dict(episode.prompt),
                "response": episode.response,
                "ended": episode.ended,
                "tokens": len(episode.logprobs),
                "reward": values[i] if scored[i] else None,
                "parts": {name: float(part[i]) for name, part in rewards.parts.items()} if scored[i] else {},
                "version": episode.version,
            }
            for i, episode in enumerate(episodes)
        ]
        episode_rows = self.last_episodes
        self.last_metrics |= {
            SAMPLED.name: len(episode_rows),
            UNSCORED.name: sum(one["reward"] is None for one in episode_rows),
            ENDED.name: sum(one["ended"] for one in episode_rows) / len(episode_rows),
        }
        if self.group_size > 1:
            self.last_metrics[FLAT_GROUPS.name] = _flat_groups(episode_rows)
        if rewards.failed:
            self.last_metrics[VERIFIER_FAILED.name] = self.last_metrics.get(VERIFIER_FAILED.name, 0) + len(
                rewards.failed
            )


def _flat_groups(episode_rows: Sequence[Mapping[str, Any]]) -> float:
    """The share of groups whose answers were all paid the same."""
    paid: dict[int, set[Any]] = {}
    for one in episode_rows:
        paid.setdefault(one["group"], set()).add(one["reward"])
    return sum(len(rewards - {None}) < 2 for rewards in paid.values()) / len(paid)


def _nothing_scored(step: int, episodes: Sequence[Episode], rewards: Rewards) -> str:
    if rewards.failed:
        return (
            f"step {step}: the verifier failed on {len(rewards.failed)} of {len(episodes)} answers and "
            f"scored none ({next(iter(rewards.failed.values()))})"
        )
    return (
        f"step {step}: none of {len(episodes)} answers could be scored; does the reward fit these "
        f"prompts? The first prompt has the fields {sorted(episodes[0].prompt)}"
    )
