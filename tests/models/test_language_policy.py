"""A transformer as policy, critic and reward model: padding, junk, order and the closed form."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from posttrain.core.batch import Rollouts, Wants, take
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward
from posttrain.models.role import Role
from posttrain.storage.token_rows import TokenRow
from tests.models.small import CONFIGS, VOCABULARY, causal, llama, rows, scalar

WANTS = Wants(values=True, entropy=True)


def junk(batch: Rollouts) -> Rollouts:
    """The same facts with nonsense where padding is."""
    tokens, real = batch.context["tokens"], batch.context["attention_mask"]
    noise = torch.randint(0, VOCABULARY, tokens.shape, generator=torch.Generator().manual_seed(9))
    spoiled = torch.where(real, tokens, noise)
    return dataclasses.replace(batch, context={"tokens": spoiled, "attention_mask": real})


@pytest.mark.parametrize("family", CONFIGS)
def test_log_probabilities_entropy_and_values_are_those_of_each_row_alone(family: str) -> None:
    policy, critic = causal(CONFIGS[family]()), scalar(CONFIGS[family]())
    made = rows()
    batch = rollouts(made, 0)
    now = LanguagePolicy(policy, critic, sub_batch_tokens=40).evaluate(batch, WANTS)
    for i, row in enumerate(made):
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            logp = torch.log_softmax(policy(input_ids=ids).logits[0] / batch.temperature[0].double(), -1)
            values = critic.score(critic.base_model(input_ids=ids).last_hidden_state)[0, :, 0]
        for t in batch.action_mask[i].nonzero()[:, 0].tolist():
            torch.testing.assert_close(now.logprobs[i, t], logp[t, row.ids[t + 1]], rtol=0, atol=1e-12)
            torch.testing.assert_close(
                now.entropy[i, t], -(logp[t].exp() * logp[t]).sum(), rtol=0, atol=1e-12
            )
            torch.testing.assert_close(now.values[i, t], values[t])
        last = int(batch.action_mask[i].nonzero()[-1]) + 1
        torch.testing.assert_close(now.bootstrap[i], values[last])


@pytest.mark.parametrize("family", CONFIGS)
def test_padding_side_width_and_junk_change_nothing(family: str) -> None:
    policy, critic = causal(CONFIGS[family]()), scalar(CONFIGS[family]())
    whole, reward = LanguagePolicy(policy, critic), LanguageReward(critic)
    right, left = rollouts(rows(), 0), rollouts(rows(), 0, left=True, width=31)
    a, b, c = (whole.evaluate(batch, WANTS) for batch in (right, left, junk(left)))
    for name in ("logprobs", "entropy", "values"):
        one, two, three = (getattr(now, name) for now in (a, b, c))
        assert torch.equal(one[right.action_mask], two[left.action_mask])
        assert torch.equal(two, three)
    assert torch.equal(a.bootstrap, b.bootstrap)
    scores = [reward.score(batch).sum(1) for batch in (right, left, junk(left))]
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores[1], scores[2])


@pytest.mark.parametrize("family", CONFIGS)
def test_rows_keep_their_results_when_reordered_and_split(family: str) -> None:
    policy, critic = causal(CONFIGS[family]()), scalar(CONFIGS[family]())
    whole = LanguagePolicy(policy, critic)
    batch = rollouts(rows(), 0)
    now = whole.evaluate(batch, WANTS)
    order = torch.tensor([4, 2, 6, 0, 1, 5, 3])
    for part in (order, order[:3], order[3:]):
        again = whole.evaluate(take(batch, part), WANTS)
        torch.testing.assert_close(again.logprobs, now.logprobs[part], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(again.bootstrap, now.bootstrap[part], rtol=1e-12, atol=1e-12)


def test_a_score_does_not_depend_on_whether_pad_is_eos() -> None:
    critic = scalar(llama())
    answers = [
        TokenRow(ids=[3, 4, 5, 2], mask=[False, True, True, True]),
        TokenRow(ids=[3, 2], mask=[False, True]),
    ]
    scores = [LanguageReward(critic).score(rollouts(answers, pad)) for pad in (0, 2)]
    assert torch.equal(scores[0], scores[1])
    unfinished = rollouts([TokenRow(ids=[3, 4, 5], mask=[False, True, True])], 2)
    assert LanguageReward(critic).score(unfinished).sum() != scores[0][0].sum()
    assert scores[0].nonzero().tolist() == [[0, 2], [1, 0]]


def test_plain_transformers_reads_the_same_score() -> None:
    critic = scalar(llama())
    batch = rollouts(
        [
            TokenRow(ids=[3, 4, 5, 2], mask=[False, True, True, True]),
            TokenRow(ids=[3, 2], mask=[False, True]),
        ],
        1,
    )
    with torch.no_grad():
        plain = critic(input_ids=batch.context["tokens"]).logits[:, 0]
    torch.testing.assert_close(LanguageReward(critic).score(batch).sum(1), plain)


def test_exact_kl_is_zero_from_itself_and_the_closed_form_from_another() -> None:
    policy = causal(llama())
    other = causal(llama(), seed=5)
    batch = rollouts(rows(), 0)
    wants = Wants(exact_kl=True)
    same = LanguagePolicy(policy).evaluate(batch, wants, against=LanguagePolicy(policy)).kl
    assert same is not None
    assert torch.equal(same, torch.zeros_like(same))
    kl = LanguagePolicy(policy).evaluate(batch, wants, against=LanguagePolicy(other)).kl
    ids = torch.tensor([rows()[0].ids])
    with torch.no_grad():
        p, q = (
            torch.log_softmax(m(input_ids=ids).logits[0] / batch.temperature[0].double(), -1)
            for m in (policy, other)
        )
    t = int(batch.action_mask[0].nonzero()[0])
    torch.testing.assert_close(kl[0, t], (p[t].exp() * (p[t] - q[t])).sum())


def test_a_critic_on_the_trunk_of_the_policy_is_a_group_of_its_own() -> None:
    policy, critic = causal(llama()), scalar(llama())
    both = LanguagePolicy(policy, critic)
    groups = [{id(p) for p in both.parameters_of(role)} for role in ("policy", "critic")]
    assert not groups[0] & groups[1]
    assert groups[0] == {id(p) for p in policy.parameters()}
    assert groups[1] == {id(p) for p in critic.parameters()}
    with pytest.raises(ValueError, match="no critic"):
        LanguagePolicy(policy).evaluate(rollouts(rows(), 0), WANTS)


def test_an_answer_that_comes_twice_is_read_once_and_counts_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    critic, words = scalar(llama()), causal(llama()).lm_head
    once = rows()
    twice = rollouts([*once, once[1], once[0], once[1]], 0)
    said = torch.arange(len(twice)) % 3 == 0  # of one answer, here is the likelihood wanted and there not
    read = []
    states = Role.states
    monkeypatch.setattr(
        Role, "states", lambda role, part: (read.append(len(part.members)), states(role, part))[1]
    )
    reward = LanguageReward(critic)
    alone = [reward.score_and_logprobs(take(twice, [i]), words, said[[i]]) for i in range(len(twice))]
    weight = torch.arange(1.0, len(twice) + 1)

    def slope(scores: torch.Tensor, logprobs: torch.Tensor) -> list[torch.Tensor]:
        critic.zero_grad()
        ((scores.sum(1) + logprobs.sum(1)) * weight).sum().backward()
        return [p.grad.clone() for p in critic.parameters() if p.grad is not None]

    want = slope(torch.cat([a for a, _ in alone]), torch.cat([b for _, b in alone]))
    read.clear()
    scores, logprobs = reward.score_and_logprobs(twice, words, said)
    assert sum(read) == len(once)
    torch.testing.assert_close(scores, torch.cat([a for a, _ in alone]))
    torch.testing.assert_close(logprobs, torch.cat([b for _, b in alone]))
    for a, b in zip(slope(scores, logprobs), want, strict=True):
        assert (a - b).norm() <= 1e-5 * b.norm()


def test_rows_of_the_same_tokens_are_read_where_each_of_them_ends() -> None:
    """The same text, of which the assistant said more or less: two answers, and two scores."""
    critic = scalar(llama())
    masks = [[False, True, True, False, False], [False, True, True, True, True]]
    both = [TokenRow(ids=[3, 4, 5, 6, 7], mask=mask) for mask in masks]
    scores = LanguageReward(critic).score(rollouts(both, 0)).sum(1)
    alone = [LanguageReward(critic).score(rollouts([one], 0)).sum() for one in both]
    torch.testing.assert_close(scores, torch.stack(alone))
    assert scores[0] != scores[1]


def test_parameters_that_roles_share_are_the_policys() -> None:
    """One trunk for both: its weights are moved once, at the policy's rate."""
    policy, head = causal(llama()), scalar(llama()).score
    both = LanguagePolicy(policy, Role(policy.base_model, head))
    own, critics = ([id(p) for p in both.parameters_of(role)] for role in ("policy", "critic"))
    assert critics == [id(p) for p in head.parameters()]
    assert not set(own) & set(critics)
