"""What the engine says is what the model would say, one row at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForCausalLM,
    GemmaConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
    Qwen3Config,
)

from posttrain.engines.base import Completion, Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.engines.cached import CachedDecoder, CachedRows
from posttrain.engines.choose import choose, uniforms
from posttrain.engines.llama import LlamaDecoder
from posttrain.engines.packed import linear
from posttrain.engines.slots import Slots
from posttrain.kernels.decode import decode_kernels
from posttrain.pipeline.finding import UserError

VOCABULARY = 61
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14], [5, 6, 7], [20, 3]]


SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 40,
    "initializer_range": 0.3,
}


def of(config: PreTrainedConfig, seed: int = 0) -> Any:
    """A model whose vectors are random too, so that a scale or bias that is left out shows."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def llama(seed: int = 0, tied: bool = True, **settings: Any) -> LlamaForCausalLM:
    return of(LlamaConfig(**{**SIZES, "tie_word_embeddings": tied, **settings}), seed)


def gpt2(seed: int = 0) -> GPT2LMHeadModel:
    torch.manual_seed(seed)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=40, initializer_range=0.3
    )
    return GPT2LMHeadModel(config).eval()


FAMILY = {
    "llama": llama,
    "llama, untied": lambda: llama(tied=False),
    "llama, biased": lambda: llama(attention_bias=True, mlp_bias=True),
    "llama, wide heads": lambda: llama(head_dim=32),
    "llama, dynamic": lambda: llama(
        rope_parameters={"rope_type": "dynamic", "rope_theta": 100.0, "factor": 4.0}
    ),
    "llama, yarn": lambda: llama(
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 100.0,
            "factor": 4.0,
            "original_max_position_embeddings": 10,
        }
    ),
    "mistral": lambda: of(MistralConfig(**SIZES, head_dim=16, sliding_window=None)),
    "qwen2": lambda: of(Qwen2Config(**SIZES)),
    "qwen3": lambda: of(Qwen3Config(**SIZES, head_dim=16)),
    "gemma": lambda: of(GemmaConfig(**{**SIZES, "head_dim": 16, "hidden_act": "gelu_pytorch_tanh"})),
}
OTHERS = {
    "gpt2": gpt2,
    "mistral with a window": lambda: of(MistralConfig(**SIZES, sliding_window=5)),
}
MODELS = {**FAMILY, **OTHERS}


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


def test_the_fast_decoder_serves_the_family_and_the_general_one_the_rest() -> None:
    assert all(LlamaDecoder.fits(make()) for make in FAMILY.values())
    for make in OTHERS.values():
        assert not LlamaDecoder.fits(make())
        assert CachedDecoder.fits(make())


@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_logprobs_are_those_of_a_plain_forward_at_the_sampling_temperature(
    model: Any, temperature: float
) -> None:
    sampling = Sampling(temperature=temperature, max_tokens=20, stop_ids=(1, 2))
    for prompt, answer in zip(PROMPTS, generate(BuiltinEngine(model), PROMPTS, sampling), strict=True):
        expected = (plain_logits(model, prompt, answer.tokens) / temperature).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1)
        assert torch.allclose(torch.tensor(answer.logprobs), chosen, atol=2e-5)


@pytest.mark.parametrize("own", [[[5], [5, 6], [9, 10, 11, 12], []], [[5, 6], [7, 6], [9, 10, 11, 12]]])
def test_a_beginning_that_prompts_share_is_read_once_and_changes_nothing(
    model: Any, own: list[list[int]]
) -> None:
    system = [30, 31, 32, 33, 34, 35, 36, 37, 38, 39]
    prompts = [[*system, *prompt] for prompt in own]
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


