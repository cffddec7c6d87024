"""What several commands or one large one take as options: plans, recorded demand, questions."""

__all__: list[str] = []
