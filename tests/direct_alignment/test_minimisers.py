"""Where each direct alignment leads, in a world where the population is a sum."""

from __future__ import annotations

import pytest
import torch

from posttrain.core.batch import DirectAlignment
from posttrain.direct_alignment.apo_down import APODown
from posttrain.direct_alignment.apo_zero import APOZero
from posttrain.direct_alignment.c_dpo import CDPO
from posttrain.direct_alignment.cpo import CPO
from posttrain.direct_alignment.dpo import DPO
from posttrain.direct_alignment.ipo import IPO
from posttrain.direct_alignment.kto import KTO
from posttrain.direct_alignment.orpo import ORPO
from posttrain.direct_alignment.robust_dpo import RobustDPO
from posttrain.direct_alignment.simpo import SimPO
from posttrain.direct_alignment.slic import SLiC
from tests.direct_alignment.tabular import (
    LENGTHS,
    LIKELY,
    REFERENCE,
    REWARD,
    expected,
    gradient,
    minimiser,
    tilted,
)

BETA = 0.5


def gaps(logprobs: torch.Tensor) -> torch.Tensor:
    """[4, 4]: beta times the difference of log-ratios."""
    h = BETA * (logprobs - REFERENCE)
    return h[:, None] - h[None, :]


def flat(method: DirectAlignment, logits: torch.Tensor, **more: float) -> bool:
    return bool(gradient(method, logits, **more).abs().max() < 1e-9)


def test_dpo_recovers_the_rewards_of_its_labels() -> None:
    best = tilted(REWARD / BETA)
    assert flat(DPO(beta=BETA), best)
    assert not flat(DPO(beta=BETA), REFERENCE)
    torch.testing.assert_close(minimiser(DPO(beta=BETA)), best, atol=1e-6, rtol=0)
    torch.testing.assert_close(gaps(best), REWARD[:, None] - REWARD[None, :])


def test_a_length_penalty_is_taken_off_the_reward() -> None:
    assert flat(DPO(beta=BETA, length_penalty=0.3), tilted((REWARD - 0.3 * LENGTHS.double()) / BETA))
    assert not flat(DPO(beta=BETA), tilted((REWARD - 0.3 * LENGTHS.double()) / BETA))


@pytest.mark.parametrize("changed", [{"ld_alpha": 0.5}, {"length_normalised": True}])
def test_the_other_changes_of_length_lead_elsewhere(changed: dict[str, float]) -> None:
    assert not flat(DPO(beta=BETA, **changed), tilted(REWARD / BETA))  # type: ignore[arg-type]


def test_smoothed_labels_shrink_every_gap() -> None:
    likely = 0.2 + 0.6 * LIKELY
    want = (likely / (1 - likely)).log()
    found = gaps(minimiser(CDPO(beta=BETA, label_smoothing=0.2)))
    close = (found - want).abs().max()
    assert close < 0.05, "six gaps of three free numbers: the log-odds of smoothed labels nearly add up"
    past_diagonal = ~torch.eye(4, dtype=torch.bool)
    assert (found.abs() < (REWARD[:, None] - REWARD[None, :]).abs())[past_diagonal].all()


def test_smoothing_is_dpo_on_labels_flipped_at_that_rate() -> None:
    smoothed = minimiser(CDPO(beta=BETA, label_smoothing=0.2))
    flipped = minimiser(DPO(beta=BETA), flipped=0.2)
    torch.testing.assert_close(smoothed, flipped, atol=1e-6, rtol=0)


def test_robust_dpo_finds_the_clean_optimum_from_flipped_labels() -> None:
    best = tilted(REWARD / BETA)
    assert flat(RobustDPO(beta=BETA, flipped=0.3), best, flipped=0.3)
    assert not flat(DPO(beta=BETA), best, flipped=0.3)
    shrunk = gaps(minimiser(DPO(beta=BETA), flipped=0.3)).abs()
    off = ~torch.eye(4, dtype=torch.bool)
    assert (shrunk < (REWARD[:, None] - REWARD[None, :]).abs())[off].all()


def test_ipo_has_an_optimum_of_its_own() -> None:
    """Pairs are drawn evenly from four answers, so p(y > mu) is a mean over the others."""
    preferred = (LIKELY.sum(1) - 0.5) / 4 + 0.5 / 4  # an answer drawn against itself wins half the time
    best = tilted(preferred / BETA)
    assert flat(IPO(beta=BETA), best)
    torch.testing.assert_close(minimiser(IPO(beta=BETA)), best, atol=1e-6, rtol=0)
    assert not flat(IPO(beta=BETA), tilted(REWARD / BETA))


def test_cpo_is_dpo_against_nothing() -> None:
    assert flat(CPO(beta=BETA, nll_coef=0), (REWARD / BETA).log_softmax(0))
    assert not flat(CPO(beta=BETA), (REWARD / BETA).log_softmax(0))


def test_slic_follows_the_majority_to_its_margin() -> None:
    """Between two answers at every gap below the margin the hinge pulls to whoever more than half prefer."""
    method = SLiC(margin=0.4, nll_coef=0)
    pull = gradient(method, torch.zeros(4, dtype=torch.float64))
    assert pull.argsort().tolist() == REWARD.argsort(descending=True).tolist()
    beyond = torch.linspace(0, 8, 4, dtype=torch.float64)[REWARD.argsort().argsort()]
    losing = gradient(method, beyond)
    assert losing[REWARD.argmax()] > 0, "beyond the margin only the minority still pulls"


@pytest.mark.parametrize(
    "method", [APOZero(beta=BETA), APODown(beta=BETA), SimPO(), ORPO()], ids=lambda m: type(m).__name__
)
def test_others_prefer_what_is_preferred(method: DirectAlignment) -> None:
    """They have no closed form here; a small step lowers the loss and raises the best against the worst."""
    pull = gradient(method, REFERENCE)
    assert pull.abs().max() > 1e-6
    assert expected(method, REFERENCE - 0.01 * pull) < expected(method, REFERENCE)
    best, worst = int(REWARD.argmax()), int(REWARD.argmin())
    assert pull[best] < pull[worst]


def test_apo_zero_is_all_or_nothing() -> None:
    """What more than half prefer rises however far it has come."""
    far = REFERENCE + 6 * (REWARD.median() < REWARD)
    assert gradient(APOZero(beta=BETA), far)[REWARD.argmax()] < 0
    assert gradient(DPO(beta=BETA), far)[REWARD.argmax()] > 0, "DPO would come back"


@pytest.mark.parametrize("kind", [DPO, CDPO, RobustDPO, IPO, SimPO, ORPO, CPO, KTO, APOZero, APODown])
@pytest.mark.parametrize("beta", [0.0, -0.1, float("nan"), float("inf")])
def test_a_beta_that_means_nothing_is_refused(kind: type, beta: float) -> None:
    with pytest.raises(ValueError, match="beta"):
        kind(beta=beta)


@pytest.mark.parametrize("method", [SLiC(), SimPO(), ORPO(), CPO()], ids=lambda m: type(m).__name__)
def test_those_without_a_reference_do_not_ask_for_one(method: DirectAlignment) -> None:
    assert not method.wants.reference


@pytest.mark.parametrize("method", [DPO(), IPO(), KTO(), APOZero()], ids=lambda m: type(m).__name__)
def test_those_with_a_reference_do(method: DirectAlignment) -> None:
    assert method.wants.reference
