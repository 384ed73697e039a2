"""GGUF files and Modelfiles say what the model says, and what cannot be said there is refused by name."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from gguf import GGUFReader
from transformers import LlamaConfig, PreTrainedTokenizerBase

from posttrain.cli import main
from posttrain.cli.export import FORMS
from posttrain.exports.modelfile import frames_of
from posttrain.exports.parity import PROMPTS, GreedyAnswers, answers, compare, llama_cpp_reader, plain_reader
from posttrain.exports.vocabulary import SPLITTERS, plain_template, vocabulary
from posttrain.models.chat import Chat
from posttrain.models.gguf_reading import read_gguf
from posttrain.models.loading import load_causal_lm, save_causal_lm
from posttrain.pipeline.finding import UserError
from posttrain.stages.base import EMBEDDED
from tests.models.small import VOCABULARY, causal, gpt2, tokenizer

FRAMED = (
    "{% for m in messages %}{{ '[' + m['role'] + ']' + m['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '[assistant]' }}{% endif %}"
)


def config(**more: Any) -> LlamaConfig:
    """Grouped-query attention, heads wider than their share, spread weights."""
    given: dict[str, Any] = {
        "vocab_size": VOCABULARY + 2,  # more embeddings than tokens
        "hidden_size": 32,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "max_position_embeddings": 128,
        "pad_token_id": 1,
        "initializer_range": 0.3,
    }
    return LlamaConfig(**{**given, **more})


LLAMA_3 = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("posttrain.exports.parity.TOKENS", 8)
    return tmp_path


def saved(where: Path, model: Any, words: PreTrainedTokenizerBase | None = None) -> str:
    save_causal_lm(where / "mine", model, words or tokenizer())
    return str(where / "mine")


@pytest.mark.parametrize(
    "more", [{"tie_word_embeddings": True}, {"rope_parameters": LLAMA_3}], ids=["tied", "untied-llama3"]
)
def test_a_gguf_file_answers_as_the_model(
    here: Path, more: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    product = saved(here, causal(config(**more), dtype=torch.float32))
    assert main(["export", product, "--to", "gguf"]) == 0
    said = capsys.readouterr().out
    assert "20 of 20 greedy answers are the model's, token by token" in said
    file = here / "exports" / "mine-gguf" / "mine.gguf"
    read = GGUFReader(file)
    names = {tensor.name for tensor in read.tensors}
    assert ("output.weight" in names) is ("rope_parameters" in more)
    assert ("rope_freqs.weight" in names) is ("rope_parameters" in more)
    tokens = read.get_field("tokenizer.ggml.tokens")
    assert tokens is not None
    assert len(tokens.contents()) == VOCABULARY + 2
    template = read.get_field("tokenizer.chat_template")
    assert template is not None
    assert "generation %}" not in template.contents()
    assert main(["export", product, "--to", "gguf"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_a_rounded_file_may_part_from_the_model_where_two_tokens_are_as_likely(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    product = saved(here, causal(config(initializer_range=0.01), dtype=torch.float32))
    assert main(["export", product, "--to", "ollama", "--type", "q8_0"]) == 0
    assert "greedy answers are the model's" in capsys.readouterr().out
    made = here / "exports" / "mine-ollama"
    assert sorted(path.name for path in made.iterdir()) == ["Modelfile", "mine.gguf"]
    kinds = {t.name: t.tensor_type.name for t in GGUFReader(made / "mine.gguf").tensors}
    assert (kinds["blk.0.attn_q.weight"], kinds["blk.0.attn_norm.weight"]) == ("Q8_0", "F32")
    lines = (made / "Modelfile").read_text().splitlines()
    assert lines[0] == "FROM ./mine.gguf"
    assert 'PARAMETER stop "<|end|>"' in lines


@pytest.mark.parametrize(
    ("code", "stderr", "told"), [(-4, "", "SIGILL"), (1, "x\nOSError: no libgomp", "OSError: no libgomp")]
)
def test_llama_cpp_that_ends_without_an_answer_ends_no_export(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: int,
    stderr: str,
    told: str,
) -> None:
    """A build for another processor ends its process with an illegal instruction."""
    monkeypatch.setattr("posttrain.exports.parity.find_spec", lambda name: object())
    ended = subprocess.CompletedProcess([], code, stdout="", stderr=stderr)
    monkeypatch.setattr("posttrain.exports.parity.subprocess.run", lambda *given, **more: ended)
    assert main(["export", saved(here, causal(config(), dtype=torch.float32)), "--to", "gguf"]) == 0
    out = capsys.readouterr().out
    assert told in out
    assert "Read back by transformers (llama.cpp did not answer" in out
    assert "20 of 20" in out


def test_what_answers_otherwise_is_refused_and_not_kept(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("posttrain.exports.gguf_file.paired", lambda weight, heads: weight)
    assert main(["export", saved(here, causal(config(), dtype=torch.float32)), "--to", "gguf"]) == 2
    assert "does not say what the model says" in capsys.readouterr().err
    assert not (here / "exports").exists()


def test_a_difference_is_excused_only_as_far_as_the_type_rounds(here: Path) -> None:
    model = causal(config(), dtype=torch.float32)
    chat = Chat(tokenizer())
    wanted = answers(model, chat)
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([wanted.prompts[0]])).logits[0, -1]
    second = int(logits.argsort(descending=True)[1])
    gap = float(logits.max() - logits[second])

    def other(prompt: Any, most: int) -> list[int]:
        place = wanted.prompts.index(prompt)
        return [second] if place == 0 else wanted.tokens[place]

    with pytest.raises(UserError, match=r"to 'What is ice\?' its token 1 is"):
        compare(model, chat, wanted, other)
    with pytest.MonkeyPatch.context() as patch:  # nothing is rounded in f32 but sums in another order
        patch.setitem(compare.__globals__, "_gap", lambda *_: 0.9e-3)
        assert compare(model, chat, wanted, other) == len(PROMPTS) - 1
        patch.setitem(compare.__globals__, "_gap", lambda *_: 1.1e-3)
        with pytest.raises(UserError, match=r"at most 0\.001"):
            compare(model, chat, wanted, other)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(compare.__globals__["ROUNDED"], "f16", gap * 1.01)
        assert compare(model, chat, wanted, other, "f16") == len(PROMPTS) - 1
        patch.setitem(compare.__globals__["ROUNDED"], "f16", gap * 0.99)
        with pytest.raises(UserError, match="at most"):
            compare(model, chat, wanted, other, "f16")


def test_two_exports_with_one_target_leave_each_other_alone(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["export", str(EMBEDDED), "--to", "gguf", "--output", "out"]
    calls: list[Path] = []

    def form(_: Any, name: str, target: Path, *more: Any) -> str:
        calls.append(target)
        (target / "file").write_text(str(len(calls)))
        if len(calls) == 1:
            assert main(asked) == 0
            assert (target / "file").read_text() == "1"
        return "told"

    monkeypatch.setitem(FORMS, "gguf", form)
    assert main(asked) == 2
    assert "another export wrote it meanwhile" in capsys.readouterr().err
    assert (here / "out" / "file").read_text() == "2"
    assert [path.name for path in here.iterdir()] == ["out"]


def test_a_family_that_is_not_mapped_is_named(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", saved(here, causal(gpt2(), dtype=torch.float32)), "--to", "gguf"]) == 2
    assert "a model of type 'gpt2' is not mapped to GGUF" in capsys.readouterr().err
    biased = causal(config(attention_bias=True), dtype=torch.float32)
    assert main(["export", saved(here / "biased", biased), "--to", "gguf"]) == 2
    assert "attention_bias" in capsys.readouterr().err
    yarn = causal(config(rope_parameters={"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0}))
    assert main(["export", saved(here / "yarn", yarn), "--to", "gguf"]) == 2
    assert "positions of type 'yarn'" in capsys.readouterr().err


def test_a_tokenizer_is_mapped_by_its_rules_and_else_refused() -> None:
    words = tokenizer()
    known = json.loads(words.backend_tokenizer.to_str())
    for steps, name in SPLITTERS:
        whole = [{"trim_offsets": True, **step} if step["type"] == "ByteLevel" else step for step in steps]
        known["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": whole}
        assert vocabulary(Chat(_with(words, known)), VOCABULARY).splitter == name
    known["pre_tokenizer"]["pretokenizers"] = [{"type": "WhitespaceSplit"}, whole[-1]]
    with pytest.raises(UserError, match=r"WhitespaceSplit, ByteLevel; normalizer: none"):
        vocabulary(Chat(_with(words, known)), VOCABULARY)
    known["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": whole}
    known["normalizer"] = {"type": "Lowercase"}
    with pytest.raises(UserError, match="normalizer: Lowercase"):
        vocabulary(Chat(_with(words, known)), VOCABULARY)
    known["model"]["byte_fallback"] = True
    with pytest.raises(UserError, match="SentencePiece"):
        vocabulary(Chat(_with(words, known)), VOCABULARY)


def _with(words: Any, known: dict[str, Any]) -> Any:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(known)), **words.special_tokens_map
    )
    made.chat_template = words.chat_template
    return made


def test_marks_of_what_the_assistant_says_leave_their_whitespace_rules_behind() -> None:
    marked = "a {%- generation -%} b {% endgeneration %} c"
    assert plain_template(marked) == "a {#- -#} b {# #} c"


def test_a_template_of_frames_becomes_a_modelfile_and_any_other_is_refused() -> None:
    words = tokenizer()
    words.chat_template = FRAMED
    frames = frames_of(Chat(words))
    assert frames.user == ("[user]", "<|end|>")
    assert frames.system == ("[system]", "<|end|>")
    assert frames.ask == "[assistant]"
    words.chat_template = FRAMED.replace("m['content']", "loop.index ~ m['content']")
    with pytest.raises(UserError, match="more than a frame around each message"):
        frames_of(Chat(words))
    words.chat_template = FRAMED.replace("{% for m in messages %}", "{% for m in messages[-3:] %}")
    with pytest.raises(UserError, match="more than a frame around each message"):
        frames_of(Chat(words))


def test_the_embedded_models_frames_are_those_of_its_template() -> None:
    from posttrain.models.loading import load_tokenizer

    frames = frames_of(Chat(load_tokenizer(EMBEDDED)))
    assert (frames.start, frames.system, frames.user) == ("<|endoftext|>", None, ("<|user|>", "<|end|>"))


@pytest.mark.slow
def test_llama_cpp_answers_as_the_embedded_model(here: Path) -> None:
    pytest.importorskip("llama_cpp")
    from posttrain.exports.gguf_file import write_gguf

    model, words = load_causal_lm(EMBEDDED)
    chat = Chat(words)
    write_gguf(model, chat, here / "x.gguf", name="x")
    wanted: GreedyAnswers = answers(model, chat)
    reader = llama_cpp_reader(here / "x.gguf", chat, wanted)
    assert reader is not None
    assert compare(model, chat, wanted, reader) == len(PROMPTS)
    assert compare(model, chat, wanted, plain_reader(read_gguf(here / "x.gguf")[0], chat.stop_ids)) == 20
