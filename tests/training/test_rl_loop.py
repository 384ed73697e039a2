from __future__ import annotations

import copy
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch

from posttrain.core.batch import Evaluation, Experience, PolicyGradient, Rollouts
from posttrain.core.kl import KLExact, KLInReward
from posttrain.core.seeds import derive
from posttrain.policy_gradients.a2c import A2C
from posttrain.policy_gradients.cispo import CISPO
from posttrain.policy_gradients.dapo import DAPO
from posttrain.policy_gradients.dr_grpo import DrGRPO
from posttrain.policy_gradients.grpo import GRPO
from posttrain.policy_gradients.gspo import GSPO
from posttrain.policy_gradients.ppo import PPO
from posttrain.policy_gradients.reinforce import Reinforce
from posttrain.policy_gradients.reinforce_plus_plus import ReinforcePlusPlus
from posttrain.policy_gradients.reinforce_plus_plus_baseline import ReinforcePlusPlusBaseline
from posttrain.policy_gradients.remax import ReMax
from posttrain.policy_gradients.rloo import RLOO
from posttrain.policy_gradients.sapo import SAPO
from posttrain.training.kl_control import AdaptiveKL
from posttrain.training.optimizer import Group, Optimizer
from posttrain.training.rl_loop import RLState, minibatches, train_rl
from posttrain.training.update import Part
from tests.tiny import TinyPolicy, rollouts

B, T = 24, 5


def sampler(policy: TinyPolicy) -> Callable[[int], Rollouts]:
    """Texts from the policy as it is, worth one for each token 2; the token 0 ends them."""

    @torch.no_grad()
    def collect(step: int) -> Rollouts:
        generator = torch.Generator().manual_seed(derive(0, "sample", step))
        tokens = torch.ones(B, T + 1, dtype=torch.long)
        mask, logprobs = torch.ones(B, T, dtype=torch.bool), torch.zeros(B, T)
        for t in range(T):
            state = policy.states(tokens[:, : t + 1], policy.embed, policy.mix)[:, -1]
            log_p = (state @ policy.head.T / 0.7).log_softmax(-1)
            tokens[:, t + 1 :] = torch.multinomial(log_p.exp(), 1, generator=generator)
            logprobs[:, t] = log_p.gather(1, tokens[:, t + 1, None])[:, 0].float()
            if t:
                mask[:, t] = mask[:, t - 1] & (tokens[:, t] != 0)
        tokens[:, 1:][~mask] = -1
        rewards = (tokens[:, 1:] == 2) * mask.to(policy.head.dtype)
        return rollouts(
            tokens,
            mask,
            rewards=rewards,
            logprobs=logprobs.masked_fill(~mask, float("nan")),
            temperature=torch.full((B,), 0.7, dtype=policy.head.dtype),
            version=torch.full((B,), step),
            parts={"two": rewards.sum(1)},
        )

    return collect


class Run:
    def __init__(self, method: PPO | None = None, **more: object) -> None:
        self.policy = TinyPolicy()
        self.reference = copy.deepcopy(self.policy)
        self.method = method or PPO()
        self.more = {"reference": self.reference, "seed": 3} | more
        self.state, self.published = RLState(), list[int]()
        self.optimizer = Optimizer(
            [
                Group(name="policy", parameters=self.policy.policy_parameters(), learning_rate=0.01),
                Group(name="critic", parameters=self.policy.critic_parameters(), learning_rate=0.03),
            ]
        )

    def go(self, steps: int, **more: object):  # type: ignore[no-untyped-def]
        collect = more.pop("collect", None) or sampler(self.policy)
        return train_rl(
            self.state,
            self.policy,
            self.method,
            collect,  # type: ignore[arg-type]
            self.optimizer,
            self.published.append,
            steps=steps,
            **(self.more | more),  # type: ignore[arg-type]
        )


def bits(policy: TinyPolicy) -> bytes:
    return b"".join(p.detach().numpy().tobytes() for p in policy.parameters())


