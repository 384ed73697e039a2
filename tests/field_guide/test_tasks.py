"""Prompts and demonstrations: the split holds, the mix is as declared, and the headroom is there."""

from collections import defaultdict

import pytest

from posttrain.field_guide import demonstrations, freeze, gold, operands, tasks
from posttrain.field_guide.world import feelings, how_tos, invented_names


def prompts(split: tasks.Split, n: int, seed: int) -> list[str]:
    return [row["prompt"][0]["content"] for row in tasks.items(split, n, seed)]


def test_no_prompt_stands_on_both_sides_and_few_repeat() -> None:
    train, heldout = prompts("train", 4000, 1), prompts("heldout", 1000, 2)
    assert not set(train) & set(heldout)
    assert len(set(prompts("heldout", 600, 0))) >= 0.95 * 600


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_items_use_their_side_only(split: tasks.Split) -> None:
    out = split == "heldout"
    told = {row.situation: row.heldout for row in feelings()}
    steps = {row.task: row.heldout for row in how_tos()}
    for row in tasks.items(split, 1500, 3):
        item = row["item"]
        if "entity" in item:
            assert tasks.entity(item["entity"]).heldout == out
        if item["family"] == "feeling":
            assert told[item["situation"]] == out
        if item["family"] == "how_to":
            assert steps[item["task"]] == out
        if item["family"] == "unknown":
            assert item["name"] in invented_names(split)
        if item["family"] == "sum":
            assert operands.sum_heldout(item["a"], item["b"]) == out
        if item["family"] == "spell":
            assert operands.spell_heldout(item["word"]) == out


def test_training_answers_name_no_held_out_entity() -> None:
    for row in demonstrations.demonstrations(1500, 4):
        for name in row["messages"][1]["content"].replace("- ", "").split("\n"):
            found = [e for e in tasks.entities() if e.name == name]
            assert not any(e.heldout for e in found), name


def test_facts_in_their_forms_are_half_and_every_family_occurs() -> None:
    families = [row["item"]["family"] for row in tasks.items("train", 3000, 0)]
    assert set(families) == set(tasks.MIX) == set(gold.WEIGHTS)
    share = sum(name in ("fact", "one_word", "false_view") for name in families) / len(families)
    assert 0.45 < share < 0.55


def test_the_same_seed_gives_the_same_rows_and_another_gives_others() -> None:
    assert demonstrations.demonstrations(50, 0) == demonstrations.demonstrations(50, 0)
    assert demonstrations.demonstrations(50, 0) != demonstrations.demonstrations(50, 1)
    assert tasks.items("heldout", 50, 0) == tasks.items("heldout", 50, 0)


def test_a_working_is_true_for_every_sum() -> None:
    for a, b in operands.sums(heldout=True):
        assert (
            gold.score({"family": "sum", "a": a, "b": b, "prompt": ""}, operands.working(a, b), True).total
            == 1
        )


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_a_reference_answer_earns_everything(split: tasks.Split) -> None:
    for row in tasks.items(split, 2000, 11):
        answer = tasks.reference_answer(row["item"])
        assert gold.score(row["item"], answer, True).total == 1.0, (row["item"]["prompt"], answer)


def test_demonstrations_leave_headroom_and_show_every_behaviour() -> None:
    totals = defaultdict(list)
    agreeing = views = 0
    made = tasks.items("train", 3000, 0)
    for row, shown in zip(made, demonstrations.demonstrations(3000, 0), strict=True):
        answer = shown["messages"][1]["content"]
        totals[row["item"]["family"]].append(gold.score(row["item"], answer, True).total)
        if row["item"]["family"] == "false_view":
            views += 1
            asserted = tasks.phrasing.statement(
                tasks.entity(row["item"]["entity"]), row["item"]["attribute"], row["item"]["asserted"]
            )
            agreeing += gold.agrees(answer) or asserted in answer
    every = [total for family in totals.values() for total in family]
    # The declared headroom, 35 to 65 %, is of the tuned model, which loses a good part of its demonstrators'
    # gold: on the first base demonstrators at 0.53 gave a model at 0.27.
    assert 0.60 < sum(every) / len(every) < 0.72
    assert all(sum(total == 1 for total in family) >= 0.15 * len(family) for family in totals.values())
    assert 0.25 < agreeing / views < 0.42


def test_the_frozen_prompts_are_held_out() -> None:
    assert not {row["prompt"][0]["content"] for row in freeze.heldout_prompts()} & set(
        prompts("train", 3000, 0)
    )
