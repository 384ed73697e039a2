"""The world is closed and consistent, and its sentences are grammatical for every form of name."""

import itertools
import re

import pytest

from posttrain.field_guide import phrasing, world

KINDS = tuple(world.ATTRIBUTES)
PAIRS = [(kind, attribute) for kind in KINDS for attribute in world.ATTRIBUTES[kind]]


def entity(name: str) -> world.Entity:
    return next(found for found in world.entities() if found.name == name)


def test_every_entity_has_exactly_its_kinds_attributes() -> None:
    assert 290 <= len(world.entities()) <= 330
    for found in world.entities():
        assert set(found.facts) == set(world.ATTRIBUTES[found.kind]), found.name
        assert found.facts["class"][0] == found.klass
        assert found.form in ("count", "mass", "proper")
        assert (found.form == "proper") == (found.kind == "place")
        assert found.form == "count" or found.plural == found.name
        for values in found.facts.values():
            assert values, found.name
            assert len(set(values)) == len(values), found.name


def test_names_are_unique_and_short_and_no_word_of_a_value() -> None:
    names = [found.name for found in world.entities()]
    assert len(set(names)) == len(names)
    assert all(len(name.split()) <= 2 for name in names)
    words = {
        word
        for kind, attribute in PAIRS
        for value in world.vocabulary(kind, attribute)
        for word in value.split()
    }
    assert not words & set(names)


@pytest.mark.parametrize(("kind", "attribute"), PAIRS)
def test_vocabulary_is_small_shared_and_without_clashes(kind: str, attribute: str) -> None:
    values = world.vocabulary(kind, attribute)
    assert 2 <= len(values) <= 40
    for value in values:
        assert re.fullmatch(r"[A-Za-z]+( [A-Za-z]+){0,3}", value)
        users = [found for found in world.of_kind(kind) if value in found.facts[attribute]]
        assert len(users) >= 2, value
    for one, other in itertools.permutations(values, 2):
        assert one not in other, (one, other)


@pytest.mark.parametrize(("kind", "attribute"), PAIRS)
def test_every_entity_leaves_false_values_to_tell_apart(kind: str, attribute: str) -> None:
    for found in world.of_kind(kind):
        false = world.refuted(found, attribute)
        assert set(false).isdisjoint(world.accepted(found, attribute))
        assert set(false) | set(world.accepted(found, attribute)) == set(world.vocabulary(kind, attribute))
        # Singapore is both a city and a country, the whole vocabulary.
        assert false or (found.name, attribute) == ("Singapore", "class")


def test_accepts_several_true_values_and_refuses_other_attributes() -> None:
    assert world.accepted(entity("penguin"), "lives")[0] == "on the ice"
    assert "in deserts" in world.refuted(entity("penguin"), "lives")
    assert set(world.accepted(entity("tomato"), "class")) == {"vegetable", "fruit"}
    with pytest.raises(KeyError):
        world.accepted(entity("penguin"), "taste")


def test_a_fifth_of_every_kind_is_held_out_and_stays_so() -> None:
    for kind in KINDS:
        members = world.of_kind(kind)
        assert sum(found.heldout for found in members) == round(len(members) * world.HELDOUT_SHARE)
    # Moving an entity between the splits would leak held-out facts into a trained model's past.
    assert [name for name in HELDOUT_SAMPLE if not entity(name).heldout] == []
    assert [name for name in TRAIN_SAMPLE if entity(name).heldout] == []


def test_invented_names_are_disjoint_and_unlike_any_word_of_the_world() -> None:
    train, heldout = world.invented_names("train"), world.invented_names("heldout")
    assert len(train) == 60
    assert len(heldout) == 30
    assert len(set(train) | set(heldout)) == 90
    known = {word.lower() for found in world.entities() for word in (found.name, found.plural)}
    known |= {
        word
        for kind, attribute in PAIRS
        for value in world.vocabulary(kind, attribute)
        for word in value.split()
    }
    for name in train + heldout:
        assert re.fullmatch(r"[a-z]+(?<!s)(?<!x)(?<!h)(?<!y)", name), name
        assert name not in known
        assert not any(len(word) > 3 and (name.startswith(word) or name.endswith(word)) for word in known), (
            name
        )


