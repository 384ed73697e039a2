"""What does posttrain make of input that nobody meant to give it?

    python scripts/fuzz.py [--cases N] [--only WORD ...] [--seed N]

Each target makes cases: good input with bytes or values changed at random, and values that Hypothesis draws.
A case is well answered where it is accepted, or refused in a sentence with exit code 2, within LIMIT seconds
of the processor, and nothing is written outside the workspace. Prints what was not, with the number that
makes it again, and ends with 1 if there was any.
"""

# size: six kinds of input, each with its own good example

from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import faulthandler
import gzip
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from hypothesis import HealthCheck, Phase, given, seed, settings  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from posttrain import settings as posttrain_settings  # noqa: E402
from posttrain.cli import main  # noqa: E402
from posttrain.data import read  # noqa: E402
from posttrain.pipeline.finding import UserError  # noqa: E402
from posttrain.pipeline.sources import SourceFile  # noqa: E402
from posttrain.pipeline.stage import Inputs, Machine  # noqa: E402
from posttrain.recipes.best_of_n import best_of_n  # noqa: E402
from posttrain.recipes.cartpole import cartpole  # noqa: E402
from posttrain.recipes.deepseek_r1_zero import deepseek_r1_zero  # noqa: E402
from posttrain.recipes.dpo import dpo  # noqa: E402
from posttrain.recipes.instructgpt import instructgpt  # noqa: E402
from posttrain.recipes.rounds import rounds  # noqa: E402
from posttrain.recipes.tulu3 import tulu3  # noqa: E402
from posttrain.stages.demonstrations import DemonstrationRows  # noqa: E402
from posttrain.stages.labels import ComparisonRows, RatedRows  # noqa: E402
from posttrain.stages.problems import ProblemRows  # noqa: E402
from posttrain.stages.prompts import PromptRows  # noqa: E402
from posttrain.stages.text import TextRows  # noqa: E402

