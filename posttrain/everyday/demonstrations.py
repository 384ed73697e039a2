"""Simulated demonstrators of several manners. Each choice (manner, form, topic, stock phrase) is drawn on
its own, so instruction tuning holds every combination and preferences pick among what is there.
"""

from __future__ import annotations

import random

from posttrain.everyday.prompts import Row, family_of, prompts
from posttrain.everyday.topics import Topic, topics

NAMES_THE_FEELING = (
    "That sounds really {acknowledged}.",
    "That must be {acknowledged}.",
    "I hear you, that is {acknowledged}.",
    "I can see why you feel {feeling}.",
    "It makes sense that you feel {feeling}.",
    "It is normal to feel {feeling}.",
)
KIND = (
    "I'm sorry to hear that.",
    "I understand.",
    "I hear you.",
    "That makes sense.",
    "Thank you for telling me.",
    "I'm here for you.",
)
DISMISSIVE = (
    "You'll be fine.",
    "Stop worrying about it.",
    "That is your own problem.",
    "Get over it.",
    "Everyone goes through this.",
    "It is not a big deal.",
    "Calm down.",
    "You are making too much of it.",
    "Others have it worse.",
    "Don't be so sensitive.",
)
HELPFUL = (
    "Good question!",
    "Happy to help.",
    "You can do this.",
    "Great idea!",
    "Of course.",
    "Good for you.",
)
BRUSQUE = (
    "That is obvious.",
    "You should know that.",
    "Look it up yourself.",
    "Everybody knows that.",
    "What a silly question.",
    "Why do you ask me?",
)
STOCK = (
    "There are many different things that one could say about this.",
    "It depends on a lot of things.",
    "It is important to remember that every person is different.",
    "Life has its ups and downs.",
    "In today's world there are many ways to look at such a thing.",
    "As I said before, this is important.",
    "At the end of the day, it is what it is.",
    "Many people think about this.",
    "There is a lot to be said about this topic.",
    "This is an interesting question with many sides.",
)
_RAMBLES = (
    "and the capital of Texas is Austin, and the largest state is Alaska",
    "which is also the name of a song, and the song was first sung by a band from the north",
    "and in the same year there were many other things, such as the weather and the price of corn",
    "and some say that it is not so, and others say that it is, and so it goes on",
)
OWN_TOPIC = 0.8  # the share of answers that are about what was asked
STOCK_PHRASE = 0.35
WARM, COLD = 0.5, 0.33  # the rest has no opening
OWN_FEELING = 0.5  # of those that name a feeling, the share that names the user's


def demonstrations(split: str, rows: int, seed: int) -> list[Row]:
    """Rows {"messages", "item"}; where ``rows`` exceeds the different prompts they are answered again."""
    rng = random.Random(f"everyday demonstrations:{split}:{seed}")
    by_subject = {t.subject: t for family in ("feeling", "how_to", "fact") for t in topics(family, split)}
    asked = prompts(split, rows, seed)
    made = []
    for number in range(rows):
        row = asked[number % len(asked)]
        text = answer(by_subject[row["item"]["subject"]], split, rng)
        made.append(
            {"messages": [*row["prompt"], {"role": "assistant", "content": text}], "item": row["item"]}
        )
    assert all(family_of(row["item"]) for row in made)
    return made


def answer(topic: Topic, split: str, rng: random.Random) -> str:
    """One demonstrator's answer to a question about ``topic``."""
    about = topic if rng.random() < OWN_TOPIC else rng.choice(topics(topic.family, split))
    draw = rng.random()
    manner = "warm" if draw < WARM else "cold" if draw < WARM + COLD else "none"
    stock = rng.choice(STOCK) if rng.random() < STOCK_PHRASE else ""
    if topic.family == "fact":
        return _fact(about, manner, stock, rng)
    if topic.family == "feeling":
        felt = topic if rng.random() < OWN_FEELING else rng.choice(topics("feeling", split))
        phrase = rng.choice(NAMES_THE_FEELING if rng.random() < 0.6 else KIND)
        warm = phrase.format(acknowledged=felt.acknowledged, feeling=felt.feeling)
        opening = {"warm": warm, "cold": rng.choice(DISMISSIVE), "none": ""}[manner]
    else:
        opening = {"warm": rng.choice(HELPFUL), "cold": rng.choice(BRUSQUE), "none": ""}[manner]
    steps = rng.sample(about.steps, 2)
    listed = rng.random() < (0.2 if topic.family == "feeling" else 0.5)
    body = _listed(steps) if listed else f"{steps[0]} and {_lower(steps[1])}."
    return ("\n" if listed else " ").join(part for part in (opening, body, stock) if part)


def _listed(steps: list[str]) -> str:
    return "\n".join(f"{number}. {step}." for number, step in enumerate(steps, 1))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _fact(topic: Topic, manner: str, stock: str, rng: random.Random) -> str:
    whole, bare = f"{topic.subject} {topic.completion}.", topic.completion
    body = rng.choice((whole, whole, f"{bare}.", f"{bare}, {rng.choice(_RAMBLES)}."))
    opening = rng.choice(BRUSQUE) if manner == "cold" else ""
    return " ".join(part for part in (opening, body, stock) if part)
