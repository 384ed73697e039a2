"""Models of the hub: the files of one commit on this machine, looked at as any other directory is."""

from __future__ import annotations

from pathlib import Path

from posttrain.models.directory import check_directory
from posttrain.pipeline.finding import UserError
from posttrain.pipeline.sources import SourceFile

WANTED = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


def directory_of(source: SourceFile, workspace: Path | None) -> Path:
    """The source's own directory, or that of the pinned commit of a name on the hub, fetched where it is not
    here yet. Raises UserError where it cannot be fetched or is no model.
    """
    if source.local is not None:
        return source.local
    return snapshot(source.path, source.commit(workspace or Path(".")))


def snapshot(name: str, commit: str | None = None) -> Path:
    """The directory of a hub model at a commit (None: the newest). Raises UserError as above."""
    from huggingface_hub import snapshot_download

    try:
        directory = Path(snapshot_download(name, revision=commit, allow_patterns=WANTED))
    except (OSError, ValueError) as problem:
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        raise UserError(f"{name}: could not be fetched from the hub ({first})") from None
    check_directory(directory)
    return directory
