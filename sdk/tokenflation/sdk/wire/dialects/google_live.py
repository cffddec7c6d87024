"""Google's Live API: the exchange of one turn. Part of `dialects`: data only."""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.google import GENERATE_CONTENT
from tokenflation.sdk.wire.shapes import Count, Part, Tool

__all__ = ["LIVE"]

# ai.google.dev/api/live: BidiGenerateContentServerMessage, BidiGenerateContentServerContent; google-genai's
# `UsageMetadata`. Counts come with the end of a turn and are of all of it, its tools included; thoughts stand beside
# the response, and the total leaves them out (gemini-3.8-live: prompt 522, response 42, thoughts 136, total 564).
# The body is `{model, conversation, setup, contents}`.
LIVE: Final = replace(
    GENERATE_CONTENT,
    api="google.live",
    request=replace(GENERATE_CONTENT.request, proof=(), within=(("setup",),), model_in_path=""),
    answer=replace(
        GENERATE_CONTENT.answer,
        model=(),
        response_id=(),
        choices=None,
        parts=(("serverContent", "modelTurn", "parts"), ("serverContent", "outputTranscription"), ("toolCall",)),
        keyed={
            **{name: rule for name, rule in GENERATE_CONTENT.answer.keyed.items() if name != "toolCall"},
            "functionCalls": Part(tool=Tool(arguments=(("args",),))),
        },
        finish=(("serverContent", "turnCompleteReason"),),
        blocked=None,
        ends_with_finish=False,
        ends_if=(("serverContent", "turnComplete"),),
        merge_usage=True,
        output=Count(
            terms=((("responseTokenCount",), ("candidatesTokenCount",)), (("thoughtsTokenCount",),)),
            zero_beside=(("promptTokenCount",),),
        ),
        split={**GENERATE_CONTENT.answer.split, "responseTokensDetails": "{}_output_tokens"},
        extra={"interrupted": ("serverContent", "interrupted")},
    ),
)
