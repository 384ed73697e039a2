"""A model that exists already: the embedded one, a directory, or a name on the hub."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.checks import base_knowledge, own_model
from posttrain.pipeline.finding import Finding, UserError
from posttrain.pipeline.sizes import Size, opened
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Estimate, Inputs, Machine, Report, Stage, later

EMBEDDED = Path(__file__).resolve().parent.parent / "field_guide" / "base"


@dataclass(frozen=True, kw_only=True)
class ExistingModel(Stage):
    """The product is the model in plain Hugging Face form. With ``field_guide`` it is also asked what it
    knows of the embedded world, and a base that knows too little stops the recipe. ``chat_template`` is a
    file with the Jinja template that this model and all that grows from it have in place of its own.
    """

    address = "base"
    source: SourceFile
    """The model: a directory, or a name on the Hugging Face hub."""
    field_guide: bool = False
    """Asks the model what it knows of the embedded world; too little stops the recipe."""
    chat_template: SourceFile | None = later(None)
    """A file with the Jinja chat template for this model and all trained from it; none keeps its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chat_template is not None and not Path(self.chat_template.path).expanduser().is_file():
            raise UserError(
                f"chat_template={self.chat_template.path}: no such file; expected one with a Jinja template"
            )

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        """Loads the model, which checks it, and writes it. Raises UserError as ``models.loading`` says."""
        from posttrain.models.hub import directory_of
        from posttrain.models.loading import load_causal_lm, save_causal_lm

        model, tokenizer = load_causal_lm(directory_of(self.source, machine.workspace), dtype="float32")
        self._use_template(tokenizer)
        save_causal_lm(output, model, tokenizer)
        parameters = sum({id(p): p.numel() for p in model.parameters()}.values())
        figures: dict[str, float | int | str] = {"parameters": parameters}
        notes = []
        if self.field_guide:
            from posttrain.evaluation.base_knowledge import measure

            figures |= measure(model, tokenizer)
        else:
            notes.append(
                "What this model knew before is not measured here: that needs a world with known facts."
            )
        return Report(figures=figures, notes=notes)

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

                self._use_template(load_tokenizer(self.source.local))
        return []

    def _use_template(self, tokenizer: Any) -> None:
        """The tokenizer with the chat template that was asked for, checked; or with its own, checked."""
        from posttrain.models.chat import Chat, use_template

        if self.chat_template is not None:
            use_template(tokenizer, Path(self.chat_template.path).expanduser())
        elif not self.field_guide:
            Chat(tokenizer)

    def replaceable(self, path: Path) -> None:
        if self.field_guide:
            own_model.refuse(path)

    def model(self) -> Path | None:
        return self.source.local

    def gates(self, report: Report) -> list[Finding]:
        return base_knowledge.check(report.figures) if self.field_guide else []

    def estimate(self, inputs: Inputs, machine: Machine) -> Estimate | None:
        found = self.source.local
        size = Size.of_directory(found) if found is not None else None
        return None if size is None else opened(size)
