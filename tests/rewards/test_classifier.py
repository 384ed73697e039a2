"""A sequence classifier that others made is a reward, whatever its architecture and vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, PreTrainedTokenizerFast

from posttrain.models.loading import save_reward_model, scalar_model
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.fingerprint import Finished
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Product
from posttrain.recipes.instructgpt import instructgpt
from posttrain.rewards.classifier import Classifier
from posttrain.rewards.learned import LearnedReward
from posttrain.settings import expression, parse
from tests.rewards.test_learned import episode

from posttrain.models.chat import Chat  # isort: skip
from posttrain.models.classifier import TextClassifier  # isort: skip

PROMPT = [{"role": "user", "content": "Hi"}]


def bert(directory: Path, letters: PreTrainedTokenizerFast, labels: int) -> Any:
    """An encoder of other people's: no causal trunk, no chat template."""
    torch.manual_seed(labels)
    config = BertConfig(
        vocab_size=len(letters),
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=32,
        num_labels=labels,
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    model.save_pretrained(directory)
    letters.save_pretrained(directory)
    (directory / "chat_template.jinja").unlink(missing_ok=True)
    return model


def test_an_encoder_of_any_vocabulary_is_paid_for_its_logit(
    tmp_path: Path, letters: PreTrainedTokenizerFast
) -> None:
    model = bert(tmp_path, letters, 1)
    asked = [episode(Chat(letters), text, ended) for text, ended in (("yes", True), ("no", False))]
    source = Classifier(source=SourceFile(str(tmp_path)), mean=0.5, std=2.0, missing_eos_penalty=3.0)
    with source.open(Inputs({}), Machine()) as scorer:
        rewards = scorer.score(asked)
    for place, (text, penalty) in enumerate((("yes", 0.0), ("no", 3.0))):
        ids = letters("Hi", text, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logit = float(model(input_ids=ids).logits)
        assert rewards.parts["classifier"][place] == pytest.approx(logit, abs=1e-5)
        assert rewards.values[place] == pytest.approx((logit - 0.5) / 2 - penalty, abs=1e-5)


@pytest.mark.parametrize("chat", [True, False])
def test_special_tokens_in_an_answer_are_text(
    tmp_path: Path, letters: PreTrainedTokenizerFast, chat: bool
) -> None:
    bert(tmp_path, letters, 1)
    if chat:
        (tmp_path / "chat_template.jinja").write_text(str(letters.chat_template), "utf-8")
    judge = TextClassifier(tmp_path, "", "cpu")
    special = set(letters.all_special_ids)

    def marks(answer: str) -> list[int]:
        return [token for token in judge._ids(PROMPT, answer)[0].tolist() if token in special]

    assert marks("no<end><user>good<end>") == marks("no")
    assert len(marks("no")) == (5 if chat else 0)


def test_of_several_labels_one_is_named(tmp_path: Path, letters: PreTrainedTokenizerFast) -> None:
    model = bert(tmp_path, letters, 3)
    asked = [episode(Chat(letters), "a long answer, longer than all that it can read")]
    found = []
    for label in ("LABEL_0", "1", "LABEL_2"):
        with Classifier(source=SourceFile(str(tmp_path)), label=label).open(Inputs({}), Machine()) as scorer:
            found.append(float(scorer.score(asked).values))
    odds = torch.tensor(found).sigmoid()
    assert float(odds.sum()) == pytest.approx(1, abs=1e-5)  # three probabilities
    assert model.config.num_labels == 3
    with (
        pytest.raises(UserError, match="expected one of LABEL_0, LABEL_1, LABEL_2"),
        Classifier(source=SourceFile(str(tmp_path))).open(Inputs({}), Machine()),
    ):
        pass


def test_the_command_line_takes_one_for_reinforcement(tmp_path: Path) -> None:
    wishes = ["rl.reward=classifier", f"rl.reward.source={tmp_path}", "rl.reward.std=2"]
    with pytest.raises(UserError, match=r"no config\.json"):  # before anything is trained
        expression(instructgpt, parse(wishes))
    (tmp_path / "config.json").write_text("{}")
    made: Any = expression(instructgpt, parse(wishes))
    assert made.final.reward == Classifier(source=SourceFile(str(tmp_path)), std=2.0)


def test_a_model_with_one_label_takes_the_place_of_the_reward_model(
    tmp_path: Path, small_llama: Any, letters: PreTrainedTokenizerFast
) -> None:
    plain = scalar_model(small_llama, letters, seed=1)
    save_reward_model(tmp_path, plain, letters)
    made: Any = expression(instructgpt, parse([f"rm={tmp_path}", "rl.reward.normalise=no"]))
    source = made.final.reward
    assert isinstance(source, LearnedReward)
    assert isinstance(source.model, Finished)
    product = object.__new__(Product)
    object.__setattr__(product, "path", Path(source.model.path))
    asked = [episode(Chat(letters), "yes")]
    with source.open(Inputs({}, {id(source.model): product}), Machine()) as scorer:
        value = float(scorer.score(asked).values)
    reader = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    with torch.no_grad():
        assert value == pytest.approx(float(reader(torch.tensor([asked[0].ids])).logits), abs=1e-4)
