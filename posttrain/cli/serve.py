"""posttrain serve: a model over HTTP, for whatever speaks OpenAI's interface."""

from __future__ import annotations

import argparse
import importlib.util
import ipaddress
import socket
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from posttrain.cli.product_lookup import chat_of, find_speaker
from posttrain.device import DEVICE_HELP, device
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import Workspace

SUMMARY = "answer OpenAI's HTTP interface with a model"
HELP = """\
Answer HTTP requests as OpenAI's interface has them: chat completions and completions, streamed or whole.

  posttrain serve                  the final model of the latest run, at http://127.0.0.1:8000/v1
  posttrain serve rl --port 9000   the product of that address
  posttrain serve DIR              any directory that transformers can load

  from openai import OpenAI
  client = OpenAI(base_url="http://127.0.0.1:8000/v1", api_key="none")
  client.chat.completions.create(model=client.models.list().data[0].id, messages=[...])

There is no password: only this machine is answered unless --host says otherwise. Needs
pip install 'posttrain[serve]'."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "product", nargs="?", metavar="PRODUCT", help="an address or a directory (default: the final model)"
    )
    parser.add_argument("--host", default="127.0.0.1", metavar="HOST", help="default 127.0.0.1: this machine")
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="0 takes a free one (default 8000)"
    )
    parser.add_argument(
        "--name", metavar="NAME", help="what requests call the model (default: its directory)"
    )
    parser.add_argument("--device", default="cpu", help=DEVICE_HELP)
    parser.add_argument(
        "--max-tokens",
        type=int,
        default=1024,
        metavar="N",
        help="longest chat answer where a request names no number (default 1024)",
    )


def run(options: Any) -> int:
    """Serves until Ctrl-C. Raises UserError where there is no model, no port or no server library."""
    missing = [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"serving needs {' and '.join(missing)}; pip install 'posttrain[serve]' brings them")
    if options.max_tokens < 1:
        raise UserError(f"--max-tokens {options.max_tokens}: expected at least 1")
    product = find_speaker(Workspace(options.workspace), options.product)
    bound = _bound(options.host, options.port)
    with bound:
        import uvicorn

        from posttrain.engines.builtin import BuiltinEngine
        from posttrain.models.loading import load_causal_lm
        from posttrain.serving.app import Served, application
        from posttrain.serving.engine_thread import EngineWorker

        model, tokenizer = load_causal_lm(product.path, device=device(options.device))
        name = options.name or product.path.resolve().name
        worker = EngineWorker(BuiltinEngine(model))
        served = Served(
            name=name, chat=chat_of(tokenizer, product.path), worker=worker, max_tokens=options.max_tokens
        )
        hosts = _answered(options.host)
        if "*" in hosts:
            print(
                f"posttrain: {options.host} can be reached from other machines, and there is no password",
                file=sys.stderr,
            )
        shown = f"[{options.host}]" if ":" in options.host else options.host
        print(f"http://{shown}:{bound.getsockname()[1]}/v1 answers with {name}; Ctrl-C ends it", flush=True)
        server = uvicorn.Server(uvicorn.Config(application(served, hosts), log_level="warning"))
        with suppress(KeyboardInterrupt):  # uvicorn closes what is open, then says how it was ended
            server.run(sockets=[bound])
    return 0


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as problem:
        raise UserError(f"{host}:{port} cannot be opened ({problem}); name another with --port") from None


def _answered(host: str) -> Sequence[str]:
    """The names under which requests are answered: on the loopback its own, elsewhere every one."""
    return (*LOOPBACK, f"[{host}]" if ":" in host else host) if _is_loopback(host) else ("*",)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
