"""TRL 1.16: the trainers' own loss functions, given the same log-probabilities by a model that is a table.

Slow, because importing TRL's trainers is.
"""

from __future__ import annotations

import importlib.metadata
from collections import defaultdict
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from posttrain.core.advantages import leave_one_out
from posttrain.core.batch import Evaluation, PreferenceBatch, concatenate
from posttrain.core.kl import KLInLoss, KLInReward, k3
from posttrain.core.preferences import ranked, wanted
from posttrain.direct_alignment.apo_down import APODown
from posttrain.direct_alignment.apo_zero import APOZero
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.ipo import IPO
from posttrain.direct_alignment.kto import KTO
from posttrain.direct_alignment.robust_dpo import RobustDPO
from posttrain.direct_alignment.sft import SFT
from posttrain.policy_gradients.cispo import CISPO
from posttrain.policy_gradients.dapo import DAPO
from posttrain.policy_gradients.dr_grpo import DrGRPO
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.gspo import GSPO
from posttrain.policy_gradients.rloo import RLOO
from posttrain.policy_gradients.sapo import SAPO
from posttrain.reward_losses.bradley_terry import BradleyTerry
from tests.peers.shared import (
    BEFORE,
    HALF,
    MASK,
    REFERENCE,
    REWARD,
    ROWS,
    STEPS,
    agree,
    draw,
    experience,
    facts,
    leaf,
    loss_of,
    ours,
    pairs,
)

pytestmark = pytest.mark.slow


def installed() -> bool:
    try:
        return importlib.metadata.version("trl").startswith("1.16")
    except importlib.metadata.PackageNotFoundError:
        return False


if not installed():
    pytest.skip("pip install 'trl==1.16.*'", allow_module_level=True)


def same(x: Any, reduction: str = "") -> Any:
    return x


ALONE = SimpleNamespace(
    device="cpu", gather=same, gather_for_metrics=same, reduce=same, num_processes=1, sync_gradients=True
)
PADDED = torch.cat([torch.zeros(ROWS, 1, dtype=torch.bool), MASK], 1).long()  # one token of prompt
IDS = torch.ones(ROWS, STEPS + 1, dtype=torch.long)


class Table:
    """A model that says given log-probabilities; zero where TRL's labels are ignored."""

    training = True

    def __init__(self, logprobs: Tensor) -> None:
        self.logprobs = logprobs

    def __call__(self, labels: Tensor | None = None, **inputs: Any) -> SimpleNamespace:
        assert labels is not None
        counted = labels[:, 1:] != -100
        said = torch.where(counted, self.logprobs, 0)
        blank = torch.zeros_like(said.detach())
        return SimpleNamespace(
            log_probs=said,
            entropy=blank,
            mean_logits=blank,
            is_top1=blank.bool(),
            label_mask=counted,
        )


def trainer(**settings: Any) -> SimpleNamespace:
    """What a loss function reads of its trainer."""
    plain = {
        "accelerator": ALONE,
        "model": torch.nn.Identity(),
        "aux_loss_enabled": False,
        "ld_alpha": None,
        "precompute_ref_logps": True,
        "f_divergence_type": "reverse_kl",
        "loss_weights": [1.0],
        "label_smoothing": 0.0,
        "use_weighting": False,
        "_metrics": {"train": defaultdict(list)},
        "_total_train_tokens": 0,
        "_tp_size": 1,
    }
    return SimpleNamespace(**(plain | settings))


def summed(x: Tensor) -> Tensor:
    return torch.where(MASK, x, 0).sum(1)


def dpo_of_trl(loss_type: str, beta: float, **settings: Any) -> tuple[Tensor, Tensor]:
    from trl.trainer.dpo_trainer import DPOTrainer

    logprobs = leaf()
    inputs = {
        "input_ids": IDS,
        "attention_mask": IDS,
        "completion_mask": PADDED,
        "ref_chosen_logps": summed(REFERENCE)[:HALF],
        "ref_rejected_logps": summed(REFERENCE)[HALF:],
    }
    # with ld_alpha the reference has to be weighed alike, so TRL runs it itself
    more = {"ref_model": Table(REFERENCE), "precompute_ref_logps": "ld_alpha" not in settings}
    stub = trainer(loss_types=[loss_type], beta=beta, **more, **settings)
    stub.args = SimpleNamespace(gradient_checkpointing_kwargs=None)
    stub.model.is_gradient_checkpointing = False  # type: ignore[assignment]
    loss = DPOTrainer._compute_loss(stub, Table(logprobs), inputs, False)
    (grad,) = torch.autograd.grad(loss, logprobs)
    return loss.detach(), grad


