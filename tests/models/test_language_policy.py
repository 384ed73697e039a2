"""A transformer as policy, critic and reward model: padding, junk, order and the closed form."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import AutoModelForCausalLM as CausalLM
from transformers import (
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PretrainedConfig,
)

from posttrain.core.batch import Rollouts, Wants, take
from posttrain.models.collate import Row, rollouts
from posttrain.models.language_policy import LanguagePolicy, LanguageReward

VOCABULARY = 37
WANTS = Wants(values=True, entropy=True)


def llama() -> PretrainedConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        pad_token_id=0,
    )


def gpt2() -> PretrainedConfig:
    return GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, pad_token_id=0, attn_pdrop=0.0
    )


def models(config: PretrainedConfig, dtype: torch.dtype = torch.float64) -> tuple:
    torch.manual_seed(0)
    policy = CausalLM.from_config(config, dtype=dtype).eval()
    config = copy.deepcopy(config)
    config.num_labels = 1
    critic = AutoModelForSequenceClassification.from_config(config, dtype=dtype).eval()
    return policy, critic


def rows(count: int = 7, temperature: float = 0.7) -> list[Row]:
    generator = torch.Generator().manual_seed(3)
    made = []
    for _ in range(count):
        n = int(torch.randint(5, 19, (1,), generator=generator))
        ids = torch.randint(1, VOCABULARY, (n,), generator=generator).tolist()
        mask = [False] * 2 + [i % 5 != 1 for i in range(n - 2)]  # with a gap, as a tool's answer leaves
        made.append(Row(ids=ids, mask=mask, temperature=temperature))
    return made


def junk(batch: Rollouts) -> Rollouts:
    """The same facts with nonsense where padding is."""
    tokens, real = batch.context["tokens"], batch.context["attention_mask"]
    noise = torch.randint(0, VOCABULARY, tokens.shape, generator=torch.Generator().manual_seed(9))
    spoiled = torch.where(real, tokens, noise)
    made = copy.copy(batch)
    object.__setattr__(made, "context", {"tokens": spoiled, "attention_mask": real})
    return made


@pytest.mark.parametrize("config", [llama(), gpt2()], ids=["llama", "gpt2"])
def test_log_probabilities_entropy_and_values_are_those_of_each_row_alone(config: PretrainedConfig) -> None:
    policy, critic = models(config)
    made = rows()
    batch = rollouts(made, 0)
    now = LanguagePolicy(policy, critic, sub_batch_tokens=40).evaluate(batch, WANTS)
    for i, row in enumerate(made):
        ids = torch.tensor([row.ids])
        with torch.no_grad():
            logp = torch.log_softmax(policy(input_ids=ids).logits[0].double() / 0.7, -1)
            values = critic.score(critic.base_model(input_ids=ids).last_hidden_state)[0, :, 0]
        for t in batch.action_mask[i].nonzero()[:, 0].tolist():
            torch.testing.assert_close(now.logprobs[i, t], logp[t, row.ids[t + 1]], rtol=0, atol=1e-7)
            torch.testing.assert_close(now.entropy[i, t], -(logp[t].exp() * logp[t]).sum(), rtol=0, atol=1e-7)
            torch.testing.assert_close(now.values[i, t], values[t])
        last = int(batch.action_mask[i].nonzero()[-1]) + 1
        torch.testing.assert_close(now.bootstrap[i], values[last])


@pytest.mark.parametrize("config", [llama(), gpt2()], ids=["llama", "gpt2"])
def test_padding_side_width_and_junk_change_nothing(config: PretrainedConfig) -> None:
    policy, critic = models(config)
    whole, reward = LanguagePolicy(policy, critic), LanguageReward(critic)
    right, left = rollouts(rows(), 0), rollouts(rows(), 0, left=True, width=31)
    a, b, c = (whole.evaluate(batch, WANTS) for batch in (right, left, junk(left)))
    for name in ("logprobs", "entropy", "values"):
        one, two, three = (getattr(now, name) for now in (a, b, c))
        assert torch.equal(one[right.action_mask], two[left.action_mask])
        assert torch.equal(two, three)
    assert torch.equal(a.bootstrap, b.bootstrap)
    scores = [reward.score(batch).sum(1) for batch in (right, left, junk(left))]
    assert torch.equal(scores[0], scores[1]) and torch.equal(scores[1], scores[2])


@pytest.mark.parametrize("config", [llama(), gpt2()], ids=["llama", "gpt2"])
def test_rows_keep_their_results_when_reordered_and_split(config: PretrainedConfig) -> None:
    policy, critic = models(config)
    whole = LanguagePolicy(policy, critic)
    batch = rollouts(rows(), 0)
    now = whole.evaluate(batch, WANTS)
    order = torch.tensor([4, 2, 6, 0, 1, 5, 3])
    for part in (order, order[:3], order[3:]):
        again = whole.evaluate(take(batch, part), WANTS)
        torch.testing.assert_close(again.logprobs, now.logprobs[part], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(again.bootstrap, now.bootstrap[part], rtol=1e-12, atol=1e-12)


def test_a_score_does_not_depend_on_whether_pad_is_eos() -> None:
    _, critic = models(llama())
    answers = [Row(ids=[3, 4, 5, 2], mask=[False, True, True, True]), Row(ids=[3, 2], mask=[False, True])]
    scores = [LanguageReward(critic).score(rollouts(answers, pad)) for pad in (0, 2)]
    assert torch.equal(scores[0], scores[1])
    unfinished = rollouts([Row(ids=[3, 4, 5], mask=[False, True, True])], 2)
    assert LanguageReward(critic).score(unfinished).sum() != scores[0][0].sum()
    assert scores[0].nonzero().tolist() == [[0, 2], [1, 0]]


def test_plain_transformers_reads_the_same_score() -> None:
    _, critic = models(llama())
    batch = rollouts(
        [Row(ids=[3, 4, 5, 2], mask=[False, True, True, True]), Row(ids=[3, 2], mask=[False, True])], 0
    )
    with torch.no_grad():
        plain = critic(input_ids=batch.context["tokens"]).logits[:, 0]
    torch.testing.assert_close(LanguageReward(critic).score(batch).sum(1), plain)


def test_exact_kl_is_zero_from_itself_and_the_closed_form_from_another() -> None:
    policy, _ = models(llama())
    torch.manual_seed(5)
    other = CausalLM.from_config(llama(), dtype=torch.float64).eval()
    batch = rollouts(rows(), 0)
    wants = Wants(exact_kl=True)
    same = LanguagePolicy(policy).evaluate(batch, wants, against=LanguagePolicy(policy)).kl
    assert same is not None and torch.equal(same, torch.zeros_like(same))
    kl = LanguagePolicy(policy).evaluate(batch, wants, against=LanguagePolicy(other)).kl
    ids = torch.tensor([rows()[0].ids])
    with torch.no_grad():
        p, q = (
            torch.log_softmax(m(input_ids=ids).logits[0].double() / batch.temperature[0], -1)
            for m in (policy, other)
        )
    t = int(batch.action_mask[0].nonzero()[0])
    torch.testing.assert_close(kl[0, t], (p[t].exp() * (p[t] - q[t])).sum())


def test_a_critic_on_the_trunk_of_the_policy_is_a_group_of_its_own() -> None:
    policy, critic = models(llama())
    both = LanguagePolicy(policy, critic)
    groups = [{id(p) for p in both.parameters_of(role)} for role in ("policy", "critic")]
    assert not groups[0] & groups[1]
    assert groups[0] == {id(p) for p in policy.parameters()} and groups[1] == {
        id(p) for p in critic.parameters()
    }
    with pytest.raises(ValueError, match="no critic"):
        LanguagePolicy(policy).evaluate(rollouts(rows(), 0), WANTS)
