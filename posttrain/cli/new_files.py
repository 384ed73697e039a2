"""What ``posttrain new`` writes: NAME is the file's name, TITLE that of its class."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FileKind:
    """A file that runs as it is, its test, and the command that uses it (FILE is its path)."""

    code: str
    test: str
    command: str


REWARD = FileKind(
    command="posttrain run instructgpt rl.reward=FILE:NAME",
    code='''"""A reward of your own: what an answer is paid."""


def NAME(response, ended, most=12):
    """Pays brief answers: 1 for at most ``most`` words, less the longer it is; 0 where a limit cut it.

    The names of the parameters say what you are given: response (text), prompt (messages or text), row
    (the prompt's whole row), ended (by itself), tokens (ids), or any column of your rows. A parameter with
    a default keeps it where the row has no such column. Return a number, or None for an answer that you
    cannot judge: it is dropped and counted. A function of ``responses`` is asked once for a whole batch,
    with lists.
    """
    if not ended:
        return 0.0
    words = len(response.split())
    return min(1.0, most / words) if words else 0.0
''',
    test="""from NAME import NAME


def test_a_brief_answer_is_paid_in_full():
    assert NAME("a short answer", ended=True) == 1.0


def test_a_long_or_cut_answer_is_paid_less():
    assert NAME("word " * 24, ended=True) == 0.5
    assert NAME("a short answer", ended=False) == 0.0
""",
)

ENVIRONMENT = FileKind(
    command="posttrain run cartpole rl.environment=FILE:TITLE rl.steps=10",
    code='''"""An environment of your own: many copies of it answer the policy's actions at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from posttrain.environments.base import StepResult


@dataclass(frozen=True, kw_only=True)
class TITLE:
    """A corridor: a step goes left (0) or right (1), and 1 is paid at the right end. Fields are settings."""

    length: int = 8
    """Places of the corridor."""
    limit: int = 40
    """Steps after which play is cut."""

    observations = 2  # numbers that the policy sees: D
    actions = 2
    decision = 1  # steps of one choice

    def open(self, seeds: Sequence[int]) -> "Copies":
        """A copy for each seed, the same for the same seed."""
        return Copies(self, seeds)


class Copies:
    """B corridors."""

    def __init__(self, world: TITLE, seeds: Sequence[int]) -> None:
        self.world, self.time = world, 0
        self.place = torch.tensor([seed % (world.length // 2) for seed in seeds])
        self.over = torch.zeros(len(seeds), dtype=torch.bool)
        self.observation = self.seen()

    def step(self, actions: Tensor) -> StepResult:
        """actions: [B] long. A copy that is over stays as it is and is paid 0."""
        moved = (self.place + 2 * actions - 1).clamp(0, self.world.length - 1)
        self.place = torch.where(self.over, self.place, moved)
        arrived = (self.place == self.world.length - 1) & ~self.over
        self.over |= arrived
        self.time += 1
        cut = torch.full_like(self.over, self.time >= self.world.limit)
        return StepResult(self.seen(), arrived.float(), self.over.clone(), cut & ~self.over)

    def seen(self) -> Tensor:
        """[B, D] float32: where the copy is, and how far the end is."""
        place = self.place / (self.world.length - 1)
        return torch.stack([place, 1 - place], 1).float()
''',
    test="""import torch
from NAME import TITLE


def test_who_goes_right_arrives_and_is_paid_once():
    copies = TITLE(length=4).open([0, 1])
    rewards = sum(copies.step(torch.ones(2, dtype=torch.long)).reward for _ in range(5))
    assert rewards.tolist() == [1.0, 1.0]
    assert copies.over.all()
""",
)

METHOD = FileKind(
    command="posttrain run instructgpt rl.method=FILE:TITLE rl.group_size=4",
    code='''"""A policy gradient of your own: what an answer was worth, and the loss."""

from dataclasses import dataclass, field

from torch import Tensor

from posttrain.core.advantages import in_company, leave_one_out
from posttrain.core.batch import Evaluation, Experience, Rollouts, Term, Wants
from posttrain.core.importance import measured, step_weights
from posttrain.core.kl import KL, KLInReward
from posttrain.core.masked import masked_sum, on_steps, zero_outside
from posttrain.core.reduction import row_total


@dataclass(frozen=True, kw_only=True)
class TITLE:
    """REINFORCE whose baseline is the mean of the other answers to the prompt. Fields are settings.

    ``L = -E[A sum_t log pi(a_t)]``, ``A_i = R_i - mean_{j != i} R_j``
    """

    kl: KL = field(default_factory=KLInReward)
    """How KL from the reference is charged."""

    epochs = 1  # passes over each batch of answers
    minibatches = 1  # updates in each pass

    @property
    def wants(self) -> Wants:
        """What must be computed: here the reference's log-probabilities, and several answers to a prompt."""
        return Wants(reference=True, before=self.kl.exact, exact_kl=self.kl.exact, group=True)

    def keep(self, rollouts: Rollouts) -> Tensor:
        """[B] bool: the rows to learn from; here those that another answers the prompt of."""
        return in_company(rollouts.group)

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        """Advantages [B, T] of the whole batch, without a gradient."""
        mask = rollouts.action_mask
        total = masked_sum(self.kl.charge(rollouts.rewards, before, reference, mask), mask)
        return Experience(
            rollouts=rollouts,
            before=before,
            reference=reference,
            advantages=on_steps(leave_one_out(total, rollouts.group), mask),
            weights=step_weights(None, before, rollouts),
        )

    def loss(self, now: Evaluation, past: Experience) -> dict[str, Term]:
        """Terms [B, T] with their reduction. Divide by no count here: batches are split and padded."""
        logprobs = zero_outside(now.logprobs, past.rollouts.action_mask)
        terms = {"policy_loss": Term(-past.advantages * logprobs, row_total)}
        return terms | self.kl.terms(now, past, row_total) | measured(now, past)
''',
    test="""from NAME import TITLE

from posttrain.core.kl import KLInReward


def test_what_it_asks_for():
    method = TITLE(kl=KLInReward(coef=0.1))
    assert method.wants.group
    assert method.wants.reference
""",
)

RECIPE = FileKind(
    command="posttrain run FILE --dry-run",
    code='''"""A recipe of your own: a function with the file's name that returns the last stage."""

from posttrain.pipeline.stage import Stage
from posttrain.policy_gradients.rloo import RLOO
from posttrain.recipes.instructgpt_stages import embedded_stages
from posttrain.rewards.length import Length
from posttrain.stages.rl import Reinforcement


def NAME(seed: int = 0, longest: int = 24) -> Stage:
    """The instruction-tuned model of InstructGPT, paid for answers of some length.

    Parameters:
        seed: Seed of every stage.
        longest: Most tokens that are paid in full.
    """
    stages = embedded_stages(seed, "field_guide")
    return Reinforcement(
        policy=stages.sft,
        prompts=stages.evaluate.prompts,
        reward=Length(longest=longest, margin=16),
        method=RLOO(),
        steps=20,
        group_size=4,
        prompts_per_step=32,
        seed=seed,
    )
''',
    test="""from NAME import NAME


def test_its_last_stage_is_reinforcement_of_what_was_tuned():
    stage = NAME(seed=1, longest=30)
    assert stage.reward.longest == 30
    assert stage.policy.address == "sft"
""",
)

KINDS = {"reward": REWARD, "environment": ENVIRONMENT, "method": METHOD, "recipe": RECIPE}
