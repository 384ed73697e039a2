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

from posttrain.checks.loss_probes import adds_up, holds_back
from posttrain.checks.thresholds import OfReinforcement
from posttrain.core.batch import Experience, Policy, Rollouts, Wants
from posttrain.models.collate import rollouts
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.progress import described
from posttrain.rewards.base import Rewards, pays_by_place, rewards_of
from posttrain.storage.token_rows import TokenRow
from posttrain.training.update import Part

AGREE = OfReinforcement()  # as far as two ways to read a token have to
ROWS = 4  # that are looked at
TOKENS = 8  # of an answer that is sampled to be looked at
SAID = Wants(before=False, entropy=False)


@torch.no_grad()
def look_at_records(
    forward: Callable[[Any], Any],
    batch: Callable[[list[int]], Any],
    rows: int,
    compute: str,
    method: Any = None,
    given: Callable[[int], Sequence[TokenRow]] | None = None,
) -> None:
    """Before a stage learns from records: its ``batch`` has the first rows as they were ``given``; its
    ``forward`` says the same of them twice, of each alone, without what pads or precedes it, as of all
    together, and as the reference that was taken of it; and the loss of ``method`` is that of its
    micro-batches. Raises UserError where it is not so.
    """
    places = list(range(min(rows, ROWS)))
    past = batch(places)
    if given is not None:
        _stop([_as_given([row for index in places for row in given(index)], past.rollouts)])
    together = _said(forward, past)
    alone = torch.cat([_said(forward, batch([index])) for index in places])
    findings = [
        _alike("says_the_same_twice", together, _said(forward, past), compute, TWICE),
        _alike("reads_rows_alone", together, alone, compute, ALONE),
    ]
    if past.reference is not None:
        reference = past.reference.logprobs[past.rollouts.action_mask]
        findings.append(_alike("reference_is_the_start", together, reference, compute, REFERENCE))
    _stop(findings)
    if method is not None:
        wants = method.wants
        past = method.measure(forward(past), past) if wants.measure else past
        _stop([adds_up(Part(past, forward, method.loss, whole_groups=wants.whole_groups))])


@torch.no_grad()
def look_at_sampling(
    collector: Any,
    policy: Policy,
    reference: Policy | None,
    compute: str,
    method: Any = None,
    teacher: Policy | None = None,
) -> None:
    """Before a policy learns from its own answers: short answers to the first prompts stand in rows as they
    were sampled, in groups of one prompt; they have the same log-probabilities in sampler, trainer and
    ``reference`` (None where that is another model, ``teacher``), in each row alone as in all together, and a
    reward that follows its answer into another order; and the loss of ``method`` is that of its micro-batches
    and charges KL where the policy goes away. Raises UserError where it is not so.
    """
    episodes, rows = collector.probe(TOKENS)
    pad = collector.chat.pad_id
    findings = [_as_given(rows, rollouts(rows, pad)), _in_groups(rows, collector.group_size > 1)]
    _stop([*findings, _one_bos(rows, collector.chat.tokenizer.bos_token_id)])

    def logprobs_of(model: Policy, some: Sequence[TokenRow]) -> Tensor:
        past = rollouts(some, pad)
        return model.evaluate(past, SAID).logprobs[past.action_mask]

    now = logprobs_of(policy, rows)
    sampled = torch.tensor([x for one in episodes for x in one.logprobs])
    alone = torch.cat([logprobs_of(policy, [row]) for row in rows])
    findings = [
        _alike("sampler_and_trainer", now, sampled, compute, SAMPLER),
        _alike("says_the_same_twice", now, logprobs_of(policy, rows), compute, TWICE),
        _alike("reads_rows_alone", now, alone, compute, ALONE),
    ]
    if reference is not None:
        findings.append(
            _alike("reference_is_the_start", now, logprobs_of(reference, rows), compute, REFERENCE)
        )
    _stop(findings)
    scorer_findings = getattr(collector.scorer, "findings", list)
    _stop([_keyed(collector.scorer, episodes), *scorer_findings()])
    if method is not None:
        _stop(_of_method(method, rollouts(_uneven(rows), pad), policy, reference or teacher, compute))


def _of_method(
    method: Any, past: Rollouts, policy: Policy, reference: Policy | None, compute: str
) -> list[Finding]:
    """What a policy gradient makes of a few short rows that were paid made-up rewards."""
    wants = method.wants
    if wants.greedy:
        past = replace(past, greedy=torch.zeros(len(past)))

    def read(some: Rollouts) -> Any:
        return policy.evaluate(some, wants, reference if wants.exact_kl else None)

    before = read(past)
    anchor = reference.evaluate(past, SAID) if reference is not None and wants.reference else None
    credited = method.credit(past, before, anchor)
    if isinstance(credited, Experience):  # standardised rewards may add up to 0 however they are divided
        more = torch.arange(1, len(past) + 1, device=credited.advantages.device)[:, None] / 2
        credited = replace(credited, advantages=credited.advantages + more * past.action_mask)
    part = Part(
        credited,
        lambda some: read(some.rollouts),
        method.loss,
        whole_groups=wants.whole_groups,
    )
    findings = [adds_up(part)]
    if anchor is not None or wants.exact_kl:
        findings.append(holds_back(method, past, before))
    return findings


