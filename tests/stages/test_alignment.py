"""Direct alignment as a stage, every method, on a world small enough for seconds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from posttrain.core.batch import DirectAlignment, Wants
from posttrain.core.implicit_reward import log_ratio, pair_metrics
from posttrain.core.preferences import pairs as of_rows
from posttrain.direct_alignment.c_dpo import CDPO
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.ipo import IPO
from posttrain.direct_alignment.kto import KTO
from posttrain.direct_alignment.orpo import ORPO
from posttrain.direct_alignment.sft import SFT
from posttrain.direct_alignment.simpo import SimPO
from posttrain.metrics import flat
from posttrain.models.roles import open_policy
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import Run, run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine, Stage
from posttrain.pipeline.store import Workspace
from posttrain.recipes.dpo import dpo
from posttrain.reward_losses.bradley_terry import BradleyTerry
from posttrain.reward_losses.outcome import Outcome
from posttrain.reward_losses.plackett_luce import PlackettLuce
from posttrain.settings import expression, parse
from posttrain.stages import alignment
from posttrain.stages.alignment import Alignment, Batches
from posttrain.stages.base import ExistingModel
from posttrain.stages.fitting import mismatched
from posttrain.stages.labels import ComparisonRows, RatedRows
from posttrain.stages.rm import RewardModeling
from posttrain.storage.durable import hash_file
from posttrain.storage.preference_store import PreferenceRow, PreferenceStore
from posttrain.storage.token_rows import TokenRow
from tests.stages.test_instructgpt import save_llama


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> tuple[Stage, Stage]:
    """A model, and comparisons in which the answer of a's beats the answer of b's."""
    folder = tmp_path_factory.mktemp("alignment")
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{i} {q}"}],
            "chosen": [{"role": "assistant", "content": "a" * (1 + i % 3)}],
            "rejected": [{"role": "assistant", "content": "b" * (1 + i % 4)}],
            "margin": i % 3,
        }
        for i in range(20)
        for q in ("who", "why")
    ]
    (folder / "rows.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    base = ExistingModel(source=SourceFile(str(save_llama(folder / "model", letters))))
    return base, ComparisonRows(source=SourceFile(str(folder / "rows.jsonl"), "datasets"), heldout_share=0.2)


def made(world: tuple[Stage, Stage], workspace: Path, **settings: Any) -> Run:
    stage = Alignment(
        policy=world[0],
        comparisons=world[1],
        **{"learning_rate": 3e-3, "epochs": 6, "batch_size": 8, **settings},
    )
    return run(
        stage,
        Workspace(workspace),
        Machine(quiet=True, micro_batch_tokens=200),
        accept=("alignment_above_chance",),
        say=lambda text: None,
    )


@pytest.mark.parametrize(
    "method", [DPO(), CDPO(), IPO(), KTO(beta=0.5), SimPO(), ORPO()], ids=lambda m: type(m).__name__
)
def test_it_learns_what_was_preferred(
    world: tuple[Stage, Stage], method: DirectAlignment, tmp_path: Path
) -> None:
    product = made(world, tmp_path, method=method).products["alignment"]
    assert float(product.values["label_accuracy"]) >= 0.9
    rows = [json.loads(line) for line in (product.path / "metrics.jsonl").open()]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert all(math.isfinite(row["loss"]) for row in rows)
    AutoModelForCausalLM.from_pretrained(product.path)


def test_it_starts_at_its_reference(world: tuple[Stage, Stage], tmp_path: Path) -> None:
    for lora in (None, 2):
        adapter = None
        if lora is not None:
            from posttrain.models.lora import Lora

            adapter = Lora(rank=lora, alpha=4.0)
        product = made(world, tmp_path, lora=adapter, epochs=1).products["alignment"]
        first = json.loads((product.path / "metrics.jsonl").open().readline())
        assert first["pair_loss"] == pytest.approx(math.log(2), abs=1e-5)
        assert first["gap"] == pytest.approx(0, abs=1e-5)


def on_disk(directory: Path, said: Sequence[PreferenceRow]) -> PreferenceStore:
    kept = PreferenceStore(directory)
    for one in said:
        kept.append(one)
    return kept


def test_the_reference_is_read_once_and_stands_beside_its_rows(
    world: tuple[Stage, Stage], tmp_path: Path, letters: PreTrainedTokenizerFast
) -> None:
    policy = open_policy(save_llama(tmp_path / "m", letters)).policy
    rows = [
        TokenRow(ids=list(range(5, 5 + n)), mask=[False, False] + [True] * (n - 2))
        for n in (5, 4, 7, 3, 6, 9)
    ]
    compared = on_disk(tmp_path, [PreferenceRow(rows=rows[at : at + 2], ranks=[0, 1]) for at in (0, 2, 4)])
    for method in (DPO(), KTO()):
        batches = Batches.of(compared, method, policy, 0, Machine(quiet=True, micro_batch_tokens=9))
        past = batches.at([2, 0])
        with torch.no_grad():
            now = policy.evaluate(past.rollouts, Wants())
        assert past.reference is not None
        torch.testing.assert_close(past.reference.logprobs, now.logprobs, atol=1e-5, rtol=0)
        assert past.rank.tolist() == [0, 1, -1] * 2 if isinstance(method, KTO) else [0, 1] * 2
    assert Batches.of(compared, SimPO(), policy, 0, Machine(quiet=True)).at([0]).reference is None


def test_ktos_baseline_is_of_answers_to_other_prompts(
    tmp_path: Path, letters: PreTrainedTokenizerFast
) -> None:
    policy = open_policy(save_llama(tmp_path / "m", letters)).policy
    said = [
        PreferenceRow(
            rows=[TokenRow(ids=[1, 10 + n, 20 + n, 30 + n + side], mask=[False, False, True, True])],
            ranks=[side],
        )
        for n in range(6)
        for side in (0, 1)
    ]
    batches = Batches.of(on_disk(tmp_path, said), KTO(), policy, 0, Machine(quiet=True))
    past = batches.at(range(len(said)))
    tokens = past.rollouts.context["tokens"]
    other = past.rank == -1
    assert other.tolist() == [False, True] * len(said)
    assert torch.equal(tokens[other][:, :2], tokens[~other][:, :2])  # under the same prompts
    own = [tuple(row) for row in tokens[~other][:, 2:].tolist()]
    for place, row in enumerate(tokens[other][:, 2:].tolist()):
        assert tuple(row) in own
        assert tuple(row) != own[place]


@pytest.mark.parametrize("kind", ["pairs", "ratings"])
@pytest.mark.parametrize(
    "method", [DPO(length_normalised=True), KTO(), SimPO()], ids=lambda m: type(m).__name__
)
def test_held_out_metrics_are_those_of_all_rows_at_once(
    method: DirectAlignment,
    kind: str,
    tmp_path: Path,
    letters: PreTrainedTokenizerFast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if kind == "ratings" and method.wants.whole_groups:
        return
    policy, machine = open_policy(save_llama(tmp_path / "m", letters)).policy, Machine(micro_batch_tokens=40)
    g = torch.Generator().manual_seed(0)
    said = []
    for number in range(7):
        ids = torch.randint(5, 40, (2, 12 + number), generator=g).tolist()
        rows = [TokenRow(ids=one, mask=[False] * 4 + [True] * (8 + number)) for one in ids]
        both = kind == "pairs"
        said.append(
            PreferenceRow(rows=rows[: 1 + both], ranks=[0, 1] if both else [number % 2], confidence=0.9)
        )
    parameters = policy.parameters_of("policy")
    weights = [parameter.detach().clone() for parameter in parameters]
    with torch.no_grad():  # a reference to which everything is less likely, so that KTO has a baseline
        for parameter in parameters:
            parameter += 0.05 * torch.randn(parameter.shape, generator=g)
        unseen = Batches.of(on_disk(tmp_path, said), method, policy, 0, machine)
        for parameter, weight in zip(parameters, weights, strict=True):
            parameter.copy_(weight)
        past = unseen.at(range(7))
        now = policy.evaluate(past.rollouts, Wants())
        past = method.measure(now, past)
        terms, between = method.loss(now, past), of_rows(past)
        if isinstance(method, KTO) and kind == "pairs":
            h = log_ratio(now, past)
            terms |= pair_metrics(h[between.winner], h[between.loser], between, len(h))
    expected = {name: float((term.reduction(past) * term.values).sum()) for name, term in terms.items()}
    right = expected.pop("accuracy")
    found = []
    for at_once in (3, 100):
        monkeypatch.setattr(alignment, "AT_ONCE", at_once)
        found.append(flat(alignment._held(policy, method, unseen, machine)))
    for metrics in found:
        assert metrics["label_accuracy"] == pytest.approx(right)
        for name, value in expected.items():
            assert metrics[f"{name}_heldout"] == pytest.approx(value, rel=1e-4, abs=1e-6), name
    assert found[0].keys() == found[1].keys()
    assert all(found[0][name] == pytest.approx(found[1][name], rel=1e-12) for name in found[0])
    assert ("baseline_heldout" in found[0]) == method.wants.measure
    if method.wants.measure:
        assert found[0]["baseline_heldout"] > 0


def test_answers_that_were_rated_alone(world: tuple[Stage, Stage], tmp_path: Path) -> None:
    rows = [
        {"prompt": f"{i} who", "completion": "ab"[i % 2] * (1 + i % 3), "label": ["true", False][i % 2]}
        for i in range(60)
    ]
    (tmp_path / "rated.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    rated = RatedRows(source=SourceFile(str(tmp_path / "rated.jsonl"), "datasets"), heldout_share=0.3)
    product = made((world[0], rated), tmp_path, method=KTO(beta=0.5)).products["alignment"]
    assert float(product.values["label_accuracy"]) >= 0.9
    with pytest.raises(UserError, match=r"method=kto"):
        made((world[0], rated), tmp_path)


def test_a_label_that_is_neither_is_named(world: tuple[Stage, Stage], tmp_path: Path) -> None:
    (tmp_path / "rated.jsonl").write_text('{"prompt": "who", "completion": "a", "label": "good"}')
    rated = RatedRows(source=SourceFile(str(tmp_path / "rated.jsonl"), "datasets"))
    with pytest.raises(UserError, match=r"label is 'good', expected true"):
        made((world[0], rated), tmp_path, method=KTO())


def test_a_mismatched_row_has_another_prompts_answer() -> None:
    own = TokenRow(ids=[1, 2, 3, 4], mask=[False, False, True, True])
    other = TokenRow(ids=[7, 8, 9], mask=[False, True, True])
    found = mismatched(own, other)
    assert (list(found.ids), list(found.mask)) == ([1, 2, 8, 9], [False, False, True, True])


def test_an_answer_to_another_prompt_loses(world: tuple[Stage, Stage], tmp_path: Path) -> None:
    def fitted(share: float) -> tuple[int, str]:
        stage = RewardModeling(base=world[0], comparisons=world[1], epochs=1, batch_size=8, mismatched=share)
        quiet = Machine(quiet=True, micro_batch_tokens=200)
        accept = ("rm_above_chance",)
        made_by = run(stage, Workspace(tmp_path), quiet, accept=accept, say=lambda text: None)
        path = made_by.products["rm"].path
        return len((path / "metrics.jsonl").read_text().splitlines()), hash_file(path / "model.safetensors")

    plain, more = fitted(0.0), fitted(1.0)
    assert plain[1] != more[1]
    assert plain[0] < more[0] < 2 * plain[0]  # a third of the answers are alike and make no pair


def test_a_reward_model_learns_by_other_losses_too(world: tuple[Stage, Stage], tmp_path: Path) -> None:
    found = {}
    for method in (BradleyTerry(), BradleyTerry(margin=True), PlackettLuce(), Outcome()):
        stage = RewardModeling(
            base=world[0],
            comparisons=world[1],
            method=method,
            learning_rate=3e-3,
            epochs=6,
            batch_size=8,
            weight_decay=0.0,
        )
        made_by = run(
            stage,
            Workspace(tmp_path),
            Machine(quiet=True, micro_batch_tokens=200),
            accept=("rm_above_chance",),
            say=lambda text: None,
        )
        product = made_by.products["rm"]
        assert float(product.values["label_accuracy"]) >= 0.9, method
        found[method] = hash_file(product.path / "model.safetensors")
    assert len(set(found.values())) == 4, "no product was taken for another's"


def test_copying_both_answers_is_refused(world: tuple[Stage, Stage]) -> None:
    with pytest.raises(UserError, match="demonstrations"):
        Alignment(policy=world[0], comparisons=world[1], method=SFT())


def test_the_recipe_takes_any_method_by_name() -> None:
    for name, kind in (("ipo", IPO), ("c_dpo", CDPO), ("kto", KTO), ("simpo", SimPO)):
        told: Any = expression(dpo, parse([f"alignment.method={name}", "alignment.method.beta=0.3"]))
        assert isinstance(told.final, Alignment)
        assert told.final.method == replace(kind(), beta=0.3)
        assert told.final.comparisons is told.labels
        assert told.final.policy is told.sft
    rated: Any = expression(dpo, parse(["ratings=rows.jsonl"]))
    assert isinstance(rated.comparisons, RatedRows)
    assert isinstance(rated.method, KTO)
    with pytest.raises(UserError, match="ratings"):
        expression(dpo, parse(["ratings=rows.jsonl", "comparisons=others.jsonl"]))
    with pytest.raises(UserError, match="dpo"):
        expression(dpo, parse(["alignment.method=dpoo"]))
    with pytest.raises(UserError, match="beta"):
        expression(dpo, parse(["alignment.method.beta=0"]))


def test_a_mismatched_row_keeps_the_turns_before() -> None:
    talk = TokenRow(ids=[1, 2, 3, 4, 5, 6], mask=[False, False, True, False, True, True])
    other = TokenRow(ids=[1, 7, 8, 9, 10], mask=[False, True, False, True, True])
    found = mismatched(talk, other)
    assert list(found.ids) == [1, 2, 3, 4, 9, 10]
    assert list(found.mask) == [False, False, True, False, True, True]
