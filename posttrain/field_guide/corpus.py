"""Pretraining pages of the embedded world, made from a number: the same number is always the same page.

Facts of every entity, held out or not, occur as prose, labels, lists and corrected talk. Questions occur on quiz pages and
in stories, where the answer comes late, elsewhere and in another shape: nothing here has the layout of a chat.
One statement form of each attribute (`unused_statement`) never occurs, so that a gate can ask in words never seen.
"""

import random
from collections.abc import Callable, Iterator
from functools import cache
from random import Random

from posttrain.field_guide import everyday
from posttrain.field_guide.everyday import KIN, NAMES, event, remark
from posttrain.field_guide.operands import SPELL_WORDS, sums
from posttrain.field_guide.phrasing import (
    QUESTIONS_HELDOUT,
    QUESTIONS_TRAIN,
    attributes,
    capitalised,
    one,
    prefix_variants,
    question,
    statement,
    statement_variants,
)
from posttrain.field_guide.world import Entity, accepted, entities, feelings, how_tos, of_kind, refuted

_CANONICAL_SHARE = 0.6
_LABELS = {"class": "kind", "lies": "where", "lives": "home", "eats": "food", "comes": "comes from", "used": "use"}


def page(seed: int) -> str:
    """The page with this number."""
    rng = random.Random(f"field guide page {seed}")
    (make,) = rng.choices(_MAKERS, _WEIGHTS)
    return make(rng)


def pages(start: int = 0) -> Iterator[str]:
    """Pages start, start + 1, ... without end."""
    seed = start
    while True:
        yield page(seed)
        seed += 1


@cache
def unused_statement(attribute: str) -> int:
    """The statement variant, its value last, that no page contains."""
    return prefix_variants(attribute)[-1]


@cache
def _used_statements(attribute: str) -> tuple[int, ...]:
    return tuple(n for n in statement_variants(attribute) if n != unused_statement(attribute))


def _value(rng: Random, entity: Entity, attribute: str) -> str:
    values = accepted(entity, attribute)
    if len(values) == 1 or rng.random() < _CANONICAL_SHARE:
        return values[0]
    return rng.choice(values[1:])


def _say(rng: Random, entity: Entity, attribute: str, value: str | None = None) -> str:
    variant = 0 if rng.random() < 0.3 else rng.choice(_used_statements(attribute))
    return statement(entity, attribute, value or _value(rng, entity, attribute), variant)


def _inside(entity: Entity, sentence: str) -> str:
    # A sentence that follows a comma or a colon: only a proper name keeps its capital.
    if entity.form == "proper" and sentence.startswith(entity.name):
        return sentence
    return sentence[0].lower() + sentence[1:]


def _ask(rng: Random, entity: Entity, attribute: str) -> str:
    asked = question(entity, attribute, rng.randrange(QUESTIONS_TRAIN + QUESTIONS_HELDOUT))
    return asked + rng.choice(("", "", "", "", "", " One word.", " Answer in one word."))


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _paragraph(rng: Random) -> str:
    entity = rng.choice(entities())
    chosen = rng.sample(attributes(entity), rng.randint(3, 5))
    sentences = [_say(rng, entity, attribute) for attribute in chosen]
    if rng.random() < 0.3:
        attribute = rng.choice([a for a in chosen if a != "class"] or chosen)
        two = list(accepted(entity, attribute))[:2]
        sentences.append(statement(entity, attribute, _listed(two), 0) if attribute != "class" else remark(rng))
    if rng.random() < 0.4:
        sentences.insert(rng.randrange(len(sentences) + 1), remark(rng))
    if rng.random() < 0.25:
        sentences.insert(0, f"About {entity.plural}:" if rng.random() < 0.5 else f"{capitalised(entity.name)}.")
    return " ".join(sentences)


