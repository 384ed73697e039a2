"""A small batch that has everything in it, laid out in any way, and what a method makes of it.

The "model" is a table: one leaf per quantity, [rows, T]. So a gradient has an entry for each step of each row
whatever the batch looked like, and two layouts are compared entry by entry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, PreferenceBatch, Rollouts, take
from posttrain.training.update import Part, update

WIDE = torch.float64
STEPS = 6
# the chosen steps of each row: a gap is what a tool said, or the prompt
MASKS = ["110000", "011110", "110110", "111111", "100000", "010111"]
MASKS += ["111100", "001000", "101011", "110000", "011000", "111010"]
GROUPS = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 1, 2]
# of a method that reads verdicts: a pair beside a row that is only measured, four of which two are equal,
# two alone, and one that beat two equals
RANKS = [0, 1, -1, 1, 0, 2, 0, 1, 0, 1, 1, 1]
SAID_IN = [0, 0, 0, 1, 1, 1, 2, 3, 4, 4, 1, 4]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a batch is laid out and cut."""

    order: tuple[int, ...] = tuple(range(len(MASKS)))
    left: bool = False
    more: int = 0  # columns of padding
    junk: float = 0.0  # what stands where nothing was chosen
    limit: int = 10**6  # steps in a micro-batch
    copies: int = 1  # of every group
    rename: Callable[[int], int] = field(default=lambda group: group)


PLAIN = Layout()


class Table:
    """The numbers behind the scene: [rows, T] each, float64."""

    def __init__(self, seed: int = 0, *, far: float = 0.0, dtype: torch.dtype = WIDE) -> None:
        g = torch.Generator().manual_seed(seed)

        def draw(scale: float, shift: float = 0.0) -> Tensor:
            return (torch.randn(len(MASKS), STEPS, generator=g, dtype=WIDE) * scale + shift).to(dtype)

        self.mask = torch.tensor([[c == "1" for c in row] for row in MASKS])
        self.before = -draw(0.5, 1.5).abs() - 0.1
        self.sampler = self.before + draw(0.1)
        self.reference = self.before + draw(0.4)
        self.values, self.kl = draw(1.0), draw(0.3).abs()
        self.old_kl = self.kl + draw(0.05).abs()
        self.entropy, self.old_values = draw(0.2, 1.0), draw(1.0)
        self.bootstrap = draw(1.0)[:, 0]
        self.rewards = draw(0.1)
        last = self.mask.long().mul(torch.arange(STEPS)).amax(1)
        self.rewards[torch.arange(len(MASKS)), last] += draw(1.0)[:, 0]
        self.rewards[8:10] = 0.0  # a prompt whose answers are worth the same
        self.rewards[[8, 9], last[8:10]] = 0.5
        self.greedy = draw(1.0)[:, 0][torch.tensor(GROUPS)]
        self.logprobs = self.before + draw(0.25)
        # far from where it was sampled: up, down, and one lonely step
        self.logprobs[1] += far
        self.logprobs[5] -= far
        self.logprobs[3, 2] += far
        self.logprobs[6, 1] -= far
        self.confidence = (0.6 + 0.4 * torch.rand(len(MASKS), generator=g, dtype=WIDE)).to(dtype)
        self.margin = draw(0.5)[:, 0]
        self.labels = (draw(1.0) > 0).to(dtype)
        self.labels[2] = self.labels[6] = float("nan")  # nobody spoke of them
        self.labels[3, 1] = self.labels[8, 2] = float("nan")
        self.truncated = torch.tensor([row.endswith("1") for row in MASKS])
        self.turn = (self.mask.long().diff(dim=1, prepend=self.mask[:, :1].long()) > 0).long().cumsum(1)
        self.live = ("logprobs", "values", "kl", "entropy", "scores")
        self.scores = draw(1.0)
        for name in self.live:
            getattr(self, name).requires_grad_()


