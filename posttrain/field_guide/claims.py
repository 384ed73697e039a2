"""What a response claims about an entity, read against the closed world."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from posttrain.field_guide import wording
from posttrain.field_guide.world import ATTRIBUTES, Entity, accepted, entities, vocabulary

NEGATIONS = frozenset(
    ["not", "never", "no", "cannot", "nor", "neither", "don't", "doesn't", "isn't", "aren't", "can't"]
)

# Words that say which attribute a sentence is about.
_CUES: dict[str, str] = {
    "eats": "eat eats feed feeds food",
    "lives": "live lives home",
    "moves": "can able move",
    "colour": "colour",
    "taste": "taste tongue",
    "comes": "come comes got",
    "used": "use used",
    "lies": "lie lies",
    "language": "speak language hear",
    "known": "known famous visit enjoy proud",
    "weather": "weather climate",
    "made": "made make",
    "found": "found keep kept belong",
    "shape": "shape",
}
Meanings = tuple[tuple[str, str], ...]

_OPENERS = frozenset(["no", "yes", "actually", "well", "so"])
_REPORTED = (("you", "think"), ("you", "said"), ("you", "say"), ("you", "thought"))


@dataclass(frozen=True)
class Claims:
    """(attribute, value) pairs a response affirms, split by truth, and the sentences that hold any of them.

    Denying a true value counts as a false claim; denying a false one is no claim at all.
    """

    true: frozenset[tuple[str, str]]
    false: frozenset[tuple[str, str]]
    sentences: frozenset[int]

    def of(self, attribute: str) -> frozenset[str]:
        """The true values affirmed for one attribute."""
        return frozenset(value for name, value in self.true if name == attribute)


@lru_cache(maxsize=1)
def _names() -> dict[tuple[str, ...], tuple[Entity, ...]]:
    found: dict[tuple[str, ...], tuple[Entity, ...]] = {}
    for entity in entities():
        for name in {wording.stems(entity.name), wording.stems(entity.plural)}:
            found[name] = (*found.get(name, ()), entity)
    return found


def entities_named(tokens: tuple[str, ...]) -> list[tuple[Entity, ...]]:
    """The entities that stems name, the longest name at each place; a tuple where a name is shared."""
    named, index, table = [], 0, _names()
    while index < len(tokens):
        for size in (2, 1):
            hit = table.get(tokens[index : index + size])
            if hit:
                named.append(hit)
                index += size - 1
                break
        index += 1
    return named


@lru_cache(maxsize=64)
def _phrases(kind: str, asked: str | None) -> dict[tuple[str, ...], Meanings]:
    # The asked attribute is recognised by its content words, the others only with their preposition.
    table: dict[tuple[str, ...], Meanings] = {}
    for attribute in ATTRIBUTES[kind]:
        for value in vocabulary(kind, attribute):
            keys = {wording.without_articles(value)} | (
                {wording.content(value)} if attribute == asked else set()
            )
            for key in keys:
                table[key] = (*table.get(key, ()), (attribute, value))
    return table


@lru_cache(maxsize=64)
def _cues(kind: str) -> dict[str, str]:
    return {
        wording.stem(word): attribute
        for attribute in ATTRIBUTES[kind]
        for word in _CUES.get(attribute, "").split()
    }


def _owned(
    tokens: tuple[str, ...], entity: Entity, table: dict[tuple[str, ...], Meanings]
) -> tuple[tuple[str, ...], bool]:
    """The tokens without the entity's own name (once if it is a value too), and whether it stood there."""
    seen = False
    for name in sorted({wording.stems(entity.name), wording.stems(entity.plural)}, key=len, reverse=True):
        while (at := wording.find(name, tokens)) >= 0 and not (name in table and (seen or name == tokens)):
            tokens, seen = (*tokens[:at], *tokens[at + len(name) :]), True
    return tokens, seen


