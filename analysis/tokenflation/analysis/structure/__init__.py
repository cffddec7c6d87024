"""Who started whom in a task, what waited for what, and what it was good for.

`rows` reads, `trees` builds and `shape` measures; `timing`, `tools`, `waste`, `flags` and `success` each tell one thing
of a task, which `tasks` gathers into a row and `summary` into one per kind; `folding` makes a tree small enough to look
at.
"""

__all__: list[str] = []