def test_it_learns() -> None:
    metrics = list(Run().go(15))
    assert metrics[-1]["reward"] > 2 * metrics[0]["reward"]
    assert metrics[-1]["explained_variance"] > metrics[0]["explained_variance"]
    assert metrics[-1]["kl"] > 0.5


def test_what_an_update_reports() -> None:
    metrics = next(Run(PPO(minibatches=1)).go(1))
    names = (
        "step update reward reward_std kl kl_k3 entropy clip_fraction ratio_max approx_kl policy_loss loss "
        "value_loss explained_variance length truncated rows tokens grad_norm/policy grad_norm/critic "
        "learning_rate/policy sampler_delta_max sampler_delta_mean kl_coef parts/two seconds"
    )
    assert not [name for name in names.split() if name not in metrics]
    assert all(isinstance(value, (int, float)) for value in metrics.values())
    assert metrics["parts/two"] == pytest.approx(metrics["reward"])
    assert metrics["rows"] == B
    assert metrics["length"] == metrics["tokens"] / B


@pytest.mark.parametrize("limit", [10_000, 11])
@pytest.mark.parametrize("kl", [KLInReward(), KLExact()])
def test_at_the_first_update_ratio_is_one_and_kl_zero(limit: int, kl: KLInReward | KLExact) -> None:
    metrics = next(Run(PPO(kl=kl, minibatches=3), micro_batch_tokens=limit).go(1))
    assert metrics["ratio_max"] == 1
    assert metrics["approx_kl"] == 0
    assert metrics["clip_fraction"] == 0
    assert metrics["kl"] == 0
    assert metrics["kl_k3"] == 0
    assert metrics.get("kl_loss", 0) == 0
    assert metrics["sampler_delta_max"] < 1e-6


def test_the_sampler_at_another_temperature_shows() -> None:
    run = Run()
    honest = sampler(run.policy)
    metrics = next(run.go(1, collect=lambda step: replace(honest(step), temperature=torch.ones(B))))
    assert metrics["sampler_delta_mean"] > 0.01


def test_two_runs_are_the_same_bits() -> None:
    ends = []
    for _ in range(2):
        run = Run()
        list(run.go(4))
        ends.append(bits(run.policy))
    assert ends[0] == ends[1]


@pytest.mark.parametrize("stop", [1, 3, 4, 6])
def test_stopped_anywhere_and_continued_it_is_the_same_bits(stop: int) -> None:
    whole = Run(kl_controller=AdaptiveKL(target=0.1, horizon=100))
    log = [row["loss"] for row in whole.go(3)]
    first = Run(kl_controller=AdaptiveKL(target=0.1, horizon=100))
    seen = [row["loss"] for _, row in zip(range(stop), first.go(3), strict=False)]
    second = Run(kl_controller=AdaptiveKL(target=0.1, horizon=100))
    second.policy.load_state_dict(copy.deepcopy(first.policy.state_dict()))
    second.optimizer.load_state_dict(copy.deepcopy(first.optimizer.state_dict()))
    second.state = copy.deepcopy(first.state)
    seen += [row["loss"] for row in second.go(3)]
    assert seen == log
    assert len(log) == 12
    assert bits(second.policy) == bits(whole.policy)
    assert second.state.kl_coef == whole.state.kl_coef != 0.05


def test_a_used_up_batch_is_let_go_before_the_next_is_collected() -> None:
    """Else memory holds two batches."""
    run, before = Run(), []
    fresh = sampler(run.policy)

    def collect(step: int) -> Rollouts:
        assert not [batch for batch in before if batch() is not None]
        facts = fresh(step)
        before.append(weakref.ref(facts))
        return facts

    assert len(list(run.go(3, collect=collect))) == 12
    assert len(before) == 3


def test_weights_are_published_before_they_sample() -> None:
    run = Run()
    list(run.go(3))
    assert run.published == [0, 1, 2, 3]


