"""The house holds: floors, who may import or include what, files short enough to read."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TypeGuard

import pytest

from scripts.floors import FLOORS, folder, graph, imports, known_modules, modules

ROOT = Path(__file__).resolve().parent.parent
LOSSES = ("policy_gradients", "direct_alignment", "reward_losses")
# online alignment is a policy gradient around a direct alignment loss
LOSS_USES = {"policy_gradients": {"direct_alignment"}}
NO_TORCH = frozenset({"torch", "transformers", "peft"})
NO_GOLD = frozenset({"posttrain.field_guide.gold", "posttrain.everyday.gold"})
NO_HOUSE = frozenset(
    f"posttrain.{name}" for name in ("models", "rewards", "environments", "pipeline", "stages")
)
# folder: what no file of it may reach, directly or through other files of the package
NEVER_REACHES = {
    **dict.fromkeys(("data", "pipeline", "feedback", "everyday", "field_guide", "sandbox"), NO_TORCH),
    **dict.fromkeys(("core", "models", "engines", "environments", "rewards", "rollouts", "checks"), NO_GOLD),
    **dict.fromkeys(LOSSES, NO_GOLD),
    "training": NO_GOLD | NO_HOUSE,
}
# what reads tensors from disk; the rest of storage runs without torch
TENSORS_ON_DISK = "posttrain.storage.logprob_store"
# module: the folders that alone may import it
ONLY_IN = {"transformers": {"models"}, "peft": {"models"}, "vllm": {"engines"}}
# what asks which machine this is: the algebra computes what kernels offers, and asks nothing
MACHINE_FACTS = frozenset({"os", "platform", "subprocess", "sys"})
MACHINE_MODULES = frozenset({"posttrain.kernels.processor", "posttrain.kernels.compiled"})
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
C_SUFFIXES = frozenset({".c", ".h", ".cc", ".cpp", ".cu", ".cuh", ".hpp", ".S"})
# these standard-library-only folders import nothing from outside
STANDARD_LIBRARY = ("pipeline", "sandbox", "everyday", "field_guide")
MAX_ANY = 30  # in stages/ and models/ together
# files of the embedded world are tables of sentences, or covered by one hash
WORLDS = ("field_guide",)
# Parameters are those that a call may give by position. A public recipe's are words on the command line.
MAX_REASONS = 10
# fields of stages whose names pipeline uses for something else: rows and files of products, formats, kinds,
# keys of a run's record
ALSO_WORDS = frozenset(
    {"base", "comparisons", "demonstrations", "heldout", "prompts", "rows", "samples", "source", "text"}
) | {"control"}
BY_NAME = frozenset({"getattr", "hasattr", "setattr", "attrgetter"})
MAX_LINES, MAX_FUNCTION, MAX_PARAMETERS, MAX_FIELDS = 300, 60, 7, 15
REASON = "# size:"


def reached(edges: dict[str, frozenset[str]], start: str) -> dict[str, tuple[str, ...]]:
    """Everything that ``start`` imports, directly or through others, and the way there."""
    ways: dict[str, tuple[str, ...]] = {}
    waiting = [(start, (start,))]
    while waiting:
        name, way = waiting.pop()
        for target in edges.get(name, ()):
            if target not in ways:
                ways[target] = (*way, target)
                waiting.append((target, (*way, target)))
    return ways


def broken_rules(root: Path) -> list[str]:
    edges = graph(root)
    files = modules(root)
    return [
        *_floors(edges),
        *_reach(edges, files),
        *_circles(edges),
        *_alone(edges, files),
        *_compiled(root),
        *_fields_by_name(root),
    ]


def _floors(edges: dict[str, frozenset[str]]) -> Iterator[str]:
    for name, targets in edges.items():
        home = folder(name)
        if not home:
            continue
        if home not in FLOORS:
            yield f"{name}: no floor is set for {home}"
            continue
        for target in targets:
            if not target.startswith("posttrain") or folder(target) == home:
                continue
            if FLOORS.get(folder(target), 99) >= FLOORS[home]:
                yield f"{name} (floor {FLOORS[home]}) imports {target} (floor {FLOORS.get(folder(target))})"


def _reach(edges: dict[str, frozenset[str]], files: dict[str, Path]) -> Iterator[str]:
    for name in edges:
        who, forbidden = folder(name), NEVER_REACHES.get(folder(name), frozenset())
        if who == "storage" and name != TENSORS_ON_DISK:
            forbidden |= NO_TORCH
        if who == "stages":
            yield from _gold(name, files[name].read_text(), edges, files)
        for target, way in reached(edges, name).items():
            if any(target == f or target.startswith(f + ".") for f in forbidden):
                yield f"{who} must not reach {target}: {' -> '.join(way)}"


def _gold(name: str, text: str, edges: dict[str, frozenset[str]], files: dict[str, Path]) -> Iterator[str]:
    """Only stages that declare ``reads_gold`` reach it. Where all stages of a file do, its other code may
    too; else what is left of the file without them may not."""
    stages = [node for node in ast.parse(text).body if _is_stage(node)]
    declare = [node for node in stages if "reads_gold = True" in map(ast.unparse, node.body)]
    if declare and not NO_GOLD & reached(edges, name).keys():
        yield f"{name} declares reads_gold and reaches no gold: remove it"
    if stages and len(declare) == len(stages):
        return
    lines = text.splitlines()
    for node in declare:
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        lines[first - 1 : node.end_lineno] = [""] * ((node.end_lineno or first) - first + 1)
    ways = reached(edges | {name: known_modules(imports(name, "\n".join(lines)), files) - {name}}, name)
    for gold in sorted(NO_GOLD & ways.keys()):
        yield f"{name} must not reach {gold}: {' -> '.join(ways[gold])}"


def _circles(edges: dict[str, frozenset[str]]) -> Iterator[str]:
    """Files that import one another, also inside a folder and for type checkers only; each circle once."""
    told: set[str] = set()
    for name in edges:
        ways = reached(edges, name)
        if name in ways and name not in told:
            told |= {other for other in ways[name] if name in reached(edges, other)}
            yield f"a circle of imports: {' -> '.join(ways[name])}"


def _alone(edges: dict[str, frozenset[str]], files: dict[str, Path]) -> Iterator[str]:
    for name, targets in edges.items():
        home = folder(name)
        outside = {t.split(".")[0] for t in targets if not t.startswith("posttrain")}
        inside = {folder(t) for t in targets if t.startswith("posttrain")}
        for module in outside & set(ONLY_IN):
            if home not in ONLY_IN[module]:
                yield f"{name} imports {module}, which belongs to {sorted(ONLY_IN[module])}"
        if home == "core" and (more := outside - {"torch"} - set(sys.stdlib_module_names)):
            yield f"{name}: core imports torch only, found {sorted(more)}"
        if home == "core" and (more := targets & (MACHINE_FACTS | MACHINE_MODULES)):
            yield f"{name}: core reads no machine facts, found {sorted(more)}"
        if home == "core" and (more := inside - {"core", "kernels", "metrics", ""}):
            yield f"{name}: core imports torch and kernels only, found {sorted(more)}"
        if home == "storage" and (more := outside - {"torch"} - set(sys.stdlib_module_names)):
            yield f"{name}: storage imports the standard library and torch only, found {sorted(more)}"
        if home in STANDARD_LIBRARY and (more := outside - set(sys.stdlib_module_names)):
            yield f"{name}: {home} imports the standard library only, found {sorted(more)}"
        if home in LOSSES and (more := inside - {"core", "metrics", home} - LOSS_USES.get(home, set())):
            yield f"{name}: a loss imports core only, found {sorted(more)}"
        if home == "stages":
            for target in targets:
                other = files.get(target)
                if folder(target) == "stages" and other is not None and _defines_stage(other.read_text()):
                    yield f"{name} imports the stage {target}"


def _fields_by_name(root: Path) -> Iterator[str]:
    """Nothing in pipeline/ names a field of a stage: a stage says of itself what pipeline asks for."""
    known = {
        item.target.id
        for path in (root / "posttrain" / "stages").glob("*.py")
        for node in ast.parse(path.read_text("utf-8")).body
        if _is_stage(node)
        for item in node.body
        if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
    }
    for path in sorted((root / "posttrain" / "pipeline").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            allowed, values = ALSO_WORDS, [node]
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in BY_NAME:
                allowed, values = frozenset(), list(node.args)
            for value in values:
                text = value.value if isinstance(value, ast.Constant) else None
                if not isinstance(text, str) or not re.fullmatch(r"\w+([.\[]\S+)?", text):
                    continue
                if (name := re.split(r"[.\[]", text)[0]) in known - allowed:
                    yield f"{path.name}:{value.lineno} names the field {name} of a stage"


def _compiled(root: Path) -> Iterator[str]:
    """All C is in kernels/, and a file of it includes the compiler's headers and those beside it."""
    for path in sorted((root / "posttrain").rglob("*")):
        if path.suffix not in C_SUFFIXES:
            continue
        name = path.relative_to(root / "posttrain").as_posix()
        if path.parent != root / "posttrain" / "kernels":
            yield f"{name}: all C is in kernels/"
        for target in INCLUDE.findall(path.read_text("utf-8")):
            if "/" in target or not (path.parent / target).is_file():
                yield f"{name} includes {target}, which is not a file of its own folder"


