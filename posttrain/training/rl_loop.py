"""The loop of reinforcement learning: collect, evaluate, credit, update."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from posttrain.core.batch import Evaluation, Policy, PolicyGradient, Rollouts, Wants, take
from posttrain.core.seeds import derive
from posttrain.metrics import declare_metric
from posttrain.training.in_slices import in_slices
from posttrain.training.kl_control import FixedKL, KLController
from posttrain.training.optimizer import Optimizer
from posttrain.training.rollout_metrics import KL, ROWS_LEARNED, of_credit, of_rollouts
from posttrain.training.update import Part, Past, cut, in_one_order, update

STEP = declare_metric(
    "step",
    "Number of the step, counted from 1: of reinforcement one batch, elsewhere one update.",
    unit="steps",
    better="none",
)
UPDATE = declare_metric("update", "Updates of the weights so far.", unit="updates", better="none")
SECONDS = declare_metric(
    "seconds",
    "Wall time of an update and, in the first of a step, of its batch.",
    unit="seconds",
    better="down",
)
SECONDS_OF = declare_metric(
    "seconds/{part}",
    "Wall time that a step spent on: {part}.",
    unit="seconds",
    better="down",
)
KL_COEF = declare_metric(
    "kl_coef",
    "Coefficient of the KL charge, which the KL controller moves.",
    unit="reward per nat",
    better="none",
    title="KL coefficient",
    order=15,
)
DROPPED_ROWS = declare_metric(
    "dropped",
    "Rows that the method cannot use, left out of the batch.",
    unit="rows",
    better="down",
    where="log",
)

COMPARED_EVERY = (
    16  # batches; where the sampler's log-probabilities are used, the trainer's check them so often
)


@dataclass
class RLState:
    """The loop's state, complete at every yield. ``step`` is also the version of the weights
    that sample next.
    """

    step: int = 0  # batches of rollouts used up
    batch_updates: int = 0  # updates made on the batch in use
    past: Past | None = None  # the batch in use
    metrics: dict[str, float] = field(default_factory=dict)  # of the batch in use
    kl_coef: float | None = None  # None until the first batch: the method's own

    @property
    def whole(self) -> bool:
        """Whether no batch is in use, so that the state may be saved."""
        return self.past is None

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint holds of it. Raises ValueError while a batch is in use."""
        if not self.whole:
            raise ValueError("a batch is in use; its rest cannot be saved")
        return {"step": self.step, "kl_coef": self.kl_coef}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from :meth:`state_dict`."""
        self.step, self.kl_coef = state["step"], state["kl_coef"]


def minibatches(rollouts: Rollouts, method: PolicyGradient, seed: int, step: int, epoch: int) -> list[Tensor]:
    """Rows of each optimizer batch of one epoch, [rows] long, sorted; ``wants.whole_groups``
    keeps groups whole.
    """
    rows = torch.arange(len(rollouts))
    count = min(method.minibatches, len(rollouts))
    if count == 1:
        return [rows]
    generator = torch.Generator().manual_seed(derive(seed, "minibatch", step, epoch))
    if not method.wants.whole_groups:
        return [
            part.sort().values
            for part in rows[torch.randperm(len(rows), generator=generator)].tensor_split(count)
        ]
    names, unit = rollouts.group.cpu().unique(return_inverse=True)
    order = torch.randperm(len(names), generator=generator)
    parts = order.tensor_split(min(count, len(names)))
    return [torch.isin(unit, part).nonzero()[:, 0] for part in parts]


def train_rl(
    state: RLState,
    policy: Policy,
    method: PolicyGradient,
    collect: Callable[[int], Rollouts],
    optimizer: Optimizer,
    publish: Callable[[int], None],
    *,
    steps: int,
    reference: Policy | None = None,
    kl_controller: KLController | None = None,
    mix: Callable[[int], Part] | None = None,
    micro_batch_tokens: int = 8192,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Improves ``policy`` on ``steps`` batches of its rollouts; yields after each update, ``state`` whole.

    Args:
        collect: of a step: rollouts sampled with the weights of that version.
        publish: of a version: gives the current weights to the sampler; called before the first batch and
            after the last update on each batch.
        reference: the policy from which KL is measured, and charged where the method charges it.
        kl_controller: moves the method's ``kl.coef`` after each batch (None: fixed).
        mix: of the number of updates made: another part of the loss, such as pretraining text (PPO-ptx).

    Yields:
        Metrics of the rollouts (``rollout_metrics``), of the update (the method's
        terms, ``loss``, gradient norms, learning rates), ``step``, ``update``, ``kl_coef`` and seconds.

    Raises:
        ValueError: rollouts were sampled by other weights than the published ones, or none could be used.
    """
    wants = _wants(method.wants, reference)
    if state.past is None:
        publish(state.step)

    def read(rollouts: Rollouts) -> Evaluation:
        return policy.evaluate(rollouts, wants, reference if wants.exact_kl else None)

    while state.step < steps:
        started = time.perf_counter()
        current = _priced(method, state.kl_coef)
        first: Evaluation | None = None  # of the whole batch, with its graph
        if state.past is None:
            first = _collect(state, read, current, collect, reference, micro_batch_tokens, seed)
        more = [] if mix is None else [mix(optimizer.steps)]
        parts = [_minibatch(state, current, read, first, seed), *more]
        began = time.perf_counter()
        metrics = {**state.metrics, **update(optimizer, parts, micro_batch_tokens)}
        del first, parts
        metrics |= {STEP.name: state.step + 1, UPDATE.name: optimizer.steps}
        metrics[SECONDS.name] = time.perf_counter() - started
        metrics[SECONDS_OF.named(part="update")] = time.perf_counter() - began
        state.batch_updates += 1
        if state.batch_updates == method.epochs * _count(state.past, method):
            _finish(state, current, kl_controller or FixedKL())
            publish(state.step)
        yield metrics


