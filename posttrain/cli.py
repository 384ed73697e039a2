# size: six small commands side by side, with the help that teaches them.
"""posttrain run | list | report | lineage | chat | serve | export | doctor: what a person types, and what
they are told."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import inspect
import json
import os
import pkgutil
import re
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NoReturn, get_args, get_origin

from posttrain import __version__, settings
from posttrain.commands import export, serve
from posttrain.commands.products import find_model, find_product
from posttrain.device import DEVICE_HELP, device
from posttrain.kernels.compiled import NoSuchPath, kernel_path
from posttrain.pipeline.circumstances import standing
from posttrain.pipeline.collector import uncollected
from posttrain.pipeline.files import expanded, write_whole
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.lineage import lineage
from posttrain.pipeline.plan import plan
from posttrain.pipeline.plan_table import plan_table
from posttrain.pipeline.progress import duration, table
from posttrain.pipeline.runner import Run, StageFailed, latest_run, read_record, run, run_number
from posttrain.pipeline.scale import Paper, drawn, scale_table
from posttrain.pipeline.secrets import Redaction
from posttrain.pipeline.sources import SourceFile
from posttrain.pipeline.stage import LABELS, Compute, HeldIn, Machine, Stage, addresses, base_name
from posttrain.pipeline.store import Product, Workspace
from posttrain.pipeline.trouble import trouble
from posttrain.pipeline.values import Override, nearest

HELP = """\
From a base language model to an aligned one, with evidence.

  posttrain run instructgpt            the whole recipe on the embedded world; --dry-run says how long here
  posttrain report --json              its figures
  posttrain chat                       talk to the model it made
  posttrain serve                      the same over HTTP, as OpenAI's interface has it
  posttrain export --to gguf           the model for llama.cpp; also ollama, hub

A recipe is a chain of stages: base, sft, pairs, labels, rm, rl, evaluate. Each makes a product, a directory
under workspace/products. A second run makes only what changed; a stopped run goes on where it was."""

RUN_HELP = """\
Make every product of a recipe that is not made yet, then write the report.

  posttrain run instructgpt                            all defaults
  posttrain run instructgpt seed=1                     a parameter of the recipe
  posttrain run instructgpt rl.learning_rate=1e-5      a setting of one stage: only rl and what follows rerun
  posttrain run instructgpt rl.method.clip_range=0.1   a setting of the stage's method
  posttrain run instructgpt sft=DIR                    a finished product in a stage's place
  posttrain run instructgpt base=DIR_OR_HUB_ID demonstrations=a.jsonl comparisons=b.jsonl prompts=c.jsonl
  posttrain run instructgpt evidence=full              its controls as well
  posttrain run instructgpt --remake rl                make rl again; the old one is kept in workspace/aside
  posttrain run instructgpt --dry-run                  what would be made, and what that would take
  posttrain doctor instructgpt                         a rehearsal: every stage made small, then thrown away
  posttrain run instructgpt --help                     its parameters, stages and settings
  posttrain run ./my_recipe.py                         your own: a function my_recipe() that returns stages

