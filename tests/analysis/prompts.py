"""Calls with prefix blocks, by hand and at random: a prompt is a string, each letter one block of four tokens."""

from hashlib import blake2b
from typing import Any

import pandas as pd
from hypothesis import strategies as st
from tests.analysis.conftest import ORIGIN_NS, SECOND_NS, frame_of

BLOCK = 4


def hashes(prompt: str) -> bytes:
    """Return the rolling hash at each block's end, 8 bytes each."""
    return b"".join(blake2b(prompt[: at + 1].encode(), digest_size=8).digest() for at in range(len(prompt)))


def asked(prompt: str, second: float = 0.0, **values: Any) -> dict[str, Any]:
    """Return a call whose prompt is made of these blocks, all of them whole."""
    given = {"input_tokens": BLOCK * len(prompt), "block_tokens": BLOCK, "block_hashes": hashes(prompt), "model": "m"}
    return given | {"started_at_ns": ORIGIN_NS + round(second * SECOND_NS)} | values


def calls_of(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return the calls as `load(path, blocks=True)` would."""
    return frame_of(rows)


@st.composite
def any_calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw calls of a few tasks and models whose prompts share beginnings, in any order of time."""
    rows = []
    for at in range(draw(st.integers(1, 12))):
        prompt = draw(st.text("ab", max_size=6))
        task = draw(st.sampled_from("xy"))
        rows.append(
            asked(
                prompt,
                draw(st.integers(0, 9)),
                call_id=f"{at:016x}",
                task_id=task,
                agent_run_id=task,
                step=at,
                model=draw(st.sampled_from(("m", "m", "n", None))),
                prompted_by=draw(st.sampled_from(("user", "tool", None))),
                # The last block may be a part of one only.
                input_tokens=max(BLOCK * len(prompt) - draw(st.integers(0, BLOCK - 1)), 0),
                cache_read_tokens=draw(st.none() | st.integers(0, BLOCK * len(prompt))),
            )
        )
    return rows
