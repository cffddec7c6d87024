"""Where a store's file is: what lies beside it is found by every name of the file. Opens nothing."""

import os
import re
from pathlib import Path

__all__ = ["PATH_ALONE", "database_scheme", "no_folder", "real_path"]

PATH_ALONE = "a store is a file: give its path alone, without `sqlite:///`."

_SCHEME = re.compile(r"[a-z][a-z0-9]+(\+\w+)?:")


def real_path(store: str | os.PathLike[str]) -> Path:
    """Return the path of the file itself, wherever links lead: SQLite puts its own files beside that one too."""
    return Path(os.path.realpath(store))


def database_scheme(store: str | os.PathLike[str]) -> str:
    """Return how the URL of a database begins that stands for a file's path, perhaps made a path already; else ""."""
    path = Path(store)
    return "" if path.exists() else next((part for part in path.parts if _SCHEME.fullmatch(part)), "")


def no_folder(store: str | os.PathLike[str]) -> str:
    """Return why a store cannot be made in a folder that does not exist, and what to do."""
    scheme = database_scheme(store)
    if scheme.startswith("sqlite"):
        return PATH_ALONE
    if scheme:
        return "a database can only be read, by commands that analyse; give a file's path."
    return f"the folder {Path(store).parent} does not exist. Make it, or give another path."
