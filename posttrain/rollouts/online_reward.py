"""A reward model that is trained while the policy plays, on comparisons of segments of its play.

Christiano et al. 2017. The policy never sees the environment's own reward.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import PreferenceBatch, Rollouts, concatenate, take
from posttrain.core.implicit_reward import ACCURACY, GAP, PAIR_LOSS
from posttrain.core.preferences import ranked
from posttrain.core.seeds import derive
from posttrain.feedback.segments import Choice, SegmentAnnotator
from posttrain.metrics import declare_metric
from posttrain.models.mlp import MLPReward
from posttrain.pipeline.stage import later
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.rollouts.play import Player
from posttrain.rollouts.stretches import balanced, begins, partners, stretches
from posttrain.training.fit import FitState, fit
from posttrain.training.optimizer import Group, Optimizer

COMPARISONS = declare_metric(
    "comparisons", "Comparisons that people were asked for so far.", unit="comparisons", better="none"
)
TIES_ASKED = declare_metric(
    "ties", "Share of a step's comparisons tied.", unit="share of comparisons", better="none", where="log"
)
OF_REWARD_MODEL = declare_metric("reward_model/{metric}", "Of the learned reward:", unit="", better="none")


RESUMED = ("offset", "untrained", "asked", "learned", "answered", "waiting", "last_metrics")


@dataclass(frozen=True, kw_only=True)
class Comparisons:
    """``at_first`` comparisons of the untrained policy's play, answered before it learns, then ``each_step``
    a step until ``most`` were asked. A tie counts as asked, and as a label of one half. Answers to a step's
    pairs come ``delay`` steps later. Every ``every`` steps the reward model trains on all answers so far,
    with ``updates`` for each new answer; in between it stays the same.

    Comparisons do not determine a constant of the reward. It is chosen so that the mean step of the compared
    stretches is paid 0, or with ``zero_untrained`` the median step of the untrained policy's play. A constant
    does not move the optimum, but a critic begins at 0: where a fallen pole is paid -0.13 for ever, the
    critic must first learn -13 by bootstrap.

    Two controls: with ``shuffled_labels`` every choice is a coin's, with ``constant`` the reward stays 0.
    """

    recorded_as = "posttrain.rollouts.compared:Comparisons"
    most: int = 1500
    """Comparisons that are asked in all; ties count."""
    at_first: int = 300
    """Comparisons of the untrained policy's play, answered before it learns."""
    first_plays: int = later(0)
    """Plays of the untrained policy that the first comparisons are drawn from; 0 takes the first batch."""
    each_step: int = 20
    """Comparisons that are asked at each later step, until ``most`` is reached."""
    length: int = 25
    """Steps of a stretch of play that is compared."""
    balanced: bool = later(False)
    """Half of the stretches begin in motion and half end at rest, drawn from the whole batch."""
    same_start: bool = False
    """Both stretches of a pair come from plays that began alike, as two answers to one prompt."""
    delay: int = 1
    """Steps until the answers to a step's comparisons arrive."""
    every: int = 2
    """Steps between two refreshes of the reward model; larger keeps the reward fixed for longer."""
    updates: float = 3.0
    """Updates of the reward model for each new comparison."""
    batch_size: int = 64
    """Comparisons in an update of the reward model."""
    learning_rate: float = 3e-3
    """Step size of AdamW for the reward model."""
    weight_decay: float = 0.3
    """Weight decay of the reward model; larger makes its rewards smoother."""
    hidden: tuple[int, ...] = (64, 64)
    """Widths of the reward model's hidden layers."""
    normalised: bool = later(False)
    """The reward model's inputs are centred and scaled over the compared stretches."""
    bound: float | None = later(None)
    """Largest absolute reward of a step; none sets no bound."""
    zero_untrained: bool = later(False)
    """The median step of the untrained policy is paid 0; otherwise the mean compared step is."""
    method: BradleyTerry = field(default_factory=lambda: BradleyTerry(center_coef=0.0))
    """The loss of the reward model."""
    watcher: SegmentAnnotator = field(default_factory=SegmentAnnotator)
    """The simulated person who compares."""
    shuffled_labels: bool = False
    """Every choice is a coin's: the control that shows what is left without the labels."""
    constant: bool = False
    """The learned reward stays 0: the control that shows what the policy does without a reward."""

    def __post_init__(self) -> None:
        for name in ("at_first", "each_step", "length", "every", "batch_size", "updates", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected above 0")
        if any(width < 1 for width in self.hidden):
            raise ValueError(f"hidden is {self.hidden}, expected widths of at least 1")
        if self.balanced and self.same_start:
            raise ValueError(
                "balanced draws stretches by how they move, same_start by how their plays began: expected one"
            )
        if self.bound is not None and not self.bound > 0:
            raise ValueError(f"bound is {self.bound}, expected above 0")
        for name, least in (("most", self.at_first), ("first_plays", 0), ("delay", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} or more")


class OnlineReward:
    """``collect(step)``: play, with the learned reward in place of the environment's, which stays in
    ``parts["return"]``.

    A batch depends on those before it through the reward model, which a checkpoint holds. After a call
    ``last_metrics`` has the number of comparisons, the share of ties, and the fit of the reward model.
    """

    def __init__(self, player: Player, settings: Comparisons, seed: int) -> None:
        environment = player.environment
        self.player, self.settings, self.seed = player, settings, seed
        self.reward = MLPReward(
            environment.observations, environment.actions, settings.hidden, seed, settings.bound
        )
        group = Group(
            name="reward",
            parameters=list(self.reward.parameters()),
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
        )
        self.optimizer = Optimizer([group])
        self.offset = 0.0  # subtracted from the network's reward
        self.untrained: Rollouts | None = None
        self.asked = self.learned = 0  # pairs
        self.answered: list[PreferenceBatch] = []
        self.waiting: list[tuple[int, PreferenceBatch]] = []  # and the step at which the answers come
        self.last_metrics: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        fields = {name: getattr(self, name) for name in RESUMED}
        return {
            **fields,
            "optimizer": self.optimizer.state_dict(),
            "buffers": dict(self.reward.named_buffers()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.optimizer.load_state_dict(state["optimizer"])
        for name, buffer in self.reward.named_buffers():
            buffer.copy_(state["buffers"][name])
        for name in RESUMED:
            setattr(self, name, state[name])
        self.waiting = [(due, judged) for due, judged in state["waiting"]]

    def __call__(self, step: int) -> Rollouts:
        """Plays, asks for comparisons, trains the reward model, and pays its rewards."""
        facts, settings = self.player(step), self.settings
        if self.untrained is None:
            self.untrained = self._untrained(facts)
        asked = self._ask(step, facts if step else self.untrained)
        if asked is not None:
            self.waiting.append((step + settings.delay if step else 0, asked))
        self.answered += [judged for due, judged in self.waiting if due <= step]
        self.waiting = [(due, judged) for due, judged in self.waiting if due > step]
        if step % settings.every == 0 and not settings.constant:
            self._refresh(step)
        self.last_metrics[COMPARISONS.name] = self.asked
        if settings.constant:
            return replace(facts, rewards=torch.zeros_like(facts.rewards))
        with torch.no_grad():
            paid = (self.reward.score(facts) - self.offset) * facts.action_mask
        return replace(facts, rewards=paid)

    def _untrained(self, facts: Rollouts) -> Rollouts:
        """The untrained policy's play; more of it than a step has, where settings want that."""
        if not self.settings.first_plays:
            return facts
        player = self.player
        more = Player(
            player.environment,
            player.actor,
            starts=-(-self.settings.first_plays // player.group_size),
            group_size=player.group_size,
            temperature=player.temperature,
            seed=derive(self.seed, "untrained"),
        )
        return more(0)

    def _ask(self, step: int, facts: Rollouts) -> PreferenceBatch | None:
        """Pairs of segments of this play, labelled; None where no comparison is due."""
        settings = self.settings
        count = min(settings.each_step if step else settings.at_first, settings.most - self.asked)
        if not count:
            return None
        generator = torch.Generator().manual_seed(derive(self.seed, "pairs", step))
        if settings.balanced:
            rows, places = balanced(facts, 2 * count, settings.length, generator)
        else:
            rows = torch.randint(len(facts), (2 * count,), generator=generator)
            if settings.same_start:
                rows[1::2] = partners(facts.group, rows[::2], generator)
            places = begins(facts, rows, settings.length, generator)
        shown = stretches(facts, rows, places, settings.length)
        shown = replace(shown, group=shown.group + self.asked)  # else two steps' pairs would be one
        earned = shown.rewards.sum(1).reshape(-1, 2).tolist()
        choices = [self._choice(a, b, self.asked + n) for n, (a, b) in enumerate(earned)]
        self.asked += count
        self.last_metrics[TIES_ASKED.name] = choices.count("tie") / count
        rank = torch.tensor([n for one in choices for n in ((1, 0) if one == "b" else (0, 1))])
        confidence = torch.tensor([0.5 if one == "tie" else 1.0 for one in choices for _ in range(2)])
        return ranked(shown, rank, confidence)

    def _choice(self, a: float, b: float, number: int) -> Choice:
        if self.settings.shuffled_labels:
            return "a" if derive(self.seed, "coin", number) % 2 else "b"
        return self.settings.watcher.compare(a, b, f"{self.seed}:{number}")

    def _refresh(self, step: int) -> None:
        """Trains the reward model on all answers, if there are new ones."""
        settings, data = self.settings, concatenate(self.answered)
        pairs = len(data.rank) // 2
        new, self.learned = pairs - self.learned, pairs
        if settings.normalised:
            self.reward.normalise(data.rollouts)

        def batch(update: int) -> PreferenceBatch:
            generator = torch.Generator().manual_seed(derive(self.seed, "refresh", step, update))
            chosen = torch.randperm(pairs, generator=generator)[: settings.batch_size]
            return take(data, (2 * chosen[:, None] + torch.arange(2)).flatten())

        def forward(comparisons: PreferenceBatch) -> Tensor:
            return self.reward.score(comparisons.rollouts)

        steps = round(settings.updates * new)
        for metrics in fit(FitState(), forward, settings.method, batch, self.optimizer, steps=steps):
            for kind in (PAIR_LOSS, ACCURACY, GAP):
                self.last_metrics[OF_REWARD_MODEL.named(metric=kind)] = metrics[kind.name]
        self.offset = self._zero(data.rollouts)

    @torch.no_grad()
    def _zero(self, compared: Rollouts) -> float:
        """The network's reward of what is to be paid 0."""
        if self.settings.zero_untrained and self.untrained is not None:
            return float(self.reward.score(self.untrained)[self.untrained.action_mask].median())
        return float(self.reward.score(compared)[compared.action_mask].mean())
