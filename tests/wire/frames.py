"""AWS event streams, built as the services build them."""

import base64
import json
import struct
from typing import Any
from zlib import crc32


def frame(payload: Any, **headers: str) -> bytes:
    """Return one message; `event_type="chunk"` becomes the header `:event-type`."""
    head = b""
    for name, value in {"message_type": "event", **headers}.items():
        key = f":{name.replace('_', '-')}".encode()
        head += bytes([len(key)]) + key + b"\x07" + struct.pack(">H", len(value)) + value.encode()
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    prelude = struct.pack(">II", 16 + len(head) + len(body), len(head))
    message = prelude + struct.pack(">I", crc32(prelude)) + head + body
    return message + struct.pack(">I", crc32(message))


def chunk(document: dict[str, Any]) -> bytes:
    """Return a message of InvokeModelWithResponseStream: the document in base64."""
    return frame({"bytes": base64.b64encode(json.dumps(document).encode()).decode(), "p": "abc"}, event_type="chunk")