What comes out:
  workspace/products/<stage>-<fingerprint>/   models that plain transformers loads, records as JSON lines, and
                                              made.json with settings, hashes and figures
  workspace/runs/<n>-<recipe>/                run.json and report.html"""

REPORT_HELP = """\
Rebuild the report of a run: one HTML file that opens offline.

  posttrain report             the latest run
  posttrain report 3           run 3 of the workspace
  posttrain report --json      every figure as one flat object, {"sft.nll_heldout": 1.2, ...}"""

LINEAGE_HELP = """\
Say where a product came from: its settings, the hashes of its data, and its parents, back to the base model.

  posttrain lineage rl                               the product of that address in the latest run
  posttrain lineage workspace/products/rl-1f0c...    any product directory, also one copied elsewhere"""

CHAT_HELP = """\
Talk to a model. A line is a message; /new starts over, /quit (or Ctrl-D) ends.

  posttrain chat               the final model of the latest run
  posttrain chat sft           the product of that address in the latest run
  posttrain chat DIR           any directory that transformers can load
  echo "Hello" | posttrain chat --temperature 0"""

DOCTOR_HELP = """\
Rehearse a recipe before it is run: look at the machine, read your files whole, then make every stage small
(one step, a few rows) in a temporary workspace. It says what would stand in the way; gates about what a stage
has learned are not judged. The settings are those of `posttrain run`.

  posttrain doctor                        the machine alone
  posttrain doctor instructgpt            the recipe too
  posttrain doctor instructgpt base=DIR demonstrations=a.jsonl comparisons=b.jsonl"""

LIST_HELP = """\
List the recipes, and the runs and products of the workspace.

  posttrain list
  posttrain list --workspace DIR"""


SPINS = "1000"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey
TAKES = ("run", "doctor")  # the commands that take settings


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, as an exception that cleans up on its way; its code is 128 and the signal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 a fault of posttrain, 2 something to mend, 128 + the signal that ended it."""
    if arguments is None:
        signal.signal(signal.SIGTERM, _terminated)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
            signal.signal(signal.SIGHUP, _terminated)
    try:
        parser = _parser()
        options, rest = parser.parse_known_args(arguments)
        if not options.command:
            parser.print_help()
            return 0
        options.overrides = [*getattr(options, "overrides", []), *rest]
        if stray := [text for text in rest if text.startswith("-") or options.command not in TAKES]:
            raise UserError(f"{stray[0]}: no such option; see posttrain {options.command} --help")
        kernel_path()
        done: int = options.do(options)
        sys.stdout.flush()
        return done
    except (UserError, NoSuchPath) as error:
        return _told(2, str(error))
    except StageFailed as error:
        return _stage_failed(error)
    except KeyboardInterrupt:
        return _told(130, "stopped. What was finished stays; the same command goes on from there.")
    except Terminated as stop:
        code = int(stop.code or 0)
        why = "the terminal was closed" if code == 128 + signal.SIGHUP else "terminated"
        return _told(code, f"{why}. What was finished stays; the same command goes on from there.")
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else Python complains once more at exit
        return 0
    except RecursionError:
        return _told(2, "something in the input is nested too deep to be read; make it flatter")
    except Exception as error:
        return _fault(error)


def _terminated(received: int, _: object) -> NoReturn:
    raise Terminated(128 + received)


def _told(code: int, message: str) -> int:
    print(f"posttrain: {_shown(message)}", file=sys.stderr)
    return code


def _shown(message: str) -> str:
    """Without secrets, and as what the terminal can show."""
    said = _CONTROL.sub(lambda found: repr(found[0])[1:-1], Redaction(sys.argv[1:]).text(message))
    return said.encode(sys.stderr.encoding or "utf-8", "backslashreplace").decode(
        sys.stderr.encoding or "utf-8"
    )


def _fault(error: Exception) -> int:
    """Trouble of the machine is the user's to mend; anything else is not."""
    if told := trouble(error):
        return _told(2, told)
    if isinstance(error, OSError) and error.filename:
        return _told(2, f"{error.filename}: {error.strerror or error}")
    if os.environ.get("POSTTRAIN_DEBUG"):
        traceback.print_exception(error)
    return _told(1, f"a fault of posttrain: {type(error).__name__}: {error}; POSTTRAIN_DEBUG=1 shows where")


def _stage_failed(error: StageFailed) -> int:
    cause = error.__cause__
    if cause is not None and (told := trouble(cause, str(error.run.workspace.root))):
        return _told(2, f"stage {error.address}: {told}")
    if os.environ.get("POSTTRAIN_DEBUG"):
        traceback.print_exception(cause)
    what = f"stage {error.address} failed: {type(cause).__name__}: {cause}"
    story = error.run.directory / "error.txt"
    try:
        write_whole(story, error.run.redaction.text("".join(traceback.format_exception(cause))))
    except OSError as problem:
        what += f"\n  (and {story} could not be written: {problem.strerror})"
    return _told(1, error.run.redaction.text(f"{what}\n  The whole story: {story}"))


