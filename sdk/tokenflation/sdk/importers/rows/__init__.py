"""What an import writes: calls put into rows, counted, into a store that changes only when all went well."""

__all__: list[str] = []