LIMIT = 5.0  # seconds of the processor for one case
WAITS = 60.0  # seconds of the clock, for what waits and computes nothing; a busy machine has slow clocks
READERS: tuple[Callable[..., Any], ...] = (
    read.read_messages,
    read.read_prompts,
    read.read_problems,
    read.read_text,
    read.read_comparisons,
    read.read_ratings,
)
STAGES: tuple[Callable[..., Any], ...] = (
    DemonstrationRows,
    PromptRows,
    ProblemRows,
    TextRows,
    ComparisonRows,
    RatedRows,
)  # of each the reader, and how its rows are divided
RECIPES = (instructgpt, dpo, best_of_n, tulu3, deepseek_r1_zero, rounds, cartpole)
TALK = [{"role": "user", "content": "What is ice?"}, {"role": "assistant", "content": "Frozen water."}]
CHECKS = [{"check": "bullets", "count": 3}, {"check": "excludes", "word": "ice"}, {"check": "titled"}]
ROWS: list[dict[str, Any]] = [
    {"id": "1", "messages": TALK, "system": "Be brief."},
    {"prompt": "What is ice?", "completion": "Frozen water."},
    {"prompt": TALK[:1], "completion": TALK[1:], "label": True},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
    {"instruction": "Say it.", "input": "this", "output": "so", "response": "x"},
    {"text": "\n\nHuman: a\n\nAssistant: b"},
    {"prompt": "2 + 2?", "answer": 4, "tests": "assert f(1) == 2", "entry_point": "f"},
    {"prompt": "sum", "cases": [{"input": "1 2", "output": "3"}], "checks": CHECKS, "stop": "\n"},
    {"prompt": "a", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": 3}]},
    {"text": "f", "test_list": ["assert f() == 1"], "test_setup_code": "import os"},
    {"prompt": "a", "chosen": "b", "rejected": "c", "margin": 1.5, "confidence": 0.7, "annotator": "x"},
    {"chosen": TALK, "rejected": [TALK[0], {"role": "assistant", "content": "Cold."}], "tie": False},
    {"conversations": TALK[:1], "chosen": TALK[1], "rejected": {"from": "gpt", "value": "b"}},
    {"prompt": "a", "response_a": "b", "response_b": "c", "winner": "model_a"},
    {"prompt": '["a"]', "response_0": "b", "response_1": "c", "better_response_id": 1},
    {"history": "a", "human_ref_A": "b", "human_ref_B": "c", "labels": 1},
    {"info": {"post": "long"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 1},
    {"question": {"full_text": "a"}, "answer_0": "b", "answer_1": "c", "score_0": 1, "score_1": -1},
    {"prompt": "a", "completions": [{"response": "b", "score": 1}, {"response": "c", "score": 2.5}]},
    {"prompt": "a", "answers": ["b", "c"], "ranks": [1, 2]},
    {"prompt": "a", "reward_model": {"ground_truth": "4"}},
]
ODD: list[Any] = [
    None, True, 0, -1, 1.5, 10**400, 1e308, float("nan"), float("inf"), "", " ", "\ud800", "\0", "a" * 1000,
    [], {}, [[]], [None], {"role": "user"}, {"a": {"b": [1]}}, [{}], "[1", "[[", TALK, "system", "\u202e",
]  # fmt: skip
NAMES = sorted({name for row in ROWS for name in row} | {"from", "value", "role", "content", "score", "rank"})
WISHES = (
    "seed=1",
    "rl.learning_rate=1e-5",
    "rl.method.clip_range=0.1",
    "rl.method=grpo",
    "sft.epochs=2",
    "pairs.answers=4",
    "rm.loss=bradley_terry",
    "rl.reward.model=x",
    "base=.",
    "evidence=full",
    "rl.method.kl.coef=0.1",
    "labels.per_pair=2",
    "demonstrations=a.jsonl",
    "comparisons=a.jsonl",
    "problems=a.jsonl",
    "sft=home",
    "lora=4",
    "rl.lora.rank=2",
    "evaluate.rows=3",
    "method=reinforce",
    "count=2",
    "by=dpo",
    "judge_share=0.5",
    "model=smollm2",
    "rl[1].steps=3",
    "sft.name=x",
    "rl.reward.parts[1].weight=2",
)
YAML = "seed: 1\nrl:\n  learning_rate: 1e-5\n  method: {clip_range: 0.1}\nsft.epochs: [1]\nx: &a {b: *c}\n"
RECIPE = """
from dataclasses import dataclass
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Report, Stage

@dataclass(frozen=True, kw_only=True)
class Rows(Stage):
    address = "rows"
    rate: float = 1.0
    def run(self, inputs, output, machine):
        (output / "train.jsonl").write_text('{"a": 1}\\n')
        (output / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\\n{"step": 2, "loss": 1.0}\\n')
        (output / "samples.jsonl").write_text(
            '{"prompt": [{"role": "user", "content": "a"}], "item": {"family": "fact"}, '
            '"answers": {"base": {"text": "b", "gold": 0.5, "ended": true}, "rows": "c"}}\\n'
        )
        return Report(metrics={"rows": 1, "loss": 1.5}, notes=["a note"])

@dataclass(frozen=True, kw_only=True)
class Count(Stage):
    address = "count"
    rows: Stage
    def run(self, inputs, output, machine):
        (output / "count").write_text("3")
        return Report(metrics={"count": 3.0})

def fuzzed(seed: int = 0) -> Stage:
    return Count(rows=Rows())
"""


class Hang(BaseException):
    """A case that took too long; no handler of Exception may swallow it."""


@dataclass
class Found:
    """What was not well answered."""

    cases: int = 0
    wrong: list[str] = field(default_factory=list)
    slowest: float = 0.0

    def add(self, case: str, what: str) -> None:
        self.wrong.append(f"{case}: {what}")


def bytes_changed(rng: random.Random, data: bytes) -> bytes:
    """One to four places flipped, cut, doubled, overwritten or swapped for something odd."""
    made = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        at, many = rng.randrange(len(made) + 1), rng.choice((1, 1, 2, 8, 64))
        kind = rng.randrange(6)
        if kind == 0 and made:
            made[at % len(made)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del made[at : at + many]
        elif kind == 2:
            made[at:at] = made[at : at + many]
        elif kind == 3:
            made[at:at] = bytes(rng.randrange(256) for _ in range(many))
        elif kind == 4:
            made[at:at] = rng.choice(
                (b"\0", b"\xff\xfe", b"[" * 2000, b'{"a":' * 1200, b"9" * 5000, b"\\ud8")
            )
        else:
            made[at:at] = rng.choice((b"null", b"NaN", b"-", b'"', b"{", b"}", b"[", b"]", b",", b":", b"\n"))
    return bytes(made)


def value_changed(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """A JSON value with one part of it replaced, removed, renamed or moved."""
    if rng.random() < 0.3 or not isinstance(value, dict | list) or not value or depth > 4:
        return copy.deepcopy(rng.choice(ODD))
    if isinstance(value, list):
        index = rng.randrange(len(value))
        return [*value[:index], value_changed(rng, value[index], depth + 1), *value[index + 1 :]]
    name = rng.choice(list(value))
    rest = {key: inner for key, inner in value.items() if key != name}
    kind = rng.random()
    if kind < 0.15:
        return rest
    if kind < 0.3:
        return {**rest, rng.choice(NAMES): value[name]}
    return {**rest, name: value_changed(rng, value[name], depth + 1)}


def rows_of(rng: random.Random) -> list[Any]:
    """A few rows, most of one schema, some values changed."""
    kind = rng.choice(ROWS)
    rows = [copy.deepcopy(kind if rng.random() < 0.9 else rng.choice(ROWS)) for _ in range(rng.randint(1, 4))]
    return [value_changed(rng, row) if rng.random() < 0.6 else row for row in rows]


def _quiet(_: Any) -> None:
    """What was made is not looked at."""


def _as_csv(rows: list[Any]) -> bytes:
    """Rows as CSV, whatever their cells are."""
    names = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row)) or ["a"]
    made = io.StringIO()
    lines = csv.writer(made)
    lines.writerow(names)
    for row in rows:
        cells = [row.get(name, "") for name in names] if isinstance(row, dict) else [row]
        lines.writerow([cell if isinstance(cell, str) else repr(cell) for cell in cells])
    return made.getvalue().encode(errors="replace")


class Fuzzer:
    """A home directory with a workspace in it, and what was found."""

    def __init__(self, home: Path) -> None:
        self.home, self.found = home, Found()
        self.workspace = home / "workspace"
        self.good: Path | None = None
        (home / "fuzzed.py").write_text(RECIPE)

    def answered(self, case: str, act: Callable[[], Any]) -> None:
        """Does it, and notes what was not well answered."""
        self.found.cases += 1
        began = time.process_time()
        signal.setitimer(signal.ITIMER_PROF, LIMIT)
        signal.setitimer(signal.ITIMER_REAL, WAITS)
        try:
            code = act()
            if code not in (0, 2, None):
                self.found.add(case, f"exit code {code}")
        except UserError as told:
            str(told).encode("utf-8", "backslashreplace")
        except Hang:
            self.found.add(case, f"more than {LIMIT:.0f} s, or waited\n{traceback.format_exc(limit=-3)}")
        except BaseException:
            self.found.add(case, traceback.format_exc(limit=-6))
        finally:
            for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
                signal.setitimer(timer, 0)
            self.found.slowest = max(self.found.slowest, time.process_time() - began)

    def command(self, case: str, *arguments: str) -> None:
        """A command line in this process, its words unseen."""
        output = io.StringIO()

        def act() -> int:
            sys.modules.pop("fuzzed", None)  # as a process of its own would not know it
            with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
                code = main([*arguments, "--workspace", str(self.workspace)])
            if "Traceback" in output.getvalue() or code not in (0, 2):
                raise AssertionError(output.getvalue()[-1500:])
            return code

        self.answered(case, act)

    def file(self, name: str, data: bytes) -> str:
        path = self.home / name
        path.write_bytes(data)
        return str(path)

    # targets: each a generator's worth of cases from a number

    def rows(self, case: str, rng: random.Random) -> None:
        """Rows in JSON lines, an array or CSV, their values changed, then perhaps their bytes."""
        rows = rows_of(rng)
        form = rng.choice(("jsonl", "jsonl", "json", "csv", "jsonl.gz"))
        text = [json.dumps(row, ensure_ascii=rng.random() < 0.9) for row in rows]
        data = ("[" + ",".join(text) + "]" if form == "json" else "\n".join(text)).encode(errors="replace")
        if form == "csv":
            data = _as_csv(rows)
        if rng.random() < 0.4:
            data = bytes_changed(rng, data)
        if form == "jsonl.gz":
            data = gzip.compress(data, 1)
            data = bytes_changed(rng, data) if rng.random() < 0.7 else data
        self._read(case, rng, f"rows.{form}", data)

    def parquet(self, case: str, rng: random.Random) -> None:
        """Parquet of such rows, its bytes changed."""
        from pyarrow import Table, parquet

        rows = [row for row in rows_of(rng) if isinstance(row, dict)]
        made = io.BytesIO()
        try:
            parquet.write_table(Table.from_pylist(rows or [ROWS[0]]), made)
        except Exception:  # values that Parquet has no column for
            made = io.BytesIO()
            parquet.write_table(Table.from_pylist([ROWS[1]]), made)
        data = made.getvalue()
        self._read(case, rng, "rows.parquet", bytes_changed(rng, data) if rng.random() < 0.8 else data)

    def _read(self, case: str, rng: random.Random, name: str, data: bytes) -> None:
        path = self.file(name, data)
        if rng.random() < 0.3:
            self._stage(case, rng, path)
            return
        reader = rng.choice(READERS)
        skipped = read.Problems(path) if rng.random() < 0.5 else None
        columns = {"prompt": rng.choice(NAMES)} if rng.random() < 0.1 else {}
        self.answered(f"{case} {reader.__name__}", lambda: self._used(reader, path, columns, skipped))

    def _stage(self, case: str, rng: random.Random, path: str) -> None:
        """As a run looks at a file before anything is made."""
        kind = rng.choice(STAGES)
        chosen = {
            "rows": rng.choice((0, 0, 1, 3)),
            "skip_bad": rng.random() < 0.5,
            "columns": rng.choice(("", "", f"prompt:{rng.choice(NAMES)}", "prompt", "a:b,a:c")),
        }

        def act() -> None:
            stage = kind(source=SourceFile(path, "datasets"), **chosen)
            stage.preflight(Inputs({}), Machine(workspace=self.workspace))

        self.answered(f"{case} {kind.__name__}", act)

    @staticmethod
    def _used(reader: Callable[..., Any], path: str, columns: dict[str, str], skipped: Any) -> None:
        """Rows that were accepted can be written, as a stage does."""
        rows = reader(path, None, read.ReadOptions(columns=columns, skipped=skipped))
        for row in rows:
            json.dumps(row, ensure_ascii=False).encode()

    def overrides(self, case: str, rng: random.Random) -> None:
        """Settings on the command line, names and values from Hypothesis or near to good ones."""
        wishes = [rng.choice(WISHES) for _ in range(rng.randint(1, 3))]
        changed = [
            bytes_changed(rng, wish.encode()).decode("utf-8", "replace") if rng.random() < 0.6 else wish
            for wish in wishes
        ]
        if rng.random() < 0.5:
            name, value = rng.choice(WISHES).split("=")[0], str(rng.choice(ODD))
            changed.append(f"{name}={value}")
        self._expression(case, rng, changed)

    def _expression(self, case: str, rng: random.Random, wishes: list[str]) -> None:
        recipe = rng.choice(RECIPES)
        self.answered(
            f"{case} {recipe.__name__}",
            lambda: _quiet(posttrain_settings.expression(recipe, posttrain_settings.parse(wishes))),
        )

    def yaml(self, case: str, rng: random.Random) -> None:
        """Settings in a file."""
        path = Path(self.file("settings.yaml", bytes_changed(rng, YAML.encode())))
        self.answered(
            case,
            lambda: _quiet(posttrain_settings.expression(instructgpt, posttrain_settings.from_yaml(path))),
        )

    def records(self, case: str, rng: random.Random) -> None:
        """run.json, made.json, hashes.json and pins.json, their values or bytes changed."""
        self._fresh(rng)
        files = [*self.workspace.glob("runs/*/run.json"), *self.workspace.glob("products/*/made.json")]
        file = rng.choice([*files, self.workspace / "hashes.json", self.workspace / "pins.json"])
        data = file.read_bytes() if file.exists() else b'{"models/a/b": "x"}'
        if rng.random() < 0.7:
            value = json.loads(data)
            for _ in range(rng.randint(1, 2)):
                value = value_changed(rng, value)
            if isinstance(value, dict) and rng.random() < 0.8:
                value.pop("record_sha256", None)
                value["format"] = 1
            data = json.dumps(value).encode()
        else:
            data = bytes_changed(rng, data)
        file.write_bytes(data)
        self._look(case, rng)

    def products(self, case: str, rng: random.Random) -> None:
        """A product's files changed, added, removed or replaced by what is no file."""
        self._fresh(rng)
        file = rng.choice([path for path in self.workspace.glob("products/*/*") if path.is_file()])
        kind = rng.randrange(5)
        if kind == 0 and file.suffix == ".jsonl" and rng.random() < 0.7:
            rows = [value_changed(rng, json.loads(line)) for line in file.read_text().splitlines()]
            file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        elif kind == 0:
            file.write_bytes(bytes_changed(rng, file.read_bytes()))
        elif kind == 1:
            file.unlink()
        elif kind == 2:
            file.with_name(rng.choice(("NOTES.md", "x.jsonl", ".hidden", "samples.jsonl"))).write_bytes(
                bytes_changed(rng, b'{"step": 1, "loss": 1}\n{"step": 2, "loss": null}\n')
            )
        elif kind == 3:
            file.unlink()
            os.mkfifo(file)
        else:
            file.unlink()
            file.symlink_to(rng.choice(("/dev/zero", "/nowhere", "..", file.name)))
        self._look(case, rng)

    def _fresh(self, rng: random.Random) -> None:
        """The workspace as a run left it."""
        if self.good is None:
            self.command("the good run", "run", str(self.home / "fuzzed.py"), "--quiet")
            self.good = self.home / "good"
            shutil.copytree(self.workspace, self.good)
        shutil.rmtree(self.workspace)
        shutil.copytree(self.good, self.workspace)

    def _look(self, case: str, rng: random.Random) -> None:
        product = next(iter(sorted(self.workspace.glob("products/count-*"))), self.workspace)
        recipe = str(self.home / "fuzzed.py")
        for command in rng.sample(
            (
                ["list"],
                ["report"],
                ["report", "--json"],
                ["lineage", "count"],
                ["lineage", str(product)],
                ["run", recipe, "--quiet"],
                ["run", recipe, "--dry-run"],
                ["run", recipe, "--quiet", "--remake", "rows"],
                ["run", recipe, "--quiet", f"rows={product}"],
                ["chat"],
            ),
            2,
        ):
            self.command(f"{case} {' '.join(command[:2])}", *command)


TARGETS = {
    "rows": (Fuzzer.rows, 0.5),
    "overrides": (Fuzzer.overrides, 0.15),
    "yaml": (Fuzzer.yaml, 0.15),
    "parquet": (Fuzzer.parquet, 0.1),
    "records": (Fuzzer.records, 0.03),
    "products": (Fuzzer.products, 0.02),
}
WEIRD = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30))
COLUMNS = st.sampled_from(NAMES)
JSON = st.recursive(
    WEIRD, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(COLUMNS, inner, max_size=4)
)
LINES = st.lists(st.dictionaries(COLUMNS, JSON, max_size=5), min_size=1, max_size=3)


