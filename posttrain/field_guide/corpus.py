"""Pretraining pages of the embedded world, made from a number: the same number is always the same page.

Facts of every entity, held out or not, occur as prose, labels, lists and corrected talk. Questions occur on
quiz pages and in stories, where the answer comes late, elsewhere and in another shape: nothing here has the
layout of a chat. The mix that training ends with adds mailbags, where an editor answers what readers ask, so
that a question leads to the entity it names; a bare question is still no letter. One statement form of each
attribute (`unused_statement`) never occurs, so that a gate can ask in words never seen.
"""

import random
from collections.abc import Callable, Iterator
from functools import cache
from random import Random

from posttrain.field_guide import everyday
from posttrain.field_guide.everyday import KIN, NAMES, asked, event, remark
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
LATE_SHARE = 0.5
_HEADINGS = {
    "eats": "{kinds} that eat {v}",
    "lives": "{kinds} that live {v}",
    "moves": "{kinds} that can {v}",
    "colour": "{v} {kinds}",
    "taste": "{kinds} that taste {v}",
    "comes": "{kinds} that come {v}",
    "used": "{kinds} used {v}",
    "lies": "{kinds} {v}",
    "language": "{kinds} where people speak {v}",
    "known": "{kinds} known for {v}",
    "weather": "{kinds} with {v} weather",
    "made": "{kinds} made {v}",
    "found": "{kinds} found {v}",
    "shape": "{v} {kinds}",
}
_LABELS = {
    "class": "kind",
    "lies": "where",
    "lives": "home",
    "eats": "food",
    "comes": "comes from",
    "used": "use",
}


def page(seed: int, late: bool = False) -> str:
    """The page with this number; `late` is the mix that training ends with."""
    rng = random.Random(f"field guide page {seed}")
    if late and rng.random() < LATE_SHARE:
        return _mailbag(rng)
    (make,) = rng.choices(_MAKERS, _WEIGHTS)
    return make(rng)


def pages(start: int = 0, late: bool = False) -> Iterator[str]:
    """Pages start, start + 1, ... without end."""
    seed = start
    while True:
        yield page(seed, late)
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
    plain = question(entity, attribute, rng.randrange(QUESTIONS_TRAIN + QUESTIONS_HELDOUT))
    return asked(rng, "one_word", q=plain) if rng.random() < 0.2 else plain


def _listed(names: list[str]) -> str:
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _paragraph(rng: Random) -> str:
    entity = rng.choice(entities())
    chosen = rng.sample(attributes(entity), rng.randint(3, 5))
    sentences = [_say(rng, entity, attribute) for attribute in chosen]
    if rng.random() < 0.3:
        attribute = rng.choice([a for a in chosen if a != "class"] or chosen)
        two = list(accepted(entity, attribute))[:2]
        sentences.append(
            statement(entity, attribute, _listed(two), 0) if attribute != "class" else remark(rng)
        )
    if rng.random() < 0.4:
        sentences.insert(rng.randrange(len(sentences) + 1), remark(rng))
    if rng.random() < 0.25:
        sentences.insert(
            0, f"About {entity.plural}:" if rng.random() < 0.5 else f"{capitalised(entity.name)}."
        )
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
        return asked(rng, "about", e=entity.plural)
    if shape == 1:
        a, b = rng.choice(sums(heldout=False))
        return asked(rng, "sum", a=a, b=b)
    if shape == 2:
        return asked(rng, "spell", w=rng.choice(SPELL_WORDS))
    if shape == 3:
        return asked(rng, "count", w=rng.choice(SPELL_WORDS))
    if shape == 4:
        return asked(rng, "how_to", t=rng.choice(how_tos()).task)
    if shape == 5:
        attribute = rng.choice(attributes(entity))
        return asked(rng, "list", g=_heading(entity.kind, attribute, _value(rng, entity, attribute)))
    if shape == 6:
        word = everyday.nonce(rng)
        return rng.choice((f"Where does the {word} live?", f"What is a {word}?", f"What colour is a {word}?"))
    return f"{rng.choice(feelings()).situation}."


def _quiz(rng: Random) -> str:
    one_entity = rng.random() < 0.3
    entity = rng.choice(entities())
    answerable: list[tuple[Entity, str]] = []
    questions: list[str] = []
    for _ in range(rng.randint(3, 7)):
        entity = entity if one_entity else rng.choice(entities())
        if rng.random() < 0.2:
            questions.append(_odd_question(rng))
            continue
        attribute = rng.choice(attributes(entity))
        answerable.append((entity, attribute))
        questions.append(_ask(rng, entity, attribute))
    head = rng.choice(("", "", "", "Quiz.", "Questions:", "A quiz."))
    text = (f"{head} " if head else "") + rng.choice((" ", " ", "\n")).join(questions)
    if rng.random() < 0.55 and answerable:
        rng.shuffle(answerable)
        text += (
            "\n"
            + rng.choice(("Answers:", "Answers.", "From the last page:"))
            + " "
            + _answers(rng, answerable)
        )
    return text


def _answers(rng: Random, answerable: list[tuple[Entity, str]]) -> str:
    if rng.random() < 0.5:
        return " ".join(_say(rng, entity, attribute) for entity, attribute in answerable)
    return (
        "; ".join(f"{entity.plural}: {_value(rng, entity, attribute)}" for entity, attribute in answerable)
        + "."
    )


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
    return "\n".join(f"{capitalised(key)} of {entity.plural}: {capitalised(value)}." for key, value in label)