@cache
def _defines_stage(text: str) -> bool:
    return any(_is_stage(node) for node in ast.parse(text).body)


def _is_stage(node: ast.stmt) -> TypeGuard[ast.ClassDef]:
    """A class derived from Stage that can stand in a recipe; one without an address is what others share."""
    return (
        isinstance(node, ast.ClassDef)
        and any(isinstance(base, ast.Name) and base.id == "Stage" for base in node.bases)
        and any(ast.unparse(line).startswith("address = ") for line in node.body)
    )


def _too_large(path: Path) -> Iterator[str]:
    text = path.read_text()
    lines = text.splitlines()
    world = path.parent.name in WORLDS
    if len(lines) > MAX_LINES and not world and REASON not in "\n".join(lines[:12]):
        yield f"{path.name}: {len(lines)} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            words = path.parent.name == "recipes" and not node.name.startswith("_")
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            count = len(node.args.posonlyargs + node.args.args)
            count -= bool(node.args.args and node.args.args[0].arg in ("self", "cls"))
            size = length > MAX_FUNCTION or (count > MAX_PARAMETERS and not words)
            what = f"{length} lines, {count} parameters"
        elif isinstance(node, ast.ClassDef):
            count = sum(isinstance(item, ast.AnnAssign) for item in node.body) - _settings(node)
            size, what = count > MAX_FIELDS, f"{count} fields"
        else:
            continue
        if size and REASON not in "\n".join(lines[max(0, node.lineno - 3) : node.body[0].lineno]):
            yield f"{path.name}:{node.lineno} {node.name}: {what}"


