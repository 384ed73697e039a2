"""A second run makes only what changed, a damaged product is made again, a failed gate names its stage."""

import json
import mmap
import os
import sys
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from posttrain.pipeline.finding import Finding, UserError, Waiting
from posttrain.pipeline.fingerprint import Fingerprints, Finished
from posttrain.pipeline.lineage import lineage
from posttrain.pipeline.machine import Estimate
from posttrain.pipeline.plan import plan
from posttrain.pipeline.plan_table import plan_table
from posttrain.pipeline.runner import Run, StageFailed, latest_run, run
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import Inputs, Machine, Report, Stage, later
from posttrain.pipeline.store import Product, Workspace, sealed


@dataclass(frozen=True)
class Hoped:
    """Work that takes the same anywhere."""

    hoped: Estimate

    def estimate(self, machine: Machine) -> Estimate:
        return self.hoped


@dataclass(frozen=True, kw_only=True)
class Text(Stage):
    address = "text"
    source: SourceFile

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        text = Path(self.source.path).read_text()
        (output / "text").write_text(text)
        return Report(metrics={"characters": len(text)})


@dataclass(frozen=True, kw_only=True)
class Twice(Stage):
    address = "twice"
    text: Stage
    rate: float = 1.0
    least: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        text = (inputs.of(self.text).path / "text").read_text() * 2
        if "boom" in text:
            raise KeyError("boom")
        if "people" in text:
            raise Waiting("go to http://localhost:1")
        (output / "text").write_text(text)
        for name in ("metrics.jsonl", "times.jsonl"):
            (output / name).write_text(json.dumps({"clock": os.times().elapsed}) + "\n")
        return Report(metrics={"characters": len(text)}, notes=["doubled"])

    def gates(self, report: Report) -> list[Finding]:
        length = float(report.values["characters"])
        return [
            Finding(
                name="long", value=length, threshold=self.least, passed=length >= self.least, advice="add"
            )
        ]

    def work(self, inputs: Inputs) -> Hoped | None:
        return Hoped(Estimate(tokens=1234, seconds=5.0, bytes=10**6)) if "text" in inputs else None


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data.txt"
    path.write_text("abc")
    return path


def chain(file: Path, **settings: Any) -> Twice:
    return Twice(text=Text(source=SourceFile(str(file))), **settings)


def go(expression: Stage, tmp_path: Path, said: list[str] | None = None, **options: Any) -> Run:
    say = (said if said is not None else []).append
    return run(expression, Workspace(tmp_path / "work"), Machine(), recipe="toy", say=say, **options)


def test_a_second_run_does_no_work_and_leaves_no_second_record(tmp_path: Path, file: Path) -> None:
    said: list[str] = []
    first = go(chain(file), tmp_path, said)
    assert first.made == ["text", "twice"]
    assert any("[2/2] twice" in line and "characters 6" in line for line in said)
    assert any("note: doubled" in line for line in said)
    second = go(chain(file), tmp_path)
    assert second.made == []
    assert second.directory == first.directory == latest_run(Workspace(tmp_path / "work"))
    record = json.loads((first.directory / "run.json").read_text())
    assert record["status"] == "finished"
    assert record["products"] == {a: f"products/{p.path.name}" for a, p in first.products.items()}
    assert record["stages"][1]["inputs"] == {"text": "text"}


@pytest.mark.parametrize(("free", "told"), [(999_999, True), (10**6, False), (0, False), (None, False)])
def test_a_stage_that_takes_more_memory_than_is_free_says_so_and_goes_on(
    free: int | None, told: bool, tmp_path: Path, file: Path
) -> None:
    """1 MB is what the stage expects to take; 0 is a system that does not tell."""
    said: list[str] = []
    machine = Machine(free=None if free is None else lambda: free)
    done = run(chain(file), Workspace(tmp_path / "work"), machine, recipe="toy", say=said.append)
    assert done.made == ["text", "twice"]
    text = "\n".join(said)
    assert ("memory_is_there" in text) is told
    assert ("1000 KB of memory are free, the stage takes about 1 MB" in text) is told
    assert ("--micro-batch-tokens" in text) is told


def test_only_what_changed_and_what_follows_is_made(tmp_path: Path, file: Path) -> None:
    go(chain(file), tmp_path)
    assert go(chain(file, rate=2), tmp_path).made == ["twice"]
    assert go(chain(file, rate=2.0), tmp_path).made == []
    file.write_text("abcd")
    assert go(chain(file), tmp_path).made == ["text", "twice"]


