"""A model that exists already: the embedded one, a directory, or a name on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from posttrain.checks import base_knowledge, own_model
from posttrain.checks.thresholds import OfBase
from posttrain.cost.sizes import Size
from posttrain.cost.work import StageWork, model_written
from posttrain.pipeline.finding import Finding
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, judging
from posttrain.stages.templated import PARAMETERS, Templated

EMBEDDED = Path(__file__).resolve().parent.parent / "field_guide" / "base"


@dataclass(frozen=True, kw_only=True)
class ExistingModel(Templated, Stage):
    """The product is the model in plain Hugging Face form. With ``field_guide`` it is also asked what it
    knows of the embedded world, and a base that knows too little stops the recipe. ``chat_template`` is a
    file with the Jinja template that this model and all that grows from it have in place of its own.
    """

    address = "base"
    does = "base model"
    source: SourceFile
    """The model: a directory, or a name on the Hugging Face hub."""
    field_guide: bool = False
    """Asks the model what it knows of the embedded world; too little stops the recipe."""
    thresholds: OfBase = judging(OfBase())
    """What the base must know of the embedded world; changing it reruns no stage."""

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Loads the model, which checks it, and writes it. Raises UserError as ``models.loading`` says."""
        from posttrain.models.hub_snapshot import directory_of
        from posttrain.models.loading import load_causal_lm, save_causal_lm

        model, tokenizer = load_causal_lm(directory_of(self.source, machine.workspace), dtype="float32")
        self.use_template(tokenizer, None if self.field_guide else self.source.path)
        save_causal_lm(output, model, tokenizer)
        parameters = sum({id(p): p.numel() for p in model.parameters()}.values())
        metrics = PARAMETERS.of(parameters)
        notes = []
        if self.field_guide:
            from posttrain.evaluation.knowledge_probe import measure

            metrics |= measure(model, tokenizer)
        else:
            notes.append(
                "What this model knew before is not measured here: that needs a world with known facts."
            )
        return Report(metrics=metrics, notes=notes)

    def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
        """Raises UserError for a directory that is no language model, and for a chat template that cannot
        show a question and its answer as they are; a name on the hub is looked at in ``run``.
        """
        from posttrain.models.directory import check_directory, check_language_model

        if self.source.local is not None:
            check_directory(self.source.local)
            check_language_model(self.source.local)
            if self.chat_template is not None or not self.field_guide:
                from posttrain.models.loading import load_tokenizer

                self.use_template(load_tokenizer(self.source.local), self.source.path)
        return []

    def replaceable(self, path: Path) -> None:
        if self.field_guide:
            own_model.refuse(path)

    def model(self) -> Path | None:
        return self.source.local

    def gates(self, report: Report) -> list[Finding]:
        return base_knowledge.check(report.metrics, self.thresholds) if self.field_guide else []

    def work(self, inputs: Inputs) -> StageWork | None:
        directory = self.source.local
        size = Size.of_directory(directory) if directory is not None else None
        return None if size is None else model_written(size)
