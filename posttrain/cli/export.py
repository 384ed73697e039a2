"""posttrain export: a product as llama.cpp, Ollama or the Hugging Face hub take it, read back before it is
done."""

from __future__ import annotations

import argparse
import shlex
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from posttrain.cli.product_lookup import chat_of, find_speaker
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.store import Product, Workspace

SUMMARY = "write a model for llama.cpp, Ollama or the hub"
HELP = """\
Write a model as other programs take it. Every export is read back and asked 20 questions; only where its
greedy answers are the model's, token by token up to rounding, is it kept.

  posttrain export --to gguf                 one file for llama.cpp, LM Studio and others (Llama family)
  posttrain export rl --to ollama            that file and a Modelfile: then `ollama create NAME -f Modelfile`
  posttrain export DIR --to hub              a directory with a model card, for `hf upload OWNER/NAME DIR`
  posttrain export --to hub --push OWNER/NAME    the same, uploaded as a private repository

GGUF needs pip install 'posttrain[export]'. It is read back by llama.cpp where llama-cpp-python is
installed, else by transformers."""


def declare(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument(
        "product", nargs="?", metavar="PRODUCT", help="an address or a directory (default: the final model)"
    )
    parser.add_argument("--to", choices=sorted(FORMS), required=True, help="what to write")
    parser.add_argument(
        "--output", type=Path, metavar="DIR", help="a new directory (default: exports/PRODUCT-FORM)"
    )
    parser.add_argument(
        "--type",
        default="f32",
        metavar="T",
        help="of a GGUF file's matrices: f32, f16, bf16 or q8_0 (default f32, which loses nothing)",
    )
    parser.add_argument("--license", metavar="ID", help="for the model card, where the base does not say it")
    parser.add_argument("--push", metavar="OWNER/NAME", help="with --to hub: upload there, and only then")


def run(options: Any) -> int:
    """Writes beside the final name, checks, and renames. Raises UserError for what cannot be exported."""
    if options.push and options.to != "hub":
        raise UserError(f"--push uploads what --to hub writes; {options.to} is a file for this machine")
    workspace = Workspace(options.workspace)
    product = find_speaker(workspace, options.product)
    name = product.path.resolve().name
    target = (options.output or Path("exports") / f"{name}-{options.to}").expanduser()
    if target.exists():
        raise UserError(f"{target}: is there already; remove it, or name another with --output")
    made = [parent for parent in target.parents if not parent.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    making = Path(tempfile.mkdtemp(prefix=f".making-{target.name}-", dir=target.parent))
    draft = making / target.name  # mkdtemp's own is closed to others
    draft.mkdir()
    try:
        message = FORMS[options.to](product, name, draft, workspace, options)
        if target.exists():
            raise UserError(f"{target}: another export wrote it meanwhile; name another with --output")
        draft.rename(target)
    finally:
        shutil.rmtree(making, ignore_errors=True)
        for parent in made if not target.exists() else ():  # nothing of what was refused stays
            with suppress(OSError):
                parent.rmdir()
    print(f"{message}\n{target}")
    if options.to == "ollama":
        print(f"Next: cd {shlex.quote(str(target))} && ollama create {shlex.quote(name)} -f Modelfile")
    if options.push:
        from posttrain.exports.hub import push

        print(push(target, options.push))
    elif options.to == "hub":
        print(f"Next: hf upload OWNER/NAME {shlex.quote(str(target))}")
    return 0


def _gguf(product: Product, name: str, target: Path, workspace: Workspace, options: Any) -> str:
    return _written(product, name, target, options)[0]


def _written(product: Product, name: str, target: Path, options: Any) -> tuple[str, Any, Any]:
    """What was found of the GGUF file, the chat and what the file says of the tokenizer."""
    from posttrain.exports.gguf_file import write_gguf
    from posttrain.exports.parity import (
        PROMPTS,
        LlamaCppCrash,
        answers,
        compare,
        llama_cpp_reader,
        plain_reader,
    )
    from posttrain.models.gguf_reading import read_gguf
    from posttrain.models.loading import load_causal_lm

    model, tokenizer = load_causal_lm(product.path)
    chat, file = chat_of(tokenizer, product.path), target / f"{name}.gguf"
    words = write_gguf(model, chat, file, name=name, kind=options.type)
    wanted = answers(model, chat)
    reader, by = None, "transformers (llama.cpp reads it too where llama-cpp-python is installed)"
    try:
        reader = llama_cpp_reader(file, chat, wanted)
    except LlamaCppCrash as crash:
        by = f"transformers (llama.cpp did not answer: {crash}; install llama-cpp-python anew here)"
    if reader is None:
        reader = plain_reader(read_gguf(file)[0], chat.stop_ids)
    else:
        by = "llama.cpp"
    equal = compare(model, chat, wanted, reader, options.type)
    return _told(by, equal, len(PROMPTS), options.type), chat, words


def _told(by: str, equal: int, asked: int, kind: str) -> str:
    message = f"Read back by {by}: {equal} of {asked} greedy answers are the model's, token by token"
    return f"{message}." if equal == asked else f"{message}; the others part within what {kind} rounds."


def _ollama(product: Product, name: str, target: Path, workspace: Workspace, options: Any) -> str:
    from posttrain.exports.modelfile import frames_of, modelfile
    from posttrain.models.loading import load_tokenizer

    frames_of(chat_of(load_tokenizer(product.path), product.path))  # refused before the file is written
    message, chat, words = _written(product, name, target, options)
    (target / "Modelfile").write_text(modelfile(chat, f"{name}.gguf", words), "utf-8")
    return message


def _hub(product: Product, name: str, target: Path, workspace: Workspace, options: Any) -> str:
    from posttrain.exports.hub import Card, write
    from posttrain.exports.parity import PROMPTS, answers, compare, plain_reader
    from posttrain.models.loading import load_causal_lm

    model, tokenizer = load_causal_lm(product.path)
    chat = chat_of(tokenizer, product.path)
    wanted = answers(model, chat)
    card = Card.of(product, name, workspace, options.license)
    write(product, target, card)
    again, _ = load_causal_lm(target)
    equal = compare(model, chat, wanted, plain_reader(again, chat.stop_ids))
    notes = "".join(f"\n{note}" for note in card.notes)
    return f"{_told('transformers', equal, len(PROMPTS), 'f32')}{notes}"


FORMS: dict[str, Callable[[Product, str, Path, Workspace, Any], str]] = {
    "gguf": _gguf,
    "ollama": _ollama,
    "hub": _hub,
}