@pytest.mark.parametrize(
    ("loss_type", "method", "settings"),
    [
        ("sigmoid", DPO(beta=0.3), {}),
        ("sigmoid", DPO(beta=0.3, ld_alpha=0.4), {"ld_alpha": 0.4}),
        ("sigmoid_norm", DPO(beta=0.3, length_normalised=True), {}),
        ("robust", RobustDPO(beta=0.3, flipped=0.2), {"label_smoothing": 0.2}),
        ("ipo", IPO(beta=0.3, length_normalised=True), {}),
        ("apo_zero", APOZero(beta=0.3), {}),
        ("apo_down", APODown(beta=0.3), {}),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_preference_losses(loss_type: str, method: Any, settings: dict[str, Any]) -> None:
    agree(ours(method, pairs()), dpo_of_trl(loss_type, 0.3, **settings))


@pytest.mark.parametrize("far", [0.25, 2.0])
def test_kto_with_its_baseline_from_other_prompts(far: float) -> None:
    from trl.trainer.kto_trainer import KTOTrainer

    label = torch.tensor([True, False, True, True, False, False, True, False])
    other_now, other_ref = BEFORE + draw(20, far).abs() / 3, REFERENCE + draw(21, 0.1)
    logprobs = leaf()

    class Both(Table):
        """The rows that are judged, or the rows the KL is estimated on."""

        def __call__(self, labels: Tensor | None = None, **inputs: Any) -> SimpleNamespace:
            table = Table(other_now if bool((inputs["input_ids"] == 7).all()) else self.logprobs)
            return table(labels=labels, **inputs)

    inputs = {
        "input_ids": IDS,
        "attention_mask": IDS,
        "completion_mask": PADDED,
        "KL_input_ids": IDS * 7,
        "KL_attention_mask": IDS,
        "KL_completion_mask": PADDED,
        "label": label,
        "ref_logps": summed(REFERENCE),
        "ref_KL_logps": summed(other_ref),
    }
    stub = trainer(loss_type="kto", beta=0.4, desirable_weight=1.2, undesirable_weight=0.8, calculate_KL=True)
    stub._compute_kl_logps = lambda model, batch: KTOTrainer._compute_kl_logps(stub, model, batch)
    loss = KTOTrainer._compute_loss(stub, Both(logprobs), inputs, False)
    (grad,) = torch.autograd.grad(loss, logprobs)

    method = KTO(beta=0.4, desirable=1.2, undesirable=0.8)
    judged = replace(
        ranked(facts(torch.arange(ROWS)), (~label).long()), reference=Evaluation(logprobs=REFERENCE)
    )
    measured = replace(
        ranked(facts(torch.arange(ROWS) + ROWS), torch.full((ROWS,), -1)),
        reference=Evaluation(logprobs=other_ref),
    )
    past: PreferenceBatch = concatenate([judged, measured])
    mine = leaf()
    now = Evaluation(logprobs=torch.cat([mine, other_now]))
    past = method.measure(now, past)
    assert past.baseline is not None
    assert past.baseline[0] > 0
    got = loss_of(method, past, now)
    (got_grad,) = torch.autograd.grad(got, mine)
    agree((got.detach(), got_grad), (loss.detach(), grad))


def test_sft() -> None:
    from trl.trainer.sft_trainer import SFTTrainer

    logprobs = leaf()
    stub = trainer(
        compute_loss_func=None,
        label_smoother=None,
        args=SimpleNamespace(loss_type="nll", average_tokens_across_devices=False),
    )
    stub.accelerator = SimpleNamespace(**(vars(ALONE) | {"parallelism_config": None}))
    inputs = {
        "input_ids": IDS,
        "attention_mask": IDS,
        "labels": torch.where(PADDED.bool(), IDS, -100),
    }
    loss = SFTTrainer.compute_loss(stub, Table(logprobs), inputs)
    (grad,) = torch.autograd.grad(loss, logprobs)
    agree(ours(SFT(), wanted(facts())), (loss.detach(), grad))


def grpo_of_trl(loss_type: str, advantages: Tensor, **settings: Any) -> tuple[Tensor, Tensor]:
    from trl.trainer.grpo_trainer import GRPOTrainer

    logprobs = leaf()
    arguments = SimpleNamespace(
        use_bias_correction_kl=False,
        delta=None,
        sapo_temperature_pos=1.0,
        sapo_temperature_neg=1.05,
        steps_per_generation=1,
    )
    plain = {
        "loss_type": loss_type,
        "beta": 0.0,
        "epsilon_low": 0.2,
        "epsilon_high": 0.2,
        "args": arguments,
        "top_entropy_quantile": 1.0,
        "off_policy_mask_threshold": None,
        "importance_sampling_level": "token",
        "use_vllm": False,
        "current_gradient_accumulation_steps": 1,
        "max_completion_length": 11,
        "_entropy_bonus_enabled": False,
    }
    stub = trainer(**(plain | settings))
    blank = torch.zeros(ROWS, STEPS, dtype=torch.float64)
    stub._get_per_token_logps_and_entropies = lambda *a, **k: (logprobs, blank, None)
    inputs = {
        "prompt_ids": IDS[:, :1],
        "prompt_mask": IDS[:, :1],
        "completion_ids": IDS[:, 1:],
        "completion_mask": MASK.long(),
        "advantages": advantages,
        "old_per_token_logps": BEFORE,
        "ref_per_token_logps": REFERENCE,
        "num_items_in_batch": MASK.sum(),
    }
    loss = GRPOTrainer._compute_loss(stub, stub.model, inputs)
    (grad,) = torch.autograd.grad(loss, logprobs)
    return loss.detach(), grad


def scaled(std: bool) -> Tensor:
    """[rows]: TRL's advantages of two groups of four, as its scoring step computes them."""
    rewards = REWARD.view(2, 4)
    centred = rewards - rewards.mean(1, keepdim=True)
    return (centred / (rewards.std(1, keepdim=True) + 1e-4) if std else centred).flatten()


@pytest.mark.parametrize(
    ("loss_type", "method", "std", "settings"),
    [
        ("grpo", GRPO(kl=KLInLoss(coef=0.04, estimator=k3)), True, {"beta": 0.04}),
        ("dr_grpo", DrGRPO(max_length=11), False, {}),
        ("dapo", DAPO(), True, {"epsilon_high": 0.28}),
        ("cispo", CISPO(clip_range_high=0.3), True, {"epsilon_high": 1.3}),
        ("sapo", SAPO(), True, {}),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_grpo_and_its_kin(loss_type: str, method: Any, std: bool, settings: dict[str, Any]) -> None:
    agree(ours(method, experience(method)), grpo_of_trl(loss_type, scaled(std), **settings))


def test_gspo() -> None:
    """TRL's gradient of a sequence's ratio is that of the mean over its steps, as here."""
    method = GSPO(clip_range=0.3, clip_range_high=0.2)
    settings = {"importance_sampling_level": "sequence", "epsilon_low": 0.3, "epsilon_high": 0.2}
    agree(ours(method, experience(method)), grpo_of_trl("grpo", scaled(True), **settings))


def test_rloo_where_the_policy_is_the_sampler() -> None:
    """TRL takes the ratio of whole answers and clips it; ours is the gradient at a ratio of one."""
    from trl.trainer.rloo_trainer import RLOOTrainer

    method = RLOO(kl=KLInReward(coef=0.05))
    charge = 0.05 * summed(BEFORE - REFERENCE)
    grouped = (REWARD - charge).view(2, 4)
    others = (grouped.sum(1, keepdim=True) - grouped) / 3
    logprobs = BEFORE.clone().requires_grad_()
    stub = trainer(epsilon_low=0.2, epsilon_high=0.2)
    blank = torch.zeros(ROWS, STEPS, dtype=torch.float64)
    stub._get_per_token_logps_and_entropies = lambda *a, **k: (logprobs, blank, None)
    inputs = {
        "prompt_ids": IDS[:, :1],
        "prompt_mask": IDS[:, :1],
        "completion_ids": IDS[:, 1:],
        "completion_mask": MASK.long(),
        "advantages": (grouped - others).flatten(),
        "old_logps": summed(BEFORE),
    }
    loss = RLOOTrainer._compute_loss(stub, stub.model, inputs)
    (grad,) = torch.autograd.grad(loss, logprobs)
    past = experience(method)
    mine = BEFORE.clone().requires_grad_()
    (got,) = torch.autograd.grad(loss_of(method, past, Evaluation(logprobs=mine)), mine)
    assert grad.abs().max() > 1e-3
    torch.testing.assert_close(got, grad, rtol=1e-5, atol=1e-9)
    torch.testing.assert_close(past.advantages[:, 0], leave_one_out(REWARD - charge, facts().group))


@pytest.mark.parametrize("margin", [False, True])
def test_reward_model(margin: bool) -> None:
    from trl.trainer.reward_trainer import RewardTrainer

    scores = draw(30)[:, 0].clone().requires_grad_()
    gaps = draw(31)[:HALF, 0].abs()
    stub = trainer(args=SimpleNamespace(center_rewards_coefficient=0.02))
    inputs: dict[str, Any] = {"input_ids": IDS, "attention_mask": IDS}
    if margin:
        inputs["margin"] = gaps

    class Head:
        training = True

        def __call__(self, **inputs: Any) -> SimpleNamespace:
            return SimpleNamespace(logits=scores[:, None])

    loss = RewardTrainer.compute_loss(stub, Head(), inputs)
    (grad,) = torch.autograd.grad(loss, scores)
    method = BradleyTerry(margin=margin, center_coef=0.02)
    said = replace(pairs(), margin=torch.cat([gaps, torch.zeros(HALF, dtype=torch.float64)]))
    mine = draw(30)[:, 0].clone().requires_grad_()
    paid = torch.zeros(ROWS, STEPS, dtype=torch.float64)
    paid = torch.cat([mine[:, None], paid[:, 1:]], 1)
    got = loss_of(method, said, paid)
    (got_grad,) = torch.autograd.grad(got, mine)
    agree((got.detach(), got_grad), (loss.detach(), grad))
