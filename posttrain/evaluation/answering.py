"""Models answer prompts, are scored by a reward model, and are measured against a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch

from posttrain.core.batch import Wants
from posttrain.core.masked import masked_sum
from posttrain.core.seeds import derive
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.metrics import declare_metric
from posttrain.models.chat import Chat
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy
from posttrain.models.positions import context_of
from posttrain.models.prepare import prepare
from posttrain.pipeline.heartbeat import Note
from posttrain.rewards.base import Episode
from posttrain.rollouts.sample import encode_prompts, sample_in_chunks
from posttrain.storage.chunks import NOT_KEPT, Chunks
from posttrain.storage.token_rows import TokenRow
from posttrain.training.in_slices import in_slices
from posttrain.training.update import cut

KL_FINAL = declare_metric(
    "kl",
    "KL(final policy || the model that it started from), exact at every step of the final policy's own "
    "answers to held-out prompts, mean over answers.",
    unit="nats per completion",
    better="none",
    where="report",
    title="KL from the reference",
)
KL_OF = declare_metric(
    "kl/{model}",
    "KL({model} || the first policy), exact at every step of the answers of {model} to held-out prompts, "
    "mean.",
    unit="nats per completion",
    better="none",
    axis="KL from the first policy",
    title="KL from the first policy: {model}",
)
PROMPTS = declare_metric("prompts", "Held-out prompts that were answered.", unit="prompts", better="none")
PROMPTS_TOO_LONG = declare_metric(
    "prompts_too_long",
    "Held-out prompts that were left out because they are too long beside an answer.",
    unit="prompts",
    better="down",
)


def answers(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Mapping[str, Any]],
    sampling: Sampling,
    seed: int,
    each: int = 1,
    *,
    chunks: Chunks = NOT_KEPT,
    note: Note | None = None,
) -> list[Episode]:
    """``each`` independent answers to every prompt, those to one prompt one after another. ``note`` is given
    how many there are.

    Raises UserError where a prompt does not fit beside an answer.
    """
    chat, engine = Chat(tokenizer), BuiltinEngine(model)
    asked, _ = encode_prompts(chat, prompts, engine.context - sampling.max_tokens)
    seeds = partial(derive, seed, "evaluation")
    return sample_in_chunks(engine, chat, asked, sampling, seeds, each, chunks=chunks, note=note)


def fitting(
    model: Any, tokenizer: Any, prompts: Sequence[Mapping[str, Any]], sampling: Sampling
) -> list[Mapping[str, Any]]:
    """The prompts that leave room for an answer, so that every model is asked the same ones."""
    room = context_of(model) - sampling.max_tokens
    return [one.prompt for one in encode_prompts(Chat(tokenizer), prompts, room)[0]]


@torch.no_grad()
def kl_per_answer(
    models: tuple[Any, Any],
    episodes: Sequence[Episode],
    sampling: Sampling,
    pad_id: int,
    limit: int,
) -> list[float]:
    """KL(policy || reference) of each of the policy's answers, in nats, summed over steps and exact at each.

    Both distributions are at the temperature of ``sampling``.

    ``models`` are the policy and its reference. The mean over answers is an unbiased estimate of the KL per
    completion. ``limit`` bounds tokens held at a time.
    """
    rows = [TokenRow(ids=e.ids, mask=e.mask, temperature=sampling.temperature or 1.0) for e in episodes]
    batch = rollouts(rows, pad_id)
    now, reference = (LanguagePolicy(prepare(model)) for model in models)
    wants = Wants(before=False, entropy=False, exact_kl=True)
    evaluation = in_slices(lambda part: now.evaluate(part, wants, reference), batch, cut(batch, limit))
    assert evaluation.kl is not None
    values: list[float] = masked_sum(evaluation.kl, batch.action_mask).tolist()
    return values
