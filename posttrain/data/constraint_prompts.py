"""Prompts with verifiable constraints, reference answers, and demonstrations that obey only sometimes.

For a real small model, whose answers no closed world can judge. Held-out prompts have topics and wordings
that training prompts do not have.
"""

from __future__ import annotations

import random

from posttrain.data.constraint_kinds import CONSTRAINTS, COUNTS, SHAPES, Split, capitalised
from posttrain.data.constraint_topics import HELD_OUT, TRAIN, ConstraintTopic
from posttrain.data.rows import Row

QUESTIONS: dict[Split, tuple[str, ...]] = {
    "train": ("Tell me about {n}.", "What do you know about {n}?", "What are {n}?", "Describe {n}."),
    "heldout": ("Say something about {n}.", "What can you tell me about {n}?"),
}
# Said to every model before every prompt, so that one that likes to talk is not cut before it has answered.
SYSTEM = "Answer briefly and do as asked."


def prompts(split: Split, n: int, seed: int) -> list[Row]:
    """``n`` rows {"id", "prompt": [system, user], "item"} without a repeated prompt.

    The same arguments give the same rows. Raises ValueError where the split has fewer different prompts.
    """
    rng = random.Random(f"constraints:{split}:{seed}")
    rows: list[Row] = []
    drafted: set[str] = set()
    for _ in range(50 * n):
        text, item = _draw(split, rng)
        if text not in drafted:
            drafted.add(text)
            number = len(rows)
            messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
            rows.append({"id": f"constraint-{split}-{seed}-{number}", "prompt": messages, "item": item})
        if len(rows) == n:
            return rows
    raise ValueError(f"{split}: only {len(rows)} different prompts found, {n} asked for")


def _draw(split: Split, rng: random.Random) -> tuple[str, Row]:
    topic = rng.choice(TRAIN if split == "train" else HELD_OUT)
    asked = [rng.choice(QUESTIONS[split]).format(n=topic.name)]
    checks: list[Row] = []
    for name in rng.choice(SHAPES):
        given = CONSTRAINTS[name].draw(rng, topic, split)
        wording = rng.choice(CONSTRAINTS[name].wordings[split])
        asked.append(
            wording.format(
                **given, **({"word": COUNTS[given["count"]]} if given.get("count") in COUNTS else {})
            )
        )
        checks.append({"check": name, **given})
    terms = [topic.name, topic.kind, *topic.things]
    checks.append({"check": "on_topic", "terms": terms})
    text = " ".join(asked)
    return text, {
        "family": "constraint",
        "split": split,
        "topic": topic.name,
        "checks": checks,
        "prompt": text,
    }


def plain_answer(item: Row) -> str:
    """What is said of the topic where nobody asked for a form."""
    return " ".join(_topic(item).sentences[:2])


def reference_answer(item: Row) -> str:
    """An answer that obeys every check of the item."""
    answer, topic = plain_answer(item), _topic(item)
    for given in item["checks"]:
        if given["check"] in CONSTRAINTS:
            answer = CONSTRAINTS[given["check"]].obey(topic, given, answer)
    return answer


def demonstrations(n: int, seed: int, split: Split = "train", obeying: float = 0.5) -> list[Row]:
    """``n`` rows {"messages": [system, user, assistant], "item", "quality"}.

    A share ``obeying`` of the answers is "good"; a "plain" one tells something about the topic and ignores
    the constraint, which is the declared headroom. Plain answers vary, and some obey by chance.
    """
    rng = random.Random(f"constraint demonstrations:{split}:{seed}")
    rows = []
    for row in prompts(split, n, seed):
        good = rng.random() < obeying
        answer = reference_answer(row["item"]) if good else _ignoring(row["item"], rng)
        messages = [*row["prompt"], {"role": "assistant", "content": answer}]
        rows.append({"messages": messages, "item": row["item"], "quality": "good" if good else "plain"})
    return rows


def _ignoring(item: Row, rng: random.Random) -> str:
    topic = _topic(item)
    first, second = rng.sample(topic.things, 2)
    whole = f"{capitalised(topic.name)} are {topic.kind}, and you can think of {first} or {second}."
    sentences = rng.sample(topic.sentences, 2)
    return rng.choice((whole, " ".join(sentences), f"{whole} {sentences[0]}", " ".join(topic.sentences)))


def _topic(item: Row) -> ConstraintTopic:
    return next(topic for topic in (*TRAIN, *HELD_OUT) if topic.name == item["topic"])
