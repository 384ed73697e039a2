"""The constraints side by side, each with its wordings and how it is obeyed, and which go together."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from posttrain.data.constraint_topics import ConstraintTopic
from posttrain.data.rows import Row

Split = Literal["train", "heldout"]

BEGINNINGS: dict[Split, tuple[str, ...]] = {
    "train": ("Sure!", "In short:", "Yes!"),
    "heldout": ("Okay!", "Well:"),
}
ENDINGS: dict[Split, tuple[str, ...]] = {
    "train": ("That is all.", "Ask me more.", "Good luck!"),
    "heldout": ("The end.", "See you soon!"),
}
COUNTS = {2: "two", 3: "three"}


@dataclass(frozen=True)
class Constraint:
    """How a constraint is drawn for a topic, asked for, and obeyed.

    ``obey`` takes (topic, settings, what the answer would be without it) to the answer.
    """

    draw: Callable[[random.Random, ConstraintTopic, Split], Row]
    wordings: dict[Split, tuple[str, ...]]
    obey: Callable[[ConstraintTopic, Row, str], str]


def _none(rng: random.Random, topic: ConstraintTopic, split: Split) -> Row:
    return {}


def _count(rng: random.Random, topic: ConstraintTopic, split: Split) -> Row:
    return {"count": rng.choice(list(COUNTS))}


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def _in_order(first: str, topic: ConstraintTopic) -> str:
    """Three sentences, the one that holds a word first."""
    rest = [sentence for sentence in topic.sentences if first not in sentence.lower()]
    holding = [sentence for sentence in topic.sentences if first in sentence.lower()]
    return " ".join((holding + rest)[:2])


CONSTRAINTS: dict[str, Constraint] = {
    "one_word": Constraint(
        _none,
        {
            "train": ("Answer in one word.", "Use just one word.", "Reply with a single word."),
            "heldout": ("One word only, please.", "Your answer must be one word."),
        },
        lambda topic, given, plain: capitalised(topic.kind) + ".",
    ),
    "at_most_words": Constraint(
        lambda rng, topic, split: {"count": rng.choice((5, 6, 8))},
        {
            "train": ("Use at most {count} words.", "Answer in {count} words or fewer."),
            "heldout": ("No more than {count} words, please.",),
        },
        lambda topic, given, plain: topic.sentences[0],
    ),
    "between_words": Constraint(
        lambda rng, topic, split: {"low": 8, "high": rng.choice((16, 18, 20))},
        {
            "train": ("Use between {low} and {high} words.", "Write {low} to {high} words."),
            "heldout": ("Your answer should have from {low} to {high} words.",),
        },
        lambda topic, given, plain: " ".join(topic.sentences),
    ),
    "sentences": Constraint(
        _count,
        {
            "train": ("Answer in exactly {word} sentences.", "Write exactly {word} sentences."),
            "heldout": ("Your answer must be {word} sentences long.",),
        },
        lambda topic, given, plain: " ".join(topic.sentences[: given["count"]]),
    ),
    "bullets": Constraint(
        _count,
        {
            "train": (
                "Answer with exactly {word} bullet points that begin with a dash.",
                "Give a list of {word} lines. Begin each with a dash and write nothing else.",
            ),
            "heldout": ("Your answer must be {word} bullet points, each starting with a dash, and no more.",),
        },
        lambda topic, given, plain: "\n".join(f"- {s}" for s in topic.sentences[: given["count"]]),
    ),
    "numbered": Constraint(
        _count,
        {
            "train": (
                "Answer with a numbered list of exactly {word} items.",
                "Give {word} numbered points and nothing else.",
            ),
            "heldout": ("Your answer must be a list of {word} items numbered 1 to {count}.",),
        },
        lambda topic, given, plain: "\n".join(
            f"{i}. {s}" for i, s in enumerate(topic.sentences[: given["count"]], start=1)
        ),
    ),
    "comma_list": Constraint(
        _count,
        {
            "train": (
                "Just name {word} things that belong to them, with commas between.",
                "Reply with {word} words and put commas between them.",
            ),
            "heldout": ("Only write {word} words that fit, separated by commas.",),
        },
        lambda topic, given, plain: ", ".join(topic.things[: given["count"]]),
    ),
    "lowercase": Constraint(
        _none,
        {
            "train": ("Use only lowercase letters.", "Do not use any capital letters."),
            "heldout": ("Write everything in lowercase.",),
        },
        lambda topic, given, plain: plain.lower(),
    ),
    "uppercase": Constraint(
        _none,
        {
            "train": ("Use only capital letters.", "WRITE IN CAPITAL LETTERS."),
            "heldout": ("Write everything in uppercase.",),
        },
        lambda topic, given, plain: plain.upper(),
    ),
    "no_commas": Constraint(
        _none,
        {
            "train": ("Do not use commas.", "Use no commas in your answer."),
            "heldout": ("Avoid commas altogether.",),
        },
        lambda topic, given, plain: plain,
    ),
    "begins_with": Constraint(
        lambda rng, topic, split: {"phrase": rng.choice(BEGINNINGS[split])},
        {
            "train": ('Begin with "{phrase}"', 'The first words must be "{phrase}"'),
            "heldout": ('Start your answer with "{phrase}"',),
        },
        lambda topic, given, plain: f"{given['phrase']} {plain}",
    ),
    "ends_with": Constraint(
        lambda rng, topic, split: {"phrase": rng.choice(ENDINGS[split])},
        {
            "train": ('End with "{phrase}"', 'The last words must be "{phrase}"'),
            "heldout": ('Finish your answer with "{phrase}"',),
        },
        lambda topic, given, plain: f"{plain} {given['phrase']}",
    ),
    "includes": Constraint(
        lambda rng, topic, split: {"word": rng.choice(topic.things)},
        {
            "train": ('Use the word "{word}".', 'Your answer must contain the word "{word}".'),
            "heldout": ('Include the word "{word}".',),
        },
        lambda topic, given, plain: _in_order(given["word"], topic),
    ),
    "excludes": Constraint(
        lambda rng, topic, split: {"word": topic.name},
        {
            "train": ('Do not use the word "{word}".', 'Never write the word "{word}".'),
            "heldout": ('Avoid the word "{word}".',),
        },
        lambda topic, given, plain: " ".join(topic.sentences[1:]),
    ),
    "quoted": Constraint(
        _none,
        {
            "train": ("Put your whole answer in double quotation marks.",),
            "heldout": ("Wrap the whole answer in double quotation marks.",),
        },
        lambda topic, given, plain: f'"{plain}"',
    ),
    "json_keys": Constraint(
        lambda rng, topic, split: {"keys": ["name", rng.choice(("fact", "note"))]},
        {
            "train": (
                'Answer as JSON with the keys "{keys[0]}" and "{keys[1]}" and nothing else.',
                'Reply with a JSON object that has the keys "{keys[0]}" and "{keys[1]}".',
            ),
            "heldout": ('Give only a JSON object with two keys: "{keys[0]}" and "{keys[1]}".',),
        },
        lambda topic, given, plain: json.dumps(
            dict(zip(given["keys"], (topic.name, topic.sentences[0]), strict=True))
        ),
    ),
}
# What may be asked for on top of another constraint without contradiction.
PAIRS = (
    ("bullets", "lowercase"),
    ("bullets", "no_commas"),
    ("numbered", "lowercase"),
    ("sentences", "lowercase"),
    ("sentences", "no_commas"),
    ("at_most_words", "uppercase"),
    ("at_most_words", "quoted"),
    ("includes", "lowercase"),
    ("excludes", "no_commas"),
)
SHAPES: tuple[tuple[str, ...], ...] = (*((name,) for name in CONSTRAINTS), *PAIRS)
