"""Steps on given rows, posttrain's and TRL's: instruction tuning, DPO, reward modeling."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from training_work import RATE, SIDES, Work, row
from transformers import AutoModelForSequenceClassification

from posttrain.core.batch import Evaluation, Wants
from posttrain.core.preferences import ranked, wanted
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.sft import SFT
from posttrain.models.collate import rollouts
from posttrain.models.loading import load_tokenizer
from posttrain.models.roles import open_policy, open_reward
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.training.fit import FitState, fit
from posttrain.training.optimizer import Group, Optimizer


def as_they_are(trainer: Any) -> Any:
    """A trainer that takes rows of tokens in their order, without preparing them."""

    class Taking(trainer):  # type: ignore[misc]
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset

        def _get_train_sampler(self, *args: Any, **kwargs: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    return Taking


def _fit(parameters: Any, forward: Any, method: Any, batches: Any, steps: int) -> Iterator[Any]:
    group = Group(name="model", parameters=parameters, learning_rate=RATE)
    return fit(FitState(), forward, method, batches, Optimizer([group]), steps=steps + 1)


def _compared(pairs: list[Any], n: int) -> Callable[[int], Any]:
    def batch(step: int) -> Any:
        rows = [
            row(prompt, answer, group)
            for group, (prompt, *answers) in enumerate(pairs[step * n : (step + 1) * n])
            for answer in answers
        ]
        return ranked(rollouts(rows, 0), torch.tensor([0, 1] * n))

    return batch


def sft(work: Work, where: str) -> SIDES:
    pairs, n = work.pairs(), work.sizes["rows"]
    rows = [row(prompt, answer) for prompt, answer, _ in pairs]

    def mine() -> Iterator[Any]:
        policy, method = open_policy(work.model, lora=work.adapters, placement=work.placement).policy, SFT()
        return _fit(
            policy.parameters_of("policy"),
            lambda past: policy.evaluate(past.rollouts, method.wants),
            method,
            lambda step: wanted(rollouts(rows[step * n : (step + 1) * n], 0)),
            work.steps,
        )

    def theirs() -> Any:
        from trl import SFTConfig, SFTTrainer

        labels = [[-100] * len(prompt) + answer for prompt, answer, _ in pairs]
        return as_they_are(SFTTrainer)(
            model=work.theirs(),
            args=SFTConfig(where, **work.settings()),
            train_dataset=Dataset.from_dict({"input_ids": [one.ids for one in rows], "labels": labels}),
            processing_class=load_tokenizer(work.model),
        )

    return theirs, mine


def dpo(work: Work, where: str) -> SIDES:
    pairs, n = work.pairs(), work.sizes["rows"]

    def mine() -> Iterator[Any]:
        roles = open_policy(work.model, reference=True, lora=work.adapters, placement=work.placement)
        policy, method, batches = roles.policy, DPO(), _compared(pairs, n)

        def batch(step: int) -> Any:
            """The reference reads in the step, as TRL's does."""
            past = batches(step)
            with torch.no_grad():
                evaluation = roles.reference.evaluate(past.rollouts, Wants(entropy=False))
            return replace(past, reference=Evaluation(logprobs=evaluation.logprobs))

        return _fit(
            policy.parameters_of("policy"),
            lambda past: policy.evaluate(past.rollouts, method.wants),
            method,
            batch,
            work.steps,
        )

    def theirs() -> Any:
        from trl import DPOConfig, DPOTrainer

        names = ("prompt_ids", "chosen_ids", "rejected_ids")
        return as_they_are(DPOTrainer)(
            model=work.theirs(),
            ref_model=work.theirs(),
            args=DPOConfig(where, max_length=None, **work.settings()),
            train_dataset=Dataset.from_dict({name: list(x) for name, x in zip(names, zip(*pairs))}),
            processing_class=load_tokenizer(work.model),
        )

    return theirs, mine


def rm(work: Work, where: str) -> SIDES:
    pairs, n = work.pairs(), work.sizes["rows"]

    def mine() -> Iterator[Any]:
        reward = open_reward(work.model, lora=work.adapters, placement=work.placement).reward
        return _fit(
            reward.parameters(),
            lambda past: reward.score(past.rollouts),
            BradleyTerry(),
            _compared(pairs, n),
            work.steps,
        )

    def theirs() -> Any:
        from trl import RewardConfig, RewardTrainer

        data = {
            "chosen_ids": [prompt + chosen for prompt, chosen, _ in pairs],
            "rejected_ids": [prompt + rejected for prompt, _, rejected in pairs],
        }
        return as_they_are(RewardTrainer)(
            model=work.theirs(AutoModelForSequenceClassification, num_labels=1),
            args=RewardConfig(where, max_length=None, **work.settings()),
            train_dataset=Dataset.from_dict(data),
            processing_class=load_tokenizer(work.model),
        )

    return theirs, mine
