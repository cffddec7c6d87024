"""The report as a page that follows its store: served on this machine alone, with server-sent events."""

from tokenflation.sdk.errors import MissingExtra

try:
    from tokenflation.exporters.web.app import create_app
except ModuleNotFoundError as error:
    if (error.name or "").startswith("tokenflation"):
        raise
    raise MissingExtra("The live page", "serve") from error

__all__ = ["create_app"]
