"""The texts in the fields of an answer."""

import tracemalloc

import pytest

from tokenflation.sdk.wire.fields import fields

GOAL = "Open the page of the tides."
MEMO = 'The tide is low at "seven".'


@pytest.mark.parametrize(
    "answer",
    [
        '{"goal": "Open the page of the tides.", "short": "no", "more": [{"memo": "The tide is low at \\"seven\\"."}]}',
        '```json\n["Open the page of the tides.", "The tide is low at \\"seven\\"."]\n```',
        '{"goal": "Open the page of the tides.", "memo": "The tide is low at \\"seven\\".", "next": "Read the table th',
        f"[[ ## goal ## ]]\n{GOAL}\n\n[[ ## memo ## ]]\n{MEMO}\n\n[[ ## completed ## ]]",
        f"I will plan.\n<plan><task>\n{GOAL}\n</task><task>{MEMO}</task><n>1</n></plan>",
    ],
    ids=["JSON", "fenced JSON", "JSON that is cut", "DSPy", "XML"],
)
def test_the_longer_texts_of_an_answer_made_of_fields_are_known(answer: str) -> None:
    assert fields(answer) == (GOAL, MEMO)


@pytest.mark.parametrize(
    "answer", ["", "{", "[[ ## ", "```json\n{\n```", "Plain words that are long enough to tell.", "<a>x"]
)
def test_what_is_not_made_of_fields_has_none(answer: str) -> None:
    assert fields(answer) == ()


def test_a_quotation_in_a_marked_field_is_part_of_it() -> None:
    said = f'{GOAL} "The tides of the harbour of Ayr"'
    assert fields(f"[[ ## goal ## ]]\n{said}") == (said,)


def test_a_long_text_that_is_cut_costs_no_more_memory_than_a_copy_of_it() -> None:
    answer = '{"goal": "' + "x" * 1_000_000
    tracemalloc.start()
    try:
        assert fields(answer) == ()
        assert tracemalloc.get_traced_memory()[1] < 5 * len(answer)
    finally:
        tracemalloc.stop()
