"""The embedded base without a chat's tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedTokenizerFast

from posttrain.field_guide.problems import sum_lines
from posttrain.models.chat import Chat
from posttrain.models.loading import load_causal_lm
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Machine
from posttrain.pipeline.store import Workspace
from posttrain.stages.base import EMBEDDED, ExistingModel
from posttrain.stages.before_chat import BeforeChat
from tests.stages.test_instructgpt import save_llama


def made(base: Path, workspace: Path) -> Path:
    stage = BeforeChat(base=ExistingModel(source=SourceFile(str(base))))
    products = run(stage, Workspace(workspace), Machine(quiet=True), say=lambda text: None).products
    return products["before_chat"].path


def test_only_the_tokens_of_a_chat_change(tmp_path: Path) -> None:
    before, tokenizer = load_causal_lm(EMBEDDED)
    after, _ = load_causal_lm(made(EMBEDDED, tmp_path))
    other = {name: value for name, value in after.state_dict().items() if "embed" not in name}
    assert all(
        torch.equal(value, before.state_dict()[name]) for name, value in other.items() if "lm_" not in name
    )
    old, new = before.get_input_embeddings().weight, after.get_input_embeddings().weight
    turns = tokenizer.convert_tokens_to_ids(["<|user|>", "<|assistant|>", "<|end|>"])
    changed = (old != new).any(dim=1).nonzero().flatten().tolist()
    assert changed == turns
    assert all(torch.equal(new[turn], old[tokenizer.pad_token_id]) for turn in turns)


def test_it_no_longer_says_them_on_a_page(tmp_path: Path) -> None:
    shares = []
    for directory in (EMBEDDED, made(EMBEDDED, tmp_path)):
        model, tokenizer = load_causal_lm(directory)
        asked = [Chat(tokenizer).text_ids(row["prompt"]) for row in sum_lines("heldout", 20, 0)]
        with torch.no_grad():
            ends = torch.stack([model(torch.tensor([ids])).logits[0, -1].softmax(-1) for ids in asked])
        special = [token for token in tokenizer.all_special_ids if token != tokenizer.bos_token_id]
        shares.append(float(ends[:, special].sum(dim=1).mean()))
    assert shares[0] > 0.1
    assert shares[1] < 1e-3


def test_a_base_without_padding_of_its_own_is_refused(
    tmp_path: Path, letters: PreTrainedTokenizerFast
) -> None:
    source = save_llama(tmp_path / "model", letters)
    tokenizer = load_causal_lm(source)[1]
    tokenizer.pad_token = tokenizer.eos_token
    tokenizer.save_pretrained(source)
    with pytest.raises(UserError, match="no padding token of its own"):
        made(source, tmp_path / "workspace")