def _minibatch(
    state: RLState,
    method: Any,
    read: Callable[[Rollouts], Evaluation],
    first: Evaluation | None,
    seed: int,
) -> Part:
    """The rows of the next update; ``first`` is what the policy thinks of them where that is known."""
    batch = state.past
    assert batch is not None
    epoch, number = divmod(state.batch_updates, _count(batch, method))
    rows = minibatches(batch.rollouts, method, seed, state.step, epoch)[number]
    return Part(
        batch if len(rows) == len(batch.rollouts) else take(batch, rows.to(batch.rollouts.actions.device)),
        lambda part: read(part.rollouts) if first is None else first,
        method.loss,
        whole_groups=method.wants.whole_groups,
    )


def _count(batch: Past | None, method: PolicyGradient) -> int:
    assert batch is not None  # a batch is being learned from
    units = len(batch.rollouts)
    if method.wants.whole_groups:
        units = len(batch.rollouts.group.unique())
    return min(method.minibatches, units)


def _wants(wants: Wants, reference: Policy | None) -> Wants:
    if reference is None and wants.exact_kl:
        raise ValueError("the method wants the exact KL from a reference, and there is none")
    return wants


def _priced(method: Any, coef: float | None) -> Any:
    """The method at the coefficient the controller chose; a method has no state of its own."""
    return method if coef is None else replace(method, kl=replace(method.kl, coef=coef))


def _finish(state: RLState, method: Any, kl_controller: KLController) -> None:
    kl = getattr(method, "kl", None)
    if kl is not None and KL.name in state.metrics:
        rows = int(state.metrics[ROWS_LEARNED.name])
        state.kl_coef = kl_controller.next(kl.coef, state.metrics[KL.name], rows)
    state.step, state.batch_updates, state.past, state.metrics = state.step + 1, 0, None, {}


def _collect(
    state: RLState,
    read: Callable[[Rollouts], Evaluation],
    method: Any,
    collect: Callable[[int], Rollouts],
    reference: Policy | None,
    micro_batch_tokens: int,
    seed: int,
) -> Evaluation | None:
    """Puts the next batch into the state: rollouts, the policy's and the reference's evaluation, credit.

    Where the first update takes the whole batch at once, the policy's evaluation serves both, and is returned
    with its graph.
    """
    started = time.perf_counter()
    rollouts = collect(state.step)
    other = rollouts.version[(rollouts.version != state.step) & (rollouts.version != -1)]
    if len(other):
        raise ValueError(
            f"rollouts of step {state.step} were sampled by weights of version {int(other[0])}: the sampler "
            "did not load what was published"
        )
    selected = method.keep(rollouts)
    dropped = int((~selected).sum())
    if dropped:
        rollouts = take(rollouts, selected)
    if not len(rollouts) or not bool(rollouts.action_mask.any()):
        raise ValueError(f"step {state.step}: none of {dropped + len(rollouts)} rollouts can be learned from")
    collected = time.perf_counter()
    wants, slices = method.wants, _slices(rollouts, method, micro_batch_tokens, seed, state.step)
    anchor = first = None
    if reference is not None and wants.reference:
        plain, model = Wants(before=False, entropy=False), reference
        anchor = in_slices(lambda r: model.evaluate(r, plain), rollouts, slices)
    before = Evaluation(logprobs=rollouts.logprobs)
    unknown = not bool(rollouts.logprobs[rollouts.action_mask].isfinite().all())
    if wants.before or wants.values or unknown or state.step % COMPARED_EVERY == 0:
        if len(slices) == 1:
            with in_one_order(rollouts.action_mask.device):
                first = read(rollouts)
            before = _detached(first)
        else:
            before = in_slices(read, rollouts, slices)
    batch = method.credit(rollouts, before, anchor)
    metrics = of_rollouts(rollouts, before, anchor) | of_credit(batch)
    kl = getattr(method, "kl", None)
    if kl is not None:
        metrics[KL_COEF.name] = kl.coef
    metrics |= {DROPPED_ROWS.name: dropped, SECONDS_OF.named(part="collect"): collected - started}
    metrics[SECONDS_OF.named(part="evaluate")] = time.perf_counter() - collected
    state.past, state.batch_updates, state.metrics = batch, 0, metrics
    return first if batch.rollouts is rollouts else None


def _detached(read: Evaluation) -> Evaluation:
    """The same evaluation without its graph."""
    tensors = {f.name: getattr(read, f.name) for f in fields(read)}
    return replace(read, **{name: x.detach() for name, x in tensors.items() if x is not None})


def _slices(
    rollouts: Rollouts, method: PolicyGradient, micro_batch_tokens: int, seed: int, step: int
) -> list[Tensor]:
    """The micro-batches of the first epoch, so that the first update's ratios are exactly 1."""
    slices = []
    for rows in minibatches(rollouts, method, seed, step, 0):
        rows = rows.to(rollouts.actions.device)
        part = take(rollouts, rows)
        slices += [rows[piece] for piece in cut(part, micro_batch_tokens, method.wants.whole_groups)]
    return slices