@pytest.mark.parametrize("slots", [3, 64, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 8))])
def test_slots_that_change_hands_change_nothing(model: Any, slots: int) -> None:
    """Long-tailed lengths, each row with its own settings: what one row says needs no other."""
    asked = [
        (
            PROMPTS[i % 5],
            Sampling(temperature=0.5 + i % 3 / 4, max_tokens=1 + (7 * i) % 23, stop_ids=(i % 9,)),
            i,
        )
        for i in range(30)
    ]
    engine = BuiltinEngine(model, max_rows=slots)
    numbers = [engine.submit(*one) for one in asked]
    found = {answer.request: answer for answer in engine.finished()}
    assert sorted(found) == numbers
    for number, (prompt, sampling, seed) in zip(numbers, asked, strict=True):
        answer = found[number]
        expected = (plain_logits(model, prompt, answer.tokens) / sampling.temperature).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1)
        assert torch.allclose(torch.tensor(answer.logprobs), chosen, atol=2e-5)
        (alone,) = generate(BuiltinEngine(model), [prompt], sampling, seed)
        assert answer.tokens == alone.tokens


def test_rows_come_as_they_end_and_others_take_their_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    model, steps = llama(), []
    step = Slots.step
    monkeypatch.setattr(Slots, "step", lambda self, tokens: steps.append(len(tokens)) or step(self, tokens))
    engine = BuiltinEngine(model, max_rows=2)
    lengths = [20, 2, 3, 4, 5, 6]
    for seed, length in enumerate(lengths):
        engine.submit([5, 6, 7], Sampling(max_tokens=length), seed)
    answers = engine.finished()
    first = next(answers)
    assert (len(first.tokens), len(steps)) == (2, 1)
    with pytest.raises(ValueError, match="version 1"):
        engine.load(model.state_dict().items(), version=1)
    assert [len(answer.tokens) for answer in answers] == [3, 4, 5, 6, 20]
    # the first token of a row comes with its prompt, so a row of n tokens steps n - 1 times
    assert sum(steps) == sum(length - 1 for length in lengths)
    assert steps == [2] * 15 + [1] * 4
    engine.load(model.state_dict().items(), version=1)


def test_a_prompt_is_read_once_for_all_its_rows(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Any] = []
    for kind in (Slots, CachedRows):
        plain = kind.read
        monkeypatch.setattr(
            kind, "read", lambda self, prompts, plain=plain: read.extend(prompts) or plain(self, prompts)
        )
    generate(BuiltinEngine(model, max_rows=3), PROMPTS * 4, Sampling(max_tokens=5))
    assert sorted(read) == sorted({tuple(prompt) for prompt in PROMPTS})


def test_where_memory_is_short_long_requests_do_not_narrow_the_others() -> None:
    model = llama()
    row = LlamaDecoder(model).row_bytes(1)
    engine = BuiltinEngine(model, cache_bytes=60 * row)
    for seed in range(12):
        engine.submit([5, 6], Sampling(max_tokens=30 if seed == 4 else 8), seed)
    assert [engine._group()[1:] for _ in range(2)] == [(1, 32), (6, 10)]
    assert not engine._waiting