def test_every_digit_of_a_setting_counts(tmp_path: Path, file: Path) -> None:
    """Settings that differ anywhere make another product, inside a dataclass, tuple or dict too."""

    @dataclass(frozen=True)
    class Inner:
        factor: float = 1.0

    @dataclass(frozen=True, kw_only=True)
    class Tuned(Twice):
        inner: Inner = Inner()
        several: tuple[float, ...] = (1.0,)
        named: Any = None

    def of(**settings: Any) -> str:
        stage = Tuned(text=Text(source=SourceFile(str(file))), **settings)
        return Fingerprints(Workspace(tmp_path)).of(stage)

    near = 1.0 + 2**-50
    settings: list[dict[str, Any]] = [
        {},
        {"rate": near},
        {"inner": Inner(near)},
        {"several": (near,)},
        {"several": (1.0, 1.0)},
        {"named": {"a": 1.0}},
        {"named": {"a": near}},
        {"named": {"b": 1.0}},
        {"least": 1},
    ]
    assert len({of(**one) for one in settings}) == len(settings)
    assert of(rate=1.0) == of()


def test_a_field_that_came_later_counts_where_it_is_set(tmp_path: Path, file: Path) -> None:
    """Products from before the field are those of its default."""
    here = {"bases": (Twice,), "frozen": True, "kw_only": True, "namespace": {"__module__": __name__}}
    before = make_dataclass("Grown", [], **here)  # type: ignore[call-overload]
    after = make_dataclass("Grown", [("extra", float, later(0.5))], **here)  # type: ignore[call-overload]

    def of(kind: Any, **settings: Any) -> str:
        return Fingerprints(Workspace(tmp_path)).of(kind(text=Text(source=SourceFile(str(file))), **settings))

    assert of(after) == of(after, extra=0.5) == of(before)
    assert of(after, extra=0.25) != of(before)


def test_name_and_place_of_a_file_do_not_count(tmp_path: Path, file: Path) -> None:
    go(chain(file), tmp_path)
    moved = file.rename(tmp_path / "elsewhere.txt")
    renamed = Twice(name="double", text=Text(name="words", source=SourceFile(str(moved))))
    assert go(renamed, tmp_path).made == []


