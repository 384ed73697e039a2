"""What a response claims about an entity, read against the closed world."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from posttrain.field_guide import subjects, wording
from posttrain.field_guide.world import ATTRIBUTES, Entity, accepted, entities, vocabulary

NEGATIONS = frozenset(
    ["not", "never", "no", "cannot", "nor", "neither", "don't", "doesn't", "isn't", "aren't", "can't"]
)
_EXCLUDING = frozenset(["hardly", "rarely", "seldom", "except", "without", "instead", "unlike"])

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
Mention = tuple[int, int, Meanings]  # place, length, what it may mean

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


def _names_of(tokens: tuple[str, ...], entity: Entity, table: Mapping[tuple[str, ...], Meanings]) -> set[int]:
    """The places of the entity's own name; the second time it stands for a value where it is one too."""
    names: set[int] = set()
    for name in sorted({wording.stems(entity.name), wording.stems(entity.plural)}, key=len, reverse=True):
        at = wording.find(name, tokens)
        while at >= 0 and not (name in table and (names or name == tokens)):
            names |= set(range(at, at + len(name)))
            at = wording.find(name, tokens, at + len(name))
    return names


def _mentions(
    tokens: tuple[str, ...], table: Mapping[tuple[str, ...], Meanings], names: set[int]
) -> list[Mention]:
    """Every value outside `names`, the longest reading at each place."""
    mentions, index = [], 0
    longest = max(map(len, table), default=0)
    while index < len(tokens):
        for size in range(longest, 0, -1):
            meanings = table.get(tokens[index : index + size])
            if meanings and len(tokens) - index >= size and not names & set(range(index, index + size)):
                mentions.append((index, size, meanings))
                index += size - 1
                break
        index += 1
    return mentions


def read(text: str, entity: Entity, asked: str | None = None) -> Claims:
    """The claims of a response about one entity; questions and clauses about anything else are left out.

    `asked` is the attribute in question: its values are recognised without their prepositions ("Forests.").
    A pronoun stands for the entity unless the clause before it was about something else.
    """
    true: set[tuple[str, str]] = set()
    false: set[tuple[str, str]] = set()
    speaking: set[int] = set()
    reader = _Reader(entity, asked)
    for number, sentence in enumerate(wording.sentences(text)):
        if sentence.endswith("?"):
            continue
        reader.listing = None
        for clause in wording.clauses(_EXCEPT.sub("not", _NOTHING_BUT.sub("only", sentence))):
            if any(wording.find(pair, wording.words(clause)) >= 0 for pair in _REPORTED):
                continue
            t, f = reader.clause(wording.without_articles(re.sub(r"\blong ago\b", "", clause, flags=re.I)))
            true |= t
            false |= f
            if t or f:
                speaking.add(number)
    return Claims(frozenset(true), frozenset(false), frozenset(speaking))


_EXCEPT = re.compile(r"\b(everything|anything|all|anywhere|everywhere) (but|except)\b", re.IGNORECASE)
_NOTHING_BUT = re.compile(r"\bnothing but\b", re.IGNORECASE)


class _Reader:
    """Reads the clauses of a response in order: what a pronoun stands for depends on the clauses before."""

    def __init__(self, entity: Entity, asked: str | None) -> None:
        self.entity, self.asked = entity, asked
        self.cues = _cues(entity.kind)
        self.classes = frozenset(wording.stems(" ".join((entity.kind, *accepted(entity, "class")))))
        self.elsewhere = False  # whether the last subject was something else than the entity
        self.listing: str | None = None  # the attribute of which the same sentence has given a value

    def clause(self, tokens: tuple[str, ...]) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        """The true and the false claims of one clause, given as stems without articles."""
        statement = subjects.statement_of(self._opened(tokens), self._is_name)
        if not statement:
            return set(), set()
        topic = next((self.cues[token] for token in statement if token in self.cues), None)
        table = _phrases(self.entity.kind, self.asked or topic)
        names = _names_of(statement, self.entity, table)
        mentions = _mentions(statement, table, names)
        valued = {at + step for at, size, _ in mentions for step in range(size)}
        frame = subjects.Frame(statement, frozenset(names), frozenset(valued), self.entity.kind)
        whom = frame.about(frozenset(self.cues), self.classes)
        if whom == "entity":
            self.elsewhere = False
        elif whom == "another":
            self.elsewhere = True
        if whom in ("another", "nothing"):
            return set(), self._list_goes_on(frame)
        if not mentions or (whom == "pronoun" and self.elsewhere):
            return set(), set()
        return self._claims(frame, mentions)

    def _opened(self, tokens: tuple[str, ...]) -> tuple[str, ...]:
        """The clause without its "yes", "no", "well"; "no owls" stays a denial."""
        while tokens and tokens[0] in _OPENERS and not (tokens[0] == "no" and self._is_name(tokens[1:])):
            tokens = tokens[1:]
        return tokens

    def _is_name(self, tokens: tuple[str, ...]) -> bool:
        return 0 in _names_of(tokens, self.entity, {})

    def _list_goes_on(self, frame: subjects.Frame) -> set[tuple[str, str]]:
        """The false values of "Owls eat mice, chairs and frogs." in what follows its first comma."""
        if self.listing is None or frame.verb < len(frame.tokens) or _NEGATION_STEMS & set(frame.tokens):
            return set()
        return {(self.listing, noun) for noun in frame.strangers(whole=True)}

    def _claims(
        self, frame: subjects.Frame, mentions: list[Mention]
    ) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
        tokens = frame.tokens
        negated = next((at for at, token in enumerate(tokens) if token in _NEGATION_STEMS), len(tokens))
        topics = {self.cues[token] for token in tokens if token in self.cues}
        if not topics and {"is", "are"} & set(tokens):
            topics = {"class"}
        true: set[tuple[str, str]] = set()
        false: set[tuple[str, str]] = set()
        before = (-1, "")
        for at, size, meanings in mentions:
            meant = _meant(meanings, topics, self.asked)
            chosen = tuple(
                (attribute, value)
                for attribute, value in meant
                if frame.carries(
                    attribute,
                    at,
                    tokens[at : at + size] == wording.without_articles(value),
                    attribute == self.asked,
                )
                and not (before[0] == at and frame.collides(before[1], attribute, at))
            )
            before = (at + size, meanings[0][0])
            if not chosen and meant[0][0] in subjects.NOT_BY_COPULA and frame.is_copula_of_name(at):
                false.update(meant[:1] if at < negated else ())
            facts = [pair for pair in chosen if pair[1] in accepted(self.entity, pair[0])]
            if at > negated:
                false.update(facts)
            elif facts:
                true.update(facts[:1])
            elif chosen:
                false.add(chosen[0])
        claimed = sorted(true | false)
        if claimed and negated == len(tokens):
            false |= {(claimed[0][0], noun) for noun in frame.strangers()}
        if claimed:
            self.listing = claimed[0][0]
        return true, false


def _meant(meanings: Meanings, topics: set[str], asked: str | None) -> Meanings:
    """Of a value's readings, those the clause is about, else the one asked for, else its class, else all."""
    for wanted in (topics, {asked}, {"class"}):
        if chosen := tuple(meaning for meaning in meanings if meaning[0] in wanted):
            return chosen
    return meanings


_NEGATION_STEMS = frozenset(wording.stem(word) for word in NEGATIONS | _EXCLUDING)
