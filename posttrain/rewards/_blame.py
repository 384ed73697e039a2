"""What is told where a user's own reward raises: what it raised, at which of their lines, on which answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from posttrain.pipeline.blame import ROOT, short, user_frames
from posttrain.pipeline.finding import UserError


class Answered(Protocol):
    """Of an episode what is shown of it."""

    @property
    def prompt(self) -> Mapping[str, Any]: ...

    @property
    def response(self) -> str: ...


MEND = "Mend the reward, or mark what it cannot score as not scored (Rewards.scored)"


@contextmanager
def blamed(
    reward: object, name: str, doing: str, where: Callable[[], str], mend: str = MEND
) -> Iterator[None]:
    """What is raised inside becomes a UserError where ``reward``, an object or a function, is not of this
    package: ``name`` raised it ``doing`` that, at a line of the user's, and ``where`` says on which row. A
    reward that asks Python to exit is stopped in the same way, since the run would end as if it were whole.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        if _of_this_package(reward) or (isinstance(error, SystemExit) and type(error) is not SystemExit):
            raise
        lines = [f"reward {name} raised {short(f'{type(error).__name__}: {error}')} in {doing}"]
        lines += [f"  at {frame}" for frame in user_frames(error)]
        lines += [f"  {where()}", f"  {mend}"]
        raise UserError("\n".join(lines)) from error


def named(episodes: Sequence[Answered], row: int) -> str:
    """An answer by its number in a batch, its prompt and its first words."""
    episode = episodes[row]
    return f"answer {row + 1} of {len(episodes)}, {short(repr(episode.response))}, to {asked(episode.prompt)}"


def asked(prompt: Mapping[str, Any]) -> str:
    """A prompt by its id, where it has one, and its last words."""
    text = prompt.get("prompt", "")
    if isinstance(text, list) and text and isinstance(text[-1], Mapping):
        text = text[-1].get("content", "")
    name = f"prompt {prompt['id']!r}" if "id" in prompt else "prompt"
    return f"{name} {short(repr(text))}" if text else name


def first_that_raises(score: Callable[[Sequence[Any]], Any], episodes: Sequence[Answered]) -> str:
    """The first answer on which ``score`` raises without the others of its batch, found by halves."""
    places = range(len(episodes))
    while len(places) > 1:
        halves = places[: len(places) // 2], places[len(places) // 2 :]
        raising = next((half for half in halves if _raises(score, [episodes[row] for row in half])), None)
        if raising is None:
            return (
                f"only on {len(places)} answers together, the first of which is {named(episodes, places[0])}"
            )
        places = raising
    return f"on {named(episodes, places[0])}" if places else "on a batch without answers"


def _raises(score: Callable[[Sequence[Any]], Any], some: Sequence[Any]) -> bool:
    try:
        score(some)
    except (Exception, SystemExit):
        return True
    return False


def _of_this_package(reward: object) -> bool:
    return str(reward.__module__).partition(".")[0] == ROOT.name