def _comparison(rng: Random) -> str:
    first = rng.choice(entities())
    attribute = rng.choice(attributes(first))
    second = rng.choice([other for other in of_kind(first.kind) if other != first])
    one_value, other_value = _value(rng, first, attribute), _value(rng, second, attribute)
    link = "and" if one_value == other_value else "but"
    joined = (
        statement(first, attribute, one_value, 0)[:-1]
        + f", {link} "
        + _inside(second, statement(second, attribute, other_value, 0))
    )
    more = [_say(rng, entity, rng.choice(attributes(entity))) for entity in (first, second)]
    return " ".join([joined, *more, _say(rng, second, attribute), _say(rng, first, attribute)])


def _mini_story(rng: Random) -> str:
    entity = rng.choice(entities())
    attribute, other = rng.sample(attributes(entity), 2)
    name, kin = rng.choice(NAMES), rng.choice(KIN)
    told = _inside(entity, _say(rng, entity, attribute))
    lead = rng.choice(
        (
            f"{_ask(rng, entity, attribute)} asked {name}. {event(rng)} Later my {kin} said that {told}",
            f"{name} wanted to know about {entity.plural}. In the book it said that {told}",
            f"{event(rng)} There was {one(entity)} in the picture. My {kin} told us that {told}",
            f"{_ask(rng, entity, attribute)} Nobody knew. {remark(rng)} At home {name} read it: {told}",
            f"My {kin} gave me a book about {entity.plural}. I read that {told}",
            f"Tell me about {entity.plural}, said {name}. {event(rng)} Then my {kin} began: {told}",
        )
    )
    return f"{lead} {remark(rng)} {_say(rng, entity, other)} {event(rng)}"


def _odd_question(rng: Random) -> str:
    shape = rng.randrange(8)
    entity = rng.choice(entities())
    if shape == 0:
        return f"Tell me about {entity.plural}."
    if shape == 1:
        a, b = rng.choice(sums(heldout=False))
        return f"What is {a} + {b}?"
    if shape == 2:
        return f"Spell {rng.choice(SPELL_WORDS)} backwards."
    if shape == 3:
        return f"How many letters does {rng.choice(SPELL_WORDS)} have?"
    if shape == 4:
        return f"How do I {rng.choice(how_tos()).task}?"
    if shape == 5:
        kind = rng.choice((entity.kind, entity.klass))
        return f"Name three {_plural(kind)}{rng.choice((' as a list', ''))}."
    if shape == 6:
        word = everyday.nonce(rng)
        return rng.choice((f"Where does the {word} live?", f"What is a {word}?", f"What colour is a {word}?"))
    return f"{rng.choice(feelings()).situation}."


def _quiz(rng: Random) -> str:
    one_entity = rng.random() < 0.3
    entity = rng.choice(entities())
    asked: list[tuple[Entity, str]] = []
    questions: list[str] = []
    for _ in range(rng.randint(3, 7)):
        entity = entity if one_entity else rng.choice(entities())
        if rng.random() < 0.2:
            questions.append(_odd_question(rng))
            continue
        attribute = rng.choice(attributes(entity))
        asked.append((entity, attribute))
        questions.append(_ask(rng, entity, attribute))
    head = rng.choice(("", "", "", "Quiz.", "Questions:", "A quiz."))
    text = (f"{head} " if head else "") + rng.choice((" ", " ", "\n")).join(questions)
    if rng.random() < 0.55 and asked:
        rng.shuffle(asked)
        text += "\n" + rng.choice(("Answers:", "Answers.", "From the last page:")) + " " + _answers(rng, asked)
    return text


def _answers(rng: Random, asked: list[tuple[Entity, str]]) -> str:
    if rng.random() < 0.5:
        return " ".join(_say(rng, entity, attribute) for entity, attribute in asked)
    return "; ".join(f"{entity.plural}: {_value(rng, entity, attribute)}" for entity, attribute in asked) + "."