def test_the_version_of_a_stage_counts(tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Fingerprints(Workspace(tmp_path)).of(chain(file))
    monkeypatch.setattr(Text, "version", 2)
    assert Fingerprints(Workspace(tmp_path)).of(chain(file)) != before


def test_the_source_file_of_a_class_from_outside_counts(tmp_path: Path, file: Path) -> None:
    workspace = Workspace(tmp_path)
    before = Fingerprints(workspace).of(chain(file))
    workspace._memory = {str(Path(__file__).resolve()): [*_signature(Path(__file__)), "another"]}
    assert Fingerprints(workspace).of(chain(file)) != before


def _signature(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns, path.stat().st_ino]


def test_a_product_made_again_with_the_same_content_makes_nothing_that_follows(
    tmp_path: Path, file: Path
) -> None:
    first = go(chain(file), tmp_path)
    (first.products["text"].path / "text").write_text("harm")
    said: list[str] = []
    assert go(chain(file), tmp_path, said, remake=["text"]).made == ["text"]
    assert any("to be made again: as --remake asks" in line for line in said)


def test_the_clock_of_a_log_makes_nothing_stale(tmp_path: Path, file: Path) -> None:
    """Made again, the middle stage has other logs and the same content."""
    last = Twice(text=chain(file), name="last")
    first = go(last, tmp_path)
    path = first.products["twice"].path
    before = json.loads((path / "made.json").read_text())["files"]
    assert go(last, tmp_path, remake=["twice"]).made == ["twice"]
    after = json.loads((path / "made.json").read_text())["files"]
    assert {name for name in after if after[name] != before[name]} == {"metrics.jsonl", "times.jsonl"}


def test_a_run_stands_for_an_earlier_one_of_the_same_wishes_only(tmp_path: Path, file: Path) -> None:
    first = go(chain(file), tmp_path, overrides=["rate=1"])
    assert go(chain(file), tmp_path, overrides=["rate=1"]).directory == first.directory
    other = go(chain(file), tmp_path, overrides=["rate=1.0"])
    assert other.made == []
    assert other.directory != first.directory
    assert other.record["overrides"] == ["rate=1.0"]


def test_the_latest_run_is_that_of_the_largest_number(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    for name in ("2-toy", "10-toy", "9-zoo"):
        (workspace.runs / name).mkdir(parents=True)
        (workspace.runs / name / "run.json").write_text("{}")
    found = latest_run(workspace)
    assert found is not None
    assert found.name == "10-toy"


def test_an_input_whose_content_changed_makes_what_follows_stale(tmp_path: Path, file: Path) -> None:
    first = go(chain(file), tmp_path)
    product = first.products["text"]
    (product.path / "text").write_text("new labels")
    workspace = Workspace(tmp_path / "work")
    files = workspace.files(product.path)
    made = sealed({**product.made, "files": files, "content": "of new labels"})
    (product.path / "made.json").write_text(json.dumps(made))
    said: list[str] = []
    assert go(chain(file), tmp_path, said).made == ["twice"]
    assert any("text changed" in line for line in said)


def test_a_finished_product_stands_in_a_stages_place(tmp_path: Path, file: Path) -> None:
    other = tmp_path / "mine"
    other.mkdir()
    (other / "text").write_text("xy")
    result = go(Twice(text=Finished(str(other), "text")), tmp_path)
    assert result.made == ["twice"]
    assert result.products["twice"].values["characters"] == 4
    assert result.record["products"]["text"] == str(other)
    (other / "text").write_text("xyz")
    assert go(Twice(text=Finished(str(other), "text")), tmp_path).products["twice"].values["characters"] == 6


def test_a_users_damaged_product_is_named_not_remade(tmp_path: Path, file: Path) -> None:
    product = go(chain(file), tmp_path).products["text"]
    (product.path / "text").write_text("harm")
    with pytest.raises(UserError, match=r"text has sha256 .* damaged"):
        go(Twice(text=Finished(str(product.path), "text")), tmp_path)


def test_a_failed_gate_stops_every_run_until_it_is_accepted(tmp_path: Path, file: Path) -> None:
    last = Twice(text=chain(file, least=100), name="last")
    for _ in range(2):
        with pytest.raises(
            UserError, match=r"(?s)stage twice is made, but.*long = 6, threshold 100.*--accept-gate long"
        ):
            go(last, tmp_path)
    accepted = go(last, tmp_path, accept=["twice.long"])
    assert accepted.made == ["last"]
    assert accepted.record["accepted_gates"] == ["twice.long"]
    kept = {row["address"]: row.get("findings") for row in accepted.record["stages"]}
    assert [(found["name"], found["passed"]) for found in kept["twice"]] == [("long", False)]


def test_an_error_of_the_user_names_the_stage_and_leaves_nothing_half_made(
    tmp_path: Path, file: Path
) -> None:
    class Fussy(Twice):
        def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
            (output / "half").write_text("x")
            raise UserError("row 3: empty")

    with pytest.raises(UserError, match="stage twice: row 3: empty"):
        go(Fussy(text=Text(source=SourceFile(str(file)))), tmp_path)
    assert [p.name for p in (tmp_path / "work" / "products").iterdir()] == [
        p.name for p in (tmp_path / "work" / "products").glob("text-*")
    ]
    assert json.loads((tmp_path / "work" / "runs" / "1-toy" / "run.json").read_text())["status"] == "failed"


def test_a_missing_file_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl: no such file"):
        go(chain(tmp_path / "absent.jsonl"), tmp_path)
    assert not (tmp_path / "work").exists()


def test_what_needs_no_other_stage_is_looked_at_before_anything_is_made(tmp_path: Path, file: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Looked(Text):
        def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
            if "bad" in Path(self.source.path).read_text():
                raise UserError(f"{self.source.path}: row 1: bad")
            return [Finding(name="short", value=1, passed="short" not in Path(self.source.path).read_text())]

    files = {name: tmp_path / name for name in ("one.txt", "two.txt")}
    files["one.txt"].write_text("bad")
    files["two.txt"].write_text("short")

    @dataclass(frozen=True, kw_only=True)
    class Three(Twice):
        first: Stage
        second: Stage

    one, two = (Looked(name=path.stem, source=SourceFile(str(path))) for path in files.values())
    recipe = Three(text=Text(source=SourceFile(str(file))), first=one, second=two)
    for look in (lambda: go(recipe, tmp_path), lambda: plan(recipe, Workspace(tmp_path / "w"), Machine())):
        with pytest.raises(UserError, match=r"(?s)stage one: .*row 1: bad.*stage two: preflight.*short"):
            look()
    assert not (tmp_path / "work").exists()
    files["one.txt"].write_text("good")
    files["two.txt"].write_text("good")
    assert go(recipe, tmp_path).made == ["text", "one", "two", "twice"]


def test_a_failed_preflight_stops_before_the_work(tmp_path: Path, file: Path) -> None:
    class Careful(Twice):
        def preflight(self, inputs: Inputs, machine: Machine) -> list[Finding]:
            return [Finding(name="context", value=9, threshold=8, passed=False, advice="shorten the prompts")]

    with pytest.raises(UserError, match=r"(?s)stage twice: preflight.*context = 9.*shorten"):
        go(Careful(text=Text(source=SourceFile(str(file)))), tmp_path)


def test_anything_else_is_a_failure_of_the_stage_with_its_cause(tmp_path: Path, file: Path) -> None:
    file.write_text("boom")
    with pytest.raises(StageFailed) as caught:
        go(chain(file), tmp_path)
    assert caught.value.address == "twice"
    assert isinstance(caught.value.__cause__, KeyError)


def test_what_does_not_depend_on_people_is_made_before_waiting(tmp_path: Path, file: Path) -> None:
    file.write_text("people")
    plain = tmp_path / "plain.txt"
    plain.write_text("x")

    @dataclass(frozen=True, kw_only=True)
    class Both(Twice):
        address = "both"
        other: Stage

    waits = Twice(text=Text(source=SourceFile(str(file))), name="asked")
    result = go(Both(text=waits, other=chain(plain, least=0)), tmp_path)
    assert set(result.waiting) == {"asked", "both"}
    assert "twice" in result.made
    assert result.record["status"] == "waiting"


def test_the_dry_run_writes_nothing_and_says_why(tmp_path: Path, file: Path) -> None:
    workspace = Workspace(tmp_path / "work")
    rows = plan(chain(file), workspace, Machine())
    assert [(row.address, row.state) for row in rows] == [("text", "not made yet"), ("twice", "not made yet")]
    assert not workspace.root.exists()
    go(chain(file), tmp_path)
    rows = plan(chain(file, rate=3.0), workspace, Machine())
    assert [row.state for row in rows] == ["cached", "not made yet"]
    assert "1,234" in plan_table(rows)
    assert "1 of 2 to make, about " in plan_table(rows)
    assert "Nothing to do" in plan_table(plan(chain(file), workspace, Machine()))


def test_lineage_tells_settings_hashes_and_parents_of_a_copied_product(tmp_path: Path, file: Path) -> None:
    last = Twice(text=chain(file, rate=0.25), name="last")
    product = go(last, tmp_path).products["last"]
    copied = product.path.rename(tmp_path / "copied")
    told = lineage(Product.load(copied))
    assert "text <- twice (Twice)" in told
    assert "rate = 0.25" in told
    assert "text <- text (Text)" in told
    assert str(file) in told


def test_a_parent_of_two_is_told_once(tmp_path: Path, file: Path) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Both(Twice):
        address = "both"
        other: Stage

    shared = Text(source=SourceFile(str(file)))
    recipe = Both(text=shared, other=Twice(text=shared, rate=0.5))
    told = lineage(go(recipe, tmp_path).products["both"])
    assert told.count("text <- text (Text)") == 2
    assert told.count("as above") == 1
    assert told.count(f"source = {file}") == 1


def test_a_lambda_is_refused_because_it_has_no_lasting_name(tmp_path: Path, file: Path) -> None:
    odd = replace(chain(file), rate=lambda: 1.0)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="no lasting name"):
        go(odd, tmp_path)


def test_the_speed_of_the_machine_is_measured_where_something_was_computed(
    tmp_path: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch  # its speed is asked for only where it was needed

    asked: list[int] = []
    machine = Machine(speed=lambda: asked.append(1) or 2.64e11)  # type: ignore[func-returns-value]
    found = run(chain(file), Workspace(tmp_path / "work"), machine, say=lambda text: None)
    facts = {"gflops": 264.0, "threads": torch.get_num_threads()}
    assert json.loads((found.directory / "run.json").read_text())["machine"] == facts
    for product in found.products.values():
        assert product.made["machine"] == facts
        assert 0 <= product.made["processor_seconds"] < 60
    assert run(chain(file), Workspace(tmp_path / "work"), machine, say=lambda text: None).made == []
    assert len(asked) == 2  # nothing was made the second time
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "torch")
    without = run(chain(file, rate=3), Workspace(tmp_path / "work"), machine, say=lambda text: None)
    assert without.products["twice"].made["machine"] == {}


def test_a_dry_run_says_at_what_speed(tmp_path: Path, file: Path) -> None:
    rows = plan(chain(file), Workspace(tmp_path / "work"), Machine())
    assert "264 GFLOP/s of matrix products, measured now" in plan_table(rows, 2.64e11)


@dataclass(frozen=True, kw_only=True)
class Holds(Stage):
    """Holds some bytes in an object that refers to itself."""

    address = "holds"
    size: int = 0

    def run(self, inputs: Inputs, output: Path, machine: Machine) -> Report:
        memory = mmap.mmap(-1, self.size)  # from the system: freed memory of this process is held already
        for page in range(0, self.size, mmap.PAGESIZE):
            memory[page] = 1
        itself: dict[str, Any] = {"memory": memory}
        itself["itself"] = itself
        return Report()


@pytest.mark.parametrize(("size", "passes"), [(1 << 10, 0), (100 << 20, 1)])
def test_objects_are_looked_through_after_a_stage_that_held_much(
    size: int, passes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    monkeypatch.setattr("posttrain.pipeline.runner.gc.collect", lambda: counted.append(1))
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("what a process holds now is known on Linux alone")
    go(Holds(size=size), tmp_path)
    assert len(counted) == passes
