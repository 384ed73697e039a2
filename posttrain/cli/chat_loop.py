"""The loop of ``posttrain chat``: lines in, answers out."""

from __future__ import annotations

from dataclasses import dataclass, field

from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.models.chat import Chat


class NoRoom(Exception):
    """The conversation fills what the model reads; it has been cleared."""


@dataclass
class Conversation:
    """The messages so far and what answers them. ``max_tokens`` is of one answer."""

    engine: BuiltinEngine
    chat: Chat
    temperature: float
    max_tokens: int
    seed: int
    messages: list[dict[str, str]] = field(default_factory=list)

    def answer(self, message: str, number: int) -> str:
        """The model's answer; both are added to the conversation. ``number`` is of the line, so that every
        answer has a seed of its own. Raises NoRoom.
        """
        asked = [*self.messages, {"role": "user", "content": message}]
        prompt = self.chat.prompt_ids(asked)
        room = min(self.max_tokens, self.engine.context - len(prompt))
        if room < 1:
            self.messages = []
            raise NoRoom(f"the conversation is {len(prompt)} tokens, the model reads {self.engine.context}")
        sampling = Sampling(temperature=self.temperature, max_tokens=room, stop_ids=tuple(self.chat.stop_ids))
        self.engine.submit(prompt, sampling, self.seed + number)
        answer = self.chat.decode(next(iter(self.engine.finished())).tokens).strip()
        self.messages = [*asked, {"role": "assistant", "content": answer}]
        return answer


def converse(conversation: Conversation, interactive: bool) -> None:
    """Answers every line of standard input until it ends or says ``/quit``. ``interactive`` names who
    speaks; without it an answer is a line of standard output and nothing else.
    """
    number = 0
    while True:
        try:
            line = input("you: " if interactive else "").strip()
        except EOFError:
            return
        except KeyboardInterrupt:
            if interactive:
                print()  # after ^C, so that what is told stands on a line of its own
            raise
        if line in ("/quit", "/exit"):
            return
        if line == "/new":
            conversation.messages = []
        elif line:
            try:
                answer = conversation.answer(line, number)
                print(f"model: {answer}" if interactive else answer, flush=True)
            except NoRoom as reason:
                print(f"({reason}; starting over)")
        number += 1
