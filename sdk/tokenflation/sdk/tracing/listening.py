"""What a provider of spans calls on its processors, for those of ours that only look. Imports no OpenTelemetry."""

from typing import Any

__all__ = ["Listener"]


class Listener:
    """A span processor that keeps nothing back, and looks at nothing once it is closed: no provider can be left."""

    def __init__(self) -> None:
        self._closed = False
        self.watched: Any = None
        """The provider that it was added to by `watch`."""

    def watch(self, provider: Any) -> None:
        """Learn of this provider's spans from here on, if it lets one."""
        add = getattr(provider, "add_span_processor", None)
        if callable(add):
            self.watched = provider
            add(self)

    def close(self) -> None:
        """Look at no further span."""
        self._closed = True

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Note a span that starts."""
        raise NotImplementedError

    def on_end(self, span: Any) -> None:
        """Note a span that ended."""
        raise NotImplementedError

    def _on_ending(self, span: Any) -> None:
        pass

    def shutdown(self) -> None:
        """Look at no further span."""
        self.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002  (as a span processor is called)
        """Return True: nothing waits here."""
        return True
