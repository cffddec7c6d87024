"""OpenAI's other apis: completions, embeddings, images, audio, assistants, realtime, and answers fetched later.

Part of `dialects`: data only.
"""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.openai import CHAT, RESPONSES, SVG_USAGE
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Tool

__all__ = [
    "ASSISTANTS",
    "COMPACT",
    "COMPLETIONS",
    "DECISIONS",
    "EMBEDDINGS",
    "EMBEDDINGS_COUNTED_APART",
    "IMAGES",
    "PROMPT_COMPLETIONS",
    "REALTIME",
    "RETRIEVE",
    "SPEECH",
    "TRANSCRIPTIONS",
]

_COMPATIBLE = "openai_compatible"
_DEPLOYMENT = r"/(?:deployments|engines)/([^/]+)/"  # Azure, and OpenAI until 2023

# platform.openai.com/docs/api-reference/completions/object; docs.mistral.ai/api, "Fill in the Middle Completion", whose
# answer is a chat completion's.
COMPLETIONS: Final = Dialect(
    api="openai.completions",
    compatible=_COMPATIBLE,
    request=Request(
        proof=(frozenset({"prompt", "instruction"}),),
        model_in_path=_DEPLOYMENT,
        counts_if=CHAT.request.counts_if,
        messages=("prompt", "input"),
    ),
    answer=replace(
        CHAT.answer,
        parts=((), ("message",), ("delta",)),
        keyed={"text": Part(), "content": Part(), "reasoning": Part()},
    ),
)

# portkey.ai/docs/product/prompt-library/retrieve-prompts, "Prompt Completions": the body holds the variables of a
# prompt that is kept there, the answer is a chat completion or a completion.
PROMPT_COMPLETIONS: Final = replace(
    CHAT,
    request=Request(proof=(frozenset({"variables"}),)),
    answer=replace(CHAT.answer, parts=((), ("message",), ("delta",)), keyed={"text": Part(), **CHAT.answer.keyed}),
)

# platform.openai.com/docs/api-reference/embeddings/create: usage has prompt_tokens and total_tokens;
# docs.voyageai.com/reference/embeddings-api and jina.ai/embeddings: total_tokens.
_EMBEDDED = (("prompt_tokens",), ("total_tokens",))
EMBEDDINGS: Final = Dialect(
    api="openai.embeddings",
    compatible=_COMPATIBLE,
    request=Request(
        proof=(frozenset({"input", "inputs"}),), model_in_path=_DEPLOYMENT, sought=(("input",), ("inputs",))
    ),
    answer=Answer(
        model=(("model",),),
        response_id=(("id",),),
        parts=(),
        finish=(),
        usage=(("usage",),),
        input=Count(terms=(_EMBEDDED,)),
        output=Count(terms=((("completion_tokens",),),), zero_beside=_EMBEDDED),
        usage_extra={
            "cost": ("cost",),
            "image_pixels": ("image_pixels",),  # docs.voyageai.com/reference/multimodal-embeddings-api
            "text_input_tokens": ("text_tokens",),
            "image_input_tokens": ("prompt_tokens_details", "image_tokens"),  # OpenRouter
            "audio_input_tokens": ("prompt_tokens_details", "audio_tokens"),
            "video_input_tokens": ("prompt_tokens_details", "video_tokens"),
            "file_input_tokens": ("prompt_tokens_details", "file_tokens"),
            "audio_input_seconds": ("prompt_audio_seconds",),
        },
    ),
)

# developers.sber.ru/docs/ru/gigachat/api/reference/rest/post-embeddings: each embedding has a usage of its own.
_OWN_USAGE = ("usage", "prompt_tokens")
EMBEDDINGS_COUNTED_APART: Final = replace(
    EMBEDDINGS,
    answer=replace(
        EMBEDDINGS.answer,
        usage=((),),
        input=Count(each=("data",), terms=((_OWN_USAGE,),)),
        output=Count(terms=((),), zero_beside=(("data", 0, *_OWN_USAGE),)),
        usage_extra={},
    ),
)