def test_rollouts_of_stale_weights_are_refused() -> None:
    run = Run()
    fresh = sampler(run.policy)
    stale = lambda step: replace(fresh(step), version=torch.zeros(B, dtype=torch.long))  # noqa: E731
    loop = run.go(3, collect=stale)
    with pytest.raises(ValueError, match="step 1 were sampled by weights of version 0"):
        list(loop)


def test_rollouts_of_another_model_are_welcome() -> None:
    run = Run()
    fresh = sampler(run.policy)
    list(run.go(2, collect=lambda step: replace(fresh(step), version=torch.full((B,), -1))))
    assert run.state.step == 2


def test_nothing_to_learn_from_is_named() -> None:
    run = Run()
    empty = lambda step: replace(sampler(run.policy)(step), action_mask=torch.zeros(B, T, dtype=torch.bool))  # noqa: E731
    with pytest.raises(ValueError, match="none of 24 rollouts"):
        list(run.go(1, collect=empty))


def test_the_control_moves_the_price_of_kl() -> None:
    run = Run(kl_controller=AdaptiveKL(target=1e-3, horizon=24))
    coefs = [row["kl_coef"] for row in run.go(3)]
    assert coefs[::4] == pytest.approx([0.05, 0.05 * 0.8, 0.05 * 0.8 * 1.2])


@dataclass
class Listening:
    """A controller that leaves the price as it is and remembers what it heard."""

    heard: list[tuple[float, float, int]] = field(default_factory=list)

    def next(self, coef: float, kl: float, rows: int) -> float:
        self.heard.append((coef, kl, rows))
        return coef


