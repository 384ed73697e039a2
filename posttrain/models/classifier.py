"""A sequence classifier of somebody else's: text in, one number out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from posttrain.models.loading import load_classifier
from posttrain.models.positions import row_limit
from posttrain.models.reading import refuse_mean
from posttrain.models.special_tokens import SpecialTokens
from posttrain.pipeline.finding import UserError


class TextClassifier:
    """One text at a time and without padding, so that no pad token can be read in the answer's place."""

    def __init__(self, source: Path | str, label: str, device: str) -> None:
        """Raises UserError for a label that the model does not have, and for a score over mean states."""
        self.model, self.tokenizer = load_classifier(source, device=device)
        refuse_mean(self.model.config, source)
        self.special = SpecialTokens(self.tokenizer, str(self.tokenizer.chat_template))
        names = {int(number): str(name) for number, name in (self.model.config.id2label or {}).items()}
        self.row = 0
        if len(names) > 1:
            matching = [number for number, name in names.items() if label in (name, str(number))]
            if not matching:
                raise UserError(f"{source}: label={label!r}, expected one of {', '.join(names.values())}")
            self.row = matching[0]

    @torch.no_grad()
    def logit(self, prompt: str | Sequence[Mapping[str, object]], response: str) -> float:
        """The one label's logit, or the log-odds of the chosen label against all others."""
        ids = self._ids(prompt, response).to(self.model.device)
        logits = self.model(input_ids=ids).logits[0].float()
        if len(logits) == 1:
            return float(logits[0])
        others = torch.cat([logits[: self.row], logits[self.row + 1 :]])
        return float(logits[self.row] - others.logsumexp(0))

    def _ids(self, prompt: str | Sequence[Mapping[str, object]], response: str) -> torch.Tensor:
        """[1, T]; too long input loses its beginning. Special tokens inside the texts are encoded as plain
        text: otherwise a policy would be paid for ending its turn and praising itself as the user.
        """
        answer = {"role": "assistant", "content": response}
        if self.tokenizer.chat_template and not isinstance(prompt, str):
            messages, mark = self.special.marked([*prompt, answer])
            text = self.tokenizer.apply_chat_template(list(messages), tokenize=False)  # type: ignore[arg-type]
            ids = torch.tensor([self.special.encode(str(text), mark)])
        else:
            asked = prompt if isinstance(prompt, str) else "\n".join(str(m["content"]) for m in prompt)
            ids = self.tokenizer(asked, response, split_special_tokens=True, return_tensors="pt")["input_ids"]
        longest = getattr(self.model.config, "max_position_embeddings", None) or ids.shape[1]
        return ids[:, -min(longest, row_limit(self.model.base_model).tokens) :]
