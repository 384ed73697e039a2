"""Train a method where its optimum is known: batches so large and even that they stand for expectations."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from posttrain.core.batch import Evaluation, Policy, PreferenceBatch, Rollouts, Wants, take
from posttrain.core.preferences import ranked
from posttrain.training.update import Part, update
from tests.oracle.prompts import WIDE, World, batch_of, drawn, groups_of

WHOLE = 10**9  # one micro-batch


class Adam:
    """What ``update`` expects of an optimizer; the learning rate falls to nothing along a cosine."""

    def __init__(self, parameters: list[nn.Parameter], learning_rate: float, steps: int) -> None:
        self.inner = torch.optim.Adam(parameters, lr=learning_rate, betas=(0.9, 0.99))
        self.rate, self.steps, self.done = learning_rate, steps, 0

    def zero(self) -> None:
        self.inner.zero_grad()

    def step(self, evidence: dict[str, float] | None = None) -> dict[str, float]:
        for group in self.inner.param_groups:
            group["lr"] = self.rate * (1 + math.cos(math.pi * self.done / self.steps)) / 2
        self.inner.step()
        self.done += 1
        return {}


def detached(thought: Evaluation) -> Evaluation:
    return Evaluation(**{k: None if v is None else v.detach() for k, v in vars(thought).items()})


def greedy_rewards(world: World, policy: Policy) -> Tensor:
    """[prompts]: what the answer earns that takes the likeliest token at each step."""
    facts, best = world.facts, []
    log_p = policy.evaluate(facts, Wants(entropy=False)).logprobs.detach()
    for prompt in range(len(world.prompts)):
        said: tuple[int, ...] = ()
        while (0 not in said) and len(said) < world.limit:
            step = len(world.prompts[prompt]) - 1 + len(said)
            first = {text[len(said)]: i for i, text in enumerate(world.answers) if text[: len(said)] == said}
            token = max(first, key=lambda t: float(log_p[world.row(prompt, first[t]), step]))
            said = (*said, token)
        best.append(world.worth(prompt, said))
    return torch.tensor(best, dtype=WIDE)


def sampled(world: World, policy: Policy, size: int, count: int, offset: float) -> Rollouts:
    """``count`` groups of ``size`` answers to each prompt, as the policy would sample them."""
    with torch.no_grad():
        log_p, rows = world.logprobs(policy), []
    for prompt in range(len(world.prompts)):
        sets, p = groups_of(log_p[prompt], size)
        rows.append(prompt * len(world.answers) + sets[drawn(p, count, offset)])
    return batch_of(world, torch.cat(rows))


def collected(world: World, method: Any, policy: Policy, reference: Policy, facts: Rollouts) -> Any:
    """What the loop of reinforcement makes of a batch."""
    wants = method.wants
    against = reference if wants.exact_kl else None
    with torch.no_grad():
        anchor = reference.evaluate(facts, Wants(entropy=False))
        before = policy.evaluate(facts, wants, against)
        facts = replace(facts, logprobs=before.logprobs)
        if wants.greedy:
            greedy = greedy_rewards(world, policy)
            facts = replace(facts, greedy=greedy[facts.context["row"] // len(world.answers)])
    kept = method.keep(facts)
    if not kept.all():
        facts, before, anchor = take(facts, kept), take(before, kept), take(anchor, kept)
    return method.credit(facts, before, anchor)


def reinforced(  # size: world, two policies, the method and how long
    world: World,
    policy: Any,
    method: Any,
    reference: Policy,
    *,
    size: int = 1,
    count: int = 128,
    steps: int = 500,
    learning_rate: float = 0.1,
) -> None:
    """Move the policy by the method on its own answers."""
    optimizer = Adam(list(policy.parameters()), learning_rate, steps)
    generator = torch.Generator().manual_seed(0)
    against = reference if method.wants.exact_kl else None
    for _ in range(steps):
        offset = float(torch.rand((), generator=generator))
        past = collected(world, method, policy, reference, sampled(world, policy, size, count, offset))
        part = Part(past, lambda p: policy.evaluate(p.rollouts, method.wants, against), method.loss)
        update(optimizer, [part], WHOLE)  # type: ignore[arg-type]


def compared(
    world: World, reference: Policy, count: int, offset: float, flipped: float = 0.0
) -> PreferenceBatch:
    """``count`` pairs of the reference's answers to each prompt, the winner as Bradley and Terry's annotator
    of the reward would say, and then wrong at a rate of ``flipped``. Winners and losers take turns."""
    log_q, rows = world.logprobs(reference).detach(), []
    n = len(world.answers)
    for prompt in range(len(world.prompts)):
        gap = world.rewards[prompt][:, None] - world.rewards[prompt][None, :]
        wins = (1 - flipped) * gap.sigmoid() + flipped * (-gap).sigmoid()
        p = (log_q[prompt][:, None] + log_q[prompt][None, :]).exp() * wins * (1 - torch.eye(n, dtype=WIDE))
        found = drawn(p.flatten(), count, offset)
        rows.append(torch.stack([found // n, found % n], 1) + prompt * n)
    facts = batch_of(world, torch.cat(rows))
    return ranked(facts, torch.arange(len(facts)) % 2)


def unrelated(world: World, said: PreferenceBatch) -> PreferenceBatch:
    """The same answers beside other prompts: measured only (rank -1), as KTO's estimate of KL has them."""
    n = len(world.answers)
    answer = said.rollouts.context["row"] % n
    prompt = (said.rollouts.context["row"] // n + 1) % len(world.prompts)
    facts = batch_of(world, (prompt * n + answer)[:, None])
    return ranked(facts, torch.full((len(facts),), -1))


def aligned(  # size: world, policy, the method, its data and how long
    world: World,
    policy: Any,
    method: Any,
    reference: Policy,
    data: Callable[[float], PreferenceBatch],
    *,
    steps: int = 500,
    learning_rate: float = 0.1,
) -> None:
    """Move the policy by the method on what was said of other answers; ``data`` is of an offset."""
    optimizer = Adam(list(policy.parameters()), learning_rate, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        past = data(float(torch.rand((), generator=generator)))
        with torch.no_grad():
            past = replace(past, reference=reference.evaluate(past.rollouts, Wants(entropy=False)))
            if method.wants.measure:
                past = method.measure(policy.evaluate(past.rollouts, method.wants), past)
        part = Part(past, lambda p: policy.evaluate(p.rollouts, method.wants), method.loss)
        update(optimizer, [part], WHOLE)  # type: ignore[arg-type]


def scored(
    model: Any,
    method: Any,
    data: Callable[[float], PreferenceBatch],
    *,
    steps: int = 400,
    learning_rate: float = 0.1,
) -> None:
    """Fit a reward model by the loss."""
    optimizer = Adam(list(model.parameters()), learning_rate, steps)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        past = data(float(torch.rand((), generator=generator)))
        part = Part(past, lambda p: model.score(p.rollouts), method.loss)
        update(optimizer, [part], WHOLE)  # type: ignore[arg-type]
