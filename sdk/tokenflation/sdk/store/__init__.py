"""The store: tables as data, the writer of the hot path, migrations, and reading.

Import what you need from the modules: `write` and `keys` cost a host the standard library's sqlite3 and no more, while
`schema` and `read` import SQLAlchemy.
"""

__all__: list[str] = []
