"""One thread that owns the engine. Requests wait in a queue; all that wait run together, and each is told its
tokens as they are chosen.

The engine's answers do not depend on what else is under way, so neither do a request's.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from posttrain.engines.base import Sampling
from posttrain.engines.builtin import BuiltinEngine
from posttrain.pipeline.finding import UserError


@dataclass(frozen=True, kw_only=True)
class Piece:
    """One token, and the text that is certain since it was chosen: empty inside of a character, and while it
    may be the beginning of a stop text.
    """

    token: int
    logprob: float
    text: str


@dataclass(frozen=True, kw_only=True)
class End:
    """The answer is over: ``stop`` at a stop token or text, ``length`` at the most tokens; and the text that
    was held back. ``problem`` where the engine failed.
    """

    reason: str = "stop"
    text: str = ""
    problem: str = ""


class AnswerText:
    """The text of an answer, token by token, up to the first of ``stops``."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str]) -> None:
        self._decode, self._stops = decode, stops
        self._tokens: list[int] = []
        self._given = 0  # characters told
        self.stopped = False

    def add(self, token: int) -> str:
        """The text that became certain since the last call."""
        self._tokens.append(token)
        text = self._decode(self._tokens)
        stop_starts = [start for stop in self._stops if (start := text.find(stop)) >= 0]
        if stop_starts:
            self.stopped = True
            return self._tell(text, min(stop_starts))
        certain = len(text.rstrip("\ufffd"))  # the bytes of a character that is not whole yet
        for stop in self._stops:
            certain = min(certain, len(text) - _begun(text, stop))
        return self._tell(text, certain)

    def rest(self) -> str:
        """What was held back, once nothing follows."""
        text = self._decode(self._tokens)
        return "" if self.stopped else self._tell(text, len(text))

    def _tell(self, text: str, end: int) -> str:
        new_text, self._given = text[self._given : end], max(self._given, end)
        return new_text


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of ``text`` are the beginning of ``stop``."""
    most = min(len(stop) - 1, len(text))
    return next((count for count in range(most, 0, -1) if text.endswith(stop[:count])), 0)


@dataclass(eq=False, kw_only=True)
class Job:
    """A request: a prompt's token ids, how to sample, and a callback. ``cancelled`` ends it at
    its next token.
    """

    prompt: list[int]
    sampling: Sampling
    seed: int
    text: AnswerText
    tell: Callable[[Piece | End], None]
    cancelled: bool = False


class EngineWorker:
    """Runs jobs on an engine, until it is closed."""

    def __init__(self, engine: BuiltinEngine) -> None:
        self.engine = engine
        self._queue: queue.Queue[Job | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        self._thread.start()

    def submit(self, job: Job) -> None:
        """Queues a job, which must fit the engine's context."""
        self._queue.put(job)

    def close(self) -> None:
        """Waits for what is under way."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while True:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            jobs = [job for job in waiting if job is not None and not job.cancelled]
            try:
                self._together(jobs)
            except Exception as problem:  # the thread serves those who come later too
                self.engine.forget()
                for job in jobs:
                    job.tell(End(problem=f"{type(problem).__name__}: {problem}"))
            if None in waiting:
                return

    def _together(self, jobs: Sequence[Job]) -> None:
        asked: dict[int, Job] = {}
        for job in jobs:
            try:
                asked[self.engine.submit(job.prompt, job.sampling, job.seed)] = job
            except UserError as problem:
                job.tell(End(problem=str(problem)))

        def watch(number: int, token: int, logprob: float) -> bool:
            job = asked[number]
            job.tell(Piece(token=token, logprob=logprob, text=job.text.add(token)))
            return job.text.stopped or job.cancelled

        for completion in self.engine.finished(watch):
            job = asked[completion.request]
            over = completion.ended or job.text.stopped
            job.tell(End(reason="stop" if over else "length", text=job.text.rest()))
