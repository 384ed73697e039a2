from __future__ import annotations

import json
import math
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from posttrain.policy_gradients.ppo import PPO
from posttrain.storage.unfinished import Scratch
from posttrain.training import checkpoint
from posttrain.training.average import Average
from posttrain.training.drive import LEAST, METRICS, TIMES, Driver, Saver
from posttrain.training.kl_control import AdaptiveKL
from tests.training.test_rl_loop import Run, bits

STEPS, UPDATES = 3, 12  # PPO's 4 minibatches make 4 updates of a step


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs in the process."""


class Stage:
    """PPO with a critic, an adaptive KL coefficient and averaged weights, as a stage drives it."""

    def __init__(self, directory: Path, kill_after: int | None = None, **options: Any) -> None:
        self.output, self.kill_after = directory / "output", kill_after
        self.output.mkdir(parents=True, exist_ok=True)
        (directory / "scratch").mkdir(exist_ok=True)
        self.said: list[str] = []
        options = {"save_steps": 1, "say": self.said.append} | options
        self.scratch = Scratch(directory / "scratch", "inputs", **options)
        self.core = Run(PPO(), kl_controller=AdaptiveKL(target=0.1, horizon=100))
        self.average = Average(list(self.core.policy.parameters()), 0.9)
        self.updates = 0

    def loop(self) -> Iterator[dict[str, Any]]:
        for row in self.core.go(STEPS):
            if self.updates == self.kill_after:
                raise Killed
            self.updates += 1
            yield row

    def run(self) -> list[dict[str, Any]]:
        driver = Driver(name="rl", output=self.output, total=STEPS, scratch=self.scratch, quiet=True)
        episodes = driver.log("episodes.jsonl")

        def after(row: dict[str, Any]) -> dict[str, Any]:
            self.average.add()
            episodes.write([json.dumps({"update": row["update"]})])
            return row | {"nothing": math.nan, "everything": math.inf}

        state = self.core.state
        history = driver.drive(
            self.loop(),
            {"state": state, "optimizer": self.core.optimizer, "average": self.average},
            done=lambda: state.step,
            whole=lambda: state.whole,
            after=after,
            logs=[episodes],
        )
        self.average.take_over()
        return history

    def result(self, history: list[dict[str, Any]]) -> tuple[Any, ...]:
        """What must not depend on kills: weights, logs byte for byte, the rows that a report is made of."""
        logs = [(self.output / name).read_bytes() for name in (METRICS, "episodes.jsonl")]
        rows = [{k: v for k, v in row.items() if not k.startswith("seconds")} for row in history]
        return bits(self.core.policy), logs, repr(rows), self.core.state.kl_coef


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    stage = Stage(tmp_path_factory.mktemp("whole"))
    return stage.result(stage.run())


@pytest.mark.parametrize("kill_after", range(UPDATES))
def test_killed_after_any_update_it_ends_with_the_same_bits(
    tmp_path: Path, kill_after: int, uninterrupted: tuple[Any, ...]
) -> None:
    with pytest.raises(Killed):
        Stage(tmp_path, kill_after).run()
    again = Stage(tmp_path)
    assert again.result(again.run()) == uninterrupted
    assert again.updates == UPDATES - kill_after // 4 * 4  # all but those of the batches that were used up
    assert again.scratch.resumed == ([f"update {kill_after // 4 * 4}"] if kill_after >= 4 else [])


def test_killed_at_every_batch_it_ends_with_the_same_bits(
    tmp_path: Path, uninterrupted: tuple[Any, ...]
) -> None:
    for _ in range(STEPS - 1):
        with pytest.raises(Killed):
            Stage(tmp_path, kill_after=5).run()
    last = Stage(tmp_path, kill_after=5)
    assert last.result(last.run()) == uninterrupted


def test_killed_after_the_last_update_no_update_is_made_again(
    tmp_path: Path, uninterrupted: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(Average, "take_over", lambda self: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            Stage(tmp_path).run()
    again = Stage(tmp_path)
    assert again.result(again.run()) == uninterrupted
    assert again.updates == 0


def test_a_loop_that_ended_early_stays_ended(tmp_path: Path) -> None:
    def run() -> tuple[int, list[Any]]:
        stage = Stage(tmp_path)
        driver = Driver(name="rl", output=stage.output, total=STEPS, scratch=stage.scratch, quiet=True)
        state = stage.core.state
        rows = driver.drive(
            stage.loop(),
            {"state": state, "optimizer": stage.core.optimizer},
            whole=lambda: state.whole,
            ends=lambda row: row["step"] == 2 and row["update"] == 8,
        )
        return stage.updates, [row["update"] for row in rows]

    assert run() == (8, list(range(1, 9)))
    assert run() == (0, list(range(1, 9)))


def test_times_have_a_file_of_their_own(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    history = stage.run()
    assert not [name for row in history for name in row if name.startswith("seconds")]
    times = [json.loads(line) for line in (stage.output / TIMES).read_text().splitlines()]
    assert [row["update"] for row in times] == list(range(1, UPDATES + 1))
    assert all(row["seconds"] >= row["seconds/update"] > 0 for row in times)


def test_a_number_that_is_not_finite_is_nan_in_every_report(tmp_path: Path) -> None:
    history = Stage(tmp_path).run()
    assert all(math.isnan(row["nothing"]) and math.isnan(row["everything"]) for row in history)


def test_a_torn_line_and_lines_after_the_checkpoint_are_cut(
    tmp_path: Path, uninterrupted: tuple[Any, ...]
) -> None:
    with pytest.raises(Killed):
        Stage(tmp_path, 10).run()
    for name in (METRICS, "episodes.jsonl"):
        with (tmp_path / "scratch" / name).open("a") as log:
            log.write('{"half of a li')
    again = Stage(tmp_path)
    assert again.result(again.run()) == uninterrupted


def test_without_scratch_nothing_is_saved(tmp_path: Path) -> None:
    run = Run()
    driver = Driver(name="rl", output=tmp_path, total=1, quiet=True)
    rows = driver.drive(run.go(1), {"state": run.state}, whole=lambda: run.state.whole)
    assert len(rows) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == [METRICS, TIMES]


def test_a_save_that_fails_is_told_and_the_run_goes_on(
    tmp_path: Path, uninterrupted: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save", full)
    stage = Stage(tmp_path)
    assert stage.result(stage.run()) == uninterrupted
    assert [line for line in stage.said if "No space left" in line and "goes on" in line]


def saver_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **options: Any) -> tuple[Saver, list[float]]:
    clock = [0.0]
    monkeypatch.setattr("posttrain.training.drive.time.monotonic", lambda: clock[0])
    saver = Saver(Scratch(tmp_path, "inputs", **options), {}, [])
    saver.updates = 1
    return saver, clock


@pytest.mark.parametrize(
    ("seconds", "ended", "saves"),
    [(299, False, False), (301, False, True), (LEAST - 1, True, False), (LEAST + 1, True, True)],
)
def test_by_time_it_is_saved_every_five_minutes_and_after_the_last_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, ended: bool, saves: bool
) -> None:
    saver, clock = saver_at(tmp_path, monkeypatch)
    clock[0] = seconds
    saver.save(ended=ended)
    assert (saver.saved == 1) == saves


def test_what_is_saved_is_not_saved_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between the removal of the one and the rename of the other, a run would have neither."""
    saver, _ = saver_at(tmp_path, monkeypatch, save_steps=1, keep_last=1)
    saver.save()
    (there,) = (tmp_path / "checkpoints").iterdir()
    before = there.stat().st_ino
    saver.save(now=True, ended=True)
    assert there.stat().st_ino == before
    saver.updates = 2
    saver.save(now=True)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000002"]


