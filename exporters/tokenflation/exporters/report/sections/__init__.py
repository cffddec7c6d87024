"""The sections of a page: what each says in words, tables and charts."""

__all__: list[str] = []
