"""Answers that a model wrote do no harm and are paid for nothing but right values, in every tier there is."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from posttrain.sandbox import examination
from posttrain.sandbox.examination import BrokenTests, Verdict, examine, run_program, strongest
from posttrain.sandbox.sandboxed import Limits
from posttrain.sandbox.tiers import SAFE, Landlock, SandboxError, Tier, Unsafe
from tests.sandbox.assert_forms import FORMS, F
from tests.sandbox.attacks import ATTACKS, GOLD, ORACLES, TESTS, filled, namespaces

ROOT = Path(__file__).resolve().parent.parent.parent
QUICK = Limits(seconds=1.0, memory=256 << 20)


def works(tier: Tier) -> str:
    """Why a tier cannot be had on this machine; empty where it can."""
    try:
        strongest([tier])
    except SandboxError as problem:
        return str(problem)
    return ""


@pytest.fixture(scope="module", params=SAFE, ids=lambda tier: tier.name)
def tier(request: pytest.FixtureRequest) -> Tier:
    if reason := works(request.param):
        pytest.skip(reason)
    found: Tier = request.param
    return found


@dataclass(frozen=True)
class Outside:
    """What attacks want to hurt."""

    place: Path
    tcp: socket.socket
    udp: socket.socket

    @property
    def port(self) -> int:
        return int(self.tcp.getsockname()[1])

    def unharmed(self) -> bool:
        """The secret as it was and alone, and nobody called."""
        for end in (self.tcp, self.udp):
            try:
                end.accept() if end is self.tcp else end.recv(1)
            except BlockingIOError:
                continue
            return False
        secret = self.place / "secret.txt"
        mode = secret.stat().st_mode & 0o777
        return (
            sorted(os.listdir(self.place)) == ["secret.txt"] and secret.read_text() == "s" and mode == 0o666
        )


@pytest.fixture
def for_all() -> Iterator[Path]:
    """A directory that anybody may reach; pytest's own may stand below one that is closed."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o777)
        yield Path(made)


@pytest.fixture
def outside(for_all: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Outside]:
    """A directory that anybody may write to, a secret in the environment, and two ports that listen."""
    place = for_all / "place"
    place.mkdir()
    (place / "secret.txt").write_text("s")
    (place / "secret.txt").chmod(0o666)
    place.chmod(0o777)
    monkeypatch.setenv("MY_SECRET", "SECRET")
    with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        udp.bind(tcp.getsockname())
        tcp.setblocking(False)
        udp.setblocking(False)
        yield Outside(place, tcp, udp)


def test_no_attack_is_paid_and_none_does_harm(tier: Tier, outside: Outside) -> None:
    def paid(code: str) -> bool:
        given = filled(code, str(outside.place), os.getpid(), outside.port)
        return examine(given, TESTS, tier=tier, limits=QUICK).solved

    assert len(ATTACKS) >= 100
    with ThreadPoolExecutor(8) as pool:  # most of the time is waiting for what hangs
        scores = dict(zip(ATTACKS, pool.map(paid, ATTACKS.values()), strict=True))
    assert [name for name, solved in scores.items() if solved] == []
    assert outside.unharmed()
    assert examine(GOLD, TESTS, tier=tier).solved


@pytest.mark.parametrize("oracle", ORACLES)
def test_what_exists_outside_cannot_be_found_out(tier: Tier, outside: Outside, oracle: str) -> None:
    if isinstance(tier, Landlock) and not namespaces():
        pytest.skip("this kernel lets this user have no mount namespace")
    given = filled(ORACLES[oracle], str(outside.place), os.getpid(), outside.port)
    assert not examine(given, TESTS, tier=tier, limits=QUICK).solved


class LandlockAlone(Landlock):
    """As where the kernel refuses namespaces."""

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "mounts": False}


def test_landlock_alone_tells_what_exists_and_not_what_it_holds(outside: Outside) -> None:
    """What docs/safety.md says of machines without namespaces."""
    if reason := works(LandlockAlone()):
        pytest.skip(reason)
    codes = {
        "stat": ORACLES["stat"],
        **{name: ATTACKS[name] for name in ("reads files outside", "lists directories")},
    }
    filled_in = {n: filled(code, str(outside.place), os.getpid(), outside.port) for n, code in codes.items()}
    solved = {n: examine(c, TESTS, tier=LandlockAlone(), limits=QUICK).solved for n, c in filled_in.items()}
    assert solved == {"stat": True, "reads files outside": False, "lists directories": False}