def test_saving_takes_at_most_a_twentieth_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, clock = saver_at(tmp_path, monkeypatch, save_seconds=1.0)
    saver.took = 30.0
    clock[0] = 599.0
    saver.save()
    assert saver.saved == 0
    clock[0] = 601.0
    saver.save()
    assert saver.saved == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_obeyed_when_the_batch_is_used_up_and_saved(
    tmp_path: Path, number: int, uninterrupted: tuple[Any, ...]
) -> None:
    class Stopped(Exception):
        pass

    def stop(*_: object) -> None:
        raise Stopped

    before = signal.signal(number, stop)
    try:
        stage = Stage(tmp_path, save_steps=0)
        loop = stage.loop

        def signalled() -> Iterator[dict[str, Any]]:
            for row in loop():
                if stage.updates == 5:
                    os.kill(os.getpid(), number)
                yield row

        stage.loop = signalled  # type: ignore[method-assign]
        with pytest.raises(Stopped):
            stage.run()
        assert stage.updates == 8
        again = Stage(tmp_path)
        assert again.result(again.run()) == uninterrupted
        assert again.updates == 4
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_the_second_signal_is_obeyed_at_once(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    loop = stage.loop

    def signalled() -> Iterator[dict[str, Any]]:
        for row in loop():
            if stage.updates == 5:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), signal.SIGINT)
            yield row

    stage.loop = signalled  # type: ignore[method-assign]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        with pytest.raises(KeyboardInterrupt):
            stage.run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert stage.updates == 5


def test_another_thread_than_the_main_one_leaves_signals_alone(tmp_path: Path) -> None:
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(len(Stage(tmp_path).run())))
    thread.start()
    thread.join()
    assert results == [UPDATES]


def test_the_loop_is_not_begun_before_what_was_saved_is_loaded(tmp_path: Path) -> None:
    """The reference, and where decay to the start begins, are taken of the weights as they came."""
    with pytest.raises(Killed):
        Stage(tmp_path, 5).run()
    again = Stage(tmp_path)
    fresh = bits(again.core.reference)
    again.run()
    assert bits(again.core.reference) == fresh
    assert not torch.equal(next(again.core.policy.parameters()), next(again.core.reference.parameters()))
