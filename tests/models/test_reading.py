"""A score is read after the layer and at the tokens that its setting names, wherever the model is used."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from posttrain.core.batch import Wants
from posttrain.models.classifier import TextClassifier
from posttrain.models.collate import rollouts
from posttrain.models.cutting import cut
from posttrain.models.language_policy import LanguageReward
from posttrain.models.loading import load_reward_model, save_causal_lm
from posttrain.models.lora import Lora
from posttrain.models.reading import Reading
from posttrain.models.roles import ModelPlacement, open_policy, open_reward
from posttrain.pipeline.finding import UserError
from posttrain.storage.token_rows import TokenRow
from tests.models.small import CONFIGS, causal, rows, tokenizer
from tests.models.test_roles import shaken

LORA = Lora(rank=3, alpha=6.0)
EXACT = ModelPlacement(dtype="float64")


@pytest.fixture(params=sorted(CONFIGS))
def sft(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    save_causal_lm(tmp_path / "sft", causal(CONFIGS[request.param]()), tokenizer())
    return tmp_path / "sft"


def by_hand(
    model: torch.nn.Module, head: torch.Tensor, row: TokenRow, layer: int, mean: bool
) -> torch.Tensor:
    """A row alone, through transformers: the norm after ``layer`` layers, the head, the answer's tokens."""
    ids = torch.tensor([row.ids])
    trunk = model.base_model
    whole = trunk.config.num_hidden_layers
    states = trunk(input_ids=ids, output_hidden_states=True, use_cache=False)
    norm = trunk.norm if hasattr(trunk, "norm") else trunk.ln_f
    hidden = states.last_hidden_state if layer in (0, whole) else norm(states.hidden_states[layer])
    scores = hidden[0] @ head[0]
    answer = torch.tensor(row.mask)
    return scores[answer].mean() if mean else scores[answer.nonzero().max()]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("lora", [None, LORA])
def test_a_score_is_what_its_reading_says(
    sft: Path, layer: int, mean: bool, packed: bool, lora: Lora | None
) -> None:
    given = rows()
    role = open_reward(sft, lora=lora, seed=2, placement=EXACT, reading=Reading(layer=layer, mean=mean))
    role.reward.packed = packed
    plain = open_policy(sft, placement=EXACT).model
    wanted = [by_hand(plain, role.reward.role.head.weight, row, layer, mean) for row in given]
    batch = rollouts(given, 1)
    scores = role.reward.score(batch)
    torch.testing.assert_close(scores.sum(1), torch.stack(wanted), rtol=1e-10, atol=1e-10)
    assert bool((scores != 0).sum(1).eq(1).all())  # paid once, at the end of the answer
    made = role.reward.features(batch) @ role.reward.role.head.weight[0].float()
    torch.testing.assert_close(made, scores.sum(1).float(), rtol=1e-4, atol=1e-4)


def test_what_stands_beside_an_answer_does_not_move_its_mean(sft: Path) -> None:
    """Micro-batches, order, and rows that share their beginning."""
    given = [
        *rows(),
        *(TokenRow(ids=[7, 8, 9, 10, n], mask=[False, False, True, True, True]) for n in (11, 12)),
    ]
    reward = open_reward(sft, seed=2, placement=EXACT, reading=Reading(layer=1, mean=True)).reward
    together = reward.score(rollouts(given, 1)).sum(1)
    alone = torch.cat([reward.score(rollouts([row], 1)).sum(1) for row in given])
    torch.testing.assert_close(together, alone, rtol=1e-10, atol=1e-10)
    backwards = reward.score(rollouts(given[::-1], 1)).sum(1).flip(0)
    torch.testing.assert_close(together, backwards, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("lora", [None, LORA])
@pytest.mark.parametrize("mean", [False, True])
def test_every_user_of_a_saved_reward_model_reads_it_as_it_was_trained(
    sft: Path, tmp_path: Path, lora: Lora | None, mean: bool
) -> None:
    made = open_reward(sft, lora=lora, seed=2, reading=Reading(layer=1, mean=mean))
    if lora is not None:
        shaken(made.reward.role.adapter, 8)  # type: ignore[arg-type]
    made.save(tmp_path / "rm")
    batch = rollouts(rows(), 1)
    wanted = made.reward.score(batch)
    again, _ = load_reward_model(tmp_path / "rm")
    assert again.config.num_hidden_layers == 1
    torch.testing.assert_close(LanguageReward(again).score(batch), wanted, rtol=1e-4, atol=1e-4)
    further = open_reward(tmp_path / "rm", lora=lora).reward
    torch.testing.assert_close(further.score(batch), wanted, rtol=1e-4, atol=1e-4)


def test_one_that_reads_the_end_is_a_plain_classifier_and_one_that_does_not_says_so(
    sft: Path, tmp_path: Path
) -> None:
    row = TokenRow(ids=[7, 8, 9, 10], mask=[False, False, True, True])
    batch = rollouts([row], 1)
    for mean in (False, True):
        made = open_reward(sft, seed=2, reading=Reading(layer=1, mean=mean))
        made.save(tmp_path / str(mean))
        plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / str(mean))
        theirs = plain(input_ids=torch.tensor([row.ids])).logits[0, 0]
        ours = made.reward.score(batch).sum()
        assert torch.allclose(theirs, ours, rtol=1e-4, atol=1e-5) != mean
    assert not (tmp_path / "False" / "README.md").exists()
    assert "mean" in (tmp_path / "True" / "README.md").read_text()
    TextClassifier(tmp_path / "False", "", "cpu")
    with pytest.raises(UserError, match="mean over the answer's tokens"):
        TextClassifier(tmp_path / "True", "", "cpu")


