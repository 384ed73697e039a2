"""A chat template as text: what comes before an answer, what an answer is, and what stands between two turns.

A template may write the same turn in one way while it is the newest and in another way once others follow
(Qwen3 drops its thinking, gpt-oss ends it otherwise). What a model is trained on is therefore put together
from pieces that never change: the prompt, each answer as it is written while it is the newest, and the
joints, which are read off a conversation in which a sentinel stands in for the answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from transformers.utils.chat_template_utils import render_jinja_template

from posttrain.pipeline.finding import UserError

Messages = Sequence[Mapping[str, object]]

FIX = "give a template that does with base.chat_template=FILE (Jinja, as in tokenizer_config.json)"
# what a template's expressions raise where they do not fit the messages
_REFUSALS = (
    TemplateError,
    ArithmeticError,
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    RecursionError,
)
_MARKER = re.compile(r"\{%-?\s*generation\s*-?%\}")
_THINKING = re.compile(r"</?think>")
_USER = {"role": "user", "content": "plugh"}  # no template says this of itself


class ChatTemplate:
    """One Jinja template; ``special`` are the tokens that it may name, such as ``bos_token``.

    ``stops`` are the texts of tokens that end a turn and ``control`` matches every text that begins or ends
    one; both are known only after a first look at what the template writes. ``rewrites_ends`` says whether an
    answer ends in another way once messages follow it; None where nobody has looked.
    """

    def __init__(self, source: str, special: Mapping[str, str]) -> None:
        self._source, self._named = source, dict(special)
        self._marked = _MARKER.search(source) is not None
        self.stops: tuple[str, ...] = ()
        self.control: re.Pattern[str] | None = None
        self._joins = False
        self.rewrites_ends: bool | None = None

    def render(self, messages: Messages, generate: bool = False) -> tuple[str, int | None]:
        """The text, and where the newest marked answer ends in it; None where the template marks none.

        Raises UserError where the template refuses the messages.
        """
        given: Any = self._named
        try:
            rendered: Any = render_jinja_template(
                [[dict(message) for message in messages]],
                chat_template=self._source,
                return_assistant_tokens_mask=self._marked,
                add_generation_prompt=generate,
                **given,
            )
        except TemplateSyntaxError as problem:
            raise UserError(
                f"the chat template is not Jinja at line {problem.lineno} ({problem.message}); {FIX}"
            ) from None
        except _REFUSALS as problem:
            roles = [message.get("role") for message in messages]
            raise UserError(f"the chat template refuses roles {roles}: {problem}; {FIX}") from None
        texts, spans = rendered
        return texts[0], int(spans[0][-1][1]) if self._marked and spans[0] else None

    def shown(self, messages: Messages, generate: bool = False) -> tuple[str, int | None]:
        """As ``render``. Raises UserError where a message is not shown as it is."""
        text, end = self.render(messages, generate)
        for number, message in enumerate(messages):
            content = message.get("content")
            if isinstance(content, str) and content.strip() not in text:
                raise UserError(
                    f"messages[{number}] ({message.get('role')}): the chat template drops or rewrites its "
                    f"content, expected one that shows every message as it is; {FIX}"
                )
        return text, end

    def refuses_system(self) -> bool:
        """Whether it raises an error at a system message, as Gemma's does, and takes a user's alone."""
        try:
            self.render([{"role": "system", "content": "plover"}, _USER], generate=True)
        except UserError:
            self.render([_USER], generate=True)
            return True
        return False

    def skeleton(self) -> tuple[str, str]:
        """What it writes around messages, and what follows an answer that is the newest.

        Raises UserError where it cannot show one question and one answer.
        """
        opening = Opening(self, [_USER])
        texts = [self.shown([_USER, opening.answer])[0], opening.prompt]
        with suppress(UserError):  # that is told where a conversation has several turns
            texts.append(self.shown([_USER, opening.answer, _USER], generate=True)[0])
        return "\n".join(texts), opening.after

    def check_joints(self) -> None:
        """Raises UserError where what stands between two turns depends on the turns before."""
        if self._joins:
            return
        early = Opening(self, [_USER])
        late = Opening(self, [_USER, {"role": "assistant", "content": "plover"}, _USER])
        more = [{"role": "user", "content": "frob"}]
        joint, asks = early.follows(more, True), early.prompt[len(self.render([_USER])[0]) :]
        if joint != late.follows(more, True) or not joint.endswith(asks):
            raise UserError(
                "the chat template writes something else between two turns the later they come, expected "
                f"one that only appends; {FIX}"
            )
        self._joins = True


class Opening:
    """The messages before the first answer, and how the template continues after them.

    ``prompt`` ends where the answer begins. Raises UserError for a template that drops or rewrites a message.
    """

    def __init__(self, template: ChatTemplate, messages: Messages) -> None:
        self._template, self._messages = template, list(messages)
        self.prompt = template.shown(messages, generate=True)[0]
        self.answer = _sentinel(messages)
        self._newest: tuple[str, str, int] | None = None

    def _look(self) -> tuple[str, str, int]:
        """What stands before and after the sentinel as the newest answer, and how much of the latter the
        template marks as the assistant's.
        """
        if self._newest is None:
            text, marked = self._template.shown([*self._messages, self.answer])
            before, after = self._around(text, self.answer["content"])
            whole = len(after) if marked is None else marked - (len(text) - len(after))
            self._newest = before, after, max(whole, 0)
        return self._newest

    @property
    def after(self) -> str:
        """What follows the newest answer."""
        return self._look()[1]

    @staticmethod
    def _around(text: str, spelled: str) -> tuple[str, str]:
        before, separator, after = text.rpartition(spelled)
        if not separator or spelled in before:
            raise UserError(f"the chat template shows an answer several times, expected once; {FIX}")
        return before, after

    def ends(self) -> tuple[str, str]:
        """What ends an answer, and the silent rest that follows where it is the last message.

        The end is what the template writes after the newest answer, as far as it writes the same once others
        follow; where it does not (Phi-3 has EOS after the last message only), up to the first stop token.
        """
        _, after, whole = self._look()
        start, stop = self._stop(after)
        if start == whole:
            whole = stop  # markers that leave the end of the turn out: it is learned all the same
        if self._template.rewrites_ends is None:
            try:
                rest = self._after_answer([_USER], True)
                self._template.rewrites_ends = not rest.startswith(after[:whole])
            except UserError:
                self._template.rewrites_ends = False  # nothing can follow
        return (after[:stop], "") if self._template.rewrites_ends else (after[:whole], after[whole:])

    def _stop(self, text: str) -> tuple[int, int]:
        """Start and end of the first stop token; (0, 0) where there is none."""
        matches = [(text.find(stop), len(stop)) for stop in self._template.stops if stop in text]
        start, length = min(matches, default=(0, 0))
        return start, start + length

    def answer_text(self, message: Mapping[str, object]) -> str:
        """The text of an assistant message after the generation prompt, its end included.

        It is the template's text where that continues the prompt and contains the whole message. Otherwise it
        is the message itself: DeepSeek-R1's template drops thinking from its history and opens ``<think>`` in
        its prompt, which is closed here for an answer without thinking.
        """
        before, after, _ = self._look()
        end, _ = self.ends()
        content = message.get("content")
        text = self._template.render([*self._messages, message])[0]
        body = text[len(self.prompt) : len(text) - len(after)]
        # a template may write line breaks of its own between the thinking and the answer
        parts = _THINKING.split(content) if isinstance(content, str) else []
        goes_on = text.startswith(self.prompt) and text.endswith(after)
        twice = "<think>" in body and self._opens_thinking()
        if goes_on and not twice and all(part.strip() in body for part in parts):
            return body + end
        if not isinstance(content, str):
            raise UserError(
                f"the chat template shows no answer that is not text, expected one that does; {FIX}"
            )
        return self._lead(before, content) + end

    def _lead(self, before: str, content: str) -> str:
        """What was said, after what has to come before it where the rendered turn is not the prompt's."""
        opened = self._opens_thinking()
        if "</think>" in content:
            return re.sub(r"^\s*<think>\n?", "", content) if opened else content
        same = _shared(self.prompt, before)
        lead = before[same:] if len(self._silent()) <= same else ""
        if opened and "</think>" not in lead:
            lead = f"\n</think>\n\n{lead}"
        return lead + content

    def _silent(self) -> str:
        """The messages without a generation prompt."""
        return self._template.render(self._messages)[0]

    def _opens_thinking(self) -> bool:
        """Whether the generation prompt ends inside thinking."""
        return _THINKING.findall(self.prompt[len(self._silent()) :])[-1:] == ["<think>"]

    def follows(self, messages: Messages, generate: bool) -> str:
        """What stands after the end of an answer when messages follow it, up to where the next answer begins.

        It is a function of the opening and of those messages; no answer is looked at.
        """
        rest = self._after_answer(messages, generate)
        end, _ = self.ends()
        if rest.startswith(end):
            return rest[len(end) :]
        start, _ = self._stop(end)
        other = self._template.control.match(rest, start) if self._template.control else None
        # gpt-oss ends an answer as it ends any message once others follow; that the turn ends is said already
        if other and rest[:start] == end[:start] and self._silent().rstrip().endswith(other[0]):
            return rest[other.end() :]
        return rest

    def _after_answer(self, messages: Messages, generate: bool) -> str:
        answer = _sentinel([*self._messages, *messages])
        text = self._template.shown([*self._messages, answer, *messages], generate)[0]
        return self._around(text, answer["content"])[1]


def _sentinel(messages: Messages) -> dict[str, str]:
    """An answer that no message holds."""
    spelled = "xyzzy"
    while any(spelled in str(message.get("content")) for message in messages):
        spelled += "y"
    return {"role": "assistant", "content": spelled}


def _shared(one: str, other: str) -> int:
    """The length of the common prefix of two texts."""
    least = min(len(one), len(other))
    return next((index for index in range(least) if one[index] != other[index]), least)