@pytest.mark.slow
def by_nobody(copy: Path, script: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """What a script of this folder prints, run by nobody on a ``copy`` of the sandbox, which needs the
    standard library alone: by tier, for each of its cases. Skips where nobody can run it.
    """
    for folder in ("posttrain/sandbox", "tests/sandbox"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        try:
            ran = subprocess.run(
                [python, str(copy / "tests/sandbox" / script), str(copy), *arguments],
                user=65534,
                group=65534,
                extra_groups=[],
                capture_output=True,
                text=True,
                cwd="/",
                timeout=600,
            )
        except (PermissionError, FileNotFoundError):
            continue
        assert ran.returncode == 0, ran.stderr
        by_tier: dict[str, dict[str, Any]] = json.loads(ran.stdout)
        if not by_tier:
            pytest.skip("no tier of the sandbox works for nobody here")
        return by_tier
    pytest.skip("no Python here that nobody may run")


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_no_attack_by_nobody_is_paid_and_none_does_harm(outside: Outside, for_all: Path) -> None:
    arguments = (str(outside.place), str(os.getpid()), str(outside.port))
    for name, scores in by_nobody(for_all / "copy", "attacks.py", *arguments).items():
        assert scores.pop("gold") == 1, name
        assert [attack for attack, score in scores.items() if score] == [], name
    assert outside.unharmed()


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become nobody")
def test_tests_of_every_form_are_run_and_counted_by_nobody_too(for_all: Path) -> None:
    wanted = {form: list(counts) for form, (*_, counts) in FORMS.items()}
    for name, counted in by_nobody(for_all / "copy", "assert_forms.py").items():
        assert counted == wanted, name


def test_nothing_is_left_running(tier: Tier) -> None:
    before = set(os.listdir("/proc"))
    examine("def f():\n    while True: pass\n", "assert f()", tier=tier, limits=Limits(seconds=0.3))
    time.sleep(0.3)
    new = [p for p in set(os.listdir("/proc")) - before if p.isdigit() and b"candidate" in _command(p)]
    lines = {p: _ancestors(p) for p in new}  # beside this test others examine answers too
    assert [p for p, line in lines.items() if line[:1] == [1] or os.getpid() in line] == []


ORPHAN = """
from posttrain.sandbox.examination import examine
from posttrain.sandbox.sandboxed import Limits
from posttrain.sandbox.tiers import {tier}
print("begun", flush=True)
examine("import time\\ndef f():\\n    time.sleep(60)", "assert f()", tier={tier}(), limits=Limits(seconds=50))
"""


@pytest.mark.parametrize("kind", [*(type(tier) for tier in SAFE), Unsafe], ids=lambda kind: kind.__name__)
def test_what_runs_ends_with_the_parent(kind: type[Tier]) -> None:
    if kind is not Unsafe and works(kind()):
        pytest.skip(works(kind()))
    code = ORPHAN.format(tier=kind.__name__)
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    parent.stdout.readline()
    mine = Path(f"/proc/{parent.pid}/task/{parent.pid}/children")
    deadline = time.monotonic() + 10
    while len(started := mine.read_text().split()) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)  # the two are confined
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert len(started) == 2
    while (left := [pid for pid in started if _command(pid)]) and time.monotonic() < deadline + 10:
        time.sleep(0.02)
    assert left == []


def _ancestors(process: str | int) -> list[int]:
    """The pids of its parent, of that one's parent and so on; empty where it is gone."""
    found: list[int] = []
    while process not in (0, 1):
        try:
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            break
        found.append(process)
    return found


def _command(pid: str) -> bytes:
    try:
        return Path("/proc", pid, "cmdline").read_bytes()
    except OSError:
        return b""


@pytest.mark.parametrize("form", FORMS)
def test_tests_of_every_form_are_run_and_counted(form: str, tier: Tier) -> None:
    code, tests, entry_point, wanted = FORMS[form]
    verdict = examine(code, tests, tier=tier, entry_point=entry_point)
    assert (verdict.ran, verdict.passed) == wanted, verdict


@pytest.mark.parametrize("how", ["assertIn(f(), [1])", "assertIsNone(f())", "assertFalse(f())", "fail(f())"])
def test_a_long_message_of_a_test_is_cut(how: str) -> None:
    tests = f"import unittest\nclass T(unittest.TestCase):\n    def test(self): self.{how}"
    verdict = examine("def f(): return 'x' * 200_000", tests, tier=_any())
    assert (verdict.ran, verdict.passed) == (1, 0)
    assert 0 < len(verdict.why) <= 200


@pytest.mark.parametrize("said", [b'{"ran": 1, "passed": 1, "first": "', b"[]", b'{"ran": "many"}', b"\xff"])
def test_a_verdict_that_cannot_be_read_is_a_failure_of_the_sandbox(
    monkeypatch: pytest.MonkeyPatch, said: bytes
) -> None:
    monkeypatch.setattr(examination, "read_until", lambda *given: said)
    with pytest.raises(SandboxError, match="verdict that cannot be read"):
        examine(GOLD, TESTS, tier=_any())


def test_a_task_of_two_megabytes_is_read_in_blocks(tier: Tier) -> None:
    began = time.process_time()
    tests = "assert f(1) == 2\n#" + "x" * (2 << 20)
    assert examine(F + "\n#" + "y" * (2 << 20), tests, tier=tier).solved
    assert run_program("print(len(input()))\n#" + "x" * (2 << 20), "a" * 9000, "9000", tier=tier).solved
    assert time.process_time() - began < 1


def test_a_process_that_does_not_read_its_task_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf(Unsafe):
        def command(self, module: str, descriptors: object) -> list[str]:
            return ["/bin/sleep", "60"]

    monkeypatch.setattr("posttrain.sandbox.sandboxed.STARTS_WITHIN", 0.2)
    with pytest.raises(SandboxError, match="did not read its task"):
        examine("#" * (1 << 20), TESTS, tier=Deaf())


BEFORE = 'from math import floor\n\ndef f(x):\n    """The next whole number."""\n'


@pytest.mark.parametrize(
    "code",
    [
        "    return floor(x) + 1\n",
        "return floor(x) + 1",
        "y = floor(x)\n    return y + 1",
        "\n    y = floor(x)\n    return y + 1\n\ndef other():\n    pass",
        "def f(x):\n    return floor(x) + 1",
        "from math import floor\ndef f(x):\n    return floor(x) + 1",
    ],
)
def test_code_completes_what_stands_before_it(code: str) -> None:
    assert examine(code, "assert f(1.5) == 2", tier=_any(), before=BEFORE).solved
    assert not examine(code, "assert f(1.5) == 3", tier=_any(), before=BEFORE).solved


def _any() -> Tier:
    """The strongest tier, or the unsafe one: these answers are our own."""
    return strongest(unsafe=True)


def test_a_program_is_judged_by_what_it_writes() -> None:
    assert run_program("print(int(input()) * 2)", "21\n", "42", tier=_any()).solved
    assert not run_program("print(41)", "", "42", tier=_any()).solved
    assert "exit code" in run_program("print(42)\nraise SystemExit(3)", "", "42", tier=_any()).why
    assert run_program("print('  a  ')", "", "  a", tier=_any()).solved
    assert not run_program("print('a')", "", "  a", tier=_any()).solved  # indentation is output
    flood = run_program("while True: print('x' * 999)", "", "42", tier=_any(), limits=Limits(output=10_000))
    assert "more than 10000 bytes" in flood.why


@pytest.mark.parametrize("tests", ["assert f(", "x = 1"])
def test_tests_at_fault_are_told_from_a_wrong_answer(tests: str) -> None:
    with pytest.raises(BrokenTests):
        examine("def f(): pass", tests, tier=_any())


class Broken(Unsafe):
    def command(self, module: str, descriptors: object) -> list[str]:
        return ["/bin/false"]


def test_a_sandbox_that_fails_is_an_error_and_no_verdict() -> None:
    with pytest.raises(SandboxError, match="did not start"):
        examine(GOLD, TESTS, tier=Broken())
    with pytest.raises(SandboxError, match="unsafe: candidate"):
        strongest([Broken()])


def test_without_a_safe_tier_there_is_none_unless_it_is_asked_for() -> None:
    with pytest.raises(SandboxError):
        strongest([])
    assert strongest([], unsafe=True).name == "unsafe"


def test_of_no_tests_none_is_passed() -> None:
    assert not Verdict(tier="any", ran=0, passed=0).solved
    assert Verdict(tier="any", ran=2, passed=2).solved
    assert not Verdict(tier="any", ran=2, passed=1).solved


def test_a_tier_that_passes_everything_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    passed = Verdict(tier="unsafe", ran=1, passed=1)
    monkeypatch.setattr(examination, "examine", lambda *given, **named: passed)
    with pytest.raises(SandboxError, match="a trial failed"):
        strongest([Unsafe()])
