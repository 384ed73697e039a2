"""The reinforcement loop: collect, judge, credit, update."""

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
from posttrain.training.evaluate import in_slices
from posttrain.training.kl_control import FixedKL, KLControl
from posttrain.training.optimizer import Optimizer
from posttrain.training.rollout_metrics import of_credit, of_rollouts
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

COMPARED_EVERY = 16  # batches; then the sampler is compared with the trainer, wherever its word is taken


@dataclass
class ReinforceState:
    """Where the loop is; whole whenever it yields. ``step`` is also the version of the weights that sample
    next."""

    step: int = 0  # batches of rollouts used up
    place: int = 0  # updates made on the batch in use
    past: Past | None = None  # the batch in use
    metrics: dict[str, float] = field(default_factory=dict)  # of the batch in use
    kl_coef: float | None = None  # None until the first batch: the method's own


def minibatches(rollouts: Rollouts, method: PolicyGradient, seed: int, step: int, epoch: int) -> list[Tensor]:
    """Rows of each optimizer batch of one epoch, [rows] long, sorted; groups stay whole where the method
    wants it."""
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


def reinforce(  # size: the loop's six ingredients, and what a stage may set
    state: ReinforceState,
    policy: Policy,
    method: PolicyGradient,
    collect: Callable[[int], Rollouts],
    optimizer: Optimizer,
    publish: Callable[[int], None],
    *,
    steps: int,
    reference: Policy | None = None,
    control: KLControl | None = None,
    mix: Callable[[int], Part] | None = None,
    micro_batch_tokens: int = 8192,
    seed: int = 0,
) -> Iterator[dict[str, Any]]:
    """Improve ``policy`` on ``steps`` batches of its own rollouts; yields after every update, when state is
    whole.

    Args:
        collect: of a step: rollouts sampled with the weights of that version.
        publish: of a version: give the current weights to the sampler. Called before the first batch and
        after the
            last update on each.
        reference: what KL is measured from, and charged against where the method does.
        control: moves the method's ``kl.coef`` after each batch (None: fixed).
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
        past = state.past
        assert past is not None
        epoch, place = divmod(state.place, _count(past, method))
        rows = minibatches(past.rollouts, method, seed, state.step, epoch)[place]
        part = Part(
            past if len(rows) == len(past.rollouts) else take(past, rows.to(past.rollouts.actions.device)),
            lambda part, known=first: read(part.rollouts) if known is None else known,  # type: ignore[misc]
            current.loss,
            whole_groups=wants.whole_groups,
        )
        parts = [part] if mix is None else [part, mix(optimizer.steps)]
        updating = time.perf_counter()
        metrics = {**state.metrics, **update(optimizer, parts, micro_batch_tokens)}
        del first, part, parts
        metrics |= {
            STEP.name: state.step + 1,
            UPDATE.name: optimizer.steps,
            SECONDS.name: time.perf_counter() - started,
        }
        metrics[SECONDS_OF.named(part="update")] = time.perf_counter() - updating
        state.place += 1
        if state.place == method.epochs * _count(past, method):
            _finish(state, current, control or FixedKL())
            publish(state.step)
        yield metrics


def _count(past: Past, method: PolicyGradient) -> int:
    units = len(past.rollouts)
    if method.wants.whole_groups:
        units = len(past.rollouts.group.unique())
    return min(method.minibatches, units)


def _wants(wants: Wants, reference: Policy | None) -> Wants:
    if reference is None and wants.exact_kl:
        raise ValueError("the method wants the exact KL from a reference, and there is none")
    return wants


def _priced(method: Any, coef: float | None) -> Any:
    """The method at the coefficient the controller chose; a method has no state of its own."""
    return method if coef is None else replace(method, kl=replace(method.kl, coef=coef))


def _finish(state: ReinforceState, method: Any, control: KLControl) -> None:
    kl = getattr(method, "kl", None)
    if kl is not None and "kl" in state.metrics:
        state.kl_coef = control.next(kl.coef, state.metrics["kl"], int(state.metrics["rows"]))
    state.step, state.place, state.past, state.metrics = state.step + 1, 0, None, {}


def _collect(  # size: everything a batch of experience is made from
    state: ReinforceState,
    read: Callable[[Rollouts], Evaluation],
    method: Any,
    collect: Callable[[int], Rollouts],
    reference: Policy | None,
    micro_batch_tokens: int,
    seed: int,
) -> Evaluation | None:
    """Put the next batch into the state: rollouts, what policy and reference think of them, their credit.

    Where the first update reads the whole batch at once, what the policy thinks is computed once for both: it
    is returned with its graph.
    """
    started = time.perf_counter()
    rollouts = collect(state.step)
    other = rollouts.version[(rollouts.version != state.step) & (rollouts.version != -1)]
    if len(other):
        raise ValueError(
            f"rollouts of step {state.step} were sampled by weights of version {int(other[0])}: the sampler "
            "did not load what was published"
        )
    kept = method.keep(rollouts)
    dropped = int((~kept).sum())
    if dropped:
        rollouts = take(rollouts, kept)
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
            before = _still(first)
        else:
            before = in_slices(read, rollouts, slices)
    past = method.credit(rollouts, before, anchor)
    metrics = of_rollouts(rollouts, before, anchor) | of_credit(past)
    kl = getattr(method, "kl", None)
    if kl is not None:
        metrics[KL_COEF.name] = kl.coef
    metrics |= {DROPPED_ROWS.name: dropped, SECONDS_OF.named(part="collect"): collected - started}
    metrics[SECONDS_OF.named(part="evaluate")] = time.perf_counter() - collected
    state.past, state.place, state.metrics = past, 0, metrics
    return first if past.rollouts is rollouts else None


def _still(read: Evaluation) -> Evaluation:
    """The same numbers without their graph."""
    known = {f.name: getattr(read, f.name) for f in fields(read)}
    return replace(read, **{name: x.detach() for name, x in known.items() if x is not None})


def _slices(
    rollouts: Rollouts, method: PolicyGradient, micro_batch_tokens: int, seed: int, step: int
) -> list[Tensor]:
    """The micro-batches of the first epoch, so that the policy of the first update is compared with its own
    bits."""
    slices = []
    for rows in minibatches(rollouts, method, seed, step, 0):
        rows = rows.to(rollouts.actions.device)
        part = take(rollouts, rows)
        slices += [rows[piece] for piece in cut(part, micro_batch_tokens, method.wants.whole_groups)]
    return slices
