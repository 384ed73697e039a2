"""A reward learned while the policy plays: people compare stretches of its play, and the reward is refreshed.

Christiano et al. 2017. The policy never sees the environment's own reward.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from posttrain.core.batch import Judged, Rollouts, concatenate, take
from posttrain.core.preferences import ranked
from posttrain.core.seeds import derive
from posttrain.feedback.segments import Choice, Watcher
from posttrain.models.mlp import OBSERVATIONS, MLPReward
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.rollouts.play import Player
from posttrain.training.fit import FitState, fit
from posttrain.training.optimizer import Group, Optimizer


@dataclass(frozen=True, kw_only=True)
class Comparisons:  # size: what people are asked, and how a reward is fitted to what they say
    """``at_first`` comparisons of the untrained policy's play, answered before it learns, then ``each_step``
    until ``most`` were asked; ties count as asked, and are learned from as odds of one to one. Answers to a
    step's pairs come ``delay`` steps later. Every ``every`` steps the reward is refreshed, with ``updates``
    for each new answer, on all answers there are; in between the policy goes on with the last one.

    Two controls: with ``shuffled_labels`` every choice is a coin's, with ``constant`` the reward stays 0.
    """

    most: int = 1500
    at_first: int = 300
    each_step: int = 20
    length: int = 25  # steps of a stretch
    same_start: bool = False  # both of a pair from plays that began alike: two answers to one prompt
    delay: int = 1
    every: int = 2
    updates: float = 3.0
    batch_size: int = 64  # pairs
    learning_rate: float = 3e-3
    weight_decay: float = 0.3
    hidden: tuple[int, ...] = (64, 64)
    method: BradleyTerry = field(default_factory=lambda: BradleyTerry(center_coef=0.0))
    watcher: Watcher = field(default_factory=Watcher)
    shuffled_labels: bool = False
    constant: bool = False

    def __post_init__(self) -> None:
        for name in ("at_first", "each_step", "length", "every", "batch_size", "updates", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0")
        if self.most < self.at_first or self.delay < 0:
            raise ValueError(
                f"most is {self.most} and delay {self.delay}: expected {self.at_first} (at_first), 0, or more"
            )


def stretches(facts: Rollouts, rows: Tensor, begins: Tensor, length: int) -> Rollouts:
    """The ``length`` steps from ``begins[i]`` on of row ``rows[i]``, each a row of its own. The first and the
    second, the third and the fourth and so on are a group."""
    whole = take(facts, rows)

    def at(x: Tensor, steps: int) -> Tensor:
        return x[torch.arange(len(rows))[:, None], begins[:, None] + torch.arange(steps)]

    return replace(
        whole,
        context={OBSERVATIONS: at(whole.context[OBSERVATIONS], length + 1)},
        actions=at(whole.actions, length),
        action_mask=at(whole.action_mask, length),
        turn=at(whole.turn, length),
        logprobs=at(whole.logprobs, length),
        rewards=at(whole.rewards, length),
        truncated=torch.ones_like(whole.truncated),
        group=torch.arange(len(rows)) // 2,
        parts={},
    )


def begins(facts: Rollouts, rows: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """[n]: where a stretch of each row begins: one half anywhere, the other where something still moves, so
    that people are asked about more than still frames. Raises ValueError for a stretch longer than play."""
    seen = facts.context[OBSERVATIONS][rows]
    room = seen.shape[1] - length
    if room < 1:
        raise ValueError(f"stretches of {length} steps do not fit into play of {seen.shape[1] - 1}")
    fit_in = (seen[:, 1 : room + 1] != seen[:, :room]).any(-1)
    fit_in |= torch.rand(len(rows), 1, generator=generator) < 0.5
    fit_in[:, 0] = True
    return torch.multinomial(fit_in.float(), 1, generator=generator)[:, 0]


def companions(group: Tensor, rows: Tensor, generator: torch.Generator) -> Tensor:
    """[n]: for each of the rows another one of its group. Raises ValueError for a row alone in its group."""
    others = group[rows][:, None] == group[None, :]
    others[torch.arange(len(rows)), rows] = False
    if not bool(others.any(1).all()):
        raise ValueError("same_start compares plays that began alike: expected a group_size of at least 2")
    return torch.multinomial(others.float(), 1, generator=generator)[:, 0]


class Compared:
    """``collect(step)``: play, with what the comparisons so far taught in the place of the environment's own
    reward, which stays in ``parts["return"]``. The reward of a step is 0 on average over what was compared.

    A batch depends on those before it, through the reward; so a run is repeated from its start. After a call
    ``last_figures`` has the comparisons asked, the share of ties, and how the reward fits.
    """

    def __init__(self, player: Player, settings: Comparisons, seed: int) -> None:
        environment = player.environment
        self.player, self.settings, self.seed = player, settings, seed
        self.reward = MLPReward(environment.observations, environment.actions, settings.hidden, seed)
        group = Group(
            name="reward",
            parameters=list(self.reward.parameters()),
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.optimizer = Optimizer([group])
        self.mean = 0.0
        self.asked = self.learned = 0  # pairs
        self.answered: list[Judged] = []
        self.waiting: list[tuple[int, Judged]] = []  # and the step at which the answers come
        self.last_figures: dict[str, float] = {}

    def __call__(self, step: int) -> Rollouts:
        """Play, ask, refresh, and pay what the reward says."""
        facts, settings = self.player(step), self.settings
        asked = self._ask(step, facts)
        if asked is not None:
            self.waiting.append((step + settings.delay if step else 0, asked))
        self.answered += [judged for due, judged in self.waiting if due <= step]
        self.waiting = [(due, judged) for due, judged in self.waiting if due > step]
        if step % settings.every == 0 and not settings.constant:
            self._refresh(step)
        self.last_figures["comparisons"] = self.asked
        if settings.constant:
            return replace(facts, rewards=torch.zeros_like(facts.rewards))
        with torch.no_grad():
            paid = (self.reward.score(facts) - self.mean) * facts.action_mask
        return replace(facts, rewards=paid)

    def _ask(self, step: int, facts: Rollouts) -> Judged | None:
        """Stretches drawn from this play in pairs, and what people say of them."""
        settings = self.settings
        count = min(settings.each_step if step else settings.at_first, settings.most - self.asked)
        if not count:
            return None
        generator = torch.Generator().manual_seed(derive(self.seed, "pairs", step))
        rows = torch.randint(len(facts), (2 * count,), generator=generator)
        if settings.same_start:
            rows[1::2] = companions(facts.group, rows[::2], generator)
        places = begins(facts, rows, settings.length, generator)
        shown = stretches(facts, rows, places, settings.length)
        shown = replace(shown, group=shown.group + self.asked)  # else two steps' pairs would be one
        earned = shown.rewards.sum(1).reshape(-1, 2).tolist()
        choices = [self._choice(a, b, self.asked + place) for place, (a, b) in enumerate(earned)]
        self.asked += count
        self.last_figures["ties"] = choices.count("tie") / count
        rank = torch.tensor([place for one in choices for place in ((1, 0) if one == "b" else (0, 1))])
        sure = torch.tensor([0.5 if one == "tie" else 1.0 for one in choices for _ in range(2)])
        return ranked(shown, rank, sure)

    def _choice(self, a: float, b: float, number: int) -> Choice:
        if self.settings.shuffled_labels:
            return "a" if derive(self.seed, "coin", number) % 2 else "b"
        return self.settings.watcher.compare(a, b, f"{self.seed}:{number}")

    def _refresh(self, step: int) -> None:
        """Fit the reward some more, if there is something new."""
        settings, data = self.settings, concatenate(self.answered)
        pairs = len(data.rank) // 2
        new, self.learned = pairs - self.learned, pairs

        def batch(update: int) -> Judged:
            generator = torch.Generator().manual_seed(derive(self.seed, "refresh", step, update))
            drawn = torch.randperm(pairs, generator=generator)[: settings.batch_size]
            return take(data, (2 * drawn[:, None] + torch.arange(2)).flatten())

        def forward(past: Judged) -> Tensor:
            return self.reward.score(past.rollouts)

        steps = round(settings.updates * new)
        for figures in fit(FitState(), forward, settings.method, batch, self.optimizer, steps=steps):
            for name in ("pair_loss", "accuracy", "gap"):
                self.last_figures[f"reward_model/{name}"] = figures[name]
        with torch.no_grad():
            self.mean = float(self.reward.score(data.rollouts)[data.rollouts.action_mask].mean())
