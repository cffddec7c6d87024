"""Names as commands print them. Knows no table and needs no package, so that every command can have it."""

__all__ = ["printable", "printable_lines"]


def printable(name: str) -> str:
    """Return a name with what a terminal would act on, or not show, as escapes: control and direction characters."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in name
    )


def printable_lines(text: str) -> str:
    """Return a text of several lines, each as `printable` returns it."""
    return text if text.isprintable() else "\n".join(map(printable, text.split("\n")))