def _parser() -> argparse.ArgumentParser:
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(prog="posttrain", description=HELP, formatter_class=shape)
    parser.add_argument("--version", action="version", version=f"posttrain {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--workspace",
        default=os.environ.get("POSTTRAIN_WORKSPACE", "workspace"),
        metavar="DIR",
        help="where products and runs are kept (default: ./workspace, or POSTTRAIN_WORKSPACE)",
    )

    def command(
        name: str, do: Callable[[Any], int], summary: str, text: str, **more: Any
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name, help=summary, description=text, formatter_class=shape, parents=[place], **more
        )
        made.set_defaults(do=do)
        return made

    making = command("run", _run, "run a recipe, making only what is not made yet", RUN_HELP, add_help=False)
    making.add_argument("-h", "--help", action="store_true", help="this, or with a recipe: its settings")
    making.add_argument("--dry-run", action="store_true", help="say what would be made; make nothing")
    making.add_argument(
        "--accept-gate", action="append", default=[], metavar="NAME", help="go on past this gate"
    )
    making.add_argument(
        "--remake",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="make this product again, as after somebody changed its files; the old one is kept in "
        "workspace/aside",
    )
    making.add_argument("--draw", action="store_true", help="draw which stage feeds which; make nothing")
    making.add_argument("--quiet", action="store_true", help="no progress, only errors and the report's path")
    making.set_defaults(parser=making)
    trying = command("doctor", _doctor, "rehearse a recipe: what would stand in the way", DOCTOR_HELP)
    for taking in (making, trying):
        _settings_of_a_recipe(taking)
    command("list", _list, "recipes, runs and products", LIST_HELP)
    report = command("report", _report, "rebuild a run's report", REPORT_HELP)
    report.add_argument("run", nargs="?", metavar="RUN", help="number or directory (default: the latest)")
    report.add_argument("--json", action="store_true", help="print the figures instead")
    where = command("lineage", _lineage, "where a product came from", LINEAGE_HELP)
    where.add_argument("product", metavar="PRODUCT", help="an address or a directory")
    talk = command("chat", _chat, "talk to a model", CHAT_HELP)
    talk.add_argument("product", nargs="?", metavar="PRODUCT", help="an address or a directory")
    talk.add_argument(
        "--temperature", type=float, default=0.7, metavar="T", help="0 takes the likeliest (default 0.7)"
    )
    talk.add_argument("--max-tokens", type=int, default=256, metavar="N", help="longest answer (default 256)")
    talk.add_argument("--seed", type=int, default=0, metavar="N", help="same seed, same answers (default 0)")
    talk.add_argument("--device", default="cpu", help=DEVICE_HELP)
    for name, other in (("export", export), ("serve", serve)):
        other.declare(command(name, other.run, other.SUMMARY, other.HELP))
    return parser


def _settings_of_a_recipe(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "recipe", nargs="?", metavar="RECIPE", help="a name of `posttrain list`, or a .py file"
    )
    parser.add_argument(
        "overrides", nargs="*", metavar="NAME=VALUE", help="settings, see posttrain run --help"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="the same settings in a YAML file")
    parser.add_argument(
        "--skip-bad", action="store_true", help="leave faulty rows of your files out, counted and named"
    )
    parser.add_argument(
        "--compute",
        choices=get_args(Compute),
        help="what matrix products of training and samplers work in; weights, heads and evaluation stay in "
        "float32 (default: what the recipe says); posttrain doctor says how fast this machine is in bfloat16",
    )
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: all cores)")
    parser.add_argument(
        "--micro-batch-tokens",
        type=int,
        default=8192,
        metavar="N",
        help="memory against speed; changes no result",
    )
    parser.add_argument(
        "--recompute",
        action="store_true",
        help="recompute activations in the backward pass instead of keeping them: much less memory, a third "
        "more work; changes no result",
    )
    parser.add_argument(
        "--trunk",
        choices=get_args(HeldIn),
        help="what the frozen trunk of adapters (lora=16) is held in: half, a quarter or an eighth of the "
        "memory; see docs/gpu.md for what it does to the numbers (default: float32)",
    )


def _run(options: Any) -> int:
    if options.help and not options.recipe:
        options.parser.print_help()
        return 0
    if not options.recipe:
        raise UserError(f"which recipe? There is: {', '.join(recipes())}, or a .py file of your own")
    recipe, wishes, expression = _asked(options)
    if options.help:
        print(recipe_help(recipe, options.recipe, expression))
        return 0
    if options.draw:
        print(drawn(expression))
        return 0
    workspace = Workspace(options.workspace)
    machine = _machine(options, workspace, quiet=options.quiet)
    if options.dry_run:
        from posttrain.checks.machine import flops_per_second, speed

        planned = plan(expression, workspace, machine, lambda: flops_per_second(machine.device))
        print(plan_table(planned, speed(machine.device)))
        if told := scale_table(expression, planned, _paper(recipe)):
            print(f"\n{told}")
        return 0
    overrides = [f"{wish.path}={wish.text}" for wish in wishes]
    say: Callable[[str], None] = (
        (lambda text: None) if options.quiet else (lambda text: print(text, flush=True))
    )
    result = run(
        expression,
        workspace,
        machine,
        recipe=recipe.__name__,
        overrides=overrides,
        accept=options.accept_gate,
        remake=options.remake,
        say=say,
    )
    return _ended(result, workspace)


