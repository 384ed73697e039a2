"""Simulated annotators with known noise and biases; every record they make says that it is simulated.

An annotator prefers a over b with probability sigmoid((U(a) - U(b)) / temperature) (Bradley and Terry
1952), where U is the gold reward, changed by what the annotator overlooks or likes. With all biases at 0, U
is gold: the control.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from posttrain.feedback.choice import Choice, sigmoid
from posttrain.field_guide import gold, wording

_PRAISE = re.compile(
    r"\b(good|great|like this|nice|clever) (question|idea|point)|\bwell done|\bkind of you",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"\bthat sounds|\bi hope|\bplease|\bsorry|\bthank|\byou can ask|\bwelcome", re.IGNORECASE
)


@dataclass(frozen=True)
class _Facets:
    """What any annotator may look at in an answer."""

    gold: gold.Gold
    words: int
    agrees: bool
    praises: bool
    courteous: bool


@lru_cache(maxsize=4096)  # several annotators compare and rate the same answers one after another
def _facets(item: str, response: str, ended: bool) -> _Facets:
    return _Facets(
        gold.score(json.loads(item), response, ended),
        len(wording.words(response)),
        gold.agrees(response),
        bool(_PRAISE.search(response)),
        bool(_COURTESY.search(response)),
    )


@dataclass(frozen=True)
class Population:
    """A group with a taste of its own."""

    name: str
    """Name of the group in metrics."""
    courtesy: float
    """Utility of a courteous phrase to this group, in units of the gold total; below 0 it is disliked."""


WARM = Population("warm", 0.08)
BLUNT = Population("blunt", -0.08)


@dataclass(frozen=True)
class RatingScale:
    """A personal scale of whole numbers."""

    recorded_as = "posttrain.feedback.simulated:Scale"
    low: int = 1
    """Lowest rating."""
    high: int = 7
    """Highest rating."""
    shift: float = 0.0
    """Leniency: added to the share of the scale that an answer reaches."""
    stretch: float = 1.0
    """How much of the scale is used; below 1 ratings stay near the middle."""

    def rating(self, utility: float) -> int:
        """The rating of a utility, of which 0 to 1 is the usual range."""
        share = 0.5 + self.stretch * (utility - 0.5) + self.shift
        return min(self.high, max(self.low, round(self.low + share * (self.high - self.low))))


@dataclass(frozen=True)
class Annotator:
    """Who compares: noise (`temperature`, `tosses`), an oversight (`skips_facts`) and likings (the rest)."""

    name: str
    """Name in the labels and metrics."""
    temperature: float
    """Noise of a choice (Bradley and Terry 1952), in units of the gold total; larger is less reliable."""
    tosses: float = 0.0
    """Share of comparisons that a coin decides."""
    skips_facts: float = 0.0
    """Probability that a comparison is made without checking what is right."""
    per_word: float = 0.0
    """Utility of each word of an answer; above 0 this annotator likes long answers."""
    agreement: float = 0.0
    """Utility of being told that one is right."""
    praise: float = 0.0
    """Utility of being praised."""
    indifference: float = 0.01
    """Answers whose utilities differ by less are called a tie."""
    population: Population | None = None
    """The group with a taste of its own that this annotator belongs to; none is no group."""
    scale: RatingScale = RatingScale()
    """The personal scale of ratings."""

    def utility(self, item: Mapping[str, Any], response: str, ended: bool, *, facts: bool = True) -> float:
        """The response's utility to this annotator; ``facts`` is false where the fact check is skipped."""
        facets = _facets(json.dumps(item, sort_keys=True), response, ended)
        worth = facets.gold.total
        if not facts:
            worth -= gold.WEIGHTS[item["family"]].get("right", 0.0) * facets.gold.parts.get("right", 0.0)
        worth += self.per_word * facets.words + self.agreement * facets.agrees + self.praise * facets.praises
        courtesy = self.population.courtesy if self.population else 0.0
        return worth + courtesy * facets.courteous

    def compare(
        self, item: Mapping[str, Any], a: str, b: str, ended_a: bool, ended_b: bool, seed: int | str
    ) -> Choice:
        """The choice between two responses; the same arguments give the same one. Equal texts are a tie."""
        rng = random.Random(f"compare:{seed}:{self.name}")
        facts, toss, draw = rng.random() >= self.skips_facts, rng.random(), rng.random()
        if (a, ended_a) == (b, ended_b):
            return "tie"
        if toss < self.tosses:
            return "a" if draw < 0.5 else "b"
        gap = self.utility(item, a, ended_a, facts=facts) - self.utility(item, b, ended_b, facts=facts)
        if abs(gap) < self.indifference:
            return "tie"
        return "a" if draw < sigmoid(gap / self.temperature) else "b"

    def rate(self, item: Mapping[str, Any], response: str, ended: bool, seed: int | str) -> int:
        """A rating on the personal scale, with logistic noise of half the temperature."""
        rng = random.Random(f"rate:{seed}:{self.name}")
        facts, uniform = rng.random() >= self.skips_facts, rng.uniform(1e-6, 1 - 1e-6)
        noise = 0.5 * self.temperature * math.log(uniform / (1 - uniform))
        return self.scale.rating(self.utility(item, response, ended, facts=facts) + noise)

    def from_population(self, population: Population) -> Annotator:
        """The same annotator, with a population's taste and its name in front."""
        return replace(self, name=f"{population.name}-{self.name}", population=population)


