"""A look at the real model and the real rows before the first update, in a few short forwards: what goes
wrong without a word shows there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from posttrain.checks.same_at_the_start import ROUNDED_AGREES, SAMPLER_AGREES
from posttrain.core.batch import Policy, Wants
from posttrain.core.seeds import derive
from posttrain.models.collate import rollouts
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.progress import described
from posttrain.rollouts.sample import sample
from posttrain.storage.token_rows import TokenRow

ROWS = 4  # that are looked at
TOKENS = 8  # of an answer that is sampled to be looked at
SAID = Wants(before=False, entropy=False)


@torch.no_grad()
def look_at_records(
    forward: Callable[[Any], Any], batch: Callable[[list[int]], Any], rows: int, compute: str
) -> None:
    """Before a stage learns from records: its ``forward`` says the same of the first rows twice, and of each
    alone, without what pads or precedes it, as of all together. Raises UserError where it does not.
    """
    places = list(range(min(rows, ROWS)))
    together = _said(forward, batch(places))
    found = [
        _alike("says_the_same_twice", together, _said(forward, batch(places)), compute, TWICE),
        _alike(
            "reads_rows_alone",
            together,
            torch.cat([_said(forward, batch([place])) for place in places]),
            compute,
            ALONE,
        ),
    ]
    _stop(found)


@torch.no_grad()
def look_at_sampling(collector: Any, policy: Policy, reference: Policy | None, compute: str) -> None:
    """Before a policy learns from its own answers: short answers to the first prompts have the same
    log-probabilities in sampler, trainer and ``reference`` (None where that is another model), in each row
    alone as in all together, and a reward that follows its answer into another order. Raises UserError where
    not.
    """
    asked = [collector.asked[place % len(collector.asked)] for place in range(ROWS)]
    sampling = replace(collector.sampling, max_tokens=min(TOKENS, collector.sampling.max_tokens))
    seeds = [derive(collector.seed, "probe", place) for place in range(ROWS)]
    episodes = sample(collector.engine, collector.chat, asked, sampling, seeds)
    rows = [
        TokenRow(ids=one.ids, mask=one.mask, logprobs=one.logprobs, temperature=sampling.temperature)
        for one in episodes
    ]

    def said(model: Policy, some: Sequence[TokenRow]) -> Tensor:
        past = rollouts(some, collector.chat.pad_id)
        return model.evaluate(past, SAID).logprobs[past.action_mask]

    now = said(policy, rows)
    sampled = torch.tensor([x for one in episodes for x in one.logprobs])
    alone = torch.cat([said(policy, [row]) for row in rows])
    found = [
        _alike("sampler_and_trainer", now, sampled, compute, SAMPLER),
        _alike("says_the_same_twice", now, said(policy, rows), compute, TWICE),
        _alike("reads_rows_alone", now, alone, compute, ALONE),
    ]
    if reference is not None:
        found.append(_alike("reference_is_the_start", now, said(reference, rows), compute, REFERENCE))
    _stop([*found, _keyed(collector.scorer, episodes)])


TWICE = "something is random in the model, such as dropout: load it with posttrain.models.loading"
ALONE = "padding or a neighbour reaches into a row: take packed=False, or a model of another family"
SAMPLER = "the sampler has other weights, another temperature or another template than the trainer"
REFERENCE = "the reference is not the policy as it starts, so the KL would not begin at 0"


def _said(forward: Callable[[Any], Any], past: Any) -> Tensor:
    """[n] log-probabilities or scores of the chosen steps, in the order of the rows."""
    out = forward(past)
    out = out[0] if isinstance(out, tuple) else out
    values: Tensor = getattr(out, "logprobs", out)
    return values[past.rollouts.action_mask]


def _alike(name: str, some: Tensor, others: Tensor, compute: str, advice: str) -> Finding:
    away = (some - others.to(some)).abs()
    most, mean = float(away.max()), float(away.mean())
    value, limit = (most, SAMPLER_AGREES) if compute == "float32" else (mean, ROUNDED_AGREES)
    return Finding(
        name=name,
        value=value if math.isfinite(value) else str(value),
        threshold=limit,
        passed=value <= limit,  # NaN does not pass
        evidence=f"{len(away)} tokens of {ROWS} rows at most: largest difference {most:.2e}, mean {mean:.2e}",
        advice=advice,
    )


def _keyed(scorer: Any, episodes: list[Any]) -> Finding:
    """Whether each answer is paid the same in another order; a reward that is random by itself passes, and
    one that pays ``by_place`` is not asked.
    """
    if getattr(scorer, "by_place", False):
        return Finding(name="rewards_follow_their_answers", value=0.0)
    first, turned = scorer.score(episodes), scorer.score(episodes[::-1])
    both = first.scored & turned.scored.flip(0)
    away = float((first.values - turned.values.flip(0)).abs()[both].max()) if both.any() else 0.0
    scale = float(first.values[both].abs().max()) if both.any() else 0.0
    limit = 1e-3 * (1 + scale)
    if away > limit and not torch.equal(scorer.score(episodes).values[both], first.values[both]):
        away = 0.0
    return Finding(
        name="rewards_follow_their_answers",
        value=away,
        threshold=limit,
        passed=away <= limit,
        evidence=f"{int(both.sum())} answers scored in two orders: the largest difference is {away:.3g}",
        advice="score() must return the rewards in the order of its episodes, each from its own alone",
    )


def _stop(found: Sequence[Finding]) -> None:
    if failed := [one for one in found if not one.passed]:
        raise UserError("\n".join(["stopped before the first step:", *map(described, failed)]))
