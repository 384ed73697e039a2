"""``evidence=quick`` leaves out the controls and nothing else, and the report names what was left out."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from posttrain import settings
from posttrain.cli.recipe_help import recipe_help
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.plan import Pipeline
from posttrain.pipeline.stage import addresses
from posttrain.pipeline.store import Workspace
from posttrain.recipes.best_of_n import best_of_n
from posttrain.recipes.deepseek_r1_zero import deepseek_r1_zero
from posttrain.recipes.dpo import dpo
from posttrain.recipes.instructgpt import instructgpt
from posttrain.recipes.iterated_dpo import iterated_dpo
from posttrain.recipes.rounds import rounds
from posttrain.report.page import html
from posttrain.report.record import RunRecord as Told
from tests.stages.test_instructgpt import make, recipe, save_llama

CONTROLLED: list[Any] = [
    (instructgpt, {"rm_shuffled", "sft_4x"}),
    (partial(instructgpt, ptx=0.4), {"plain_control"}),
    (best_of_n, {"random_control"}),
    (partial(rounds, count=2), {"frozen_control"}),
    (partial(iterated_dpo, count=2), {"frozen_control"}),
    (deepseek_r1_zero, {"random_control", "format_control", "sft_verified"}),
]


@pytest.mark.parametrize(("made", "controls"), CONTROLLED)
def test_quick_leaves_out_the_controls_and_full_makes_no_other_stage_again(
    made: Any, controls: set[str], tmp_path: Path
) -> None:
    quick, full = (Pipeline(made(evidence=word), Workspace(tmp_path)) for word in ("quick", "full"))
    shared = quick.fingerprint.keys() - {"evaluate"}
    assert {full.fingerprint[address] for address in full.fingerprint} >= {
        quick.fingerprint[address] for address in shared
    }
    assert quick.fingerprint["evaluate"] != full.fingerprint["evaluate"]
    names = {text.partition(": ")[0] for text in quick.stages["evaluate"].left_out}  # type: ignore[attr-defined]
    assert names == controls
    gone = {address.partition("[")[0] for address in full.stages.keys() - quick.stages.keys()}
    assert controls <= gone
    assert full.stages["evaluate"].left_out == ()  # type: ignore[attr-defined]


def test_only_what_full_would_add_is_named_as_left_out() -> None:
    assert addresses(instructgpt(model="smollm2"))["evaluate"].left_out == ()  # type: ignore[attr-defined]
    assert addresses(rounds(count=1))["evaluate"].left_out == ()  # type: ignore[attr-defined]
    assert addresses(dpo())["evaluate"].left_out == ()  # type: ignore[attr-defined]
    own = addresses(instructgpt(base="somewhere", comparisons="c.jsonl"))["evaluate"]
    assert own.left_out == ()  # type: ignore[attr-defined]
    own = addresses(instructgpt(base="somewhere", comparisons="c.jsonl", ptx=1.0, text="t.jsonl"))["evaluate"]
    assert [text.partition(": ")[0] for text in own.left_out] == ["plain_control"]  # type: ignore[attr-defined]


def test_other_evidence_is_refused_and_help_says_what_there_is() -> None:
    with pytest.raises(UserError, match="evidence=some: expected quick, full"):
        settings.expression(instructgpt, settings.parse(["evidence=some"]))
    with pytest.raises(UserError, match="expected quick, full"):
        rounds(evidence="some")  # type: ignore[arg-type]
    assert "quick or full" in recipe_help(instructgpt, "instructgpt", instructgpt())


def test_the_report_says_what_was_not_measured_and_how_it_is_added(
    tmp_path: Path, letters: PreTrainedTokenizerFast
) -> None:
    source = save_llama(tmp_path / "model", letters)
    left_out = instructgpt().left_out  # type: ignore[attr-defined]
    result = make(replace(recipe(source), left_out=left_out), tmp_path / "workspace")
    report = result.products["evaluate"].report
    assert report.values["not_measured/sft_4x"] == report.values["not_measured/rm_shuffled"]
    assert "nll_ratio_4x" not in report.values
    result.save("finished")
    page = html(Told.load(result.directory, tmp_path / "workspace"))
    for text in left_out:
        name, _, shows = text.partition(": ")
        assert f"{name} ({shows})" in page
    assert "evidence=full adds them" in page


def test_the_plain_objective_is_the_reward_less_the_kl_from_the_reference() -> None:
    sharpened, plain = (addresses(instructgpt(objective=word)) for word in ("sharpened", "plain"))
    default = addresses(instructgpt())
    assert default["rl"] == sharpened["rl"]
    assert sharpened["rl"].method.kl.power == 3.0  # type: ignore[attr-defined]
    assert plain["rl"].method.kl.power == 1.0  # type: ignore[attr-defined]
    assert plain["rl"].control.target == 2.5  # type: ignore[attr-defined]
    assert plain["rm"] == sharpened["rm"]  # the same policy, labels and reward model


def test_an_objective_is_refused_where_there_are_no_settings_for_it() -> None:
    other = addresses(instructgpt(model="smollm2"))["rl"].method.kl.power  # type: ignore[attr-defined]
    assert other == 1.0
    assert addresses(instructgpt(model="smollm2", objective="plain"))["rl"].method.kl.power == other  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"rl\.method\.kl\.power=3"):
        instructgpt(base="somewhere", objective="sharpened")
    with pytest.raises(UserError, match="expected sharpened, plain"):
        instructgpt(objective="dull")  # type: ignore[arg-type]
    assert "sharpened or plain" in recipe_help(instructgpt, "instructgpt", instructgpt())


def test_a_control_follows_the_stage_that_it_controls() -> None:
    def stages(recipe: Any, *wishes: str) -> dict[str, Any]:
        return dict(addresses(settings.expression(recipe, settings.parse(["evidence=full", *wishes]))))

    zero = stages(deepseek_r1_zero, "rl.steps=1", "rl.method.kl.coef=0.5")
    for name in ("random_control", "format_control"):
        assert zero[name].steps == 1
        assert zero[name].method.kl.coef == 0.5
        assert type(zero[name].reward) is not type(zero["rl"].reward)
    prompts, size = zero["rl"].batch_shape
    assert zero["verified"].rows == prompts * size // 8
    own = stages(deepseek_r1_zero, "rl.steps=1", "random_control.steps=7", "verified.rows=9")
    assert (own["random_control"].steps, own["format_control"].steps) == (7, 1)
    assert own["verified"].rows == 9
    chat = stages(instructgpt, "rm.learning_rate=1e-5", "sft.epochs=3", "rm.epochs=9")
    assert chat["rm_shuffled"].learning_rate == 1e-5
    assert chat["rm_shuffled"].epochs == 1  # was never the reward model's
    assert chat["rm_shuffled"].shuffled_labels
    assert chat["sft_4x"].epochs == 3
    assert chat["sft_4x"].demonstrations is not chat["sft"].demonstrations
    plain = stages(instructgpt, "ptx=0.4", "rl.steps=2")
    assert (plain["plain_control"].steps, plain["plain_control"].pretraining) == (2, None)
    lot = stages(best_of_n, "rejection.answers=3", "best_of_n.learning_rate=1e-6")
    assert (lot["by_lot"].answers, lot["random_control"].learning_rate) == (3, 1e-6)
    before, after = (Pipeline(e, Workspace(Path("nowhere"))) for e in (dpo(), replace(dpo(), follows="rl")))
    assert before.fingerprint["evaluate"] == after.fingerprint["evaluate"]