# platform.openai.com/docs/api-reference/images/object and /images-streaming: usage of the GPT image models.
_PICTURE = EventRule(channel="other", content=("b64_json",))
IMAGES: Final = Dialect(
    api="openai.images",
    compatible=_COMPATIBLE,
    request=Request(proof=(frozenset({"prompt"}),), model_in_path=_DEPLOYMENT, forms=True),
    answer=Answer(
        model=(("model",),),
        response_id=(),
        parts=(("data",),),
        keyed={"b64_json": Part(channel="other"), "url": Part(channel="other")},
        finish=(),
        events={
            "image_generation.partial_image": _PICTURE,
            "image_generation.text_chunk": EventRule(channel="other", content=("text",)),  # openrouter, of SVG
            "image_generation.completed": EventRule(channel="other", content=("b64_json",), ends=True),
            "image_edit.partial_image": _PICTURE,
            "image_edit.completed": EventRule(channel="other", content=("b64_json",), ends=True),
        },
        usage=(("usage",),),
        # openrouter.ai/docs/api/api-reference/images counts as its chat does.
        input=Count(terms=((("input_tokens",), ("prompt_tokens",)),)),
        cache_read=Count(
            terms=((("input_tokens_details", "cached_tokens"), ("prompt_tokens_details", "cached_tokens")),)
        ),
        cache_write=Count(terms=((("prompt_tokens_details", "cache_write_tokens"),),)),
        output=Count(terms=((("output_tokens",), ("completion_tokens",)),)),
        reasoning=Count(terms=((("completion_tokens_details", "reasoning_tokens"),),)),
        total=("total_tokens",),
        usage_extra={
            "text_input_tokens": ("input_tokens_details", "text_tokens"),
            "image_input_tokens": ("input_tokens_details", "image_tokens"),
            "text_output_tokens": ("output_tokens_details", "text_tokens"),
            "image_output_tokens": ("output_tokens_details", "image_tokens"),
        },
        # openai's `ImagesResponse`: what drew a picture as SVG counts by itself, beside the usage. xAI's usage has its
        # price alone (recorded: grok-imagine-image-pro).
        extra={
            **SVG_USAGE,
            "cost": ("usage", "cost"),
            "cost_in_usd_ticks": ("usage", "cost_in_usd_ticks"),
        },
    ),
)

# platform.openai.com/docs/api-reference/audio/json-object and /audio/transcript-text-done-event: usage in tokens
# (gpt-4o-transcribe) or in seconds (whisper-1); docs.mistral.ai/capabilities/audio: chat's names beside audio seconds;
# .../realtime-server-events/conversation/item/input_audio_transcription: of what was said in a realtime session.
_HEARD = "conversation.item.input_audio_transcription"
TRANSCRIPTIONS: Final = Dialect(
    api="openai.transcriptions",
    compatible=_COMPATIBLE,
    request=Request(proof=(frozenset({"file", "file_url", "file_id", "input_audio"}),), forms=True),
    answer=Answer(
        model=(("model",),),
        response_id=(),
        parts=((),),
        keyed={"text": Part(), "transcript": Part()},
        finish=(),
        events={
            f"{_HEARD}.delta": EventRule(channel="answer", content=("delta",)),
            f"{_HEARD}.completed": EventRule(channel="answer", content=("transcript",), ends=True),
            "transcript.text.delta": EventRule(channel="answer", content=("delta",)),
            "transcript.text.done": EventRule(channel="answer", content=("text",), ends=True),
            "transcription.text.delta": EventRule(channel="answer", content=("text",)),  # Mistral
            "transcription.done": EventRule(channel="answer", content=("text",), ends=True),
        },
        usage=(("usage",),),
        input=Count(terms=((("input_tokens",), ("prompt_tokens",)),)),
        cache_read=Count(terms=((("prompt_tokens_details", "cached_tokens"),),)),
        output=Count(terms=((("output_tokens",), ("completion_tokens",)),)),
        total=("total_tokens",),
        input_outside_if=("prompt_audio_seconds",),
        usage_extra={
            "text_input_tokens": ("input_token_details", "text_tokens"),
            "audio_input_tokens": ("input_token_details", "audio_tokens"),
            "prompt_audio_seconds": ("prompt_audio_seconds",),
        },
        extra={"audio_input_seconds": ("usage", "seconds"), "cost": ("usage", "cost")},  # often all that it has
        plain=True,  # .../audio/createTranscription: with `response_format` text, srt or vtt
    ),
)

# platform.openai.com/docs/api-reference/audio/createSpeech: sound, which says nothing, or with `stream_format: sse` the
# events speech.audio.delta and speech.audio.done, which holds usage. For the sound mistralai's
# `SpeechStreamAudioDelta` and together's `AudioSpeechStreamChunk` have keys of their own.
SPEECH: Final = Dialect(
    api="openai.speech",
    compatible=_COMPATIBLE,
    # docs.mistral.ai/api, "Speech": a voice by its id, by a sample, or none.
    request=Request(
        proof=(frozenset({"input"}), frozenset({"voice", "voice_id", "ref_audio", "model"})), model_in_path=_DEPLOYMENT
    ),
    answer=Answer(
        model=(),
        response_id=(),
        parts=((),),
        keyed=dict.fromkeys(("audio", "audio_data", "b64"), Part(channel="other")),
        finish=(),
        events={"speech.audio.done": EventRule(ends=True)},
        terminator=b"[DONE]",
        usage=(("usage",),),
        input=Count(terms=((("input_tokens",), ("prompt_tokens",)),)),
        output=Count(terms=((("output_tokens",), ("completion_tokens",)),)),
        total=("total_tokens",),
    ),
)

