"""Files of an import: found, unpacked, told apart by how they begin, and read record by record."""

__all__: list[str] = []
