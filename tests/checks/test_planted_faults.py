"""Faults that train on in silence, each planted in the code that runs, are named before the first update.

Every stage here is that of a tiny recipe which runs to its end without them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from posttrain.core.batch import Rollouts, Term
from posttrain.core.kl import KLExact, KLInLoss, KLInReward
from posttrain.core.masked import zero_outside
from posttrain.direct_alignment.dpo import DPO
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models import chat, collate, language_policy, packed_attention, roles
from posttrain.models.roles import Role
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.progress import described
from posttrain.pipeline.stage import Inputs, Machine, Stage
from posttrain.policy_gradients.grpo import GRPO
from posttrain.rewards.learned import LearnedScorer
from posttrain.rollouts import collect
from posttrain.stages.alignment import Alignment
from posttrain.training import update
from tests.stages.test_instructgpt import make, recipe, save_llama

Planted = Callable[[pytest.MonkeyPatch], None]


@dataclass(frozen=True)
class Made:
    """The stages that learn, by their addresses, with what they read."""

    stages: dict[str, Stage]
    inputs: dict[str, Inputs]

    def findings(self, address: str, place: Path) -> set[str]:
        """The names of what is found before the first update; empty where the stage ran to its end."""
        stage, inputs = self.stages[address], self.inputs[address]
        model = next(inputs[name].path for name in ("base", "policy") if name in inputs)
        machine = Machine(quiet=True, micro_batch_tokens=512)
        ahead = [described(one) for one in stage.ahead(model, inputs, machine) if not one.passed]
        told = "\n".join(ahead)
        if not ahead:
            try:
                stage.run(inputs, place, machine)
            except UserError as error:
                told = str(error)
                assert told.startswith("stopped before the first step:"), told
        assert not told or not any(file.stat().st_size for file in place.iterdir())
        return {line.split()[0] for line in told.splitlines() if " = " in line}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, letters: PreTrainedTokenizerFast) -> Made:
    whole = recipe(save_llama(tmp_path_factory.mktemp("model"), letters))
    rl: Any = whole.final
    assert whole.labels is not None
    grpo = replace(rl, name="grpo", method=GRPO(), critic=None)
    exact = replace(grpo, name="exact", method=GRPO(kl=KLExact(coef=0.1)))
    dpo = Alignment(policy=whole.sft, comparisons=whole.labels, method=DPO(), batch_size=8, seed=3)
    workspace = tmp_path_factory.mktemp("workspace")
    products = make(whole.reward_model, workspace, ("sft_learned", "rm_above_chance")).products
    before: dict[str, Stage] = {"sft": whole.sft, "rm": whole.reward_model, "rl": rl}
    stages = before | {"grpo": grpo, "exact": exact, "dpo": dpo}
    known: list[tuple[Stage, str]] = [
        (whole.base, "base"),
        (whole.prompts, "prompts"),
        (whole.labels, "labels"),
    ]
    known += [(whole.sft.demonstrations, "demonstrations"), (whole.sft, "sft"), (whole.reward_model, "rm")]  # type: ignore[attr-defined]
    where = {id(stage): products[name] for stage, name in known}
    return Made(
        stages, {name: Inputs.gather(one, lambda s: where.get(id(s))) for name, one in stages.items()}
    )


@pytest.mark.parametrize("address", ["dpo", "exact", "grpo", "rl", "rm", "sft"])
def test_nothing_is_found_where_nothing_is_planted(made: Made, address: str, tmp_path: Path) -> None:
    assert made.findings(address, tmp_path) == set()


def wrong_temperature(patch: pytest.MonkeyPatch) -> None:
    plain = BuiltinEngine.submit
    patch.setattr(
        BuiltinEngine,
        "submit",
        lambda self, ids, how, seed: plain(self, ids, replace(how, temperature=1.4), seed),
    )


def stale_weights(patch: pytest.MonkeyPatch) -> None:
    """The engine is given what the model was a while ago."""
    plain = BuiltinEngine.__init__

    def earlier(self: Any, model: Any, **more: Any) -> None:
        plain(self, moved(copy.deepcopy(model)), **more)

    patch.setattr(BuiltinEngine, "__init__", earlier)


def moved(model: Any) -> Any:
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1.5)
    return model


def pad_is_eos(patch: pytest.MonkeyPatch) -> None:
    """Padding is masked by the value of its token, which is the one that ends an answer."""
    plain = collate.rollouts

    def masked(rows: Any, pad_id: int, **more: Any) -> Rollouts:
        end = rows[0].ids[-1]
        past = plain(rows, end, **more)
        return replace(past, action_mask=past.action_mask & (past.actions != end))

    for module in ("posttrain.models.collate", "posttrain.checks.model_probes", "posttrain.rollouts.collect"):
        patch.setattr(f"{module}.rollouts", masked)


def double_bos(patch: pytest.MonkeyPatch) -> None:
    """The template writes it, then the tokenizer, and nobody takes one off."""

    def twice(self: Any, ids: list[int], mask: list[bool]) -> tuple[list[int], list[bool]]:
        bos = self.tokenizer.bos_token_id
        return [bos, bos, *ids], [False, False, *mask]

    patch.setattr(chat.Chat, "_one_bos", twice)


def empty_mask(patch: pytest.MonkeyPatch) -> None:
    plain = chat.Chat.example

    def silent(self: Any, messages: Any) -> tuple[list[int], list[bool]]:
        ids, mask = plain(self, messages)
        return ids, [False] * len(mask)

    patch.setattr(chat.Chat, "example", silent)


def misaligned_rewards(patch: pytest.MonkeyPatch) -> None:
    plain = LearnedScorer.score

    def shifted(self: Any, episodes: Any) -> Any:
        rewards = plain(self, episodes)
        return replace(rewards, values=rewards.values.roll(1))

    patch.setattr(LearnedScorer, "score", shifted)


def normalised_by_micro_batch(patch: pytest.MonkeyPatch) -> None:
    """The weights of a term are made to add up to 1 in each micro-batch."""
    patch.setattr(update, "_amount", lambda name, term, weight: (term.values * weight).sum() / weight.sum())


def drifting_reference(patch: pytest.MonkeyPatch) -> None:
    plain = roles.frozen_role_of
    patch.setattr(roles, "frozen_role_of", lambda model, *more: plain(moved(model), *more))


def drifting_kept_reference(patch: pytest.MonkeyPatch) -> None:
    """What direct alignment reads of its reference is of other weights."""
    from posttrain.storage.logprob_store import LogprobStore

    plain = LogprobStore.append
    patch.setattr(LogprobStore, "append", lambda self, row: plain(self, row - 0.05))


def turned_charge(patch: pytest.MonkeyPatch) -> None:
    plain = KLInReward.charge

    def paid(self: Any, rewards: Tensor, before: Any, reference: Any, mask: Tensor) -> Tensor:
        return 2 * zero_outside(rewards, mask) - plain(self, rewards, before, reference, mask)

    patch.setattr(KLInReward, "charge", paid)


def turned_terms(patch: pytest.MonkeyPatch) -> None:
    for kind in (KLInLoss, KLExact):
        plain = kind.terms

        def paid(self: Any, *given: Any, plain: Any = plain) -> dict[str, Term]:
            return {name: replace(term, coef=-term.coef) for name, term in plain(self, *given).items()}

        patch.setattr(kind, "terms", paid)


def fresh_head(patch: pytest.MonkeyPatch) -> None:
    """A reward model's trunk is loaded and a new head put on it."""
    from posttrain.models import loading

    plain = loading.load_reward_model

    def fresh(*given: Any, **more: Any) -> tuple[Any, Any]:
        model, tokenizer = plain(*given, **more)
        model.score.reset_parameters()
        return model, tokenizer

    patch.setattr(loading, "load_reward_model", fresh)