def _uneven(rows: Sequence[TokenRow]) -> list[TokenRow]:
    """The same answers, each a token shorter than the one before it while it has two, paid by their place, so
    that no two means over them are the same.
    """
    uneven = []
    for index, row in enumerate(rows):
        learned = sum(row.mask)
        cut = len(row.ids) - min(index, learned - 1)
        logprobs = list(row.logprobs or [])[: learned - min(index, learned - 1)]
        paid = (1 + index / 2) * (-1) ** index
        uneven.append(replace(row, ids=row.ids[:cut], mask=row.mask[:cut], logprobs=logprobs, reward=paid))
    return uneven


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


def _as_given(rows: Sequence[TokenRow], past: Rollouts) -> Finding:
    """Whether the steps that are learned are the tokens that the rows say, and no others."""
    wrong = []
    for index, (row, actions, mask) in enumerate(zip(rows, past.actions, past.action_mask, strict=True)):
        tokens = [token for token, learns in zip(row.ids, row.mask, strict=True) if learns]
        if tokens != actions[mask].tolist():
            wrong.append((index, len(tokens), int(mask.sum())))
    evidence = f"{len(rows)} rows are learned from as they were given"
    if wrong:
        index, expected, learned = wrong[0]
        evidence = f"{len(wrong)} of {len(rows)} rows are learned from otherwise than they were given; row "
        evidence += f"{index} has {expected} tokens to learn, {learned} are learned in its batch"
    return Finding(
        name="every_token_is_learned",
        value=float(len(wrong)),
        threshold=0.0,
        passed=not wrong,
        evidence=evidence,
        advice="a mask comes from places, never from what a token is: where pad is EOS, the end of answers "
        "would be left out",
    )


def _in_groups(rows: Sequence[TokenRow], compared: bool) -> Finding:
    """Whether rows of a group answer one prompt, as many of them in each."""
    asked: dict[int, list[tuple[int, ...]]] = {}
    for row in rows:
        asked.setdefault(row.group, []).append(tuple(row.ids[: row.mask.index(True)]))
    size = 2 if compared else 1
    wrong = sum(len(prompts) != size or len(set(prompts)) > 1 for prompts in asked.values())
    sizes = ", ".join(str(len(prompts)) for prompts in asked.values())
    return Finding(
        name="groups_share_a_prompt",
        value=float(wrong),
        threshold=0.0,
        passed=not wrong,
        evidence=f"{len(rows)} answers, {size} to a prompt, are in groups of {sizes}; {wrong} of these are "
        "of another size or of several prompts",
        advice="answers to one prompt follow each other and share TokenRow.group",
    )


def _one_bos(rows: Sequence[TokenRow], bos: int | None) -> Finding:
    twice = sum(bos is not None and list(row.ids[:2]) == [bos, bos] for row in rows)
    return Finding(
        name="one_bos",
        value=float(twice),
        threshold=0.0,
        passed=not twice,
        evidence=f"{twice} of {len(rows)} prompts begin with two BOS tokens",
        advice="let either the chat template or the tokenizer write the BOS, and no row hold its text",
    )


def _alike(name: str, some: Tensor, others: Tensor, compute: str, advice: str) -> Finding:
    away = (some - others.to(some)).abs()
    most, mean = float(away.max()), float(away.mean())
    value, limit = (most, AGREE.sampler) if compute == "float32" else (mean, AGREE.sampler_rounded)
    return Finding(
        name=name,
        value=value if math.isfinite(value) else str(value),
        threshold=limit,
        passed=value <= limit,  # NaN does not pass
        evidence=f"{len(away)} tokens of {ROWS} rows at most: largest difference {most:.2e}, mean {mean:.2e}",
        advice=advice,
    )


def _keyed(scorer: Any, episodes: list[Any]) -> Finding:
    """Whether each answer is paid the same in another order, and the shortest one, which is padded, the same
    alone; a reward that is random by itself passes, and one that pays ``by_place`` is not asked.
    """
    if pays_by_place(scorer):
        return Finding(name="rewards_follow_their_answers", value=0.0)

    def score(some: list[Any]) -> Rewards:
        return rewards_of(scorer, some)

    first, turned = score(episodes), score(episodes[::-1])
    short = min(range(len(episodes)), key=lambda index: len(episodes[index].ids))
    single = score([episodes[short]])
    both = first.scored & turned.scored.flip(0)
    apart = (first.values - turned.values.flip(0)).abs()
    if first.scored[short] and single.scored[0]:
        apart[short] = torch.maximum(apart[short], (first.values[short] - single.values[0]).abs())
    away = float(apart[both].max()) if both.any() else 0.0
    scale = float(first.values[both].abs().max()) if both.any() else 0.0
    limit = 1e-3 * (1 + scale)
    if away > limit and not torch.equal(score(episodes).values[both], first.values[both]):
        away = 0.0
    return Finding(
        name="rewards_follow_their_answers",
        value=away,
        threshold=limit,
        passed=away <= limit,
        evidence=f"{int(both.sum())} answers scored in two orders, one of them also alone: the largest "
        f"difference is {away:.3g}",
        advice="score() must return the rewards in the order of its episodes, each from its own alone (one "
        "that compares the answers of a batch has by_place); a reward model must read the answer's "
        "last token and no padding",
    )


def _stop(findings: Sequence[Finding]) -> None:
    if failed := [one for one in findings if not one.passed]:
        raise UserError("\n".join(["stopped before the first step:", *map(described, failed)]))
