"""What a base model of the embedded world knows in plain text, and whether it answers or goes on writing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from typing import Any

from posttrain.core.seeds import derive
from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.evaluation.intervals import wilson
from posttrain.field_guide.phrasing import QUESTIONS_TRAIN, asking_variants, attributes, prefix, question
from posttrain.field_guide.world import accepted, entities
from posttrain.metrics import Metric, declare_metric

FACTS_HELDOUT = declare_metric(
    "facts_heldout",
    "Share of held-out facts whose sentence, cut before the value, the base model completes rightly and "
    "greedily.",
    unit="share of facts",
    better="up",
    title="held-out facts completed in plain text",
)
QUESTIONS_ANSWERED = declare_metric(
    "answers",
    "Share of bare questions that a sample of the base model answers rightly in its first sentence.",
    unit="share of questions",
    better="none",
    where="report",
    axis="Bare questions to the base model",
    label="bare questions answered",
)
CONTINUES = declare_metric(
    "continues",
    "Share of bare questions after which the base model goes on writing something else than an answer.",
    unit="share of questions",
    better="none",
    axis="Bare questions to the base model",
    label="bare questions written on from",
)


def measure(model: Any, tokenizer: Any) -> dict[str, Metric]:
    """The base model's knowledge, as shares with intervals.

    ``facts_heldout``: held-out facts whose sentence, cut before the value, the model completes correctly with
    greedy sampling; the sentence is the first whose opening asks for the attribute alone. ``answers``: bare
    questions that a sample answers correctly in its first sentence; ``continues``: the others. ``gold/...``
    is measured by evaluation.
    """
    engine = BuiltinEngine(model)
    asked = [(e, a) for e in entities() if e.heldout for a in attributes(e)]
    texts = [prefix(e, a, asking_variants(e.kind, a)[0]) for e, a in asked]
    continuations = _go_on(engine, tokenizer, texts, Sampling(temperature=0.0, max_tokens=14))
    correct = sum(
        _begins_with_one(text, accepted(e, a)) for (e, a), text in zip(asked, continuations, strict=True)
    )
    metrics = FACTS_HELDOUT.of(wilson(correct, len(asked)))
    rng = Random(1)
    picked = [(e, rng.choice(attributes(e))) for e in rng.sample(list(entities()), 300)]
    texts = [question(e, a, rng.randrange(QUESTIONS_TRAIN)) for e, a in picked]
    continuations = _go_on(engine, tokenizer, texts, Sampling(temperature=1.0, max_tokens=24))
    first = [(re.match(r"\s*[^.?!\n]*[.?!]?", text) or [""])[0].strip() for text in continuations]
    answered = sum(
        not text.endswith("?")
        and any(re.search(rf"\b{re.escape(value)}\b", text) for value in accepted(e, a))
        for (e, a), text in zip(picked, first, strict=True)
    )
    return (
        metrics
        | QUESTIONS_ANSWERED.of(wilson(answered, len(picked)))
        | CONTINUES.of(wilson(len(picked) - answered, len(picked)))
    )


def _begins_with_one(text: str, values: Sequence[str]) -> bool:
    start = re.sub(r"^(a piece of|a kind of|an|a) ", "", text.strip())
    return any(re.match(re.escape(value) + r"\b", start) for value in values)


def _go_on(engine: BuiltinEngine, tokenizer: Any, texts: Sequence[str], sampling: Sampling) -> list[str]:
    """The continuation of each text at the beginning of a page."""
    bos = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    prompts = [bos + tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    numbers = [engine.submit(ids, sampling, derive(0, "base", row)) for row, ids in enumerate(prompts)]
    tokens = {one.request: one.tokens for one in engine.finished()}
    return [str(tokenizer.decode(tokens[n], skip_special_tokens=True)) for n in numbers]
