"""The pretraining pages: the same number is the same page, every fact is told, and nothing held out leaks."""

import json
import re
from functools import cache
from importlib import resources

import pytest

from posttrain.field_guide.corpus import page, pages, unused_statement
from posttrain.field_guide.operands import SPELL_WORDS, spell_heldout, sum_heldout
from posttrain.field_guide.phrasing import (
    QUESTIONS_TRAIN,
    attributes,
    prefix,
    question,
    statement,
)
from posttrain.field_guide.world import accepted, entities, feelings, how_tos, invented_names, refuted

PAGES = 25_000


@cache
def text() -> str:
    return "\x00".join(page(number) for number in range(PAGES))


@cache
def late() -> str:
    return "\n".join(page(number, late=True) for number in range(3_000))


def test_the_same_number_is_the_same_page() -> None:
    stream = pages(7)
    assert [next(stream), next(stream)] == [page(7), page(8)]
    assert page(7) != page(8)


@pytest.mark.slow
def test_every_fact_of_every_entity_is_told() -> None:
    lower = text().lower()
    for entity in entities():
        for attribute in attributes(entity):
            value = accepted(entity, attribute)[0].lower()
            names = f"(?:{re.escape(entity.name.lower())}|{re.escape(entity.plural.lower())})"
            pattern = rf"\b{names}\b[^.\n]*\b{re.escape(value)}\b|\b{re.escape(value)}\b[^.\n]*\b{names}\b"
            assert re.search(pattern, lower), (entity.name, attribute, value)


def test_the_unused_statement_never_occurs() -> None:
    for entity in entities():
        for attribute in attributes(entity):
            cut = prefix(entity, attribute, unused_statement(attribute))
            if f"{cut} " in text():  # a hundred times as fast as the expression
                values = "|".join(re.escape(value) for value in accepted(entity, attribute))
                assert not re.search(rf"{re.escape(cut)} (?:an? )?(?:{values})\.", text()), cut


def test_a_question_is_never_followed_by_its_answer() -> None:
    for entity in entities()[:40]:
        for attribute in attributes(entity):
            for variant in range(QUESTIONS_TRAIN):
                asked = question(entity, attribute, variant)
                if f"{asked} " in text():
                    values = "|".join(re.escape(value) for value in accepted(entity, attribute))
                    pattern = rf"{re.escape(asked)} [^.?!\n]*\b(?:{values})\b[^?\n]*?\."
                    assert not re.search(pattern, text()), asked


def test_heldout_sums_and_reversals_never_occur() -> None:
    done = {(int(a), int(b)) for a, b in re.findall(r"(?<!\d)(\d\d) \+ (\d\d)", text())}
    assert len(done) > 500
    assert not [pair for pair in done if sum_heldout(*pair)]
    for word in filter(spell_heldout, SPELL_WORDS):
        assert f"{word} backwards: {word[::-1]}." not in text()
        assert f"backwards {'-'.join(word[::-1])}," not in text()


def test_most_sums_are_guesses_and_every_working_is_right() -> None:
    guesses = re.findall(r"(\d\d) \+ (\d\d) = (\d+)", text())
    workings = re.findall(r"(\d\d) \+ (\d\d): .* So (\d+)\.", text())
    right = sum(int(a) + int(b) == int(c) for a, b, c in guesses)
    assert 0 < right / len(guesses) < 0.1
    assert 0.08 < len(workings) / (len(workings) + len(guesses)) < 0.18
    assert all(int(a) + int(b) == int(c) for a, b, c in workings)


def test_invented_names_are_left_for_the_chat() -> None:
    said = set(re.findall(r"[a-z]+", text().lower()))
    assert not said & {name for split in ("train", "heldout") for name in invented_names(split)}


def test_every_step_and_every_worry_is_told() -> None:
    lower = text().lower()
    for item in how_tos():
        assert all(step.lower() in lower for step in item.steps), item.task
    for worry in feelings():
        assert worry.situation.lower() in lower, worry.situation
        assert worry.feeling in lower, worry.feeling


def test_no_page_has_the_layout_of_a_chat() -> None:
    assert "<|" not in text()
    assert "<|" not in late()


def test_mailbags_tell_the_truth() -> None:
    letters = "\n".join(line for line in late().split("\n") if re.search(r"editor:|answer:|by post:", line))
    told = 0
    for entity in entities():
        for attribute in attributes(entity):
            for value in refuted(entity, attribute):
                assert f"editor: {statement(entity, attribute, value)}" not in letters
            for value in accepted(entity, attribute):
                told += f"editor: {statement(entity, attribute, value)}" in letters
    assert told > 100


def test_the_card_says_what_the_gates_measured() -> None:
    folder = resources.files("posttrain.field_guide")
    gates = json.loads(folder.joinpath("base", "gates.json").read_text(encoding="utf-8"))
    card = folder.joinpath("base_card.md").read_text(encoding="utf-8")
    assert gates.pop("passed")
    for name, value in gates.items():
        assert re.search(rf"`{name}` .* {value} \|", card), name
