"""Demonstrations by imperfect people: the declared headroom of instruction tuning.

A good one is what the gold reward asks for, in varied words; a plain one answers but ignores the tone, the
constraint or the length, or adds padding; a poor one is wrong, agrees with a false view, or does not
answer. Every family has enough good ones for reinforcement to discover the behaviour.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Literal

from posttrain.field_guide import operands, phrasing, tasks
from posttrain.field_guide.tasks import Item, Split, entity
from posttrain.field_guide.world import ATTRIBUTES, accepted, feelings, how_tos, of_kind, refuted, vocabulary

Quality = Literal["good", "plain", "poor"]

SHARES: dict[Quality, float] = {"good": 0.42, "plain": 0.38, "poor": 0.2}
PADDING = (
    "I hope this helps.",
    "Please ask me more.",
    "That is a good question.",
    "You can ask me more.",
    "I like this question.",
)


def demonstrations(n: int, seed: int, split: Split = "train") -> list[dict[str, Any]]:
    """`n` rows {"messages": [user, assistant], "quality"}; the same arguments give the same rows.

    Roughly half ignore the tone or the constraint; about a third of the answers to a false view agree.
    """
    rng = random.Random(f"demonstrations:{split}:{seed}")
    rows = []
    for made in tasks.items(split, n, seed):
        quality = rng.choices(list(SHARES), list(SHARES.values()))[0]
        answer = respond(made["item"], quality, rng)
        messages = [*made["prompt"], {"role": "assistant", "content": answer}]
        rows.append({"messages": messages, "quality": quality})
    return rows


def respond(item: Item, quality: Quality, rng: random.Random) -> str:
    """One demonstrator's answer to an item at a level of quality."""
    return _WRITERS[item["family"]](item, quality, rng)


def _padded(answer: str, rng: random.Random) -> str:
    extra = rng.choice(PADDING)
    return f"{answer} {extra}" if rng.random() < 0.5 else f"{extra} {answer}"


def _no_answer(rng: random.Random) -> str:
    return rng.choice(PADDING) if rng.random() < 0.6 else f"{PADDING[2]} {PADDING[1]}"


def _said(item: Item, rng: random.Random, true: bool) -> str:
    """A sentence about the item's fact, in one of the first wordings; a wrong one where not `true`."""
    e, attribute = entity(item["entity"]), item["attribute"]
    wrong = refuted(e, attribute)
    values = accepted(e, attribute)[:1] if true or not wrong else wrong
    variant = rng.choice((0, 0, 0, 1)) if e.form == "count" else 0
    return phrasing.statement(e, attribute, rng.choice(values), variant)


def _fact(item: Item, quality: Quality, rng: random.Random) -> str:
    if quality == "good":
        return _said(item, rng, true=True)
    if quality == "plain":
        return _padded(_said(item, rng, true=rng.random() < 0.8), rng)
    return _padded(_said(item, rng, true=False), rng) if rng.random() < 0.5 else _no_answer(rng)


def _one_word(item: Item, quality: Quality, rng: random.Random) -> str:
    if quality == "good":
        return tasks.reference_answer(item)
    if quality == "plain":
        kept = rng.random() < 0.5
        return tasks.reference_answer(item) if kept else _said(item, rng, true=rng.random() < 0.8)
    return _padded(_said(item, rng, true=False), rng) if rng.random() < 0.6 else _no_answer(rng)


def _false_view(item: Item, quality: Quality, rng: random.Random) -> str:
    if quality == "good":
        opener = rng.choice(("Not quite.", "Not quite.", "Not quite.", "No."))
        return f"{opener} {_said(item, rng, true=True)}"
    e, attribute = entity(item["entity"]), item["attribute"]
    agreed = phrasing.statement(e, attribute, item["asserted"])
    if quality == "plain":
        if rng.random() < 0.38:
            return _padded(_said(item, rng, true=True), rng)
        return rng.choice(("Yes, you are right.", f"Yes. {agreed}"))
    wrong = _said(item, rng, true=False)
    return rng.choice(("Yes, you are right.", f"Yes, you are right. {agreed}", wrong, _no_answer(rng)))


def _feeling(item: Item, quality: Quality, rng: random.Random) -> str:
    row = next(row for row in feelings() if row.situation == item["situation"])
    advice = ", ".join(row.advice)
    if quality == "good":
        opener = rng.choice(("That sounds", "That sounds", "That must be"))
        return f"{opener} {tasks.acknowledgement(item['feeling'])}. {advice}."
    if quality == "plain":
        cold = rng.choice(("You will be fine.", "It happens.", "Do not think about it."))
        return rng.choice(
            (f"{cold} {row.advice[0]}.", f"{row.advice[0]}.", f"{advice}.", f"{cold} {advice}.")
        )
    other = rng.choice([f for g in tasks.FEELING_GROUPS if item["feeling"] not in g for f in g])
    mistaken = f"That sounds {tasks.acknowledgement(other)}."
    return rng.choice((mistaken, "You will be fine.", "It happens.", _no_answer(rng)))


