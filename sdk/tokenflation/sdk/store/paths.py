"""Where a store's file is: what lies beside it is found by every name of the file. Opens nothing."""

import os
import re
from pathlib import Path

__all__ = ["is_database", "no_folder", "real_path"]

_SCHEME = re.compile(r"[a-z][a-z0-9]+(\+\w+)?:")


def real_path(store: str | os.PathLike[str]) -> Path:
    """Return the path of the file itself, wherever links lead: SQLite puts its own files beside that one too."""
    return Path(os.path.realpath(store))


def is_database(store: str | os.PathLike[str]) -> bool:
    """Return whether what should be a file's path is the URL of a database, perhaps made a path already."""
    path = Path(store)
    return not path.exists() and any(_SCHEME.fullmatch(part) for part in path.parts)


def no_folder(store: str | os.PathLike[str]) -> str:
    """Return why a store cannot be made in a folder that does not exist, and what to do."""
    if is_database(store):
        return "a database can only be read, by commands that analyse; give a file's path."
    return f"the folder {Path(store).parent} does not exist. Make it, or give another path."
