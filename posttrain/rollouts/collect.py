"""Batches of experience: ask, answer, score, and put in rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Rollouts
from posttrain.core.seeds import derive
from posttrain.engines.protocol import Engine, Sampling
from posttrain.environments.question import Question
from posttrain.models.chat import Chat
from posttrain.models.collate import Row, rollouts
from posttrain.pipeline.finding import UserError
from posttrain.rewards.protocol import Episode, Rewards, Scorer, checked
from posttrain.rollouts.sample import Asked, ask, sample


class Collector:
    """``collector(step)`` is a batch of ``prompts_per_step * group_size`` answers, less those not scored.

    With ``greedy`` each prompt is also answered by the likeliest token at each step; that answer is no row,
    its reward is in ``Rollouts.greedy`` of the rows to that prompt (NaN where it could not be scored).
    The batch of a step is a function of the arguments, the step and the engine's weights: nothing is lost
    when a run continues. After a call ``last_episodes`` has a plain dict an answer (also of those dropped)
    and ``last_figures`` what there was to count. ``too_long`` prompts were left out from the start.
    """

    def __init__(  # size: what is asked, of whom, who judges, and how much of it
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
        seed: int = 0,
    ) -> None:
        """Raises UserError for a sampling that a loss over the full support would read wrongly."""
        if not sampling.temperature > 0 or sampling.top_p < 1:
            raise UserError(
                f"temperature={sampling.temperature}, top_p={sampling.top_p}: training needs samples of the "
                "policy itself; use a temperature above 0 and top_p=1"
            )
        if prompts_per_step < 1 or group_size < 1:
            raise UserError(
                f"prompts_per_step={prompts_per_step}, group_size={group_size}: expected at least 1"
            )
        self.engine, self.chat, self.scorer = engine, chat, scorer
        self.sampling, self.greedy = sampling, greedy
        self.prompts_per_step, self.group_size, self.seed = prompts_per_step, group_size, seed
        self.asked, self.too_long = ask(chat, prompts, engine.context - sampling.max_tokens)
        self.environment = Question([one.prompt for one in self.asked], seed)
        self.last_episodes: list[dict[str, Any]] = []
        self.last_figures: dict[str, float] = {}

    def __call__(self, step: int) -> Rollouts:
        """The batch of a step. Raises UserError where no answer could be scored."""
        n, size = self.prompts_per_step, self.group_size
        places = [step * n + i for i in range(n)]
        drawn = [self.asked[self.environment.reset(place).number] for place in places]
        asked = [one for one in drawn for _ in range(size)]
        seeds = [derive(self.seed, "sample", step, row) for row in range(n * size)]
        episodes = sample(self.engine, self.chat, asked, self.sampling, seeds)
        rewards = checked(self.scorer.score(episodes), episodes)
        self._remember(step, episodes, rewards)
        scored = rewards.scored.tolist()
        if rewards.failed and not any(scored):
            raise UserError(
                f"step {step}: the verifier failed on {len(rewards.failed)} of {len(episodes)} answers and "
                f"scored none ({next(iter(rewards.failed.values()))})"
            )
        if not any(scored):
            raise UserError(
                f"step {step}: none of {len(episodes)} answers could be scored; does the reward fit these "
                f"prompts? The first prompt has the fields {sorted(episodes[0].prompt)}"
            )
        kept = [i for i in range(len(episodes)) if scored[i]]
        batch = rollouts([self._row(i, episodes[i], rewards) for i in kept], self.chat.pad_id)
        if not self.greedy:
            return batch
        baseline = self._greedy(drawn)
        return replace(batch, greedy=baseline[torch.tensor([i // size for i in kept])])

    def _greedy(self, drawn: Sequence[Asked]) -> Tensor:
        """[prompts] float32: the reward of the greedy answer to each; NaN where it could not be scored."""
        greedy = replace(self.sampling, temperature=0.0)
        episodes = sample(self.engine, self.chat, drawn, greedy, [0] * len(drawn))
        rewards = checked(self.scorer.score(episodes), episodes)
        scored = rewards.scored
        self.last_figures["greedy_reward"] = (
            float(rewards.values[scored].mean()) if bool(scored.any()) else 0.0
        )
        return rewards.values.float().masked_fill(~scored, float("nan"))

    def _row(self, i: int, episode: Episode, rewards: Rewards) -> Row:
        return Row(
            ids=episode.ids,
            mask=episode.mask,
            logprobs=episode.logprobs,
            reward=float(rewards.values[i]),
            truncated=not episode.ended,
            group=i // self.group_size,
            temperature=self.sampling.temperature,
            version=episode.version,
            parts={name: float(values[i]) for name, values in rewards.parts.items()},
        )

    def _remember(self, step: int, episodes: Sequence[Episode], rewards: Rewards) -> None:
        values, scored = rewards.values.tolist(), rewards.scored.tolist()
        self.last_episodes = [
            {
                "step": step,
                "group": i // self.group_size,
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
        self.last_figures = {
            "answers": len(episodes),
            "unscored": len(episodes) - sum(scored),
            "ended": sum(episode.ended for episode in episodes) / len(episodes),
        }
        if rewards.failed:
            self.last_figures["verifier_failed"] = len(rewards.failed)