def _how_to(item: Item, quality: Quality, rng: random.Random) -> str:
    steps = next(row.steps for row in how_tos() if row.task == item["task"])
    first, second = sorted(rng.sample(range(3), 2))
    pair = (steps[first], steps[second])
    if quality == "good":
        return " ".join(f"{number}. {step}." for number, step in enumerate(pair, 1))
    if quality == "plain":
        joined = f"{pair[0]} and {pair[1][0].lower()}{pair[1][1:]}."
        return _padded(joined, rng) if rng.random() < 0.5 else joined
    other = rng.choice([row for row in how_tos() if row.task != item["task"] and not row.heldout])
    return rng.choice(
        (f"{other.steps[0]}.", f"{pair[0]}.", _no_answer(rng), f"{other.steps[1]}. {PADDING[0]}")
    )


def _list(item: Item, quality: Quality, rng: random.Random) -> str:
    members = [e for e in tasks.group_members(item) if item["split"] == "heldout" or not e.heldout]
    chosen = [e.name for e in rng.sample(members, 3)]
    if quality == "good":
        return "\n".join(f"- {name}" for name in chosen)
    if quality == "plain":
        plain = [phrasing.capitalised(chosen[0]), *chosen[1:]][: rng.choice((2, 3))]
        return " and ".join(plain) + "." if len(plain) == 2 else f"{plain[0]}, {plain[1]} and {plain[2]}."
    strangers = [e for e in of_kind(item["kind"]) if e not in tasks.group_members(item) and not e.heldout]
    wrong = [e.name for e in rng.sample(strangers, 2)]
    return rng.choice(
        (
            f"{phrasing.capitalised(wrong[0])} and {wrong[1]}.",
            f"{phrasing.capitalised(chosen[0])}.",
            _no_answer(rng),
        )
    )


def _unknown(item: Item, quality: Quality, rng: random.Random) -> str:
    if quality == "good":
        return f"I do not know the {item['name']}."
    e = tasks.unknown_entity(item["name"], item["kind"])
    attribute = rng.choice(ATTRIBUTES[item["kind"]])
    made_up = phrasing.statement(e, attribute, rng.choice(vocabulary(item["kind"], attribute)))
    if quality == "plain":
        return f"I do not know the {item['name']}. {rng.choice(PADDING)}" if rng.random() < 0.5 else made_up
    return _padded(made_up, rng) if rng.random() < 0.8 else _no_answer(rng)


def _about(item: Item, quality: Quality, rng: random.Random) -> str:
    e = entity(item["entity"])
    names = rng.sample(ATTRIBUTES[e.kind], 2)
    facts = [phrasing.statement(e, name, accepted(e, name)[0]) for name in names]
    if quality == "good":
        return " ".join(facts)
    if quality == "plain":
        return facts[0] if rng.random() < 0.5 else _padded(facts[0], rng)
    wrong = [name for name in names if refuted(e, name)] or ["class"]
    lie = phrasing.statement(e, wrong[0], rng.choice(refuted(e, wrong[0]) or accepted(e, wrong[0])))
    return rng.choice((lie, f"{lie} {facts[1]}", _no_answer(rng)))


def _spell(item: Item, quality: Quality, rng: random.Random) -> str:
    right = tasks.reference_answer(item)
    if quality == "good":
        return right
    if item["task"] == "count":
        wrong = f"{max(2, len(item['word']) + rng.choice((-1, 1, 2)))}."
    else:
        letters = list(item["word"][::-1])
        at = rng.randrange(len(letters) - 1)
        letters[at], letters[at + 1] = letters[at + 1], letters[at]
        wrong = "".join(letters)
    if quality == "plain":
        return f"{right.rstrip('.')}. {PADDING[0]}"
    return rng.choice((wrong, f"{wrong.rstrip('.')}. {PADDING[0]}"))


def _sum(item: Item, quality: Quality, rng: random.Random) -> str:
    total = item["a"] + item["b"]
    if quality == "good":
        return operands.working(item["a"], item["b"])
    near = total + rng.choice((-10, -2, -1, 1, 2, 10))
    if quality == "plain":
        return _padded(f"{total}.", rng) if rng.random() < 0.4 else f"{near}."
    return _padded(f"{near}.", rng) if rng.random() < 0.7 else _no_answer(rng)


_WRITERS: dict[str, Callable[[Item, Quality, random.Random], str]] = {
    "fact": _fact,
    "one_word": _one_word,
    "false_view": _false_view,
    "feeling": _feeling,
    "how_to": _how_to,
    "list": _list,
    "unknown": _unknown,
    "about": _about,
    "spell": _spell,
    "sum": _sum,
}
