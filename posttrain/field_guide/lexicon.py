"""The words a response may use: those of the world, its sentences and how-tos, and common English."""

from __future__ import annotations

from functools import lru_cache

from posttrain.field_guide import operands, phrasing, wording
from posttrain.field_guide.world import ATTRIBUTES, entities, feelings, how_tos, of_kind

_COMMON = """
    i you he she it we they me him her us them my your his its our their mine yours this that these those
    who what which when where why how a an the and or but if then so as than because while until after
    before again also too very quite not no yes never always often sometimes maybe perhaps only just
    still already soon now later today tomorrow yesterday here there everywhere in on at of to from for
    with without by about into over under near up down out off through am is are was were be been being
    do does did done have has had can could will would shall should may might must i'm you're it's that's
    don't doesn't isn't aren't can't cannot won't let's i'd you'd there's say says said tell told ask
    asked asks know knows knew think thinks thought see sees saw hear heard sound sounds feel feels felt
    hope hopes help helps helped try tries tried make makes made take takes give gives go goes went come
    comes get gets find finds found keep keeps call calls called use uses used work works live lives like
    likes love want need look looks show shows mean means learn learns understand believe agree please
    thank thanks sorry glad welcome hello good great fine nice lovely wonderful bad hard easy tough
    difficult big small little large long short new old young right wrong true false real sure same other
    another many much more most few some any all both every each one two three four five six seven eight
    nine ten zero hundred first second third last next own such best better person people man woman
    friend friends family mother father brother sister child children thing things place places animal
    animals food foods world country city house home day night morning evening week year time way word
    words name names letter letters number answer question list book page guide fact facts idea point
    mind lot bit part kind sort type example reason course luck news water head hand eye life talk walk
    rest sleep wait breathe smile begin stressful scary frightening panic sad sadness alone loneliness
    painful hurtful upsetting annoying exhausting tiring boring dull joyful proud worrying stressed
    worried really indeed exactly actually correct well okay oh backwards spelled sum plus equals total
    piece something anything nothing everything someone somebody nobody everyone anyone together away
    slowly quickly once twice enough plan step steps happen happens deserve earned enjoy mistaken mistake
    mostly usually mainly agreed congratulations unknown afraid exist exists entry
"""


@lru_cache(maxsize=1)
def words() -> frozenset[str]:
    """Every known word in lower case."""
    texts = [_COMMON, *operands.SPELL_WORDS]
    for entity in entities():
        texts += [
            entity.name,
            entity.plural,
            *(value for values in entity.facts.values() for value in values),
        ]
    for kind in ATTRIBUTES:
        example = of_kind(kind)[0]
        for attribute in ATTRIBUTES[kind]:
            value = example.facts[attribute][0]
            texts += [
                phrasing.statement(example, attribute, value, n)
                for n in phrasing.statement_variants(attribute)
            ]
            total = phrasing.QUESTIONS_TRAIN + phrasing.QUESTIONS_HELDOUT
            texts += [phrasing.question(example, attribute, n) for n in range(total)]
    for how_to in how_tos():
        texts += [how_to.task, *how_to.steps]
    for row in feelings():
        texts += [row.situation, row.feeling, row.named, *row.advice]
    return frozenset(word for text in texts for word in wording.words(text))


@lru_cache(maxsize=1)
def stemmed() -> frozenset[str]:
    """The stems of the known words, so that "eating" is known where "eat" is."""
    return frozenset(wording.stem(word) for word in words())


def knows(word: str) -> bool:
    """Whether a word in lower case, or another form of it, is known."""
    return word in words() or wording.stem(word) in stemmed()