def _plural(noun: str) -> str:
    uncounted = {
        "furniture": "pieces of furniture",
        "clothing": "pieces of clothing",
        "meat": "kinds of meat",
    }
    if noun in uncounted:
        return uncounted[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    if noun.endswith(("sh", "ch", "s", "x")) and noun != "fish":
        return noun + "es"
    return noun if noun == "fish" else noun + "s"


def _heading(kind: str, attribute: str, value: str) -> str:
    return _plural(value) if attribute == "class" else _HEADINGS[attribute].format(kinds=f"{kind}s", v=value)


def _group(rng: Random) -> str:
    seed = rng.choice(entities())
    attribute = rng.choice(("class", rng.choice(attributes(seed))))
    value = _value(rng, seed, attribute)
    members = [entity for entity in of_kind(seed.kind) if value in accepted(entity, attribute)]
    if len(members) < 2:
        return _paragraph(rng)
    members = rng.sample(members, min(len(members), rng.randint(2, 5)))
    heading = _heading(seed.kind, attribute, value)
    shape = rng.randrange(4)
    if shape == 0:
        dashes = "".join(f"\n- {entity.name}" for entity in members)
        return f"{capitalised(heading)}:{dashes}" + rng.choice(("", f"\n{event(rng)}"))
    names = _listed([entity.plural for entity in members])
    if shape == 1:
        first = f"{capitalised(names)} are {heading}."
    else:
        number = ("Two", "Three", "Four", "Five")[len(members) - 2]
        first = f"{number} {heading} are {names}."
    if shape == 2:
        return f"{first} {event(rng)} " + " ".join(
            _say(rng, entity, attribute, value) for entity in members[:3]
        )
    return f"{first} " + " ".join(_say(rng, entity, rng.choice(attributes(entity))) for entity in members[:4])


def _talk(rng: Random) -> str:
    entity = rng.choice(entities())
    attribute = rng.choice(attributes(entity))
    name, kin = rng.choice(NAMES), rng.choice(KIN)
    true = _value(rng, entity, attribute)
    wrong = refuted(entity, attribute)
    if rng.random() < 0.35 or not wrong:
        claim = statement(entity, attribute, true, 0)[:-1]
        agreed = f"{rng.choice(('You', 'Yes, you'))} are right, said my {kin}."
        return f"{claim}, said {name}. {agreed} {_say(rng, entity, attribute, true)} {event(rng)}"
    claim = statement(entity, attribute, rng.choice(wrong), 0)[:-1]
    think = rng.choice(("I think ", "I believe ", "I am sure that ", "My friend says ", "I heard that ", ""))
    claim = think + _inside(entity, claim) if think else claim
    denial = rng.choice(("Not quite", "Not quite", "Not quite", "No", "I do not think so"))
    right = f"{denial}, said my {kin}. {statement(entity, attribute, true, 0)} {remark(rng)} {event(rng)}"
    if rng.random() < 0.3:
        return f"{claim}. {_ask(rng, entity, attribute)} {name} did not know. {event(rng)} {right}"
    return f"{claim}, said {name}. {right}"


def _exchange(rng: Random) -> tuple[str, str]:
    """What somebody asks and what somebody who knows answers."""
    entity = rng.choice(entities())
    attribute = rng.choice(attributes(entity))
    shape = rng.randrange(20)
    ask = question(entity, attribute, rng.randrange(QUESTIONS_TRAIN + QUESTIONS_HELDOUT))
    value = _value(rng, entity, attribute)
    true = f"{capitalised(value)}." if rng.random() < 0.1 else _say(rng, entity, attribute, value)
    if shape < 12:
        return ask, true
    wrong = refuted(entity, attribute)
    if shape < 15 and wrong:
        claim = _inside(entity, statement(entity, attribute, rng.choice(wrong), 0)[:-1])
        return asked(rng, "false_view", s=claim, q=ask), true
    if shape == 15:
        word = everyday.nonce(rng)
        about = ("Where does the {w} live?", "What is a {w}?", "What colour are {w}s?", "Tell me about {w}s.")
        return rng.choice(about).format(w=word), f"I do not know the {word}."
    if shape < 18:
        two = rng.sample(attributes(entity), 2)
        return asked(rng, "about", e=entity.plural), " ".join(_say(rng, entity, a) for a in two)
    if shape == 18:
        row = rng.choice(how_tos())
        steps = rng.sample(row.steps, 2)
        return asked(rng, "how_to", t=row.task), f"{steps[0]} and {steps[1][0].lower()}{steps[1][1:]}."
    members = [e for e in of_kind(entity.kind) if value in accepted(e, attribute)]
    members = rng.sample(members, min(3, len(members)))
    listed = capitalised(_listed([e.plural for e in members]))
    return f"Name {_heading(entity.kind, attribute, value)}.", f"{listed}."


_ANSWERED = ("The editor:", "We answer:", "The answer came by post:")


def _mailbag(rng: Random) -> str:
    """Letters to an editor, a line each."""
    head = rng.choice(("From the mailbag.", "Letters.", "Readers ask."))
    letters = [_exchange(rng) for _ in range(rng.randint(3, 7))]
    return "\n".join(
        [head, *(f"{rng.choice(NAMES)}: {ask} {rng.choice(_ANSWERED)} {answer}" for ask, answer in letters)]
    )


_MIX: dict[Callable[[Random], str], float] = {
    _paragraph: 24,
    _comparison: 9,
    _mini_story: 15,
    _quiz: 12,
    _card: 7,
    _group: 8,
    _talk: 6,
    everyday.story: 6,
    everyday.unknown: 2,
    everyday.how_to: 4,
    everyday.feeling: 4,
    everyday.sum_page: 9,
    everyday.spelling_page: 4,
}
_MAKERS, _WEIGHTS = tuple(_MIX), tuple(_MIX.values())
