# size: a third of the file are lists of words.
"""Whom a clause is about: the entity that was asked for, something else, or what a pronoun stands for.

A clause is read against lists of words: its subject may be the entity's name, a pronoun, a word for what was
asked ("their food"), or people who use, see or visit it. Any other subject makes it a clause about
something else, be that an entity of the world or not ("Asia is used on pizza.").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

from posttrain.field_guide import lexicon, wording
from posttrain.field_guide.world import ATTRIBUTES, entities, invented_names, vocabulary

# `another`: a thing with a name of its own, which a later pronoun stands for. `nothing`: no such thing.
About = Literal["entity", "pronoun", "open", "another", "nothing"]


def _stems(text: str) -> frozenset[str]:
    return frozenset(wording.stem(word) for word in text.split())


_COPULA = _stems("is are was were")
_PRONOUNS = _stems("they it these those this that he she them its their there here")
_PEOPLE = _stems(
    "person people you we i everyone everybody someone anyone child children cook worker aunt school sign map"
    " name picture friend sister brother mother father family man woman guide"
)
_MODALS = _stems("can may might will would should could do does did must")
# What people do with an entity, or know of it; what an animal does itself.
_BY_PEOPLE = _stems(
    "use get got find found see know call visit enjoy speak hear paint draw think say learn make keep buy put"
    " add take like love need want teach tell try talk cook serve meet watch"
)
_BY_ANIMALS = _stems("eat feed live fly swim")
_PASSIVE = _stems("eaten spoken used found")
_VERBS = (
    _COPULA
    | _MODALS
    | _BY_PEOPLE
    | _BY_ANIMALS
    | _PASSIVE
    | _stems(
        "eats feeds lives count come taste look show have has be been had lie belong move grow prefer hunt"
        " catch stay sleep go give help work begin become seem feel build hold carry made"
    )
)
_REPORTING = _stems("know see learn say think tell believe hear show")
_ASKING = _stems("do does did what where which how why who")
_FILLERS = _stems(
    "a an the and or also mostly often usually mainly most many some all both such only sometimes always just"
    " very really indeed actually in on of to from for at into with near by under out like as when if then"
    " every each other any much more else well now so yes no not never course too instead sure fact about one"
    " kind sort type piece normally typically generally largely either good young old big small little"
    " hungry long new main usual favourite common my our your i'm that's what because first"
)
_TOPIC_NOUNS = _stems(
    "food diet home colour color taste language weather climate use shape material answer day year way"
    " animal place thing city country rule tongue shop"
)
_PREPOSITIONS = _stems(
    "in on of to from for at into with near by under out like as than inside beside behind through over after"
    " before during around about between"
)
# The attributes that a verb may give a value of; a verb that is not here may give any.
_GIVES: dict[str, frozenset[str]] = {
    **dict.fromkeys(_stems("eat eats feed feeds eaten"), frozenset(("eats", "used"))),
    **dict.fromkeys(_stems("live lives"), frozenset(("lives",))),
    **dict.fromkeys(_stems("taste"), frozenset(("taste",))),
    **dict.fromkeys(_stems("come"), frozenset(("comes", "colour"))),
    **dict.fromkeys(_stems("use used"), frozenset(("used", "found"))),
    **dict.fromkeys(_stems("speak spoken"), frozenset(("language",))),
    **dict.fromkeys(_stems("known famous visit enjoy proud"), frozenset(("known", "lies"))),
    **dict.fromkeys(_stems("lie"), frozenset(("lies",))),
    **dict.fromkeys(_stems("made"), frozenset(("made", "used"))),
    **dict.fromkeys(_stems("found"), frozenset(("found", "lives", "lies", "comes"))),
}
# What a subject with one of these nouns says of the entity by "is".
_TOPIC_OF: dict[str, str] = {
    wording.stem(noun): attribute
    for noun, attribute in (
        ("food", "eats"),
        ("diet", "eats"),
        ("home", "lives"),
        ("colour", "colour"),
        ("taste", "taste"),
        ("language", "language"),
        ("weather", "weather"),
        ("climate", "weather"),
        ("shape", "shape"),
        ("material", "made"),
    )
}
# No entity is one of these: "Owls are mice." does not say what owls eat.
NOT_BY_COPULA = frozenset(("eats", "language", "known"))
_TRUE = _stems("true fact correct clear sure")
_OTHERS = _stems("more other others thing things similar such on so different")
_ADJECTIVES = frozenset(("colour", "shape", "taste", "weather", "made"))
_FROM, _AT = frozenset(("from", "of", "out")), frozenset(("in", "on", "at", "under", "into", "inside"))


@lru_cache(maxsize=1)
def world_nouns() -> frozenset[str]:
    """Stems that name something in the world: entities, and values that are things or places."""
    nouns = {stem for e in entities() for name in (e.name, e.plural) for stem in wording.stems(name)}
    for kind, names in ATTRIBUTES.items():
        for name in {"eats", "lives", "comes", "lies", "language", "known", "found", "made"} & set(names):
            nouns |= {stem for value in vocabulary(kind, name) for stem in wording.content(value)}
    nouns |= {stem for value in vocabulary("food", "used") for stem in wording.content(value)}
    return frozenset(nouns - _FILLERS - _VERBS - _TOPIC_NOUNS - _PEOPLE)


@lru_cache(maxsize=1)
def _invented() -> frozenset[str]:
    return frozenset(wording.stem(name) for name in invented_names("train") + invented_names("heldout"))


def names_something(stem: str) -> bool:
    """Whether a stem is a noun of the world, an invented name, or no known word at all."""
    return stem in world_nouns() or stem in _invented() or is_no_word(stem)


def is_no_word(stem: str) -> bool:
    """Whether a stem is neither a known word nor a number nor an invented name."""
    return not (stem in lexicon.stemmed() or stem.isdigit() or stem in _invented() or len(stem) == 1)


def statement_of(
    tokens: tuple[str, ...], is_name: Callable[[tuple[str, ...]], bool]
) -> tuple[str, ...] | None:
    """The clause without "people know that"; None for a question that ends like a statement."""
    if tokens and tokens[0] in _ASKING:
        return None
    if tokens and tokens[0] in _COPULA | _MODALS and is_name(tokens[1:]):
        return None
    if "that" in tokens and _TRUE & set(tokens[: tokens.index("that")]):
        return tokens[tokens.index("that") + 1 :]
    at = 0
    while at < len(tokens) and tokens[at] in _PEOPLE | _MODALS | _FILLERS and not is_name(tokens[at:]):
        at += 1
    if 0 < at < len(tokens) - 1 and tokens[at] in _REPORTING and _PEOPLE & set(tokens[:at]):
        if {"not", "never"} & set(tokens[:at]):
            return None
        return tokens[at + 2 :] if tokens[at + 1] == "that" else tokens[at + 1 :]
    return tokens


@dataclass(frozen=True)
class Frame:
    """A clause as stems, and the places of the entity's name and of values in it."""

    tokens: tuple[str, ...]
    names: frozenset[int]
    values: frozenset[int]
    kind: str

    @cached_property
    def verb(self) -> int:
        """The place of the first verb outside names and values, or the length."""
        taken = self.names | self.values
        places = (at for at, stem in enumerate(self.tokens) if at not in taken and stem in _VERBS)
        return next(places, len(self.tokens))

    def about(self, topics: frozenset[str], classes: frozenset[str]) -> About:
        """Whom the clause is about, by what stands before its first verb.

        `topics` are the stems that say which attribute is meant, `classes` those for what the entity is.
        """
        head = [at for at in range(self.verb) if at not in self.names | self.values]
        allowed = _FILLERS | _PRONOUNS | _TOPIC_NOUNS | _PEOPLE | topics | classes
        strange = [at for at in head if self.tokens[at] not in allowed]
        named = [at for at in self.names if at < self.verb]
        if named:
            alone = [at for at in strange if at > max(named) or not self._joined(at)]
            return "another" if any(names_something(self.tokens[at]) for at in alone) else "entity"
        if any(names_something(self.tokens[at]) for at in strange):
            return "another" if self.verb < len(self.tokens) else "nothing"
        if strange or (min(self.values, default=self.verb) < self.verb and not self._value_first(topics)):
            return "nothing"
        if any(self.tokens[at] in _PEOPLE for at in head) and not self._done_by_people():
            return "nothing"
        if self._is_topic_acting(head):
            return "nothing"
        if self.names:
            return "entity"
        if any(self._is_object_of_another(at) for at in range(self.verb, len(self.tokens))):
            return "another"
        return "pronoun" if any(self.tokens[at] in _PRONOUNS | classes for at in head) else "open"

    def _is_topic_acting(self, head: list[int]) -> bool:
        """Whether the weather, say, does what only an entity does."""
        stems = {self.tokens[at] for at in head}
        acts = self.verb < len(self.tokens) and self.tokens[self.verb] in _BY_ANIMALS | {"used", "come"}
        return acts and bool(stems & _TOPIC_OF.keys() - {self.kind}) and not stems & _PRONOUNS

    def _is_object_of_another(self, at: int) -> bool:
        """Whether a word names something else: "We call wood a bird.", "People speak French in Rome."."""
        before = at < min(self.values, default=0) or (self.kind == "place" and at not in self.values)
        other = names_something(self.tokens[at]) or self.tokens[at] in _PEOPLE | {"everything", "question"}
        return before and at != self.verb and self.tokens[at] not in _VERBS and other

    def _joined(self, at: int) -> bool:
        """Whether the word stands beside "and" or "or"."""
        return bool({"and", "or"} & set(self.tokens[max(at - 1, 0) : at + 2]))

    def _value_first(self, topics: frozenset[str]) -> bool:
        """Whether a clause that begins with a value goes on as in "Mice are what owls eat."; a phrase may."""
        rest = self.tokens[self.verb :]
        if any(at > self.verb for at in self.values) and not self.names:
            return False
        return not rest or (
            rest[0] in _COPULA | _MODALS and bool((topics | _PASSIVE | {"what", "where"}) & set(rest))
        )

    def _done_by_people(self) -> bool:
        """Whether people do what people do with an entity: use onions, but not be used on pizza."""
        verbs = [stem for stem in self.tokens[self.verb :] if stem in _VERBS and stem not in _MODALS]
        if verbs and verbs[0] in _BY_ANIMALS:
            return self.kind == "food" and bool(self.names or _PRONOUNS & set(self.tokens[self.verb :]))
        return bool(verbs) and (verbs[0] in _BY_PEOPLE or bool({"proud", "sign"} & set(self.tokens)))

    def carries(self, attribute: str, at: int, whole: bool, asked: bool) -> bool:
        """Whether the clause gives the value at a place as one of the attribute: by its verb and preposition.

        `whole` is whether the value stands there with its own preposition, if it has one. A phrase that was
        not asked for needs no verb of its own: "Owls eat mice in forests.".
        """
        if whole and not asked and self.tokens[at] in _PREPOSITIONS:
            return True
        verbs = [near for near in range(len(self.tokens)) if self._governs(near)]
        before = [near for near in verbs if near < at]
        verb = self.tokens[before[-1] if before else verbs[0]] if verbs else ""
        if attribute not in _GIVES.get(verb, {attribute}):
            return False
        preposition = self.tokens[at - 1] if at else ""
        if verb in _COPULA and not self._fits_copula(attribute, at, whole or preposition in _PREPOSITIONS):
            return False
        if preposition == "can" and attribute != "moves":
            return False
        if not whole:
            return self._fits_preposition(attribute, preposition)
        if whole and self.tokens[at] in _PREPOSITIONS and preposition in _PREPOSITIONS - {"out"}:
            return False
        free = {"moves": "to", "language": "in", "colour": "in"}.get(attribute)
        bare = self.tokens[at] not in _PREPOSITIONS
        return not (bare and preposition in ("in", "from", "to", "at", "under") and preposition != free)

    def collides(self, first: str, second: str, at: int) -> bool:
        """Whether a value of `second` at a place cannot directly follow one of `first`: "is a bird fly"."""
        describes = first in _ADJECTIVES and second in ("class", "eats", "known", first)
        return first != second and not describes and self.tokens[at] not in _PREPOSITIONS

    def _fits_copula(self, attribute: str, at: int, prepositional: bool) -> bool:
        """Whether "is" may give the value: not in "Owls are mice.", "Tomatoes are sauces."."""
        head = self.tokens[: self.verb]
        topics = {_TOPIC_OF[stem] for stem in head if stem in _TOPIC_OF and stem != self.kind}
        if topics or not head or head == ("it",):
            return not topics or attribute in topics or self.verb > at
        if attribute in NOT_BY_COPULA:
            return not self.is_copula_of_name(at)
        return prepositional or attribute not in ("lives", "comes", "used", "lies", "found")

    def _governs(self, at: int) -> bool:
        stem = self.tokens[at]
        return at not in self.names | self.values and (stem in _GIVES or stem in _COPULA)

    def is_copula_of_name(self, at: int) -> bool:
        """Whether nothing but "is" stands between the entity's name and the value."""
        head = self.tokens[: self.verb]
        subject = bool(head) and (self.verb - 1 in self.names or head == ("they",))
        between = range(self.verb, at)
        link = [near for near in between if near not in self.values and self.tokens[near] not in _FILLERS]
        return subject and not (_PEOPLE | _TOPIC_NOUNS) & set(head) and link == [self.verb]

    def _fits_preposition(self, attribute: str, preposition: str) -> bool:
        """Whether a value may stand here after another preposition than its own, or after none."""
        if attribute == "used":
            return preposition not in _FROM | _stems("use used eat")
        if attribute in ("comes", "made"):
            return preposition not in _AT
        if attribute in ("lives", "lies", "found"):
            return preposition not in ("from", "to", "out")
        return True

    def strangers(self, whole: bool = False) -> list[str]:
        """Nouns that are no value, as an object or in its list: "mice and chairs", "in Spain" not.

        `whole` looks before the verb too.
        """
        start = 0 if whole else max((at for at in self.names if at < self.verb), default=-1) + 1
        start = start if whole or self.verb == len(self.tokens) else self.verb
        free = [at for at in range(start, len(self.tokens)) if at not in self.names | self.values]
        return [self.tokens[at] for at in free if self._is_object(at)]

    def _is_object(self, at: int) -> bool:
        stem, before = self.tokens[at], at - 1
        while before >= 0 and self.tokens[before] in _PREPOSITIONS:
            before -= 1
        if before > 0 and self.tokens[before] in ("and", "or"):
            last = at + 1 == len(self.tokens) or self.tokens[at + 1] in ("and", "or")
            known = stem in _FILLERS | _VERBS | _PRONOUNS | _OTHERS | _TOPIC_NOUNS | {"and", "or"}
            return names_something(stem) or (last and before - 1 in self.values and not known)
        modifies = at + 1 in self.values and self.tokens[at + 1] not in _PREPOSITIONS
        return stem in world_nouns() and before == at - 1 and not modifies