def _settings(node: ast.ClassDef) -> int:
    """Fields that a user sets, each with its sentence below it: they are a list, as long as it must be."""
    pairs = zip(node.body, node.body[1:], strict=False)
    return sum(isinstance(field, ast.AnnAssign) and isinstance(below, ast.Expr) for field, below in pairs)


def test_the_house_holds() -> None:
    assert broken_rules(ROOT) == []


def test_files_are_short_enough_to_read() -> None:
    large = [line for path in modules(ROOT).values() for line in _too_large(path)]
    assert large == [], f"shorten, or give the reason beside it ({REASON} ...)"


def test_few_are_larger_with_a_reason() -> None:
    texts = (path.read_text() for path in modules(ROOT).values())
    assert sum(text.count(REASON) for text in texts) <= MAX_REASONS


def test_few_values_are_of_any_type() -> None:
    """Where a library's own type says too little (peft's config, an autograd context) there is no better."""
    paths = [path for name, path in modules(ROOT).items() if folder(name) in ("stages", "models")]
    bound = [
        f"{path.name}:{node.lineno}"
        for path in paths
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Name) and node.id == "Any"
    ]
    assert len(bound) <= MAX_ANY, bound


def test_the_command_line_starts_without_heavy_imports() -> None:
    heavy = "('torch', 'transformers', 'numpy')"
    code = f"import sys, posttrain.cli; print([m for m in {heavy} if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(
        ROOT / "posttrain", tmp_path / "posttrain", ignore=shutil.ignore_patterns("*.pyc", "base")
    )
    return tmp_path


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("core/masked.py", "import numpy", "core imports torch only"),
        ("core/masked.py", "import posttrain.training.update", "floor"),
        ("core/masked.py", "import posttrain.sandbox.tiers", "core imports torch and kernels only"),
        ("core/masked.py", "import os", "core reads no machine facts"),
        ("core/masked.py", "import posttrain.kernels.processor", "core reads no machine facts"),
        ("core/masked.py", "import posttrain.kernels.matmul", None),
        ("kernels/matmul.py", "import posttrain.core.masked", "floor"),
        ("kernels/compiled.py", "import torch", "pipeline must not reach torch"),
        ("policy_gradients/ppo.py", "import posttrain.data", "imports core only"),
        ("training/update.py", "import posttrain.models.loading", "must not reach"),
        ("data/__init__.py", "import torch", "data must not reach torch"),
        ("pipeline/store.py", "import torch", "pipeline must not reach torch"),
        ("storage/token_rows.py", "import torch", "storage must not reach torch"),
        ("storage/scratch.py", "import posttrain.storage.logprob_store", "storage must not reach torch"),
        ("storage/logprob_store.py", "import torch", None),
        ("storage/jsonl.py", "import posttrain.pipeline.files", "floor"),
        ("storage/durable.py", "import numpy", "storage imports the standard library and torch only"),
        ("rollouts/collect.py", "import transformers", "belongs to"),
        ("engines/builtin.py", "import vllm.engine", None),
        (
            "rewards/learned.py",
            "import posttrain.field_guide.gold",
            "must not reach posttrain.field_guide.gold",
        ),
        (
            "rewards/learned.py",
            "import posttrain.everyday.gold",
            "must not reach posttrain.everyday.gold",
        ),
        (
            "training/update.py",
            "from posttrain.field_guide import gold",
            "must not reach posttrain.field_guide.gold",
        ),
    ],
)
def test_a_forbidden_import_is_found(copy: Path, file: str, line: str, complaint: str | None) -> None:
    path = copy / "posttrain" / file
    path.write_text(path.read_text() + f"\n\ndef _late() -> None:\n    {line}\n")
    found = set(broken_rules(copy)) - set(broken_rules(ROOT))
    assert (complaint is None and not found) or any(
        complaint is not None and complaint in rule for rule in found
    )


