"""What the engine says is what the model would say, one row at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from posttrain.engines.builtin import BuiltinEngine
from posttrain.engines.cached import CachedDecoder
from posttrain.engines.choose import uniforms
from posttrain.engines.llama import LlamaDecoder
from posttrain.engines.protocol import Completion, Sampling
from posttrain.pipeline.finding import UserError

VOCABULARY = 61
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [5, 6, 7], [20, 3]]


def llama(seed: int = 0, tied: bool = True, **settings: Any) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=40,
        tie_word_embeddings=tied,
        initializer_range=0.3,
        **settings,
    )
    return LlamaForCausalLM(config).eval()


def gpt2(seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=40, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()


MODELS = {
    "llama": llama,
    "llama, untied": lambda: llama(tied=False),
    "llama, biased": lambda: llama(attention_bias=True),
    "gpt2": gpt2,
}


@pytest.fixture(params=list(MODELS))
def model(request: pytest.FixtureRequest) -> Any:
    return MODELS[request.param]()


def generate(
    engine: BuiltinEngine, prompts: list[list[int]], sampling: Sampling, seed: int = 0
) -> list[Completion]:
    numbers = [engine.submit(prompt, sampling, seed + row) for row, prompt in enumerate(prompts)]
    found = {completion.request: completion for completion in engine.finished()}
    return [found[number] for number in numbers]


@torch.no_grad()
def plain_logits(model: Any, prompt: list[int], tokens: list[int]) -> torch.Tensor:
    return model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1].float()


def test_the_fast_decoder_serves_plain_llamas_and_the_general_one_the_rest() -> None:
    assert LlamaDecoder.fits(llama())
    assert not LlamaDecoder.fits(llama(attention_bias=True))
    assert not LlamaDecoder.fits(gpt2())
    assert CachedDecoder.fits(gpt2())


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_logprobs_are_those_of_a_plain_forward_at_the_sampling_temperature(
    model: Any, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, max_tokens=20, stop_ids=(1, 2))
    for prompt, answer in zip(PROMPTS, generate(BuiltinEngine(model), PROMPTS, sampling), strict=True):
        expected = (plain_logits(model, prompt, answer.tokens) / temperature).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1)
        assert torch.allclose(torch.tensor(answer.logprobs), chosen, atol=2e-5)


def test_a_beginning_that_prompts_share_is_read_once_and_changes_nothing(model: Any) -> None:
    system = [30, 31, 32, 33, 34, 35, 36, 37, 38, 39]
    prompts = [[*system, *prompt] for prompt in ([5], [5, 6], [9, 10, 11, 12], [])]
    sampling = Sampling(temperature=0.7, max_tokens=12)
    for prompt, answer in zip(prompts, generate(BuiltinEngine(model), prompts, sampling), strict=True):
        expected = (plain_logits(model, prompt, answer.tokens) / 0.7).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1)
        assert torch.allclose(torch.tensor(answer.logprobs), chosen, atol=2e-5)


def test_temperature_zero_takes_the_likeliest_token(model: Any) -> None:
    for prompt, answer in zip(
        PROMPTS, generate(BuiltinEngine(model), PROMPTS, Sampling(temperature=0, max_tokens=12)), strict=True
    ):
        logits = plain_logits(model, prompt, answer.tokens)
        assert answer.tokens == logits.argmax(-1).tolist()
        assert torch.allclose(torch.tensor(answer.logprobs), logits.log_softmax(-1).amax(-1), atol=2e-5)


def test_a_row_does_not_depend_on_its_batch(model: Any) -> None:
    sampling = Sampling(temperature=0.7, max_tokens=20, stop_ids=(1, 2, 3, 4))
    prompts = PROMPTS * 3
    together = generate(BuiltinEngine(model), prompts, sampling)
    one_by_one = generate(BuiltinEngine(model, max_rows=1), prompts, sampling)
    in_fours = generate(BuiltinEngine(model, max_rows=4), prompts, sampling)
    tokens = [answer.tokens for answer in together]
    assert tokens == [answer.tokens for answer in one_by_one]
    assert tokens == [answer.tokens for answer in in_fours]
    assert len({len(row) for row in tokens}) > 1  # rows did leave at different steps
    assert tokens[0] != tokens[3]  # the same prompt under two seeds


def test_a_stop_token_ends_a_row_and_is_part_of_it(model: Any) -> None:
    stops = tuple(range(1, 12))
    answers = generate(BuiltinEngine(model), PROMPTS * 8, Sampling(max_tokens=6, stop_ids=stops))
    assert {answer.ended for answer in answers} == {True, False}
    for answer in answers:
        assert len(answer.tokens) == len(answer.logprobs)
        assert not set(answer.tokens[:-1]) & set(stops)
        assert (answer.tokens[-1] in stops) == answer.ended
        assert answer.ended or len(answer.tokens) == 6


def test_first_tokens_follow_the_distribution() -> None:
    model, n = llama(), 6000
    answers = generate(BuiltinEngine(model), [[5, 6, 7]] * n, Sampling(temperature=1.5, max_tokens=1))
    counts = torch.bincount(torch.tensor([answer.tokens[0] for answer in answers]), minlength=VOCABULARY)
    expected = (plain_logits(model, [5, 6, 7], [0])[0] / 1.5).softmax(-1)
    error = (counts / n - expected).abs()
    assert (error <= 4.5 * (expected * (1 - expected) / n).sqrt() + 1 / n).all()


def test_top_p_draws_from_the_nucleus_and_reports_its_probabilities() -> None:
    model = llama()
    answers = generate(BuiltinEngine(model), [[5, 6, 7]] * 300, Sampling(max_tokens=1, top_p=0.5))
    probability, order = plain_logits(model, [5, 6, 7], [0])[0].softmax(-1).sort(descending=True)
    size = int((probability.cumsum(-1) < 0.5).sum()) + 1
    nucleus = dict(
        zip(
            order[:size].tolist(), (probability[:size] / probability[:size].sum()).log().tolist(), strict=True
        )
    )
    assert {answer.tokens[0] for answer in answers} == set(nucleus)
    assert all(answer.logprobs[0] == pytest.approx(nucleus[answer.tokens[0]], abs=1e-5) for answer in answers)


def test_a_loaded_weight_is_a_copy_with_a_version(model: Any) -> None:
    sampling = Sampling(temperature=0, max_tokens=8)
    engine = BuiltinEngine(model, version=3)
    old = generate(engine, PROMPTS, sampling)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    assert generate(engine, PROMPTS, sampling) == [
        Completion(request=a.request + 5, tokens=a.tokens, logprobs=a.logprobs, ended=a.ended, version=3)
        for a in old
    ]
    engine.load(model.state_dict().items(), version=4)
    new, fresh = generate(engine, PROMPTS, sampling), generate(BuiltinEngine(model), PROMPTS, sampling)
    assert {answer.version for answer in new} == {4} == {engine.version}
    assert [a.tokens for a in new] == [a.tokens for a in fresh] != [a.tokens for a in old]


def test_missing_weights_are_named() -> None:
    model = llama()
    weights = {name: w for name, w in model.state_dict().items() if "layers.1.mlp.up_proj" not in name}
    with pytest.raises(ValueError, match=r"version 7 lack 'model.layers.1.mlp.up_proj.weight'"):
        BuiltinEngine(model).load(weights.items(), version=7)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [([], "no tokens"), ([5, VOCABULARY], "61 embeddings"), ([-1], "from -1"), ([5] * 35, "context of 40")],
)
def test_a_prompt_that_cannot_be_answered_is_refused(prompt: list[int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        BuiltinEngine(llama()).submit(prompt, Sampling(max_tokens=8), 0)


@pytest.mark.parametrize(
    "settings", [{"temperature": -1.0}, {"temperature": float("nan")}, {"max_tokens": 0}, {"top_p": 0.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        Sampling(**settings)


def test_random_numbers_are_those_of_splitmix64() -> None:
    published = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    for step, value in enumerate(published):
        found = uniforms(torch.tensor([1234567]), step).item()
        assert found == ((value >> 16) + 0.5) / 2**48