def _paper(recipe: Callable[..., Stage]) -> Paper | None:
    """What a recipe's file says of its paper's scale."""
    found = getattr(sys.modules.get(recipe.__module__), "PAPER", None)
    return found if isinstance(found, Paper) else None


def _asked(options: Any) -> tuple[Callable[..., Stage], list[Override], Stage]:
    """The recipe, what was wished of it, and the expression that comes of both."""
    if options.threads is not None and options.threads < 1:
        raise UserError(f"--threads {options.threads}: expected at least 1")
    if options.micro_batch_tokens < 1:
        raise UserError(f"--micro-batch-tokens {options.micro_batch_tokens}: expected at least 1")
    if options.threads:  # before anything imports torch
        os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(options.threads)
    _spin_briefly()
    with uncollected():
        recipe = find_recipe(options.recipe)
    wishes = settings.from_yaml(options.config) if options.config else []
    wishes += settings.parse(options.overrides)
    expression = settings.expression(recipe, wishes)
    if options.skip_bad:
        own = _named(expression, "skip_bad")
        if not own:
            raise UserError(
                "--skip-bad: no rows of your own are read here; give demonstrations=FILE or others"
            )
        wishes += [Override(f"{name}.skip_bad", "true") for name in own]
    if options.compute:
        able = _named(expression, "compute")
        wishes = [*(Override(f"{name}.compute", options.compute) for name in able), *wishes]
    if options.trunk:
        able = [n for n in _named(expression, "lora") if _has_adapters(expression, n)]
        if not able:
            raise UserError(f"--trunk {options.trunk}: no stage here trains adapters; give lora=16 as well")
        wishes = [*wishes, *(Override(f"{name}.lora.trunk", options.trunk) for name in able)]
    if options.skip_bad or options.compute or options.trunk:
        expression = settings.expression(recipe, wishes)
    return recipe, wishes, expression