def hypothesis_cases(fuzzer: Fuzzer, cases: int, number: int) -> None:
    """Rows, settings and YAML that Hypothesis draws: it finds the corners of types."""
    quick = settings(
        max_examples=max(1, cases // 3),
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )

    @seed(number)
    @quick
    @given(
        st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5), min_size=1, max_size=3),
        st.randoms(),
    )
    def rows(made: list[Any], rng: random.Random) -> None:
        data = "\n".join(map(json.dumps, made)).encode()
        fuzzer._read("drawn rows", rng, "rows.jsonl", data)

    @seed(number)
    @quick
    @given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), max_size=3), st.randoms())
    def overrides(made: list[tuple[str, str]], rng: random.Random) -> None:
        fuzzer._expression("drawn overrides", rng, [f"{name}={value}" for name, value in made])

    @seed(number)
    @quick
    @given(st.text(max_size=80))
    def yaml(made: str) -> None:
        path = Path(fuzzer.file("drawn.yaml", made.encode("utf-8", "replace")))
        fuzzer.answered("drawn yaml", lambda: _quiet(posttrain_settings.from_yaml(path)))

    for part in (rows, overrides, yaml):
        part()


@contextlib.contextmanager
def home(root: Path) -> Iterator[Path]:
    """A home directory that everything happens in, beside which nothing may be written."""
    here, directory = Path.cwd(), root / "home"
    directory.mkdir(parents=True)

    def hang(*_: Any) -> None:
        raise Hang

    before = {sign: signal.signal(sign, hang) for sign in (signal.SIGALRM, signal.SIGPROF)}
    os.chdir(directory)
    try:
        yield directory
    finally:
        os.chdir(here)
        for sign, handler in before.items():
            signal.signal(sign, handler)