def _about_another(tokens: tuple[str, ...], mentions: list[tuple[int, int, Meanings]]) -> bool:
    """Whether a clause without the entity's name has another one for its subject, or beside its values."""
    valued = {at + step for at, size, _ in mentions for step in range(size)}
    rest = tuple(token for at, token in enumerate(tokens) if at not in valued)
    if entities_named(rest):
        return True
    subject = next((size for at, size, _ in mentions if at == 0 and entities_named(tokens[:size])), 0)
    return bool(subject) and any(token not in _BESIDE for token in rest)


_BESIDE = frozenset(("and", "or", "also", "mostly", "often", "usually"))


def _mentions(
    tokens: tuple[str, ...], table: dict[tuple[str, ...], Meanings]
) -> list[tuple[int, int, Meanings]]:
    """(place, length, what it may mean) for every value in the tokens, the longest reading at each place."""
    found, index = [], 0
    longest = max(map(len, table), default=0)
    while index < len(tokens):
        for size in range(longest, 0, -1):
            meanings = table.get(tokens[index : index + size])
            if meanings and len(tokens) - index >= size:
                found.append((index, size, meanings))
                index += size - 1
                break
        index += 1
    return found


def read(text: str, entity: Entity, asked: str | None = None) -> Claims:
    """The claims of a response about one entity; questions and sentences about other entities are left out.

    `asked` is the attribute in question: its values are recognised without their prepositions ("Forests.").
    """
    table, cues = _phrases(entity.kind, asked), _cues(entity.kind)
    if asked is None:
        tables = {attribute: _phrases(entity.kind, attribute) for attribute in set(cues.values())}
    true: set[tuple[str, str]] = set()
    false: set[tuple[str, str]] = set()
    speaking: set[int] = set()
    for number, sentence in enumerate(wording.sentences(text)):
        if sentence.endswith("?"):
            continue
        for clause in wording.clauses(sentence):
            if any(wording.find(pair, wording.words(clause)) >= 0 for pair in _REPORTED):
                continue
            tokens = wording.without_articles(re.sub(r"\blong ago\b", "", clause, flags=re.I))
            if asked is None:
                topic = next((cues[token] for token in tokens if token in cues), None)
                table = tables[topic] if topic else _phrases(entity.kind, None)
            t, f = _claims_of(tokens, entity, table, cues, asked)
            true |= t
            false |= f
            if t or f:
                speaking.add(number)
    return Claims(frozenset(true), frozenset(false), frozenset(speaking))


def _claims_of(
    tokens: tuple[str, ...],
    entity: Entity,
    table: dict[tuple[str, ...], Meanings],
    cues: dict[str, str],
    asked: str | None,
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The true and the false claims of one clause."""
    while tokens and tokens[0] in _OPENERS:
        tokens = tokens[1:]
    tokens, named = _owned(tokens, entity, table)
    mentions = _mentions(tokens, table)
    if not named and _about_another(tokens, mentions):
        return set(), set()
    negated = next((at for at, token in enumerate(tokens) if token in _NEGATION_STEMS), len(tokens))
    topics = {cues[token] for token in tokens if token in cues}
    if not topics and {"is", "are"} & set(tokens):
        topics = {"class"}
    true, false = set(), set()
    for at, _, meanings in mentions:
        chosen = _meant(meanings, topics, asked)
        facts = [(attribute, value) for attribute, value in chosen if value in accepted(entity, attribute)]
        if at > negated:
            false.update(facts)
        elif facts:
            true.update(facts[:1])
        else:
            false.add(chosen[0])
    return true, false


def _meant(meanings: Meanings, topics: set[str], asked: str | None) -> Meanings:
    """Of a value's readings, those the clause is about, else the one asked for, else its class, else all."""
    for wanted in (topics, {asked}, {"class"}):
        if chosen := tuple(meaning for meaning in meanings if meaning[0] in wanted):
            return chosen
    return meanings


_NEGATION_STEMS = frozenset(wording.stem(word) for word in NEGATIONS)