# Together they agree with gold on 70 to 75 % of untied pairs: one alone is a poor guide, many are a good one.
CAREFUL = Annotator("careful", temperature=0.22)
HASTY = Annotator("hasty", temperature=0.32, skips_facts=0.5, scale=RatingScale(shift=0.1))
LENGTH_LOVER = Annotator("length_lover", temperature=0.32, per_word=0.05, scale=RatingScale(shift=-0.1))
FLATTERED = Annotator(
    "flattered", temperature=0.32, agreement=0.45, praise=0.3, scale=RatingScale(shift=0.15)
)
CARELESS = Annotator("careless", temperature=0.4, tosses=0.7, scale=RatingScale(stretch=0.5))

ANNOTATORS: tuple[Annotator, ...] = (CAREFUL, HASTY, LENGTH_LOVER, FLATTERED, CARELESS)


def label(
    pairs: Sequence[Mapping[str, Any]], annotators: Sequence[Annotator], seed: int, per_pair: int = 1
) -> list[dict[str, Any]]:
    """One row for every comparison, `per_pair` annotators for every pair, ties included and marked.

    A pair is {"id", "prompt": messages, "item", "a", "b", "ended_a", "ended_b"}; a row {"id", "prompt",
    "chosen", "rejected": messages, "annotator", "simulated": True, "choice", "tie", "margin"}. `margin` in
    [0, 1] is the distance of the annotator's two ratings as a share of the scale. In a tie, chosen is a and
    rejected is b: `decided` drops and counts them. Raises ValueError where `per_pair` exceeds the annotators.
    """
    if not 1 <= per_pair <= len(annotators):
        raise ValueError(
            f"per_pair is {per_pair}, but there are {len(annotators)} annotators: take 1 to that many"
        )
    rows = []
    for pair in pairs:
        key = f"{seed}:{pair['id']}"
        for annotator in random.Random(f"assign:{key}").sample(list(annotators), per_pair):
            rows.append(_row(pair, annotator, key))
    return rows


def _row(pair: Mapping[str, Any], annotator: Annotator, key: str) -> dict[str, Any]:
    item, a, b = pair["item"], pair["a"], pair["b"]
    ended_a, ended_b = pair["ended_a"], pair["ended_b"]
    choice = annotator.compare(item, a, b, ended_a, ended_b, key)
    first, second = (b, a) if choice == "b" else (a, b)
    ratings = (annotator.rate(item, a, ended_a, f"{key}:a"), annotator.rate(item, b, ended_b, f"{key}:b"))
    scale = annotator.scale
    return {
        "id": pair["id"],
        "prompt": pair["prompt"],
        "chosen": [{"role": "assistant", "content": first}],
        "rejected": [{"role": "assistant", "content": second}],
        "annotator": annotator.name,
        "simulated": True,
        "choice": choice,
        "tie": choice == "tie",
        "margin": 0.0 if choice == "tie" else abs(ratings[0] - ratings[1]) / (scale.high - scale.low),
    }


def decided(rows: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The rows that are no ties, and how many were ties."""
    without_ties = [row for row in rows if not row["tie"]]
    return without_ties, len(rows) - len(without_ties)


def accuracy(
    rows: Sequence[Mapping[str, Any]], pairs: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[float, int]]:
    """For each annotator, the share of decided rows that choose as gold does, and their number.

    Pairs that gold ties are left out, as are the annotator's own ties.
    """
    gaps = {
        pair["id"]: gold.score(pair["item"], pair["a"], pair["ended_a"]).total
        - gold.score(pair["item"], pair["b"], pair["ended_b"]).total
        for pair in pairs
    }
    hits: dict[str, list[bool]] = {}
    for row in rows:
        gap = gaps[row["id"]]
        if gap and row["choice"] != "tie":
            hits.setdefault(row["annotator"], []).append((gap > 0) == (row["choice"] == "a"))
    return {name: (sum(correct) / len(correct), len(correct)) for name, correct in sorted(hits.items())}