@pytest.mark.parametrize(
    ("file", "include", "complaint"),
    [
        ("kernels/tiles.c", '#include "../models/numbers.h"', "not a file of its own folder"),
        ("kernels/tiles.c", '#  include "lost.h"', "not a file of its own folder"),
        ("models/more.c", "#include <math.h>", "all C is in kernels/"),
        ("kernels/deeper/more.h", "", "all C is in kernels/"),
        ("kernels/more.c", '#include "simd.h"', None),
    ],
)
def test_c_that_is_elsewhere_or_includes_from_elsewhere_is_found(
    copy: Path, file: str, include: str, complaint: str | None
) -> None:
    path = copy / "posttrain" / file
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as source:
        source.write(f"{include}\n")
    broken = broken_rules(copy)
    assert (broken == []) if complaint is None else any(complaint in rule for rule in broken)


def test_a_forbidden_import_through_another_module_is_found(copy: Path) -> None:
    """feedback -> data -> core (which imports torch): each step is allowed by its floor, the way is not."""
    (copy / "posttrain/data/innocent.py").write_text("import posttrain.core.masked\n")
    (copy / "posttrain/feedback/innocent.py").write_text("import posttrain.data.innocent\n")
    found = [rule for rule in broken_rules(copy) if "feedback" in rule]
    assert any("feedback must not reach torch" in rule and "data.innocent" in rule for rule in found)


@pytest.mark.parametrize("name", ["sft", "rl", "rm", "fitting", "rejection"])
def test_a_stage_that_does_not_declare_it_may_not_read_gold(copy: Path, name: str) -> None:
    path = copy / f"posttrain/stages/{name}.py"
    path.write_text(path.read_text() + "\n\ndef _late() -> None:\n    import posttrain.evaluation.compare\n")
    assert any(
        rule.startswith(f"posttrain.stages.{name} must not reach posttrain.field_guide.gold")
        for rule in broken_rules(copy)
    )


def test_gold_follows_what_a_stage_declares(copy: Path) -> None:
    """Without its declaration a stage that reads gold is found; so is a declaration that has no reason."""
    labels, sft = (copy / f"posttrain/stages/{name}.py" for name in ("labels", "sft"))
    labels.write_text(labels.read_text().replace("reads_gold = True", "reads_gold = False"))
    sft.write_text(sft.read_text().replace('address = "sft"', 'address = "sft"\n    reads_gold = True'))
    found = broken_rules(copy)
    assert any("posttrain.stages.labels must not reach posttrain.field_guide.gold" in rule for rule in found)
    assert any("posttrain.stages.sft declares reads_gold" in rule for rule in found)


@pytest.mark.parametrize("line", ["import posttrain.engines.llama", "from posttrain.engines import llama"])
def test_a_circle_inside_a_folder_is_found(copy: Path, line: str) -> None:
    path = copy / "posttrain/engines/slots.py"
    path.write_text(f"{path.read_text()}\n\nif TYPE_CHECKING:\n    {line}\n")
    (circle,) = broken_rules(copy)
    assert circle.startswith("a circle of imports: posttrain.engines.")


def test_training_may_not_reach_models_through_another_module(copy: Path) -> None:
    (copy / "posttrain/core/innocent.py").write_text("import posttrain.models.loading\n")
    (copy / "posttrain/training/innocent.py").write_text("import posttrain.core.innocent\n")
    assert any("training must not reach posttrain.models" in rule for rule in broken_rules(copy))


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('getattr(stage, "steps", 0)', True),
        ('getattr(stage, "rows", 0)', True),
        ('hasattr(stage, "lora")', True),
        ('{"reward.model": 1}', True),
        ('inputs["policies[1]"]', True),
        ('read("rows")', False),
        ('print("the steps of a stage")', False),
    ],
)
def test_pipeline_that_knows_a_field_of_a_stage_is_found(copy: Path, line: str, found: bool) -> None:
    path = copy / "posttrain/pipeline/values.py"
    path.write_text(f"{path.read_text()}\n\ndef _late(stage, inputs, read):\n    return {line}\n")
    assert any("names the field" in rule for rule in broken_rules(copy)) == found
