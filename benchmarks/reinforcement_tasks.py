"""Whole steps of reinforcement, posttrain's and TRL's: answers are sampled, scored and learned from.

In PPO every prompt has as many tokens as the others. Every answer has the most it may have, so that both
sides make the same tokens. The score counts different tokens; in PPO it is that of a reward model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset
from training_work import RATE, SIDES, Work
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from posttrain.core.importance import Truncated
from posttrain.core.kl import KLInLoss, KLInReward
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.collate import rollouts
from posttrain.models.roles import PolicyRoles, open_policy, open_reward
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.policy_gradients.rloo import RLOO
from posttrain.storage.token_rows import TokenRow
from posttrain.training.optimizer import Group, Optimizer
from posttrain.training.rl_loop import RLState, train_rl

KL = 0.04


def _prompts(work: Work) -> list[str]:
    """A text for each prompt of all steps."""
    words = AutoTokenizer.from_pretrained(work.model)
    count = work.sizes["rows"] * (work.steps + 1)
    return [words.decode(work.random_tokens(i, work.sizes["prompt"])) for i in range(count)]


def _loop(work: Work, method: Any, roles: PolicyRoles, prompts: list[list[int]], judge: Any = None) -> Any:
    n, size, length = work.sizes["rows"], work.sizes["group"], work.sizes["answer"]
    short = work.dtype == "bfloat16"
    engine = BuiltinEngine(roles.model, dtype=torch.bfloat16 if short else None)
    if short:
        method = replace(method, correction=Truncated())

    def collect(step: int) -> Any:
        asked = [prompt for prompt in prompts[step * n : (step + 1) * n] for _ in range(size)]
        numbers = {engine.submit(one, Sampling(max_tokens=length), i): i for i, one in enumerate(asked)}
        rows: list[Any] = [None] * len(asked)
        for done in engine.finished():
            i = numbers[done.request]
            rows[i] = TokenRow(
                ids=[*asked[i], *done.tokens],
                mask=[False] * len(asked[i]) + [True] * len(done.tokens),
                logprobs=done.logprobs,
                reward=float(len(set(done.tokens))) if judge is None else 0.0,
                group=i // size,
                version=done.version,
            )
        made = rollouts(rows, 0)
        return made if judge is None else judge(made)

    groups = [
        Group(name=name, parameters=roles.policy.parameters_of(name), learning_rate=RATE)
        for name in ("policy", "critic")
    ]
    return train_rl(
        RLState(),
        roles.policy,
        method,
        collect,
        Optimizer(groups),
        lambda version: engine.load(roles.weights(), version),
        steps=work.steps + 1,
        reference=roles.reference,
    )


def _grouped(work: Work, where: str, method: Any, names: tuple[str, str]) -> SIDES:
    n, size, length = work.sizes["rows"], work.sizes["group"], work.sizes["answer"]
    texts = _prompts(work)

    def mine() -> Iterator[Any]:
        roles = open_policy(work.model, reference=True, lora=work.adapters, placement=work.placement)
        prompts = [roles.tokenizer(text)["input_ids"] for text in texts]
        return _loop(work, method, roles, prompts)  # type: ignore[no-any-return]

    def theirs() -> Any:
        import trl

        config, trainer = (getattr(trl, name) for name in names)
        return trainer(
            model=work.theirs(),
            reward_funcs=lambda completion_ids, **_: [float(len(set(ids))) for ids in completion_ids],
            args=config(
                where,
                num_generations=size,
                max_completion_length=length,
                beta=KL,
                generation_kwargs={"min_new_tokens": length},
                shuffle_dataset=False,
                **work.settings(per_device_train_batch_size=n * size),
            ),
            train_dataset=Dataset.from_dict({"prompt": texts}),
            processing_class=AutoTokenizer.from_pretrained(work.model),
        )

    return theirs, mine


def grpo(work: Work, where: str) -> SIDES:
    return _grouped(work, where, GRPO(kl=KLInLoss(coef=KL)), ("GRPOConfig", "GRPOTrainer"))


def rloo(work: Work, where: str) -> SIDES:
    return _grouped(work, where, RLOO(kl=KLInReward(coef=KL)), ("RLOOConfig", "RLOOTrainer"))


def ppo(work: Work, where: str) -> SIDES:
    """With a critic and a reward model; TRL had a trainer for it up to 1.12."""
    n, length, width = work.sizes["rows"], work.sizes["answer"], work.sizes["prompt"]
    work = replace(work, sizes=work.sizes | {"group": 1})
    g = torch.Generator().manual_seed(0)
    prompts = torch.randint(20, work.vocabulary, (n * (work.steps + 1), width), generator=g).tolist()

    def mine() -> Iterator[Any]:
        roles = open_policy(
            work.model, reference=True, critic=work.model, lora=work.adapters, placement=work.placement
        )
        judge = open_reward(work.model, placement=work.placement).reward

        def scored(made: Any) -> Any:
            with torch.no_grad():
                return replace(made, rewards=judge.score(made))

        method = PPO(kl=KLInReward(coef=KL), epochs=2, minibatches=1)
        return _loop(work, method, roles, prompts, scored)  # type: ignore[no-any-return]

    def theirs() -> Any:
        from trl.experimental.ppo import PPOConfig, PPOTrainer

        words = AutoTokenizer.from_pretrained(work.model)
        policy, reference = work.theirs(), work.theirs()
        policy.generation_config.eos_token_id = None  # answers of one length
        scalar = {"kind": AutoModelForSequenceClassification, "num_labels": 1}
        settings = work.settings(per_device_train_batch_size=n, gradient_accumulation_steps=1)
        settings |= {"total_episodes": n * (work.steps + 1), "num_ppo_epochs": 2, "num_mini_batches": 1}
        settings |= {"local_rollout_forward_batch_size": n, "response_length": length, "kl_coef": KL}
        return PPOTrainer(
            args=PPOConfig(where, num_sample_generations=0, temperature=1.0, **settings),
            processing_class=words,
            model=policy,
            ref_model=reference,
            reward_model=work.theirs(**scalar),
            value_model=work.theirs(**scalar),
            train_dataset=Dataset.from_dict({"input_ids": prompts}),
        )

    return theirs, mine