def test_the_controller_hears_nats_per_completion_and_completions() -> None:
    """Of rows in groups and of several lengths; computed here from both policies, row by row."""
    run = Run(GRPO(kl=KLInReward(coef=0.07)), kl_controller=Listening())  # type: ignore[arg-type]
    plain, expected = sampler(run.policy), []

    @torch.no_grad()
    def collect(step: int) -> Rollouts:
        facts = replace(plain(step), group=torch.arange(B) // 8)
        gaps = [p.evaluate(facts, run.method.wants).logprobs for p in (run.policy, run.reference)]
        expected.append(float((gaps[0] - gaps[1])[facts.action_mask].sum()) / B)
        return facts

    list(run.go(4, collect=collect))
    control: Any = run.more["kl_controller"]
    assert [coef for coef, _, _ in control.heard] == [0.07] * 4
    assert [kl for _, kl, _ in control.heard] == pytest.approx(expected, abs=1e-6)
    assert abs(expected[-1]) > 1e-3
    assert [rows for _, _, rows in control.heard] == [B] * 4


def test_another_part_may_be_mixed_in() -> None:
    run = Run()
    part = Part(None, lambda past: None, lambda now, past: {})

    def mix(update: int) -> Part:
        from posttrain.core.preferences import wanted
        from posttrain.direct_alignment.sft import SFT

        text = wanted(sampler(run.reference)(99))
        return replace(
            part,
            past=text,
            forward=lambda past: run.policy.evaluate(past.rollouts, SFT().wants),
            loss=SFT().loss,
            coef=0.5,
            name="text/",
        )

    metrics = next(run.go(1, mix=mix))
    alone = next(Run().go(1))
    assert metrics["policy_loss"] == alone["policy_loss"]
    assert metrics["loss"] == pytest.approx(alone["loss"] + 0.5 * metrics["text/nll"], rel=1e-9)


def test_minibatches_hold_every_row_once_and_groups_whole() -> None:
    facts = rollouts(
        torch.zeros(10, 3, dtype=torch.long),
        torch.ones(10, 2, dtype=torch.bool),
        group=torch.tensor([7, 7, 2, 2, 2, 5, 5, 0, 0, 0]),
    )
    parts = minibatches(facts, PPO(minibatches=4), 0, 0, 0)
    assert [len(p) for p in parts] == [3, 3, 2, 2]
    assert sorted(torch.cat(parts).tolist()) == list(range(10))
    assert not all(
        torch.equal(a, b) for a, b in zip(parts, minibatches(facts, PPO(minibatches=4), 0, 0, 1), strict=True)
    )
    apart = [minibatches(facts, PPO(minibatches=4), 0, step, 0) for step in range(2)]
    assert not all(torch.equal(a, b) for a, b in zip(*apart, strict=True))

    class Grouped(PPO):
        @property
        def wants(self):  # type: ignore[no-untyped-def]
            return replace(super().wants, whole_groups=True)

    parts = minibatches(facts, Grouped(minibatches=3), 0, 0, 0)
    assert len(parts) == 3
    assert sorted(torch.cat(parts).tolist()) == list(range(10))
    for number in (0, 2, 5, 7):
        assert sum(bool((facts.group[p] == number).any()) for p in parts) == 1


def test_the_samplers_word_is_taken_where_a_batch_is_used_once_and_checked_now_and_then(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("posttrain.training.rl_loop.COMPARED_EVERY", 3)
    run = Run(Reinforce())  # type: ignore[arg-type]
    metrics = list(run.go(7))
    assert [row["step"] for row in metrics if "sampler_delta_max" in row] == [1, 4, 7]
    assert all(row["sampler_delta_max"] < 1e-6 for row in metrics if "sampler_delta_max" in row)
    assert metrics[1]["kl"] != 0


def test_the_sampler_is_not_asked_where_it_does_not_know() -> None:
    run = Run(Reinforce())  # type: ignore[arg-type]
    known = sampler(run.policy)

    def unknown(step: int) -> Rollouts:
        facts = known(step)
        return replace(facts, logprobs=torch.full_like(facts.logprobs, float("nan")))

    metrics = list(run.go(2, collect=unknown))
    assert all(row["kl"] == row["kl"] for row in metrics)
    assert metrics[1]["kl"] != 0


@pytest.mark.parametrize(
    "method",
    [
        Reinforce(),
        A2C(),
        RLOO(),
        GRPO(),
        DrGRPO(max_length=T),
        DAPO(),
        GSPO(clip_range=0.1, clip_range_high=0.1),
        CISPO(),
        SAPO(),
        ReinforcePlusPlus(),
        ReinforcePlusPlusBaseline(),
        ReMax(),
    ],
    ids=lambda method: type(method).__name__,
)
def test_every_method_learns(method: PolicyGradient) -> None:
    """From the same start, on rows that share a start in eights, in 25 batches."""
    run = Run(method)  # type: ignore[arg-type]
    plain = sampler(run.policy)

    def grouped(step: int) -> Rollouts:
        return replace(plain(step), group=torch.arange(B) // 8, greedy=torch.ones(B))

    metrics = list(run.go(25, collect=grouped))
    late = [row["reward"] for row in metrics if row["step"] > 20]
    assert sum(late) / len(late) > 1.3 * metrics[0]["reward"]
    assert metrics[0].get("ratio_max", 1.0) == 1.0


class Apart(PPO):
    """Its experience holds other rollouts of the same numbers, so that the first update reads for itself."""

    def credit(self, rollouts: Rollouts, before: Evaluation, reference: Evaluation | None) -> Experience:
        past = super().credit(rollouts, before, reference)
        return replace(past, rollouts=replace(past.rollouts))


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_policy_of_the_first_update_is_computed_once_and_to_the_same_bits(epochs: int) -> None:
    weights, read = [], []
    for kind in (PPO, Apart):
        run = Run(kind(epochs=epochs, minibatches=1))
        count, evaluate = [0], run.policy.evaluate

        def counted(*given: object, count: list[int] = count, evaluate: Any = evaluate) -> Evaluation:
            count[0] += 1
            return evaluate(*given)  # type: ignore[no-any-return]

        run.policy.evaluate = counted  # type: ignore[method-assign]
        for metrics in run.go(3):
            if (metrics["update"] - 1) % epochs == 0:
                assert metrics["ratio_max"] == 1
        weights.append(run.policy.state_dict())
        read.append(count[0])
    assert read == [3 * epochs, 3 * (epochs + 1)]
    for name, found in weights[0].items():
        assert torch.equal(found, weights[1][name])
