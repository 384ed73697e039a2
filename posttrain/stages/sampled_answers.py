"""What the stages share that sample answers of a policy to prompts and write rows of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from posttrain.checks import rows_ahead
from posttrain.cost.sizes import Rows, Size, Tokens
from posttrain.cost.work import ModelWork, StageWork
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.kinds import ModelStage, PromptStage
from posttrain.pipeline.stage import Compute, Inputs, Machine
from posttrain.stages.scoring_work import scorers

if TYPE_CHECKING:
    from posttrain.engines.base import Sampling
    from posttrain.engines.builtin import BuiltinEngine
    from posttrain.models.chat import Chat


class SamplesAnswers:
    """``answers`` completions of ``policy`` to each of ``rows`` and ``heldout`` prompts."""

    amounts: ClassVar[tuple[tuple[str, str], ...]] = (("rows", "{} rows"), ("answers", "{} answers each"))
    policy: ModelStage
    prompts: PromptStage
    rows: int
    heldout: int
    answers: int
    temperature: float
    max_completion_length: int
    compute: Compute

    def opened(self, inputs: Inputs, machine: Machine) -> tuple[BuiltinEngine, Chat, Sampling]:
        """The policy ready to answer, the Chat of its tokenizer, and how is sampled."""
        from posttrain.engines.base import Sampling
        from posttrain.engines.builtin import BuiltinEngine
        from posttrain.models.chat import Chat
        from posttrain.models.loading import load_causal_lm, short

        model, tokenizer = load_causal_lm(inputs["policy"].path, device=machine.device)
        sampling = Sampling(temperature=self.temperature, max_tokens=self.max_completion_length)
        return BuiltinEngine(model, dtype=short(self.compute)), Chat(tokenizer), sampling

    def ahead(self, model: Path | None, inputs: Inputs, machine: Machine) -> list[Finding]:
        """Whether a prompt leaves room for an answer."""
        if "prompts" not in inputs:
            return []
        return rows_ahead.prompts(self, model, inputs["prompts"].path, "train")

    def written(self, rows: int, heldout_rows: int, prompt: float, answer: float) -> Rows:
        """The rows that come of so many prompts of ``prompt`` tokens, with ``answer`` tokens an answer."""
        raise NotImplementedError(f"{type(self).__name__}.written")

    def work(self, inputs: Inputs) -> StageWork | None:
        """Of sampling and scoring the answers; None where the size of the model or the rows is unknown."""
        size, prompts = Size.of(inputs.get("policy")), Rows.of(inputs.get("prompts"))
        if size is None or prompts is None:
            return None
        answer = self.max_completion_length / 2  # where answers end by themselves
        train, held = min(self.rows, prompts.rows), min(self.heldout, prompts.heldout_rows)
        tokens = Tokens.of_answers(train + held, self.answers, prompts.row_tokens, answer)
        return StageWork(
            models=(ModelWork(size=size, sampled=tokens), *scorers(inputs, tokens)),
            rows_sampled=max(train, held) * self.answers,
            row_length=prompts.row_tokens + self.max_completion_length,
            compute=self.compute,
            product=self.written(train, held, prompts.row_tokens, answer),
            examples=(train + held) * self.answers,
        )
