"""The importers there are: one module each, with its `FORMAT`.

Of two that are equally sure of a file the first wins.
"""

from tokenflation.sdk.importers.agents import (
    aider,
    atif,
    claude_code,
    cline,
    codex,
    copilot,
    gemini_cli,
    inspect_ai,
    opencode,
    openhands,
    openhands_stats,
    qwen_code,
    swe_agent,
    tau_bench,
)
from tokenflation.sdk.importers.files.formats import Format, Head
from tokenflation.sdk.importers.tracers import (
    jaeger,
    langfuse,
    langsmith,
    mlflow,
    otel_js,
    otel_python,
    otlp,
    otlp_proto,
    phoenix,
    zipkin,
)
from tokenflation.sdk.importers.workloads import (
    tracelab,
    weka,
)

__all__ = ["FORMATS", "recognise"]

FORMATS: tuple[Format, ...] = (
    claude_code.FORMAT,
    cline.FORMAT,
    codex.FORMAT,
    copilot.FORMAT,
    gemini_cli.FORMAT,
    qwen_code.FORMAT,
    opencode.DATABASE,
    opencode.FILES,
    opencode.EXPORT,
    atif.FORMAT,
    tracelab.FORMAT,
    inspect_ai.FORMAT,
    swe_agent.SWE_AGENT,
    swe_agent.MINI,
    openhands.FORMAT,
    openhands_stats.FORMAT,
    tau_bench.FORMAT,
    aider.FORMAT,
    langfuse.FORMAT,
    langsmith.FORMAT,
    mlflow.FORMAT,
    otlp.FORMAT,
    otlp_proto.FORMAT,
    otel_js.FORMAT,
    otel_python.FORMAT,
    phoenix.FORMAT,
    jaeger.FORMAT,
    zipkin.FORMAT,
    weka.FORMAT,
)

_SURE = 0.5


def recognise(head: Head) -> Format | None:
    """Return the format that is surest of a file, or None if none is sure enough."""
    sureness, found = 0.0, None
    for one in FORMATS:
        sure = one.sniff(head)
        if sure > sureness:
            sureness, found = sure, one
    return found if sureness >= _SURE else None
