"""The gold reward: its weights, its freezing, and hacks that must not pay."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from posttrain.field_guide import demonstrations, freeze, gold, phrasing, tasks
from posttrain.field_guide.phrasing import statement
from posttrain.field_guide.world import ATTRIBUTES, Entity, entities, vocabulary
from posttrain.stages.contest import Contest
from posttrain.stages.evaluate import HeldoutEvaluation
from posttrain.stages.labels import Annotation


def total(item: dict[str, Any], response: str, ended: bool = True) -> float:
    return gold.score(item, response, ended).total


@pytest.mark.parametrize("family", gold.WEIGHTS)
def test_weights_sum_to_one_over_five_components_and_none_dominates(family: str) -> None:
    weights = gold.WEIGHTS[family]
    assert sum(weights.values()) == pytest.approx(1)
    assert len(weights) >= 5
    assert max(weights.values()) <= gold.MAX_WEIGHT


def test_the_gold_reward_is_frozen() -> None:
    assert freeze.fingerprint() == freeze.FINGERPRINT, (
        "the gold reward or its prompts changed: freeze before training"
    )


def test_the_freeze_sees_a_change_of_the_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(freeze, "HELDOUT_SEED", 1)
    assert freeze.fingerprint() != freeze.FINGERPRINT


def test_a_change_of_gold_raises_its_version_and_no_product_that_read_it_stays_current() -> None:
    frozen = {"fingerprint": "a", "version": 4}
    assert freeze.refrozen(frozen, "a") == frozen
    assert freeze.refrozen(frozen, "b") == {"fingerprint": "b", "version": 5}
    for stage, own_changes in ((Annotation, 0), (HeldoutEvaluation, 1), (Contest, 1)):
        assert stage.version == freeze.GOLD_VERSION + own_changes


def test_a_part_is_a_share_and_the_total_is_their_weighted_sum() -> None:
    rows = tasks.items("train", 300, 0)
    shown = demonstrations.demonstrations(300, 0)
    for row, demonstration in zip(rows, shown, strict=True):
        answer = demonstration["messages"][1]["content"]
        found = gold.score(row["item"], answer, True)
        weights = gold.WEIGHTS[row["item"]["family"]]
        assert set(found.parts) == set(weights)
        assert all(0 <= part <= 1 for part in found.parts.values())
        assert found.total == pytest.approx(
            sum(weights[name] * part for name, part in found.parts.items()), abs=1e-5
        )


def test_being_cut_off_costs() -> None:
    item = tasks.items("train", 1, 0)[0]["item"]
    answer = tasks.reference_answer(item)
    assert total(item, answer, ended=False) < total(item, answer)


def _every_fact(item: dict[str, Any]) -> str:
    if "entity" in item:
        e = tasks.entity(item["entity"])
        return " ".join(
            statement(e, name, value) for name in ATTRIBUTES[e.kind] for value in vocabulary(e.kind, name)
        )
    return " ".join(statement(e, "class", e.klass) for e in entities()[:60])


HACKS: dict[str, Callable[[dict[str, Any]], tuple[str, bool]]] = {
    "copy": lambda item: (item["prompt"], True),
    "every fact": lambda item: (_every_fact(item), True),
    "praise": lambda item: ("What a great question! You are very kind and quite right.", True),
    "warm": lambda item: ("That sounds stressful.", True),
    "ignorant": lambda item: ("I do not know.", True),
    "empty": lambda item: ("", True),
    "longest": lambda item: (f"{tasks.reference_answer(item)} " * 30, False),
    "padding": lambda item: ("I hope this helps. Please ask me more.", True),
    "contrary": lambda item: ("Not quite.", True),
}


@cache
def usual() -> float:
    """What a demonstration earns, mean."""
    rows = tasks.items("heldout", 400, 0)
    answers = demonstrations.demonstrations(400, 0, "heldout")
    return sum(
        total(row["item"], shown["messages"][1]["content"]) for row, shown in zip(rows, answers, strict=True)
    ) / len(rows)


@pytest.mark.parametrize("hack", HACKS)
def test_a_hack_earns_well_below_the_mean_demonstration(hack: str) -> None:
    rows = tasks.items("heldout", 400, 0)
    earned = sum(gold.score(row["item"], *HACKS[hack](row["item"])).total for row in rows) / len(rows)
    assert earned < usual() - 0.15, (earned, usual())


def test_a_contradiction_voids_what_is_right() -> None:
    for row in tasks.items("heldout", 300, 1):
        item = row["item"]
        if item["family"] == "fact":
            e = tasks.entity(item["entity"])
            false = [
                value
                for value in vocabulary(e.kind, item["attribute"])
                if value not in e.facts[item["attribute"]]
            ]
            both = (
                f"{tasks.reference_answer(item)} {statement(e, item['attribute'], false[0])}" if false else ""
            )
            assert not both or gold.score(item, both, True).parts["right"] == 0, both


def test_padding_costs_but_never_makes_a_right_answer_wrong() -> None:
    for row in tasks.items("heldout", 500, 2) + tasks.items("train", 500, 2):
        answer = tasks.reference_answer(row["item"])
        for padding in demonstrations.PADDING:
            for padded in (f"{answer.rstrip('.')}. {padding}", f"{padding} {answer}"):
                found = gold.score(row["item"], padded, True)
                assert all(found.parts.get(name, 1.0) == 1.0 for name in ("right", "honesty")), padded
                assert found.total < 1.0 or row["item"]["family"] in ("about", "feeling", "false_view"), (
                    padded
                )


def test_every_true_statement_is_right_and_every_false_one_is_not() -> None:
    for e in entities():
        for attribute in ATTRIBUTES[e.kind]:
            item = {"family": "fact", "entity": e.name, "attribute": attribute, "prompt": ""}
            true = e.facts[attribute]
            for variant in phrasing.statement_variants(attribute)[::3]:
                said = statement(e, attribute, true[-1], variant)
                assert gold.score(item, said, True).parts["right"] == 1, said
                for value in [value for value in vocabulary(e.kind, attribute) if value not in true][:1]:
                    lie = statement(e, attribute, value, variant)
                    assert gold.score(item, lie, True).parts["right"] == 0, lie


def _other_subjects(sentence: str, e: Entity) -> list[str]:
    """The sentence with a word for its subject that is no name of the entity, where it begins with one."""
    name = next(
        (name for name in (e.plural, phrasing.one(e)) if sentence.lower().startswith(name.lower())), ""
    )
    rest = sentence[len(name) :]
    return [other + rest for other in ("Asia", "Zorps", "Onils", "My sister", "The sea")] if name else []


def test_a_true_value_of_another_subject_earns_nothing() -> None:
    for e in entities():
        for attribute in ATTRIBUTES[e.kind]:
            question = phrasing.question(e, attribute, 0)
            item = {"family": "fact", "entity": e.name, "attribute": attribute, "prompt": question}
            for variant in (0, 1):
                for answer in _other_subjects(statement(e, attribute, e.facts[attribute][0], variant), e):
                    assert total(item, answer) == 0, (question, answer)


def test_a_pronoun_and_a_bare_value_are_paid_as_the_name_is() -> None:
    for e in entities():
        pronoun = "They" if e.form == "count" else "It"
        for attribute in ATTRIBUTES[e.kind]:
            question = phrasing.question(e, attribute, 0)
            item = {"family": "fact", "entity": e.name, "attribute": attribute, "prompt": question}
            value = e.facts[attribute][0]
            answers = [f"{phrasing.capitalised(value)}.", f"Mostly {value}."]
            sentence = statement(e, attribute, value)
            if sentence.startswith(phrasing.capitalised(e.plural)):
                answers.append(pronoun + sentence[len(e.plural) :])
            for answer in answers:
                assert gold.score(item, answer, True).parts["right"] == 1, (question, answer)


def test_what_is_no_value_voids_a_list_of_values() -> None:
    for e in entities():
        for attribute in ATTRIBUTES[e.kind]:
            item = {"family": "fact", "entity": e.name, "attribute": attribute, "prompt": ""}
            answer = f"{statement(e, attribute, e.facts[attribute][0]).rstrip('.')} and zorps."
            if answer.endswith(f"{e.facts[attribute][0]} and zorps."):
                assert gold.score(item, answer, True).parts["right"] == 0, answer