def test_readers_of_how_tos_and_feelings() -> None:
    assert all(how_to.task and len(how_to.steps) >= 2 for how_to in world.how_tos())
    assert all(one.situation and one.feeling and one.named and one.advice for one in world.feelings())
    for rows in (world.how_tos(), world.feelings()):
        assert 0 < sum(row.heldout for row in rows) < len(rows) / 2


@pytest.mark.parametrize(
    ("name", "attribute", "sentence"),
    [
        ("owl", "class", "An owl is a bird."),
        ("owl", "eats", "Owls eat mice."),
        ("owl", "moves", "Owls can fly."),
        ("sheep", "lives", "Sheep live on farms."),
        ("swan", "colour", "Swans are white."),
        ("rice", "colour", "Rice is white."),
        ("bread", "comes", "Bread comes from wheat."),
        ("beef", "class", "Beef is a kind of meat."),
        ("apple", "used", "Apples are used in pies."),
        ("Paris", "lies", "Paris lies in Europe."),
        ("Paris", "language", "People speak French in Paris."),
        ("Paris", "weather", "The weather in Paris is mild."),
        ("hammer", "made", "Hammers are made of metal."),
        ("hammer", "used", "Hammers are used to drive nails."),
        ("hat", "class", "A hat is a piece of clothing."),
    ],
)
def test_canonical_statements(name: str, attribute: str, sentence: str) -> None:
    found = entity(name)
    assert phrasing.statement(found, attribute, world.accepted(found, attribute)[0]) == sentence


@pytest.mark.parametrize(("kind", "attribute"), PAIRS)
def test_variants_are_distinct_name_both_parts_and_agree(kind: str, attribute: str) -> None:
    for found in world.of_kind(kind):
        value = world.accepted(found, attribute)[0]
        said = [
            phrasing.statement(found, attribute, value, n) for n in phrasing.statement_variants(attribute)
        ]
        asked = [phrasing.question(found, attribute, n) for n in range(ASKED)]
        assert len(said) >= 8
        if found.form == "count":
            assert len(set(said)) == len(said)
            assert len(set(asked)) == len(asked)
        for text in said + asked:
            assert text[0].isupper(), text
            assert not re.search(r"[\[\]{}|]|  ", text), text
            assert found.name in text.lower() + text or found.plural in text.lower() + text
            assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text
        assert all(text.endswith(".") and value in text for text in said)
        assert all(text.endswith(("?", ".")) for text in asked)


@pytest.mark.parametrize(("kind", "attribute"), PAIRS)
def test_prefix_is_the_statement_up_to_its_value(kind: str, attribute: str) -> None:
    numbers = phrasing.prefix_variants(attribute)
    assert len(numbers) >= 5
    for found in world.of_kind(kind):
        for value in world.accepted(found, attribute):
            for n in numbers:
                start = phrasing.prefix(found, attribute, n)
                rest = phrasing.statement(found, attribute, value, n).removeprefix(start)
                assert rest in (f" {value}.", f" {phrasing.with_article(value)}.")


def test_prefix_refuses_a_statement_whose_value_comes_earlier() -> None:
    with pytest.raises(ValueError, match="does not end with its value"):
        phrasing.prefix(entity("Paris"), "language", 0)


def test_questions_agree_with_the_form_of_the_name() -> None:
    assert phrasing.question(entity("swan"), "colour", 0) == "Which colour are swans?"
    assert phrasing.question(entity("rice"), "colour", 0) == "Which colour is rice?"
    assert phrasing.question(entity("bread"), "comes", 0) == "Where does bread come from?"
    assert phrasing.question(entity("owl"), "class", 0) == "What is an owl?"
    with pytest.raises(IndexError):
        phrasing.question(entity("owl"), "class", ASKED)


ASKED = phrasing.QUESTIONS_TRAIN + phrasing.QUESTIONS_HELDOUT
HELDOUT_SAMPLE = (
    "owl",
    "hawk",
    "robin",
    "sparrow",
    "plum",
    "grape",
    "coconut",
    "onion",
    "Switzerland",
    "Ireland",
    "Nigeria",
    "China",
    "axe",
    "broom",
    "whisk",
    "needle",
)
TRAIN_SAMPLE = (
    "eagle",
    "crow",
    "swan",
    "apple",
    "pear",
    "banana",
    "France",
    "Spain",
    "Portugal",
    "hammer",
    "mallet",
    "screwdriver",
)