def _spin_briefly() -> None:
    """A thread that waits for others sleeps after some 50 microseconds; GCC's OpenMP would have it spin for
    15 milliseconds, at each of the thousands of waits a second that small models have, which takes the core
    from whatever else runs there. A user's own choice stands.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():  # read when torch is imported
        os.environ["GOMP_SPINCOUNT"] = SPINS


def _named(expression: Stage, setting: str) -> list[str]:
    """The names of the stages that have a setting; one name for all rounds of a stage."""
    able = [stage for stage in addresses(expression).values() if hasattr(stage, setting)]
    return list(dict.fromkeys(base_name(stage) for stage in able))


def _has_adapters(expression: Stage, name: str) -> bool:
    return any(base_name(stage) == name and stage.lora for stage in addresses(expression).values())  # type: ignore[attr-defined]


def _machine(options: Any, workspace: Workspace, quiet: bool) -> Machine:
    found = device(options.device)
    return Machine(
        device=found,
        threads=options.threads,
        micro_batch_tokens=options.micro_batch_tokens,
        recompute=options.recompute,
        quiet=quiet,
        workspace=workspace.root,
        speed=partial(_speed, found),
    )


def _speed(name: str) -> float:
    from posttrain.checks.machine import speed

    return speed(name)


def _doctor(options: Any) -> int:
    from posttrain.checks.doctor import examine

    expression = _asked(options)[2] if options.recipe else None
    workspace = Workspace(options.workspace)
    wrong = examine(
        expression, workspace, _machine(options, workspace, quiet=True), lambda text: print(text, flush=True)
    )
    if wrong:
        raise UserError("\n".join(["this stands in the way:", *wrong]))
    print("Nothing found that stands in the way.")
    return 0


def _ended(result: Run, workspace: Workspace) -> int:
    page = result.directory / "report.html"
    if result.made or not page.exists():
        from posttrain.report.page import write

        page = write(result.directory, workspace.root)
    if not result.made and not result.waiting:
        print("Nothing to do: everything is made.")
    for address, reason in result.waiting.items():
        print(f"{address} waits: {reason}")
    print(f"Report: {page}")
    return 0


def recipes() -> dict[str, Path]:
    """Name to file of the recipes that come with the package; nothing is imported."""
    from posttrain import recipes as package

    return {
        item.name: Path(package.__path__[0]) / f"{item.name}.py"
        for item in pkgutil.iter_modules(package.__path__)
        if _makes_a_stage(Path(package.__path__[0]) / f"{item.name}.py", item.name)
    }


def _makes_a_stage(path: Path, function: str) -> bool:
    """Whether a function of that name is there, and says that it returns a stage."""
    found = [
        item.returns
        for item in ast.parse(path.read_text("utf-8")).body
        if isinstance(item, ast.FunctionDef) and item.name == function
    ]
    return any(isinstance(returns, ast.Name) and returns.id == "Stage" for returns in found)


def find_recipe(name: str) -> Callable[..., Stage]:
    """The function a recipe's file is named after. Raises UserError where there is none, or the file is
    faulty.
    """
    path = expanded(name)
    if path.suffix == ".py":
        if not path.is_file():
            raise UserError(f"{name}: no such file")
        module = _load(path)
    elif name in recipes():
        module = importlib.import_module(f"posttrain.recipes.{name}")
        path = Path(name)
    else:
        raise UserError(f"{name}: no such recipe{nearest(name, recipes())}, or a .py file of your own")
    found = getattr(module, path.stem, None)
    if not callable(found):
        raise UserError(f"{name}: expected a function {path.stem}() that returns a stage")
    return found  # type: ignore[no-any-return]


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    if spec is None or spec.loader is None or path.stem in sys.modules:
        raise UserError(f"{path}: another module is called {path.stem}; rename the file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # dataclasses look their own module up
    if (beside := str(path.resolve().parent)) not in sys.path:
        sys.path.append(beside)  # last, so that a file beside a recipe hides no package
    try:
        spec.loader.exec_module(module)
    except UserError:
        raise
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno}: {error.msg}") from None
    except Exception as error:
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(path.resolve())
        ]
        where = f"{path}:{lines[-1]}" if lines else str(path)
        raise UserError(f"{where}: {type(error).__name__}: {error}") from error
    return module


def recipe_help(recipe: Callable[..., Stage], name: str, expression: Stage) -> str:
    """What can be said after a recipe's name: its parameters, then every stage with its settings."""
    module = sys.modules[recipe.__module__]
    lines = [
        f"posttrain run {name} [NAME=VALUE ...]",
        "",
        inspect.getdoc(recipe) or inspect.getdoc(module) or "",
        "",
    ]
    lines.append("Parameters:")
    lines += [
        f"  {parameter}={'' if default is None else default}".ljust(34) + _type_name(declared)
        for parameter, (declared, default) in settings.parameters(recipe).items()
    ]
    lines += [
        "",
        "Stages in the order of making (ADDRESS=DIR puts a finished product there), and their settings:",
    ]
    for address, stage in addresses(expression).items():
        summary = (inspect.getdoc(type(stage)) or "").split("\n\n")[0].replace("\n", " ")
        lines += ["", f"  {address}  ({type(stage).__name__})  {summary}"]
        lines += [f"    {address}.{setting}" for setting in _settings(stage)]
    return "\n".join(lines)


def _type_name(declared: Any) -> str:
    if get_origin(declared) is Literal:
        return " or ".join(str(option) for option in get_args(declared) if option != "")
    return getattr(declared, "__name__", str(declared)) if declared else ""


def _settings(value: Any, prefix: str = "") -> list[str]:
    """``name=value`` of what can be set, objects with their own fields below them, inputs left out."""
    found = []
    for item in fields(value):
        inner = getattr(value, item.name)
        if isinstance(inner, Stage) or (isinstance(value, Stage) and item.name in LABELS) or not item.init:
            continue
        if isinstance(inner, SourceFile):
            found.append(f"{prefix}{item.name}={inner.path}")
        elif is_dataclass(inner) and not isinstance(inner, type):
            found += [
                f"{prefix}{item.name}={type(inner).__name__}",
                *_settings(inner, f"{prefix}{item.name}."),
            ]
        elif not isinstance(inner, tuple | list | dict) or not any(map(is_dataclass, inner)):
            found.append(f"{prefix}{item.name}={'none' if inner is None else inner}")
    return found


