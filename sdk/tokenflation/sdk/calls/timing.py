"""Times of a stream from the times of its chunks. Pure: no clock, no I/O; knows nothing of what the bytes mean."""

from collections.abc import Mapping, Sequence
from itertools import compress
from operator import itemgetter, sub

__all__ = ["chunk_gaps_s"]

_time_of, _bytes_of = itemgetter(0), itemgetter(1)


def chunk_gaps_s(chunks: Sequence[tuple[int, bytes]]) -> Mapping[str, float] | None:
    """Return the gaps between the chunks of one stream in seconds, in short: `count`, `p50`, `p99`, `max`.

    `chunks` is `(time_ns, bytes)` in order of arrival, as the transport gave them to the host: compressed ones as they
    came, several tokens in one or one token in several. A host that reads slowly stretches a gap, and finds the next
    chunks waiting: then gaps say what the host saw, not what the model did. Quantiles are nearest-rank. None for fewer
    than two chunks, which have no gap between them.
    """
    times = list(compress(map(_time_of, chunks), map(_bytes_of, chunks)))
    if len(times) < 2:
        return None
    gaps = sorted(map(sub, times[1:], times))
    count = len(gaps)
    return {
        "count": count,
        "p50": _seconds(gaps[(count - 1) // 2]),
        "p99": _seconds(gaps[-(-99 * count // 100) - 1]),
        "max": _seconds(gaps[-1]),
    }


def _seconds(duration_ns: int) -> float:
    return max(0, round(duration_ns / 1000)) / 1e6  # microseconds are enough, and short in JSON
