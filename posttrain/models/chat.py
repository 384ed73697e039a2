"""Messages to tokens and back, with a mask of what the assistant said.

Text is tokenised in pieces, cut where an assistant message begins and ends. No token spans such a border, so
training sees the same ids as serving, where the model continues ``prompt_ids``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from transformers import PreTrainedTokenizerBase

from posttrain.models.chat_template import ChatTemplate, Messages, Opening
from posttrain.models.loading import pad_id
from posttrain.models.special_tokens import SpecialTokens
from posttrain.pipeline.finding import UserError

DEFAULT_TEMPLATE = (
    "{% if bos_token %}{{ bos_token }}{% endif %}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}Assistant:"
    "{% generation %}{{ ' ' + message['content'] + eos_token }}{% endgeneration %}{{ '\n\n' }}"
    "{% else %}{{ message['role'] | capitalize + ': ' + message['content'] + '\n\n' }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Assistant:{% endif %}"
)
LARGEST_TEMPLATE = 1_000_000  # bytes; the longest that is known has 20,000


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
        if not given and tokenizer.eos_token is None:
            raise UserError(
                "the tokenizer has neither a chat template nor an EOS token, so an answer could not end; "
                "set eos_token in tokenizer_config.json."
            )
        named = {n: t for n, t in tokenizer.special_tokens_map.items() if isinstance(t, str)}
        self.template = given or DEFAULT_TEMPLATE  # its source
        self._template = ChatTemplate(self.template, named)
        bos = tokenizer.bos_token_id
        self._bos = None if bos is None else int(bos)  # type: ignore[arg-type]
        # whether plain text gets a BOS from this tokenizer; the template may write it instead, never both
        self._adds_bos = self._bos is not None and tokenizer("a")["input_ids"][:1] == [self._bos]
        written, after = self._template.skeleton()
        self.special = SpecialTokens(tokenizer, written)
        self.stop_ids: tuple[int, ...] = self._find_stops(after)
        self._template.stops = tuple(str(t) for t in tokenizer.convert_ids_to_tokens(list(self.stop_ids)))
        self._template.control = self.special.pattern
        self.folds_system = self._template.refuses_system()
        self._stops_at: dict[str, tuple[int, ...]] = {}

    def _find_stops(self, after: str) -> tuple[int, ...]:
        eos = self.tokenizer.eos_token_id
        stops = [] if eos is None else [int(eos)]  # type: ignore[arg-type]
        marks = {*self.tokenizer.all_special_ids, *self.tokenizer.added_tokens_decoder}
        first = self.special.encode(after)[:1]
        stops += [token for token in first if token in marks and token not in stops]
        if not stops:
            raise UserError(
                "the tokenizer has no EOS and its chat template no end of a turn; answers could not end."
            )
        return tuple(stops)

    def _tokens(self, messages: Messages, generate: bool) -> tuple[list[int], list[bool]]:
        """The whole conversation, each answer from its own generation prompt to the token that ends it."""
        messages, mark = self.special.marked(self._folded(messages))
        speaks = [index for index, message in enumerate(messages) if message.get("role") == "assistant"]
        opening = Opening(self._template, messages[: speaks[0] if speaks else None])
        if len(speaks) > 1 or (speaks and generate):
            self._template.check_joints()
        ids = self.special.encode(opening.prompt, mark)
        mask = [False] * len(ids)
        for index, until in zip(speaks, [*speaks, len(messages)][1:], strict=True):
            spoken = self.special.encode(opening.answer_text(messages[index]), mark)
            stops = [n for n, token in enumerate(spoken) if token in self.stop_ids]
            if not stops:
                spoken.append(self.stop_ids[0])
                stops = [len(spoken) - 1]
            heard = stops[-1] + 1  # nothing is said after the end of a turn
            learned = messages[index].get("weight") != 0
            ids += spoken
            mask += [learned] * heard + [False] * (len(spoken) - heard)
            rest = opening.ends()[1]
            if until < len(messages) or until - index > 1 or generate:
                goes_on = generate or until < len(messages)
                rest = opening.follows(messages[index + 1 : until], goes_on)
            silent = self.special.encode(rest, mark)
            if silent[:1] == spoken[-1:] and spoken[-1] in self.stop_ids:
                silent = silent[1:]  # the end of the turn is said already
            ids += silent
            mask += [False] * len(silent)
        return self._one_bos(ids, mask)

    def _folded(self, messages: Messages) -> Messages:
        """A system message as the beginning of the user's first one, where the template refuses it."""
        if not self.folds_system or [m.get("role") for m in messages[:2]] != ["system", "user"]:
            return messages
        system, user = messages[:2]
        return [{**user, "content": f"{system['content']}\n\n{user['content']}"}, *messages[2:]]

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
        """A conversation as ids [L] and a mask [L], True on assistant messages and the tokens that end them.

        ``prompt_ids`` of the messages before a turn is the beginning of ``ids``. Raises UserError where
        nothing would be supervised, and for a template that drops or rewrites messages.
        """
        if not any(m.get("role") == "assistant" and m.get("weight") != 0 for m in messages):
            raise UserError(
                f"no assistant message among {len(messages)} that counts: there would be nothing to learn."
            )
        return self._tokens(messages, generate=False)

    def served_ids(self, messages: Messages) -> list[int] | None:
        """As ``prompt_ids``, by a server that fills the template in anew and tokenises it in one piece; None
        where the template refuses these messages.
        """
        try:
            text, _ = self._template.render(messages, generate=True)
        except UserError:
            return None
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self._one_bos(ids, [False] * len(ids))[0]

    def text_ids(self, text: str) -> list[int]:
        """Plain text to go on with, after one BOS where the tokenizer has one: what a base model has read."""
        ids = self.special.encode_plain(text)
        return ids if self._bos is None else [self._bos, *ids]

    def text_example(self, text: str, completion: str) -> tuple[list[int], list[bool]]:
        """As ``example``: plain text and how it goes on; ``text_ids(text)`` is the beginning of the ids."""
        before, after = self.text_ids(text), self.special.encode_plain(completion)
        if not after:
            raise UserError(f"nothing follows {text[-40:]!r}: there would be nothing to learn.")
        return before + after, [False] * len(before) + [True] * len(after)

    def stops_at(self, end: str) -> tuple[int, ...]:
        """The tokens that stop plain text: those whose text contains ``end``, and all special tokens, which
        begin a page, a turn or a chat.
        """
        if end not in self._stops_at:
            each = [[token] for token in range(len(self.tokenizer))]
            texts = self.tokenizer.batch_decode(each, clean_up_tokenization_spaces=False)
            containing = [token for token, text in enumerate(texts) if end and end in text]
            special = self.tokenizer.all_special_ids
            self._stops_at[end] = tuple(dict.fromkeys([*self.stop_ids, *special, *containing]))
        return self._stops_at[end]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of an answer, without special tokens."""
        return str(
            self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        )


def use_template(tokenizer: PreTrainedTokenizerBase, file: Path) -> None:
    """Gives a tokenizer the chat template of a file. Raises UserError, naming the file, for
    an unusable one.
    """
    try:
        if file.stat().st_size > LARGEST_TEMPLATE:
            raise UserError(f"it has {file.stat().st_size} bytes, expected {LARGEST_TEMPLATE} at most")
        tokenizer.chat_template = file.read_text("utf-8")
        if not tokenizer.chat_template.strip():
            raise UserError("it is empty, expected a Jinja template")
        Chat(tokenizer)
    except (UserError, UnicodeDecodeError) as problem:
        raise UserError(f"chat_template={file}: {problem}") from None
