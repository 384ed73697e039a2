"""Text that looks like a special token but was written by a person or a model: it stays text.

A tokenizer reads ``<|end|>`` as a special token wherever it stands, also inside what a user wrote, so a user
could end a turn and begin another. Content is therefore cut after the first character of every such text
before a template is filled in, and the parts are tokenised apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

from transformers import PreTrainedTokenizerBase

from posttrain.pipeline.finding import UserError

Messages = Sequence[Mapping[str, object]]

REASONING = ("<think>", "</think>")  # they begin and end no turn, and answers are full of them
_PRIVATE = range(0xE000, 0xF8FF)  # characters that no standard gives a meaning


class SpecialTokens:
    """The special tokens of a tokenizer, and those of its added tokens that ``written`` holds: what a chat
    template writes around messages (DeepSeek's ``<｜User｜>`` is not marked as special).
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, written: str = "") -> None:
        self._tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder.items()
        texts = {str(token) for token in tokenizer.all_special_tokens}
        texts |= {str(token) for _, token in added if token.special or str(token) in written}
        # a single character cannot be cut
        self.texts = sorted((t for t in texts - {*REASONING} if len(t) > 1), key=lambda t: (-len(t), t))
        either = "|".join(map(re.escape, self.texts)) or r"(?!)"
        self.pattern = re.compile(either)
        self._anywhere = re.compile(f"(?={either})")
        vocabulary = tokenizer.get_vocab()
        self._ids = {vocabulary[text] for text in self.texts if text in vocabulary}
        backend = getattr(tokenizer, "backend_tokenizer", None)
        self._normalises = backend is None or backend.normalizer is not None

    def inside(self, messages: Messages) -> bool:
        """Whether a message holds the text of a special token."""
        return any(
            isinstance(content := message.get("content"), str) and self.pattern.search(content)
            for message in messages
        )

    def marked(self, messages: Messages) -> tuple[Messages, str]:
        """The messages with a mark after the first character of every such text, and that mark, one character
        that no message holds; empty where there is none to make.
        """
        if not self.inside(messages):
            return messages, ""
        contents = [message.get("content") for message in messages]
        everything = "".join(content for content in contents if isinstance(content, str))
        mark = next(chr(n) for n in _PRIVATE if chr(n) not in everything)
        return [
            {**message, "content": self._cut(content, mark)} if isinstance(content, str) else message
            for message, content in zip(messages, contents, strict=True)
        ], mark

    def _cut(self, text: str, mark: str) -> str:
        places = [0, *(match.start() + 1 for match in self._anywhere.finditer(text)), len(text)]
        return mark.join(text[start:end] for start, end in pairwise(places))

    def encode(self, text: str, mark: str = "") -> list[int]:
        """The ids of a text; where it has marks its parts are tokenised apart.

        Raises UserError where content would be a special token all the same, because the tokenizer reads
        other characters as if they were its own.
        """
        if not text:
            return []
        ids: list[int] = []
        for part in text.split(mark) if mark else [text]:
            if part:
                ids += self._tokenizer(part, add_special_tokens=False)["input_ids"]
        if self._normalises and sum(map(self._ids.__contains__, ids)) > len(self.pattern.findall(text)):
            raise UserError(
                "a message holds characters that this tokenizer reads as one of its special tokens "
                f"({', '.join(self.texts[:4])}, ...); take them out of the message: {text[:80]!r}"
            )
        return ids

    def encode_plain(self, text: str) -> list[int]:
        """The ids of a text that is content throughout."""
        marked, mark = self.marked([{"content": text}])
        return self.encode(str(marked[0]["content"]), mark)
