"""Codex CLI's session logs as version 0.169 writes them: usage records, agents' messages, forks, broken-off turns."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.importers.agent_logs import as_lines, codex_line, codex_usage
from tests.importers.claude_logs import at

from tokenflation.sdk.importers import ImportSummary, import_paths

Load = Callable[..., ImportSummary]
Ask = Callable[[str], list[Any]]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Return what writes files and imports them."""

    def run(**files: list[Any]) -> ImportSummary:
        paths = [tmp_path / f"{name}.jsonl" for name in files]
        for path, lines in zip(paths, files.values(), strict=True):
            path.write_text(as_lines(lines))
        return import_paths(paths, tmp_path / "runs.db")

    return run


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Return what answers queries."""

    def run(query: str) -> list[Any]:
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
            return connection.execute(query).fetchall()

    return run


def _record(second: float, response_id: str, last: tuple[int, int], total: int) -> dict[str, Any]:
    usage = {"input_tokens": last[0], "cached_input_tokens": 0, "output_tokens": last[1], "reasoning_output_tokens": 0}
    whole = {"total_tokens": total, "input_tokens": total}
    return codex_line(
        second, "token_usage_record", response_id=response_id, usage=usage | {"total_tokens": sum(last)},
        thread_token_usage=whole,
    )  # fmt: skip


def _asked(second: float, call_id: str, name: str = "exec_command") -> dict[str, Any]:
    return codex_line(second, "response_item", type_="function_call", name=name, arguments="{}", call_id=call_id)


def _came(second: float, call_id: str, said: str = "ok") -> dict[str, Any]:
    return codex_line(second, "response_item", type_="function_call_output", call_id=call_id, output=said)


def _said(second: float, role: str = "assistant") -> dict[str, Any]:
    return codex_line(second, "response_item", type_="message", role=role, content=[])


META = [codex_line(0, "session_meta", id="main", session_id="main", timestamp=at(0), source="exec"), _said(1, "user")]
TURN = [
    *META,
    _asked(3, "c1"), _record(3.1, "resp_1", (100, 10), 110), _came(5, "c1"), codex_usage(5.1, (100, 0, 10, 0), 110),
    _said(8), _record(8.1, "resp_2", (120, 12), 242), codex_usage(8.2, (120, 0, 12, 0), 242),
]  # fmt: skip


def test_a_call_ends_with_its_usage_record_and_the_next_begins_with_the_tools_result(load: Load, ask: Ask) -> None:
    load(a=TURN)
    assert ask("SELECT response_id, input_tokens, output_tokens, duration_s, prompted_by FROM calls ORDER BY step") == [
        ("resp_1", 100, 10, 2.0, "user"),
        ("resp_2", 120, 12, 3.0, "tool"),
    ]


def test_a_token_count_behind_a_usage_record_is_no_call_whatever_its_totals_say(load: Load) -> None:
    odd = [line if line["type"] != "token_usage_record" else _record(8.1, "resp_2", (120, 12), 7) for line in TURN[-3:]]
    assert load(a=[*TURN[:-3], *odd]).calls == 2


def test_calls_that_the_store_knows_by_their_token_counts_are_not_added_again(load: Load, ask: Ask) -> None:
    load(a=[line for line in TURN if line["type"] != "token_usage_record"])
    assert load(a=TURN).calls == 0
    assert ask("SELECT count(*) FROM calls") == [(2,)]


def test_a_sub_agent_that_begins_with_its_parents_history_has_its_own_tool_calls_only(load: Load, ask: Ask) -> None:
    started = {"type": "SubAgentActivity", "kind": "started", "id": "c2", "agent_thread_id": "sub"}
    spawn = [
        _asked(9, "c2", "spawn_agent"), _record(9.1, "resp_3", (130, 13), 385),
        codex_line(10, "event_msg", type_="item_completed", item=started), _came(10.5, "c2", '{"task_name":"/agents/x"}'),
    ]  # fmt: skip
    source = {"subagent": {"thread_spawn": {"parent_thread_id": "main", "agent_nickname": "Ada"}}}
    sub = [
        codex_line(10, "session_meta", id="sub", session_id="main", timestamp=at(10), forked_from_id="main", source=source),
        *[{**line, "timestamp": at(10)} for line in (META[1], _asked(3, "c1"), _came(5, "c1"), _asked(9, "c2", "spawn_agent"))],
        codex_line(11, "event_msg", type_="task_started", started_at=1772359211),
        codex_line(12, "response_item", type_="agent_message", content=[]),
        _asked(14, "c3"), _record(14.1, "resp_4", (50, 5), 55),
        codex_line(15, "response_item", type_="agent_message", content=[]), _said(16), _record(16.1, "resp_5", (60, 6), 121),
    ]  # fmt: skip
    load(a=[*TURN, *spawn], b=sub)
    assert ask("SELECT agent, inside_tool_call_id, duration_s, prompted_by, tool_calls FROM calls WHERE depth = 1") == [
        ("Ada", "c2", 2.0, "user", 1),
        ("Ada", "c2", 1.0, "tool", 0),
    ]
    assert ask("SELECT count(*) FROM tool_calls WHERE agent_run_id IS NOT NULL") == [(1,)]


def test_a_turn_that_was_broken_off_leaves_nothing_to_the_next_call(load: Load, ask: Ask) -> None:
    broken = [_asked(9, "never"), codex_line(10, "event_msg", type_="turn_aborted", reason="interrupted")]
    load(a=[*TURN, *broken, _said(20, "user"), _said(23), _record(23.1, "resp_3", (130, 13), 385)])
    assert ask("SELECT duration_s, tool_calls FROM calls WHERE response_id = 'resp_3'") == [(3.0, 0)]
    assert ask("SELECT extra ->> '$.session.unfinished_calls' FROM calls WHERE step = 0") == [(1,)]


def test_a_session_that_has_grown_counts_its_new_compactions_only(load: Load) -> None:
    compacted = codex_line(9, "compacted", message="so far")
    once = [*TURN, compacted, _said(12), _record(12.1, "resp_3", (40, 4), 286)]
    again = [*once, {**compacted, "timestamp": at(13)}, _said(15), _record(15.1, "resp_4", (41, 4), 331)]
    assert (load(a=once).compactions, load(a=again).compactions, load(a=again).compactions) == (1, 1, 0)