def leaking_neighbours(patch: pytest.MonkeyPatch) -> None:
    """Tokens of a line take from all values in it, and nobody tries whether rows are read alone."""
    plain = packed_attention._by_block

    def leaking(q: Tensor, k: Tensor, v: Tensor, *more: Any) -> list[Tensor]:
        return [part + 100 * v.mean() for part in plain(q, k, v, *more)]

    patch.setattr(language_policy, "packs", lambda trunk: 1 << 20)
    patch.setattr(packed_attention, "_by_block", leaking)


def dropout(patch: pytest.MonkeyPatch) -> None:
    plain = Role.hidden

    def dropped(self: Any, *given: Any) -> Tensor:
        return torch.nn.functional.dropout(plain(self, *given), 0.1, training=True)

    patch.setattr(Role, "hidden", dropped)


def retokenised(patch: pytest.MonkeyPatch) -> None:
    """An answer goes to text and comes back as other tokens, under the log-probabilities of the first."""
    plain = collect.sample

    def again(*given: Any) -> list[Any]:
        return [replace(one, ids=[*one.ids[:-1], one.ids[-1] - 1]) for one in plain(*given)]

    patch.setattr(collect, "sample", again)


def reads_padding(patch: pytest.MonkeyPatch) -> None:
    """A reward model reads the end of the batch, padding or not."""
    plain = LearnedScorer.raw

    def padded(self: Any, episodes: Any) -> Tensor:
        width = max(len(one.ids) for one in episodes)
        return plain(self, episodes) + torch.tensor([float(width - len(one.ids)) for one in episodes])

    patch.setattr(LearnedScorer, "raw", padded)


