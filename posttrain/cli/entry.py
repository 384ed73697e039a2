"""What a person types reaches its command; what goes wrong becomes a sentence and an exit code."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NoReturn

from posttrain.cli.parser import TAKES_SETTINGS, build_parser
from posttrain.kernels.compiled import NoSuchPath, kernel_path
from posttrain.pipeline.blame import raised_by_user
from posttrain.pipeline.files import write_whole
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import StageFailed
from posttrain.pipeline.secrets import Redaction
from posttrain.pipeline.trouble import trouble

CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # what a terminal would obey

GOES_ON = ". What is done stays; the same command goes on where it was."


class Terminated(SystemExit):
    """SIGTERM or SIGHUP, as an exception that cleans up on its way; its code is 128 and the signal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 done, 1 a fault of posttrain, 2 something to mend, 128 + the signal that ended it."""
    if arguments is None:
        signal.signal(signal.SIGTERM, _terminate)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # under nohup it stays ignored
            signal.signal(signal.SIGHUP, _terminate)
    makes = False
    try:
        parser = build_parser()
        options, rest = parser.parse_known_args(arguments)
        makes = options.command == "run"
        if not options.command:
            parser.print_help()
            return 0
        options.overrides = [*getattr(options, "overrides", []), *rest]
        if stray := [text for text in rest if text.startswith("-") or options.command not in TAKES_SETTINGS]:
            dashed = stray[0].startswith("--") and options.command in TAKES_SETTINGS
            name = stray[0].strip("-").partition("=")[0].replace("-", "_")
            setting = f"; a setting has no dashes: {name}=VALUE" if dashed and name else ""
            raise UserError(f"{stray[0]}: no such option{setting}; see posttrain {options.command} --help")
        kernel_path()
        code: int = options.do(options)
        sys.stdout.flush()
        return code
    except (UserError, NoSuchPath) as error:
        return _fail(2, str(error))
    except StageFailed as error:
        return _stage_failed(error)
    except KeyboardInterrupt:
        return _fail(130, f"stopped{GOES_ON if makes else ''}")
    except Terminated as stop:
        code = int(stop.code or 0)
        why = "the terminal was closed" if code == 128 + signal.SIGHUP else "terminated"
        return _fail(code, f"{why}{GOES_ON if makes else ''}")
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # else Python complains once more at exit
        return 0
    except RecursionError:
        return _fail(2, "something in the input is nested too deep to be read; make it flatter")
    except Exception as error:
        return _fault(error)


def _terminate(received: int, _: object) -> NoReturn:
    raise Terminated(128 + received)


def _fail(code: int, message: str) -> int:
    print(f"posttrain: {_printable(message)}", file=sys.stderr)
    return code


def _printable(message: str) -> str:
    """Without secrets, and as what the terminal can show."""
    text = CONTROL_CHARACTERS.sub(lambda match: repr(match[0])[1:-1], Redaction(sys.argv[1:]).text(message))
    encoding = sys.stderr.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _fault(error: Exception) -> int:
    """Trouble of the machine and of a user's own code is the user's to mend; anything else is not."""
    if advice := trouble(error) or raised_by_user(error):
        return _fail(2, advice)
    if isinstance(error, OSError) and error.filename:
        return _fail(2, f"{error.filename}: {error.strerror or error}")
    if os.environ.get("POSTTRAIN_DEBUG"):
        traceback.print_exception(error)
    return _fail(1, f"a fault of posttrain: {type(error).__name__}: {error}; POSTTRAIN_DEBUG=1 shows where")


def _stage_failed(error: StageFailed) -> int:
    cause = error.__cause__
    if cause is not None and (advice := trouble(cause, str(error.run.workspace.root))):
        return _fail(2, f"stage {error.address}: {advice}")
    if os.environ.get("POSTTRAIN_DEBUG"):
        traceback.print_exception(cause)
    user_error = raised_by_user(cause) if cause is not None else ""
    failed = f"stage {error.address} failed: {type(cause).__name__}: {cause}"
    what = f"stage {error.address}: {user_error}" if user_error else failed
    story = error.run.directory / "error.txt"
    try:
        write_whole(story, error.run.redaction.text("".join(traceback.format_exception(cause))))
    except OSError as problem:
        what += f"\n  (and {story} could not be written: {problem.strerror})"
    return _fail(2 if user_error else 1, error.run.redaction.text(f"{what}\n  The whole story: {story}"))