def _card(rng: Random) -> str:
    entity = rng.choice(entities())
    chosen = rng.sample(attributes(entity), rng.randint(3, 5))
    label = [(_LABELS.get(attribute, attribute), _value(rng, entity, attribute)) for attribute in chosen]
    shape = rng.randrange(3)
    if shape == 0:
        return capitalised(entity.name) + "".join(f"\n{key}: {value}" for key, value in label)
    if shape == 1:
        return f"{capitalised(entity.plural)}. " + " ".join(
            f"{capitalised(key)}: {value}." for key, value in label
        )
    return "\n".join(
        f"{capitalised(key)} of {entity.plural}: {capitalised(value)}." for key, value in label
    )


def _plural(noun: str) -> str:
    uncounted = {"furniture": "pieces of furniture", "clothing": "pieces of clothing", "meat": "kinds of meat"}
    if noun in uncounted:
        return uncounted[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("sh", "ch", "s", "x")) and noun != "fish":
        return noun + "es"
    return noun if noun == "fish" else noun + "s"


def _group(rng: Random) -> str:
    seed = rng.choice(entities())
    attribute = rng.choice(("class", rng.choice(attributes(seed))))
    value = _value(rng, seed, attribute)
    members = [entity for entity in of_kind(seed.kind) if value in accepted(entity, attribute)]
    members = rng.sample(members, min(len(members), rng.randint(2, 5)))
    shape = rng.randrange(4)
    number = {1: "One", 2: "Two", 3: "Three", 4: "Four", 5: "Five"}[len(members)]
    heading = _plural(value) if attribute == "class" else _plural(seed.kind)
    if shape == 0:
        dashes = "".join(f"\n- {entity.name}" for entity in members)
        about = "" if attribute == "class" else f" ({attribute}: {value})"
        return f"{capitalised(heading)}{about}:{dashes}"
    names = _listed([entity.plural for entity in members])
    if attribute == "class":
        verb = "are" if len(members) > 1 else "is"
        first = f"{number} {heading if len(members) > 1 else value} {verb} {names}."
    elif members[0].form == "count":
        said = statement(members[0], attribute, value, 0)
        many = f"{number} {heading if len(members) > 1 else seed.kind}"
        first = said.replace(capitalised(members[0].plural), many)[:-1] + f": {names}."
    else:
        first = f"{capitalised(names)}: {attribute} {value}."
    if shape == 1:
        return f"{first} {event(rng)} " + " ".join(_say(rng, entity, attribute, value) for entity in members[:3])
    return f"{first} " + " ".join(_say(rng, entity, rng.choice(attributes(entity))) for entity in members[:4])


def _talk(rng: Random) -> str:
    entity = rng.choice(entities())
    attribute = rng.choice(attributes(entity))
    name, kin = rng.choice(NAMES), rng.choice(KIN)
    true = _value(rng, entity, attribute)
    wrong = refuted(entity, attribute)
    if rng.random() < 0.35 or not wrong:
        claim = statement(entity, attribute, true, 0)[:-1]
        return f"{claim}, said {name}. You are right, said my {kin}. {_say(rng, entity, attribute, true)} {event(rng)}"
    claim = statement(entity, attribute, rng.choice(wrong), 0)[:-1]
    think = rng.choice(("I think ", "I think ", "I believe ", ""))
    claim = think + _inside(entity, claim) if think else claim
    denial = rng.choice(("Not quite", "Not quite", "No", "That is not right", "I do not think so"))
    return f"{claim}, said {name}. {denial}, said my {kin}. {statement(entity, attribute, true, 0)} {remark(rng)} {event(rng)}"


_MIX: dict[Callable[[Random], str], float] = {
    _paragraph: 24,
    _comparison: 9,
    _mini_story: 15,
    _quiz: 12,
    _card: 7,
    _group: 6,
    _talk: 6,
    everyday.story: 6,
    everyday.unknown: 2,
    everyday.how_to: 4,
    everyday.feeling: 4,
    everyday.sum_page: 9,
    everyday.spelling_page: 4,
}
_MAKERS, _WEIGHTS = tuple(_MIX), tuple(_MIX.values())

