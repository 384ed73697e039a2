"""Win rates count ties as half, components are compared where they apply, and unknown stays unknown."""

from collections.abc import Sequence

import pytest

from posttrain.evaluation.compare import Answers, against, by_family, components, falls, of_one
from posttrain.evaluation.gold import Judgement, judge
from posttrain.metrics import flat


def answers(name: str, totals: Sequence[float | None], rewards: Sequence[float] = ()) -> Answers:
    return Answers(
        name=name,
        texts=["two words"] * len(totals),
        ended=[True] * len(totals),
        rewards=rewards or [0.0] * len(totals),
        gold=[
            None if t is None else Judgement(t, {"right": t, **({"manner": 1.0} if t > 0.5 else {})})
            for t in totals
        ],
    )


def test_a_tie_is_half_a_win() -> None:
    metrics = flat(against(answers("final", [1.0, 0.5, 0.2, 0.9]), answers("sft", [0.5, 0.5, 0.3, 0.1])))
    assert metrics["win_rate/final_vs_sft"] == pytest.approx(2.5 / 4)
    assert metrics["tie_rate/final_vs_sft"] == pytest.approx(1 / 4)
    assert metrics["gold_change/final_vs_sft"] == pytest.approx(1.2 / 4)
    assert metrics["win_rate/final_vs_sft_n"] == 4


def test_the_reward_models_view_is_told_apart_from_gold() -> None:
    metrics = flat(against(answers("final", [0.0, 0.0], [2.0, 2.0]), answers("sft", [1.0, 1.0], [1.0, 1.0])))
    assert metrics["win_rate/final_vs_sft"] == 0.0
    assert metrics["reward_win_rate/final_vs_sft"] == 1.0


def test_without_gold_the_metrics_say_unknown() -> None:
    metrics = flat(
        against(answers("final", [None, None]), answers("sft", [None, None])) | of_one(answers("sft", [None]))
    )
    assert metrics["win_rate/final_vs_sft"] == metrics["gold/sft"] == "unknown"
    assert falls(answers("a", [None]), answers("b", [None]))["component_change_worst"].value == "unknown"


def test_a_component_that_fell_is_named() -> None:
    metrics = flat(falls(answers("final", [0.2, 0.4]), answers("sft", [0.5, 0.4])))
    assert metrics["component_change/right"] == pytest.approx(-0.15)
    assert metrics["component_change_worst"] == pytest.approx(-0.15)


def test_components_are_means_over_the_prompts_they_apply_to() -> None:
    assert components(answers("sft", [1.0, 0.2, None])) == {"manner": [1.0], "right": [1.0, 0.2]}


def test_a_prompt_without_an_item_has_no_gold_and_constraints_have_theirs() -> None:
    assert judge({"prompt": []}, "anything", True) is None
    item = {"family": "constraint", "checks": [{"check": "lowercase"}, {"check": "one_word"}]}
    found = judge({"item": item}, "two words", True)
    assert found is not None
    assert found.total == 0.5
    assert found.parts == {"lowercase": 1.0, "one_word": 0.0}


def judged(name: str, parts: Sequence[dict[str, float]]) -> Answers:
    return Answers(
        name=name,
        texts=["one two three"] * len(parts),
        ended=[place > 0 for place in range(len(parts))],
        rewards=[float(place) for place in range(len(parts))],
        gold=[Judgement(sum(part.values()) / len(part), part) for part in parts],
    )


def test_a_component_is_compared_where_it_applies_to_both() -> None:
    before = judged("sft", [{"right": 0.5, "manner": 1.0}, {"right": 0.5}, {"manner": 0.5}])
    after = judged("final", [{"right": 0.25, "manner": 0.9}, {"right": 0.75, "manner": 0.0}, {"right": 1.0}])
    metrics = flat(falls(after, before))
    assert metrics["component_change/right"] == pytest.approx(0.0)
    assert metrics["component_change/manner"] == pytest.approx(-0.1)
    assert metrics["component_change/manner_n"] == 1
    assert metrics["component_change_worst"] == pytest.approx(-0.1)


def test_what_one_model_said_by_itself() -> None:
    metrics = flat(of_one(judged("sft", [{"right": 0.0}, {"right": 1.0}, {"right": 0.5}, {"right": 1.0}])))
    assert metrics["ends/sft"] == 0.75
    assert metrics["words/sft"] == 3.0
    assert metrics["reward/sft"] == 1.5
    assert metrics["gold/sft"] == metrics["gold/sft/right"] == 0.625


def test_families_have_their_own_means() -> None:
    prompts = [{"item": {"family": family}} for family in ("fact", "list", "fact")]
    metrics = flat(by_family(answers("sft", [1.0, 0.25, 0.5]), prompts))
    families = {name: value for name, value in metrics.items() if name.count("/") == 2}
    assert families == {"gold_by_family/sft/fact": 0.75, "gold_by_family/sft/list": 0.25}