def mixed_groups(patch: pytest.MonkeyPatch) -> None:
    """Answers are put in groups as if those to a prompt did not follow each other."""
    plain = collect.Collector._row

    def other(self: Any, i: int, *more: Any) -> Any:
        return replace(plain(self, i, *more), group=i % self.prompts_per_step)

    patch.setattr(collect.Collector, "_row", other)


FAULTS: dict[str, tuple[Planted, str, set[str]]] = {
    "another temperature": (wrong_temperature, "rl", {"sampler_and_trainer"}),
    "stale weights in the engine": (stale_weights, "rl", {"sampler_and_trainer"}),
    "pad is EOS": (pad_is_eos, "sft", {"every_token_is_learned"}),
    "pad is EOS, in reinforcement": (pad_is_eos, "rl", {"every_token_is_learned"}),
    "pad is EOS, in comparisons": (pad_is_eos, "dpo", {"every_token_is_learned"}),
    "double BOS": (double_bos, "sft", {"one_bos"}),
    "double BOS before prompts": (double_bos, "rl", {"one_bos"}),
    "no token of an answer": (empty_mask, "sft", {"every_row_teaches", "the_end_is_learned"}),
    "rewards of other rows": (misaligned_rewards, "rl", {"rewards_follow_their_answers"}),
    "a mean over micro-batches": (normalised_by_micro_batch, "sft", {"micro_batches_add_up"}),
    "a mean over micro-batches of pairs": (normalised_by_micro_batch, "rm", {"micro_batches_add_up"}),
    "a mean over micro-batches of answers": (normalised_by_micro_batch, "rl", {"micro_batches_add_up"}),
    "a mean over micro-batches of groups": (normalised_by_micro_batch, "grpo", {"micro_batches_add_up"}),
    "a reference that drifts": (drifting_reference, "rl", {"reference_is_the_start"}),
    "a kept reference that drifts": (drifting_kept_reference, "dpo", {"reference_is_the_start"}),
    "KL that is paid": (turned_charge, "rl", {"kl_holds_back"}),
    "KL that is paid in the loss": (turned_terms, "grpo", {"kl_holds_back"}),
    "exact KL that is paid": (turned_terms, "exact", {"kl_holds_back"}),
    "a fresh reward head": (fresh_head, "rl", {"reward_head_is_trained"}),
    "a reward model that reads padding": (reads_padding, "rl", {"rewards_follow_their_answers"}),
    "neighbours that leak": (leaking_neighbours, "sft", {"reads_rows_alone"}),
    "neighbours that leak, in scores": (leaking_neighbours, "rm", {"reads_rows_alone"}),
    "dropout": (dropout, "sft", {"says_the_same_twice"}),
    "dropout in reinforcement": (dropout, "rl", {"says_the_same_twice"}),
    "retokenised turns": (retokenised, "rl", {"sampler_and_trainer"}),
    "groups of several prompts": (mixed_groups, "grpo", {"groups_share_a_prompt"}),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_named(
    fault: str, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant, address, names = FAULTS[fault]
    plant(monkeypatch)
    found = made.findings(address, tmp_path)
    assert names <= found
    assert found <= names | {"reads_rows_alone", "sampler_and_trainer", "reference_is_the_start"}