def outside(root: Path) -> list[str]:
    """What lies where nothing may be written."""
    allowed = {"home", "home/fuzzed.py", "home/drawn.yaml", "home/settings.yaml"}
    names = []
    for path in root.rglob("*"):
        name = path.relative_to(root).as_posix()
        expected = name in allowed or name.startswith(
            ("home/workspace", "home/good", "home/rows.", "home/__pyc")
        )
        if not expected:
            names.append(name)
    return names


def fuzz(root: Path, cases: int, only: list[str], number: int = 0) -> Found:
    """So many cases over all targets, or over those named."""
    with home(root) as directory:
        fuzzer = Fuzzer(directory)
        chosen = {name: made for name, made in TARGETS.items() if not only or name in only}
        share = sum(part for _, part in chosen.values()) + (0.05 if not only or "drawn" in only else 0)
        for name, (target, part) in chosen.items():
            for at in range(max(1, round(cases * part / share))):
                case = f"{name} {number + at}"
                target(fuzzer, case, random.Random(case))
        if not only or "drawn" in only:
            hypothesis_cases(fuzzer, max(3, round(cases * 0.05 / share)), number)
        shutil.rmtree(fuzzer.workspace, ignore_errors=True)
    for name in outside(root):
        fuzzer.found.add("written", name)
    return fuzzer.found


def command_line() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", default=[], metavar="WORD", help=", ".join([*TARGETS, "drawn"]))
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="number of each target's first case")
    options = parser.parse_args()
    faulthandler.enable()
    with tempfile.TemporaryDirectory(prefix="posttrain-fuzz-") as root:
        result = fuzz(Path(root), options.cases, options.only, options.seed)
    for message in result.wrong[:20]:
        print(message)
    print(f"{result.cases} cases, {len(result.wrong)} not well answered, slowest {result.slowest:.2f} s")
    return 1 if result.wrong else 0


if __name__ == "__main__":
    sys.exit(command_line())