def test_a_critic_shares_the_lower_layers_and_begins_as_the_reward_model(sft: Path, tmp_path: Path) -> None:
    made = open_reward(sft, lora=LORA, seed=2, reading=Reading(layer=1, mean=True))
    shaken(made.reward.role.adapter, 8)  # type: ignore[arg-type]
    made.save(tmp_path / "rm")
    roles = open_policy(sft, lora=LORA, critic=tmp_path / "rm", reference=True)
    critic = roles.policy.critic
    assert critic is not None
    shared = {id(p) for p in roles.model.base_model.parameters()}
    assert {id(p) for p in critic.trunk.parameters()} <= shared
    assert critic.trunk.config.num_hidden_layers == 1
    assert roles.model.config.num_hidden_layers == 2
    given = rows()
    batch = rollouts(given, 1)
    found = roles.policy.evaluate(batch, Wants(values=True))
    assert found.values is not None
    # the values of the states after the answer's tokens have the score as their mean
    scores = made.reward.score(batch).sum(1)
    for row, (value, last) in enumerate(zip(found.values, found.bootstrap, strict=True)):  # type: ignore[arg-type]
        mask = batch.action_mask[row]
        steps = mask.nonzero()[:, 0].tolist()
        if steps != list(range(steps[0], steps[-1] + 1)):
            continue  # what a tool said lies between
        after = torch.cat([value[steps[1:]], last[None]])
        torch.testing.assert_close(after.mean(), scores[row], rtol=1e-4, atol=1e-4)
    roles.save(tmp_path / "final")
    assert not (tmp_path / "final" / "critic" / "README.md").exists()


def test_a_role_on_a_cut_trunk_wears_its_adapter_once(sft: Path) -> None:
    """The layers of both trunks are the same modules: a hook for each trunk would add the adapter twice."""
    model = open_policy(sft, placement=EXACT).model
    lower = cut(model, 1)
    role = open_reward(sft, lora=LORA, seed=4, placement=EXACT, reading=Reading(layer=1)).reward
    assert lower.base_model is not model.base_model
    from posttrain.models.lora import Adapter, attach
    from posttrain.models.role import Role

    attach(lower.base_model)
    on_lower = Adapter(lower.base_model, LORA, seed=4)
    Adapter(model.base_model, LORA, seed=5)
    for adapter in (on_lower, role.role.adapter):
        shaken(adapter, 8)  # type: ignore[arg-type]
    batch = rollouts(rows(), 1)
    shared = LanguageReward(Role(lower.base_model, role.role.head, on_lower))
    torch.testing.assert_close(shared.score(batch), role.score(batch), rtol=1e-10, atol=1e-10)


def test_a_reading_that_cannot_be_is_named(sft: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="3, but the model has 2 layers"):
        open_reward(sft, reading=Reading(layer=3))
    with pytest.raises(UserError, match="-1"):
        Reading(layer=-1)
    open_reward(sft, reading=Reading(layer=1, mean=True)).save(tmp_path / "rm")
    with pytest.raises(UserError, match="read after layer 1"):
        open_reward(tmp_path / "rm", reading=Reading(layer=2))
