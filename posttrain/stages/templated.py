"""What stages share that give a base model: the chat template that it has from then on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from posttrain.metrics import declare_metric
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import later

if TYPE_CHECKING:
    from posttrain.models.loading import Tokenizer

PARAMETERS = declare_metric("parameters", "Parameters of the model.", unit="parameters", better="none")


@dataclass(frozen=True, kw_only=True)
class Templated:
    """``chat_template`` is a file with the Jinja template that this model and all that grows from it have in
    place of its own.
    """

    chat_template: SourceFile | None = later(None)
    """A file with the Jinja chat template for this model and all trained from it; none keeps its own."""

    def __post_init__(self) -> None:
        super().__post_init__()  # type: ignore[misc]  # that of the stage
        if self.chat_template is not None and not Path(self.chat_template.path).expanduser().is_file():
            raise UserError(
                f"chat_template={self.chat_template.path}: no such file; expected one with a Jinja template"
            )

    def use_template(self, tokenizer: Tokenizer, name: str | None = None) -> None:
        """Gives the tokenizer the chat template that was asked for, checked; else its own stays, checked
        where the model has a ``name`` for an error to say. Raises UserError for a template that cannot show a
        question and its answer.
        """
        from posttrain.models.chat import Chat, use_template

        if self.chat_template is not None:
            use_template(tokenizer, Path(self.chat_template.path).expanduser())
        elif name is not None:
            try:
                Chat(tokenizer)
            except UserError as error:
                raise UserError(f"{name}: {error}") from None