@dataclass
class Scene:
    """A table in a layout: which row and column of the table stands in each cell of the batch."""

    table: Table
    layout: Layout
    judged: bool = False  # grouped and ranked as verdicts are

    def __post_init__(self) -> None:
        width = STEPS + self.layout.more
        cells = torch.full((len(self.layout.order), width), -1)
        for place, row in enumerate(self.layout.order):
            count = int(self.table.mask[row].nonzero().max()) + 1
            start = width - count if self.layout.left else 0
            cells[place, start : start + count] = row * STEPS + torch.arange(count)
        self.cells = cells.repeat(self.layout.copies, 1)
        self.rows = torch.tensor(self.layout.order).repeat(self.layout.copies)
        inside = self.table.mask.flatten()[self.cells.clamp(min=0)]
        self.mask = inside & (self.cells >= 0)

    def spread(self, values: Tensor) -> Tensor:
        """[rows, T] of the table as [B, T] of the batch, junk where nothing was chosen."""
        found = values.flatten()[self.cells.clamp(min=0)]
        return torch.where(self.mask, found, torch.full_like(found, self.layout.junk).detach())

    def rollouts(self) -> Rollouts:
        table, rows, dtype = self.table, self.rows, self.table.before.dtype
        names = torch.tensor(SAID_IN if self.judged else GROUPS)[rows]
        copy = torch.arange(self.layout.copies).repeat_interleave(len(self.layout.order))
        group = torch.tensor([self.layout.rename(int(n)) for n in names]) + 1000 * copy
        turn = torch.where(self.cells >= 0, table.turn.flatten()[self.cells.clamp(min=0)], 0)
        return Rollouts(
            context={"row": rows, "place": torch.arange(len(rows))},
            actions=torch.zeros_like(turn),
            action_mask=self.mask,
            turn=turn,
            logprobs=self.spread(table.sampler),
            rewards=self.spread(table.rewards),
            truncated=table.truncated[rows],
            group=group,
            temperature=torch.ones(len(rows), dtype=dtype),
            version=torch.zeros(len(rows), dtype=torch.long),
            greedy=table.greedy[rows],
        )

    def now(self, wants: Any) -> Evaluation:
        table = self.table
        return Evaluation(
            logprobs=self.spread(table.logprobs),
            entropy=self.spread(table.entropy) if wants.entropy or wants.entropy_gradient else None,
            values=self.spread(table.values) if wants.values else None,
            bootstrap=table.bootstrap[self.rows] if wants.values else None,
            kl=self.spread(table.kl) if wants.exact_kl else None,
        )

    def before(self, wants: Any) -> Evaluation:
        """What the loop passes to ``credit``."""
        table = self.table
        if not (wants.before or wants.values):
            return Evaluation(logprobs=self.spread(table.sampler))
        return Evaluation(
            logprobs=self.spread(table.before),
            entropy=self.spread(table.entropy).detach() if wants.entropy else None,
            values=self.spread(table.old_values) if wants.values else None,
            bootstrap=table.bootstrap[self.rows] if wants.values else None,
            kl=self.spread(table.old_kl) if wants.exact_kl else None,
        )

    def reference(self) -> Evaluation:
        return Evaluation(logprobs=self.spread(self.table.reference))

    def verdicts(self, wants: Any) -> PreferenceBatch:
        return PreferenceBatch(
            rollouts=self.rollouts(),
            reference=self.reference() if wants.reference else None,
            rank=torch.tensor(RANKS)[self.rows],
            confidence=self.table.confidence[self.rows],
            margin=self.table.margin[self.rows],
            labels=self.spread(self.table.labels),
        )


class Recorder:
    """Stands where the optimizer stands, and keeps what was accumulated."""

    def __init__(self, leaves: list[Tensor]) -> None:
        self.leaves = leaves

    def zero(self) -> None:
        for leaf in self.leaves:
            leaf.grad = None

    def step(self, evidence: dict[str, float] | None = None) -> dict[str, float]:
        return {}


def past_of(method: Any, folder: str, scene: Scene) -> Any:
    """What the loss is computed on: credit, or verdicts after ``measure``."""
    if folder == "policy_gradients":
        facts = scene.rollouts()
        before = scene.before(method.wants)
        anchor = scene.reference() if method.wants.reference else None
        kept = method.keep(facts)
        if not kept.all():
            facts, before = take(facts, kept), take(before, kept)
            anchor = None if anchor is None else take(anchor, kept)
        return method.credit(facts, before, anchor)
    past = scene.verdicts(method.wants)
    if folder == "direct_alignment" and method.wants.measure:
        with torch.no_grad():
            past = method.measure(scene.now(method.wants), past)
    return past


def gradients(
    method: Any, folder: str, layout: Layout = PLAIN, table: Table | None = None
) -> SimpleNamespace:
    """The real ``update`` on the scene: metrics by name, and the gradient in each quantity of the table."""
    table = table or Table()
    scene = Scene(table, layout, judged=folder != "policy_gradients")
    leaves = {name: getattr(table, name) for name in table.live}
    past = past_of(method, folder, scene)

    def forward(part: Any) -> Any:
        rows = part.rollouts.context["place"]
        if folder == "reward_losses":
            members = [scene.spread(x)[rows] for x in (table.scores, table.values)]
            return torch.stack(members, -1) if hasattr(method, "each") else members[0]
        return take(scene.now(method.wants), rows)

    part = Part(past, forward, method.loss, whole_groups=method.wants.whole_groups)
    metrics = update(Recorder(list(leaves.values())), [part], layout.limit)  # type: ignore[arg-type]
    grads = {n: torch.zeros_like(x) if x.grad is None else x.grad.clone() for n, x in leaves.items()}
    for leaf in leaves.values():
        leaf.grad = None
    return SimpleNamespace(metrics=metrics, grads=grads, past=past)
