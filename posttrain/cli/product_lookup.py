"""The product that a command is about: a directory, a name under products/, or an address of the latest
run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from posttrain.pipeline.files import expanded, read_json
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.runner import latest_run, read_record
from posttrain.pipeline.store import Product, Workspace
from posttrain.pipeline.values import nearest


def find_product(workspace: Workspace, name: str) -> Product:
    """Raises UserError where there is no such directory."""
    try:
        products, trouble = _products(workspace), None
    except UserError as error:  # a damaged record of a run says nothing of a directory that is named
        products, trouble = {}, error
    for path in (products.get(name), expanded(name), workspace.products / name):
        if path is not None and path.is_dir():
            return Product.load(path)
    if trouble is not None:
        raise trouble
    raise UserError(f"{name}: no such product{nearest(name, products)}, or a directory")


def find_model(workspace: Workspace, name: str | None) -> Product:
    """A model; without a name that of the latest run which most was made for. Raises UserError where there is
    none.
    """
    if name:
        product = find_product(workspace, name)
    else:
        last = final_model(workspace)
        latest = latest_run(workspace)
        if last is None and latest is not None:
            raise UserError(
                f"the latest run, {latest.name}, made no model that writes text; name one: an address of "
                f"that run, or a directory such as {workspace.products / 'NAME'}"
            )
        if last is None:
            raise UserError(
                f"{workspace.root}: no model here yet; `posttrain run RECIPE` makes one, or name a directory"
            )
        product = last[1]
    if not (product.path / "config.json").is_file():
        raise UserError(
            f"{product.path}: not a model, it has no config.json; models are the products of sft, rl or "
            "alignment"
        )
    return product


def final_model(workspace: Workspace) -> tuple[str, Product] | None:
    """The model that writes text and that most of the latest run was made for, with its address; None where
    there is none.
    """
    models = [(address, path) for address, path in _products(workspace).items() if speaks(path)]
    loaded = [(address, Product.load(path)) for address, path in models]
    return max(loaded, key=lambda one: len(one[1].made.get("ancestors", {})), default=None)


def find_speaker(workspace: Workspace, name: str | None) -> Product:
    """As ``find_model``, and one that writes text. Raises UserError for a reward model."""
    product = find_model(workspace, name)
    if not speaks(product.path):
        from posttrain.models.directory import check_directory

        check_directory(product.path)  # where its config says nothing, that is told
        kind = (read_json(product.path / "config.json", {}).get("architectures") or ["?"])[0]
        raise UserError(
            f"{product.path}: a {kind}, which scores text and writes none; name a policy, such as the "
            "product of sft, rl or alignment"
        )
    return product


def chat_of(tokenizer: Any, path: Path) -> Any:
    """The ``models.chat.Chat`` of a model's tokenizer. Raises UserError naming the directory whose chat
    template cannot be used.
    """
    from posttrain.models.chat import Chat

    try:
        return Chat(tokenizer)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def speaks(path: Path) -> bool:
    """Whether a directory's config is that of a language model."""
    names = read_json(path / "config.json", {}).get("architectures")
    return isinstance(names, list) and any("CausalLM" in str(name) or "LMHead" in str(name) for name in names)


def _products(workspace: Workspace) -> dict[str, Path]:
    latest = latest_run(workspace)
    paths = read_record(latest)["products"] if latest else {}
    return {address: workspace.root / path for address, path in paths.items()}