@pytest.mark.parametrize("rows", [1, 2, 5, 16, 33, 100])
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("inputs", [40, 150])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_packed_matrix_is_the_matrix(rows: int, biased: bool, inputs: int, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    weights, x, other = (
        [torch.randn(32, inputs), torch.randn(25, inputs)],
        torch.randn(rows, inputs).to(dtype),
        torch.randn(rows, 57).to(dtype),
    )
    bias, scale = torch.randn(57) if biased else None, torch.rand(inputs)
    packed = linear(weights, bias, scale, (x.device, dtype), decode_kernels())
    matrix = (torch.cat(weights) * scale).to(dtype)
    plain = F.linear(x.double(), matrix.double(), None if bias is None else bias.to(dtype).double())
    near = 8 * torch.finfo(dtype).eps * float(plain.abs().max())
    other = other.double()
    for made, expected in (
        (packed(x), plain),
        (packed.silu(x), F.silu(plain)),
        (packed.gelu_tanh(x), F.gelu(plain, approximate="tanh")),
        (packed.times(x, other.to(dtype)), plain * other),
        (packed.plus(x, other.to(dtype)), plain + other),
    ):
        assert made.dtype == dtype
        assert torch.allclose(made.double(), expected, atol=near)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_row_of_a_product_does_not_depend_on_the_others(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    packed = linear([torch.randn(300, 70)], None, None, (torch.device("cpu"), dtype), decode_kernels())
    x = torch.randn(90, 70).to(dtype)
    whole = packed(x)
    for rows in (2, 3, 7, 16, 17, 65):
        assert torch.equal(packed(x[-rows:]), whole[-rows:])


def test_a_half_precision_engine_reports_the_probabilities_that_it_drew_from() -> None:
    model = llama(head_dim=16)
    engine = BuiltinEngine(model, dtype=torch.bfloat16)
    assert model.dtype == torch.float32
    for prompt, answer in zip(PROMPTS, generate(engine, PROMPTS, Sampling(max_tokens=20)), strict=True):
        expected = plain_logits(model, prompt, answer.tokens).log_softmax(-1)
        chosen = expected.gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1)
        gap = (torch.tensor(answer.logprobs) - chosen).abs()
        assert 0 < gap.mean() < 0.1


@pytest.mark.parametrize("vocabulary", [3, 256, 257, 1000])
def test_choosing_inverts_the_cumulative_distribution(vocabulary: int) -> None:
    torch.manual_seed(0)
    logits = torch.randn(200, vocabulary) * 4
    uniform = torch.rand(200, dtype=torch.float64)
    tokens, logprobs = choose(logits, None, None, uniform)
    probability = logits.double().softmax(-1)
    upper = probability.cumsum(-1).gather(-1, tokens[:, None]).squeeze(-1)
    own = probability.gather(-1, tokens[:, None]).squeeze(-1)
    assert (uniform <= upper + 1e-6).all()
    assert (uniform >= upper - own - 1e-6).all()
    assert torch.allclose(logprobs.double(), own.log(), atol=1e-5)


def test_impossible_tokens_are_never_chosen() -> None:
    logits = torch.full((4, 600), float("-inf"))
    logits[:, [0, 300, 599]] = 0.0
    uniform = torch.tensor([2.0**-49, 0.4, 0.9, 1 - 2.0**-49], dtype=torch.float64)
    tokens, logprobs = choose(logits, None, None, uniform)
    assert tokens.tolist() == [0, 300, 599, 599]
    assert torch.allclose(logprobs, torch.tensor(1 / 3).log())


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


def test_two_tokens_follow_their_joint_distribution() -> None:
    """One random number for both tokens would leave each of them as it should be, but not both together."""
    model, n, size = llama(vocab_size=5), 6000, 5
    answers = generate(BuiltinEngine(model), [[3, 1, 4]] * n, Sampling(temperature=1.5, max_tokens=2))
    places = torch.tensor([size * answer.tokens[0] + answer.tokens[1] for answer in answers])
    counts = torch.bincount(places, minlength=size**2)
    first = (plain_logits(model, [3, 1, 4], [0])[0] / 1.5).softmax(-1)
    then = torch.stack([(plain_logits(model, [3, 1, 4, t], [0])[0] / 1.5).softmax(-1) for t in range(size)])
    expected = (first[:, None] * then).flatten()
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


def test_a_prompt_and_its_answer_may_fill_the_context(model: Any) -> None:
    (answer,) = generate(BuiltinEngine(model), [[5] * 32], Sampling(max_tokens=8))
    expected = plain_logits(model, [5] * 32, answer.tokens).log_softmax(-1)
    chosen = expected.gather(-1, torch.tensor(answer.tokens)[:, None]).squeeze(-1)
    assert len(answer.tokens) == 8
    assert torch.allclose(torch.tensor(answer.logprobs), chosen, atol=2e-5)


@pytest.mark.parametrize(
    "settings", [{"temperature": -1.0}, {"temperature": float("nan")}, {"max_tokens": 0}, {"top_p": 0.0}]
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=next(iter(settings))):
        Sampling(**settings)


def test_random_numbers_are_those_of_splitmix64() -> None:
    published = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    for step, value in enumerate(published):
        found = uniforms(torch.tensor([1234567]), torch.tensor(step)).item()
        assert found == ((value >> 16) + 0.5) / 2**48