def _list(options: Any) -> int:
    rows: list[tuple[str, ...]] = [("RECIPE", "WHAT IT IS")]
    for name, path in recipes().items():
        told = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
        rows.append((name, told.split("\n\n")[0].replace("\n", " ")))
    print(table(rows))
    workspace = Workspace(options.workspace)
    runs: list[tuple[str, ...]] = [("RUN", "RECIPE", "STATUS", "STARTED", "SETTINGS")]
    for path in sorted(workspace.runs.glob("*-*"), key=run_number):
        known = _record(path)
        facts = (str(known.get("recipe", "?")), standing(known), str(known.get("started", "?")))
        runs.append((str(run_number(path)), *facts, " ".join(known.get("overrides", []))))
    products: list[tuple[str, ...]] = [("PRODUCT", "STAGE", "MADE", "TOOK")]
    for path in sorted(workspace.products.glob("[!.]*/made.json")):
        try:
            made = Product.load(path.parent).made
        except UserError:
            made = {"stage": "damaged"}
        kind = str(made.get("stage", "?")).rpartition(".")[2]
        took = duration(made["seconds"]) if "seconds" in made else "?"
        products.append((path.parent.name, kind, str(made.get("finished", "?")), took))
    if len(runs) + len(products) == 2:
        print(f"\n{workspace.root}: nothing here yet; `posttrain run instructgpt` makes one")
        return 0
    print(f"\n{workspace.runs}\n{table(runs)}\n\n{workspace.products}\n{table(products)}")
    return 0


def _record(run_directory: Path) -> dict[str, Any]:
    """What a run said of itself, for a list; one that cannot be read is named so."""
    try:
        return read_record(run_directory)
    except UserError:
        return {"recipe": run_directory.name.partition("-")[2], "status": "damaged"}


def _find_run(workspace: Workspace, name: str | None) -> Path:
    if name is None:
        found = latest_run(workspace)
        if found is None:
            raise UserError(
                f"{workspace.root}: no run here; `posttrain run RECIPE` makes one, --workspace names another"
            )
        return found
    started = sorted(workspace.runs.glob("*-*"), key=run_number)
    numbered = [path for path in started if path.name.partition("-")[0] == name]
    for path in (Path(name), workspace.runs / name, *numbered):
        if (path / "run.json").is_file():
            return path.resolve()
    there = ", ".join(path.name for path in started)
    raise UserError(f"{name}: no such run in {workspace.runs}; there is: {there or 'none'}")


def _report(options: Any) -> int:
    workspace = Workspace(options.workspace)
    directory = _find_run(workspace, options.run)
    if options.json:
        from posttrain.report.figures import flat

        print(json.dumps(flat(directory, workspace.root), indent=1))
        return 0
    from posttrain.report.page import write

    print(f"Report: {write(directory, workspace.root)}")
    return 0


def _lineage(options: Any) -> int:
    print(lineage(find_product(Workspace(options.workspace), options.product)))
    return 0


def _chat(options: Any) -> int:
    if options.max_tokens < 1:
        raise UserError(f"--max-tokens {options.max_tokens}: expected at least 1")
    if hasattr(sys.stdin, "reconfigure"):
        sys.stdin.reconfigure(errors="replace")  # bytes that are no text are a question mark, not an end
    workspace = Workspace(options.workspace)
    path = find_model(workspace, options.product).path
    from posttrain.engines.builtin import BuiltinEngine
    from posttrain.engines.protocol import Sampling
    from posttrain.models.chat import Chat
    from posttrain.models.loading import load_causal_lm

    model, tokenizer = load_causal_lm(path, device=device(options.device))
    engine, chat = BuiltinEngine(model), Chat(tokenizer)
    watched = sys.stdin.isatty()
    if watched:
        print(f"{path}\nA line is a message; /new starts over, /quit ends.")
    messages: list[dict[str, str]] = []
    for number in range(sys.maxsize):
        try:
            said = input("you: " if watched else "").strip()
        except EOFError:
            return 0
        if said in ("/quit", "/exit"):
            return 0
        if said == "/new":
            messages = []
        if said in ("", "/new"):
            continue
        prompt = chat.prompt_ids([*messages, {"role": "user", "content": said}])
        room = min(options.max_tokens, engine.context - len(prompt))
        if room < 1:
            print(
                f"(the conversation is {len(prompt)} tokens, the model reads {engine.context}; starting over)"
            )
            messages = []
            continue
        sampling = Sampling(temperature=options.temperature, max_tokens=room, stop_ids=tuple(chat.stop_ids))
        engine.submit(prompt, sampling, options.seed + number)
        answer = chat.decode(next(iter(engine.finished())).tokens).strip()
        print(f"model: {answer}" if watched else answer, flush=True)
        messages += [{"role": "user", "content": said}, {"role": "assistant", "content": answer}]
    return 0
