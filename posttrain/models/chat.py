"""Messages to tokens and back, with a mask of what the assistant said.

Text is tokenised in pieces, cut where the assistant begins and ceases to speak: a token never spans a
border, so the ids that are trained on are the ids that are served (``prompt_ids`` and then what the model
says).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase
from transformers.utils.chat_template_utils import render_jinja_template

from posttrain.models.loading import pad_id
from posttrain.pipeline.finding import UserError

Messages = Sequence[Mapping[str, Any]]

DEFAULT_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Assistant:"
    "{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}{{ '\n\n' }}"
    "{% else %}{{ message['role'] | capitalize + ': ' + message['content'] + '\n\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Chat:
    """The chat format of one tokenizer: its own template, or ``DEFAULT_TEMPLATE`` where it has none.

    ``stop_ids`` are the tokens that end an answer (EOS and the template's end of a turn), ``pad_id``
    fills short rows. Raises UserError for a tokenizer with no way to end an answer, and for a template
    that cannot be used.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.pad_id = pad_id(tokenizer)
        given = tokenizer.chat_template
        if isinstance(given, dict):
            given = given.get("default")
        self.uses_default_template = not given
        self.template: str = given or DEFAULT_TEMPLATE
        if not given and tokenizer.eos_token is None:
            raise UserError(
                "the tokenizer has neither a chat template nor an EOS token, so an answer could not end; "
                "set eos_token in tokenizer_config.json."
            )
        self._marked = _MARKER.search(self.template) is not None
        self._special = {n: t for n, t in tokenizer.special_tokens_map.items() if isinstance(t, str)}
        bos = tokenizer.bos_token_id
        self._bos = None if bos is None else int(bos)  # type: ignore[arg-type]
        # whether plain text gets a BOS from this tokenizer; the template may write it instead, never both
        self._adds_bos = self._bos is not None and tokenizer("a")["input_ids"][:1] == [self._bos]
        self.stop_ids: tuple[int, ...] = self._find_stops()
        self._stops_at: dict[str, tuple[int, ...]] = {}

    def _find_stops(self) -> tuple[int, ...]:
        eos = self.tokenizer.eos_token_id
        stops = [] if eos is None else [int(eos)]  # type: ignore[arg-type]
        said = "xyzzy"
        text, _ = self._render([{"role": "user", "content": "a"}, {"role": "assistant", "content": said}])
        after = self._encode(text.rpartition(said)[2])[:1] if said in text else []
        marks = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        stops += [token for token in after if token in marks and token not in stops]
        if not stops:
            raise UserError(
                "the tokenizer has no EOS and its chat template no end of a turn; answers could not end."
            )
        return tuple(stops)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"] if text else []
        return ids

    def _render(self, messages: Messages, generate: bool = False) -> tuple[str, list[tuple[int, int]]]:
        try:
            rendered: Any = render_jinja_template(
                [[dict(message) for message in messages]],
                chat_template=self.template,
                return_assistant_tokens_mask=self._marked,
                add_generation_prompt=generate,
                **cast(Any, self._special),
            )
        except (TemplateError, TypeError, KeyError) as problem:
            roles = [message.get("role") for message in messages]
            raise UserError(f"the chat template refuses roles {roles}: {problem}") from None
        texts, spans = rendered
        return texts[0], [(int(a), int(b)) for a, b in spans[0]] if self._marked else []

    def _spans(self, messages: Messages, text: str, marks: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Where in ``text`` the assistant speaks; each begins where its generation prompt ends."""
        speakers = [i for i, message in enumerate(messages) if message.get("role") == "assistant"]
        if self._marked and len(marks) != len(speakers):
            raise UserError(
                f"the chat template marks {len(marks)} assistant turns of {len(speakers)}; it must show "
                "and mark ({% generation %}) every one."
            )
        spans = []
        for k, i in enumerate(speakers):
            prompt, _ = self._render(messages[:i], generate=True)
            whole = text[: marks[k][1]] if self._marked else self._render(messages[: i + 1])[0]
            if not text.startswith(prompt) or not text.startswith(whole) or len(whole) <= len(prompt):
                raise UserError(
                    f"the chat template rewrites what came before messages[{i}] (its generation prompt is "
                    "not the beginning of the conversation), so training would not match serving; use a "
                    "template that only appends."
                )
            spans.append((len(prompt), len(whole)))
        return spans

    def _check_complete(self, messages: Messages, text: str) -> None:
        for i, message in enumerate(messages):
            content = message.get("content")
            if isinstance(content, str) and content.strip() not in text:
                raise UserError(
                    f"messages[{i}] ({message.get('role')}): the chat template drops or rewrites its "
                    "content; use a template that shows every message as it is."
                )

    def _tokens(self, messages: Messages, generate: bool) -> tuple[list[int], list[bool]]:
        text, marks = self._render(messages, generate)
        self._check_complete(messages, text)
        ids: list[int] = []
        mask: list[bool] = []
        done = 0
        for start, end in self._spans(messages, text, marks):
            silent, spoken = self._encode(text[done:start]), self._encode(text[start:end])
            stops = [place for place, token in enumerate(spoken) if token in self.stop_ids]
            rest = text[end:]
            if not stops:
                following = self._encode(rest[:64])[:1]
                mark = self.tokenizer.convert_ids_to_tokens(following)[0] if following else ""
                if following and following[0] in self.stop_ids and rest.startswith(mark):
                    end += len(mark)  # markers that leave the end of the turn out: it is learned all the same
                    spoken.append(following[0])
                elif not rest.strip():
                    spoken.append(self.stop_ids[0])
                stops = [len(spoken) - 1]
            heard = stops[-1] + 1  # nothing is said after the end of a turn
            ids += silent + spoken
            mask += [False] * len(silent) + [True] * heard + [False] * (len(spoken) - heard)
            done = end
        tail = self._encode(text[done:])
        return self._one_bos(ids + tail, mask + [False] * len(tail))

    def _one_bos(self, ids: list[int], mask: list[bool]) -> tuple[list[int], list[bool]]:
        if self._bos is None:
            return ids, mask
        extra = 0
        while ids[extra : extra + 2] == [self._bos, self._bos]:
            extra += 1
        if ids[:1] != [self._bos] and self._adds_bos:
            return [self._bos, *ids], [False, *mask]
        return ids[extra:], mask[extra:]

    def prompt_ids(self, messages: Messages) -> list[int]:
        """The tokens after which the assistant speaks next: generation prompt appended, exactly one BOS.

        Raises UserError for a template that drops or rewrites messages.
        """
        return self._tokens(messages, generate=True)[0]

    def example(self, messages: Messages) -> tuple[list[int], list[bool]]:
        """A conversation as ids [L] and a mask [L], True on what the assistant said and on the token that
        ends it.

        ``prompt_ids`` of the messages before a turn is the beginning of ``ids``. Raises UserError where
        nothing would be supervised, and for a template that drops or rewrites messages.
        """
        ids, mask = self._tokens(messages, generate=False)
        if not any(mask):
            raise UserError(f"no assistant message among {len(messages)}: there would be nothing to learn.")
        return ids, mask

    def text_ids(self, text: str) -> list[int]:
        """Plain text to go on with, after one BOS where the tokenizer has one: what a base model has read."""
        ids = self._encode(text)
        return ids if self._bos is None else [self._bos, *ids]

    def text_example(self, text: str, completion: str) -> tuple[list[int], list[bool]]:
        """As ``example``: plain text and how it goes on; ``text_ids(text)`` is the beginning of the ids."""
        before, after = self.text_ids(text), self._encode(completion)
        if not after:
            raise UserError(f"nothing follows {text[-40:]!r}: there would be nothing to learn.")
        return before + after, [False] * len(before) + [True] * len(after)

    def stops_at(self, end: str) -> tuple[int, ...]:
        """What ends plain text: every token whose text holds ``end``, and every special token, since a page,
        a turn or a chat begins there and none of them is text.
        """
        if end not in self._stops_at:
            each = [[token] for token in range(len(self.tokenizer))]
            texts = self.tokenizer.batch_decode(each, clean_up_tokenization_spaces=False)
            found = [token for token, text in enumerate(texts) if end and end in text]
            special = self.tokenizer.all_special_ids
            self._stops_at[end] = tuple(dict.fromkeys([*self.stop_ids, *special, *found]))
        return self._stops_at[end]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without special tokens."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )
