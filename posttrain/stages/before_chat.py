"""A base as pretraining left it, before its chat's tokens were given a beginning."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

from posttrain.cost.sizes import Size
from posttrain.cost.work import StageWork, model_written
from posttrain.metrics import declare_metric
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage

TOKENS_CHANGED = declare_metric(
    "tokens_changed",
    "Chat tokens whose embeddings were set back to those of tokens that were never trained.",
    unit="tokens",
    better="none",
)


@dataclass(frozen=True, kw_only=True)
class BeforeChat(Stage):
    """The same model, which no longer says the tokens of a chat.

    Tokens that pretraining never read end up far from everything it says; before instruction tuning the
    embedded base's were therefore given the embeddings of a colon and of a line's end. A page of plain text
    then has a turn where a colon belongs, and reinforcement that punishes the turns lowers the colon with
    them. Here every special token but BOS gets the embedding of the padding token, which nothing was done to.
    """

    address = "before_chat"
    does = "base model without chat tokens"
    base: Stage
    """The model whose chat tokens are made as unlikely as padding."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the model. Raises UserError where the tokenizer has no padding token of its own."""
        import torch
        from torch import nn

        from posttrain.models.loading import load_causal_lm, save_causal_lm

        model, tokenizer = load_causal_lm(inputs["base"].path, dtype="float32")
        bos, untouched = tokenizer.bos_token_id, tokenizer.pad_token_id
        if untouched is None or untouched in (bos, tokenizer.eos_token_id):
            raise UserError("before_chat: the base has no padding token of its own to take an embedding from")
        changed = [token for token in tokenizer.all_special_ids if token not in (bos, untouched)]
        with torch.no_grad():
            for matrix in (model.get_input_embeddings(), model.get_output_embeddings()):
                weight = cast(nn.Embedding | nn.Linear, matrix).weight
                weight[changed] = weight[untouched].clone()
        save_causal_lm(output, model, tokenizer)
        return Report(metrics=TOKENS_CHANGED.of(len(changed)))

    def work(self, inputs: Inputs) -> StageWork | None:
        size = Size.of(inputs.get("base"))
        return None if size is None else model_written(size)