# platform.openai.com/docs/api-reference/runs/object and /assistants-streaming/events: a run is answered at once, its
# usage (null until it ended) covers all of it, and comes with every later look at it. Steps and messages of the run
# have a usage and a status of their own.
_RUN = Answer(
    only_if=("object", frozenset({"thread.run"})),
    model=(("model",),),
    response_id=(("id",),),
    parts=(("required_action", "submit_tool_outputs"),),
    keyed={"tool_calls": Part(tool=Tool(name=(("function", "name"),), arguments=(("function", "arguments"),)))},
    finish=(("status",),),
    finish_detail=("incomplete_details", "reason"),
    unfinished=frozenset({"queued", "in_progress", "cancelling"}),
    failed={"failed": "error", "expired": "error", "cancelled": "cancelled"},
    events={
        "thread.message.delta": EventRule(channel="answer", content=("delta", "content")),
        "thread.run.step.delta": EventRule(channel="answer", content=("delta", "step_details")),
    },
    terminator=b"[DONE]",
    errors=(("error",), ("last_error",)),
    error_words=(("code",), ("type",)),
    usage=(("usage",),),
    input=Count(terms=((("prompt_tokens",),),)),
    output=Count(terms=((("completion_tokens",),),)),
    reasoning=Count(terms=((("completion_tokens_details", "reasoning_tokens"),),)),
    total=("total_tokens",),
)
_ASSISTANT_REQUEST = Request(proof=(frozenset({"assistant_id"}),), system=("instructions",))
ASSISTANTS: Final = (
    Dialect(api="openai.assistants.run", compatible=_COMPATIBLE, request=_ASSISTANT_REQUEST, answer=_RUN),
    Dialect(
        api="openai.assistants.run.retrieve",
        compatible=_COMPATIBLE,
        request=Request(proof=()),
        answer=_RUN,
        fetches=True,
    ),
)

# platform.openai.com/docs/api-reference/responses/get: the response, with its usage once it is finished, as often as
# it is asked for; with `stream` its events from the start or from `starting_after`.
RETRIEVE: Final = Dialect(
    api="openai.responses.retrieve",
    compatible=_COMPATIBLE,
    request=Request(proof=()),
    answer=RESPONSES.answer,
    fetches=True,
)
# platform.openai.com/docs/api-reference/responses/compact: `response.compaction`, without a status.
COMPACT: Final = replace(RESPONSES, api="openai.responses.compact")

# openai's `Decision` and `DecisionCreateParams`: questions about an input, answered by probabilities; no id, no status.
# openrouter's `DecisionsRequest` and ollama's `SystemOneRequest` ask of a `state` instead.
DECISIONS: Final = Dialect(
    api="openai.decisions",
    compatible=_COMPATIBLE,
    request=replace(
        RESPONSES.request,
        proof=(frozenset({"input", "state"}), frozenset({"questions"}), frozenset({"model"})),
        schemas=(("questions",),),
    ),
    answer=replace(RESPONSES.answer, envelopes=(), parts=(), finish=(), events={}, usage=(("usage",),), extra={}),
    common_path=True,
)

# platform.openai.com/docs/api-reference/realtime-server-events/response/done: cached tokens are a subset of input.
# The exchange of one response: what the server sent for it; the request body is `{session, input}` or its fields.
_SPOKEN = EventRule(channel="answer", content=("delta",))
_SOUND = EventRule(channel="other", content=("delta",))
REALTIME: Final = Dialect(
    api="openai.realtime",
    compatible=_COMPATIBLE,
    request=replace(RESPONSES.request, proof=(), within=(("session",),), messages=("input", "items")),
    answer=replace(
        RESPONSES.answer,
        model=(("model",), ("session", "model")),
        finish=(("response", "status"), ("status",)),
        finish_detail=("status_details", "reason"),
        failed={"failed": "error"},
        events={
            **{name: rule for name, rule in RESPONSES.answer.events.items() if not rule.ends},
            "response.output_text.delta": _SPOKEN,
            "response.text.delta": _SPOKEN,
            "response.output_audio.delta": _SOUND,
            "response.audio.delta": _SOUND,
            "response.output_audio_transcript.delta": _SPOKEN,
            "response.audio_transcript.delta": _SPOKEN,
            "response.done": EventRule(ends=True),
        },
        errors=(("response", "status_details", "error"),),
        usage=(("response", "usage"),),
        cache_read=Count(terms=((("input_token_details", "cached_tokens"),),)),
        cache_write=Count(),
        reasoning=Count(terms=((("output_token_details", "reasoning_tokens"),),)),
        usage_extra={
            "text_input_tokens": ("input_token_details", "text_tokens"),
            "audio_input_tokens": ("input_token_details", "audio_tokens"),
            "image_input_tokens": ("input_token_details", "image_tokens"),
            "text_cache_read_tokens": ("input_token_details", "cached_tokens_details", "text_tokens"),
            "audio_cache_read_tokens": ("input_token_details", "cached_tokens_details", "audio_tokens"),
            "image_cache_read_tokens": ("input_token_details", "cached_tokens_details", "image_tokens"),
            "text_output_tokens": ("output_token_details", "text_tokens"),
            "audio_output_tokens": ("output_token_details", "audio_tokens"),
        },
    ),
)
