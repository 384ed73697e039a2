"""Column addition, right to left, of which one column may have forgotten its carry: a process reward model
finds it in problems it has not seen, and a model of outcomes finds it less often."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest
import torch
from torch import Tensor, nn

from posttrain.core.batch import PreferenceBatch, RewardLoss
from posttrain.core.masked import last_step
from posttrain.core.preferences import ranked
from posttrain.reward_losses.outcome import Outcome
from posttrain.reward_losses.process import Process
from posttrain.training.fit import FitState, fit
from posttrain.training.optimizer import Group, Optimizer, cosine
from tests.tiny import rollouts

SHORTEST, LONGEST, UPDATES, BATCH = 5, 8, 600, 128


@dataclass(frozen=True)
class Problems:
    """``seen`` [B, T, 3] the two digits of a column and what was written below; ``wrong`` [B] the column that
    forgot its carry, -1 where none did; ``columns`` [B] how many there are."""

    seen: Tensor
    wrong: Tensor
    columns: Tensor


def problems(count: int, seed: int) -> Problems:
    """Half of them wrong, at a column drawn among those that have a carry coming in. What is written further
    on follows from the digits written so far, so nothing but the forgotten carry is wrong."""
    g = torch.Generator().manual_seed(seed)
    digits = torch.randint(0, 10, (count, LONGEST, 2), generator=g)
    columns = torch.randint(SHORTEST, LONGEST + 1, (count,), generator=g)
    carry, into = torch.zeros(count, dtype=torch.long), []
    for t in range(LONGEST):
        into.append(carry)
        carry = (digits[:, t].sum(1) + carry) // 10
    able = (torch.stack(into, 1) == 1) & (torch.arange(LONGEST)[None, :] < columns[:, None])
    drawn = torch.where(able, torch.rand(count, LONGEST, generator=g), -1).argmax(1)
    forgets = able.any(1) & (torch.rand(count, generator=g) < 0.5)
    wrong = torch.where(forgets, drawn, -1)
    carry, written = torch.zeros(count, dtype=torch.long), []
    for t in range(LONGEST):
        total = digits[:, t].sum(1) + torch.where(wrong == t, 0, carry)
        written.append(total % 10)
        carry = total // 10
    return Problems(torch.cat([digits, torch.stack(written, 1)[..., None]], 2), wrong, columns)


class Reader(nn.Module):
    """A small recurrent network that gives every column a score after reading it."""

    def __init__(self, seed: int, width: int = 64) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.embed = nn.ModuleList(nn.Embedding(10, width) for _ in range(3))
        self.read = nn.GRU(width, width, batch_first=True)
        self.head = nn.Sequential(nn.Linear(2 * width, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, seen: Tensor) -> Tensor:
        columns = torch.stack([embed(seen[..., i]) for i, embed in enumerate(self.embed)]).sum(0)
        state = self.read(columns)[0]
        before = torch.cat([torch.zeros_like(state[:, :1]), state[:, :-1]], 1)
        return self.head(torch.cat([before, columns], -1))[..., 0]  # type: ignore[no-any-return]


def judged(made: Problems) -> PreferenceBatch:
    """Every step labelled up to the first wrong one; nobody says anything of what follows it."""
    steps = torch.arange(LONGEST)[None, :]
    mask = steps < made.columns[:, None]
    facts = rollouts(torch.zeros(len(made.wrong), LONGEST + 1, dtype=torch.long), mask)
    facts = replace(facts, context={"seen": made.seen})
    first = torch.where(made.wrong < 0, LONGEST, made.wrong)[:, None]
    labels = torch.where(steps < first, 1.0, 0.0).masked_fill(steps > first, torch.nan)
    return replace(ranked(facts, (made.wrong >= 0).long()), labels=labels)


def by_step(model: Reader, past: PreferenceBatch) -> Tensor:
    return model(past.rollouts.context["seen"])  # type: ignore[no-any-return]


def at_the_end(model: Reader, past: PreferenceBatch) -> Tensor:
    """[B, T]: what the model says after the last column, as a reward model of whole answers does."""
    last = last_step(past.rollouts.action_mask)[:, None]
    said = by_step(model, past).gather(1, last)
    return torch.zeros(past.rollouts.action_mask.shape).scatter(1, last, said)


def trained(method: RewardLoss, score: Callable[[Reader, PreferenceBatch], Tensor]) -> Reader:
    model = Reader(seed=1)
    optimizer = Optimizer(
        [Group(name="reward", parameters=list(model.parameters()), learning_rate=4e-3)],
        schedule=cosine(UPDATES, 20),
    )

    def batches(step: int) -> PreferenceBatch:
        past = judged(problems(BATCH, seed=1000 + step))
        return past if isinstance(method, Process) else replace(past, labels=None)

    loop = fit(
        FitState(),
        lambda past: score(model, past),
        method,
        batches,
        optimizer,
        steps=UPDATES,
        micro_batch_tokens=10**6,
    )
    list(loop)
    return model


@pytest.mark.slow
def test_a_process_reward_model_finds_the_forgotten_carry() -> None:
    unseen = problems(4000, seed=1)
    keep = unseen.wrong >= 0
    unseen = Problems(unseen.seen[keep], unseen.wrong[keep], unseen.columns[keep])
    past = judged(unseen)
    mask = past.rollouts.action_mask
    assert int(unseen.columns.min()) >= 5
    steps, whole = trained(Process(), by_step), trained(Outcome(), at_the_end)
    with torch.no_grad():
        said = by_step(steps, past).masked_fill(~mask, torch.inf)
        process = float((said.argmin(1) == unseen.wrong).double().mean())
        value = by_step(whole, past)
        change = value.diff(dim=1, prepend=value[:, :1]).masked_fill(~mask, torch.inf)
        outcome = float((change.argmin(1) == unseen.wrong).double().mean())
    chance = float((1 / unseen.columns).mean())
    assert chance <= 0.2
    assert process >= 0.8, (process, outcome, chance)
    assert process > outcome + 0.1, (process, outcome, chance)
