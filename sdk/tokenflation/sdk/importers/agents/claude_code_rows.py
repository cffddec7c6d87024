"""Turns a collected Claude Code session into rows. Pure; `claude_code` says what is taken how."""

from collections.abc import Iterator, Mapping
from typing import Any

from tokenflation.sdk.importers.agents.claude_code_session import MAIN, Answer, Failure, Node, Session, ToolUse
from tokenflation.sdk.importers.files.fields import count, made_id, text
from tokenflation.sdk.importers.files.formats import Taken
from tokenflation.sdk.importers.rows.building import Run, TaskRows, prompted_by
from tokenflation.sdk.importers.spans.claude_code import call_id_of
from tokenflation.sdk.records import Attempt
from tokenflation.sdk.wire.dialects.anthropic import MESSAGES
from tokenflation.sdk.wire.usage import usage_extra

__all__ = ["taken"]

_FORMAT = "claude-code"


def taken(session: Session, *, task: str, default_id: str) -> Taken:
    """Return the rows of a session; `default_id` names it if none of its records does."""
    rows = TaskRows(_FORMAT, session.session_id or default_id, task=task)
    claims = _Claims(session)
    placing = _Placing(session, rows, claims)
    for answer in sorted([*session.answers.values(), *_lost(session, claims)], key=_order):
        placing.add(answer)
    placing.add_unlogged_runs()
    compactions = sum(node.kind == "compaction" for node in session.nodes.values())
    unreported = sum(made["output_tokens"] is None for made in placing.made.values())
    rows.session(
        {
            "version": session.version,
            "compactions": compactions or None,
            "calls_without_output": unreported or None,
        }
    )
    formerly = {_call_id(one): (_older_id(one),) for one in session.answers.values() if one.request_id is not None}
    return Taken(rows.batch(), formerly)


class _Claims:
    """What came before each call: failed attempts and compactions, each claimed by one call."""

    def __init__(self, session: Session) -> None:
        self.before: dict[str, list[str]] = {}
        """Ids of the failures and compactions before a call, in order of time, by the call's message id."""
        self._nodes = session.nodes
        waiting = {uuid: node for uuid, node in session.nodes.items() if node.kind in ("failure", "compaction")}
        answers = sorted(session.answers.values(), key=_order)
        chains = {answer.message_id: list(_chain(session, answer)) for answer in answers} if waiting else {}
        for answer in answers:
            mine = [uuid for uuid, _ in chains.get(answer.message_id, ()) if waiting.pop(uuid, None) is not None]
            self.before[answer.message_id] = mine[::-1]
        for uuid, node in waiting.items():
            self._claim_by_time(uuid, node, answers, chains)
        self.lost = [
            uuid
            for uuid in waiting
            if waiting[uuid].kind == "failure" and all(uuid not in one for one in self.before.values())
        ]
        """Failures that no call came after."""

    def _claim_by_time(
        self, uuid: str, node: Node, answers: list[Answer], chains: Mapping[str, list[tuple[str, Node]]]
    ) -> None:
        # Records that the log leaves out tear chains; then the next call of the run is the one, unless its chain is
        # whole.
        for answer in answers:
            if answer.run == node.run and answer.first_at_ns >= node.at_ns:
                chain = chains[answer.message_id]
                if not chain or chain[-1][1].kind != "answer":
                    self.before[answer.message_id].append(uuid)
                    self.before[answer.message_id].sort(key=lambda one: self._nodes[one].at_ns)
                return


def _order(answer: Answer) -> tuple[int, int]:
    return answer.first_at_ns, answer.place


def _lost(session: Session, claims: _Claims) -> Iterator[Answer]:
    """Yield a call for each chain of failures that nothing came after."""
    last = [uuid for uuid in claims.lost if all(session.nodes[one].parent != uuid for one in claims.lost)]
    for uuid in last:
        failure = session.failures[uuid]
        lost = Answer(uuid, failure.run, failure.at_ns, failure.at_ns, 0, {uuid}, [uuid])
        lost.error = failure.error_type
        before = [one for one, _ in _chain(session, lost) if one in claims.lost]
        claims.before[uuid] = before[::-1]
        yield lost


def _chain(session: Session, answer: Answer) -> Iterator[tuple[str, Node]]:
    """Yield the records before an answer, back to the answer that they follow, which is the last."""
    outer = [uuid for uuid in answer.parents if uuid not in answer.lines] or answer.parents
    uuid: str | None = outer[0] if outer else None
    seen: set[str] = set()
    while uuid is not None and uuid not in seen and (node := session.nodes.get(uuid)) is not None:
        seen.add(uuid)
        if node.of != answer.message_id:
            yield uuid, node
            if node.kind == "answer":
                return
        uuid = node.parent


class _Placing:
    """Holds the calls placed so far; they come in order of time."""

    def __init__(self, session: Session, rows: TaskRows, claims: _Claims) -> None:
        self.session = session
        self.rows = rows
        self._claims = claims
        self._last_at_ns: dict[str, int] = {}
        self.made: dict[str, dict[str, Any]] = {}
        self._runs: dict[str, Run] = {MAIN: rows.main}
        self._asking = {tool_id: answer for answer in session.answers.values() for tool_id in answer.tools}
        self._prompts: dict[str, list[str]] = {}
        for tool_id, answer in self._asking.items():
            if prompt := answer.tools[tool_id].prompt:
                self._prompts.setdefault(prompt, []).append(tool_id)
        self._inside: dict[str, Run] = {}
        final = [answer.stop_reason is not None for answer in session.answers.values() if answer.error is None]
        self._output_is_final = sum(final) * 2 > len(final)
        # User records of each run in order of time: what a call without a known parent answers.
        self._heard: dict[str, list[int]] = {}
        for node in session.nodes.values():
            if node.kind in ("user", "tool"):
                self._heard.setdefault(node.run, []).append(node.at_ns)

    def add(self, answer: Answer) -> None:
        session, chain = self.session, list(_chain(self.session, answer))
        run, call_id = self._run(answer.run, answer.first_at_ns), _call_id(answer)
        before = chain[-1][1].of if chain and chain[-1][1].kind == "answer" else None
        continues = self.made[before]["call_id"] if before in self.made else run.last_call_id
        claimed = self._claims.before[answer.message_id]
        compactions = [session.nodes[uuid].detail for uuid in claimed if session.nodes[uuid].kind == "compaction"]
        failures = [session.failures[uuid] for uuid in claimed if uuid in session.failures]
        started_at_ns, known = self._start(answer, chain, run)
        failed = answer.error is not None
        lost = answer.message_id in session.failures
        self.made[answer.message_id] = self.rows.call(
            run,
            call_id,
            continues=continues,
            compacted=bool(compactions),
            extra=_extra(answer, compactions, lost=lost),
            **self._usage(answer),
            provider="anthropic",
            api="anthropic.messages",
            model=None if failed else answer.model,
            response_model=None if failed else answer.model,
            response_id=None if failed else answer.message_id,
            status="error" if failed else "ok",
            error_type=(failures[-1].error_type if failures else answer.error) if failed else None,
            finish_reasons=(answer.stop_reason,) if answer.stop_reason and not failed else (),
            attempts=max(len(failures) + (0 if lost else 1), 1),
            started_at_ns=started_at_ns,
            ended_at_ns=answer.last_at_ns if known or len(answer.lines) > 1 else None,
            duration_s=(answer.last_at_ns - started_at_ns) / 1e9 if known else None,
            prompted_by=prompted_by({"user", "tool"} & {node.kind for _, node in chain}),
            reasoning_blocks=answer.thinking,
        )
        self._last_at_ns[run.run_id] = answer.first_at_ns
        self._attempts(call_id, answer, failures, started_at_ns, lost=lost)
        self._tools(call_id, answer)

    def _run(self, key: str, at_ns: int) -> Run:
        found = self._runs.get(key)
        if found is not None:
            return found
        asked = self.session.started_by.get(key)
        if asked in self._inside:  # the same agent under another key
            self._runs[key] = self._inside[asked]
            return self._runs[key]
        if asked not in self._asking:
            same = self._prompts.get(self.session.prompts.get(key, ""), ())
            asked = next((one for one in same if one not in self._inside), None) or self._open_at(at_ns)
        use = self._asking[asked].tools[asked] if asked is not None else None
        asking = self._asking[asked] if asked is not None else None
        # A sub-agent cannot run inside itself, whatever a damaged log says.
        outer = (
            self._runs.get(asking.run, self.rows.main) if asking is not None and asking.run != key else self.rows.main
        )
        self._runs[key] = self.rows.run(
            key,
            self._name_of(key, use),
            outer,
            inside_tool_call_id=asked,
            inside_call_id=_call_id(asking) if asking is not None else None,
        )
        if asked is not None:
            self._inside[asked] = self._runs[key]
        return self._runs[key]

    def _name_of(self, key: str, use: ToolUse | None) -> str:
        """Return the kind of a sub-agent: as it was asked for, as the file beside its log says, or as its id begins."""
        said = use.agent_type if use is not None else None
        if said is not None or (said := self.session.agent_types.get(key)) is not None:
            return said
        name = key.split("-")[0] if "-" in key[1:] else ""
        return name if name.isalpha() else "subagent"

    def _open_at(self, at_ns: int) -> str | None:
        """Return the last tool call for a sub-agent that was open at a time and that no known sub-agent answers."""
        found = None
        for tool_id, answer in self._asking.items():
            use, result = answer.tools[tool_id], self.session.results.get(tool_id)
            free = use.name in ("Task", "Agent") and tool_id not in self._inside
            if free and use.at_ns <= at_ns and (result is None or at_ns <= result.at_ns):
                found = tool_id
        return found

    def _start(self, answer: Answer, chain: list[tuple[str, Node]], run: Run) -> tuple[int, bool]:
        """Return when a call was sent, and whether that is known."""
        heard = [node.at_ns for _, node in chain if node.kind in ("user", "tool")]
        if not heard:
            before = self._last_at_ns.get(run.run_id, 0)
            heard = [at for at in self._heard.get(answer.run, ()) if before <= at <= answer.first_at_ns]
        heard = [at for at in heard if at <= answer.first_at_ns]
        return (max(heard), True) if heard else (answer.first_at_ns, False)

    def _usage(self, answer: Answer) -> dict[str, Any]:
        if answer.error is not None:
            return {"input_tokens": None, "output_tokens": None}
        counts = answer.counts
        fresh, read, written = (
            counts.get(name) for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        )
        final = self._output_is_final and answer.stop_reason is not None
        return {
            "input_tokens": None if fresh is None else fresh + (read or 0) + (written or 0),
            "cache_read_tokens": None if fresh is None else read,
            "cache_write_tokens": None if fresh is None else written,
            "output_tokens": counts.get("output_tokens") if final else None,
            "reasoning_tokens": counts.get("thinking_tokens") if final else None,
        }

    def _attempts(
        self, call_id: str, answer: Answer, failures: list[Failure], started_at_ns: int, *, lost: bool
    ) -> None:
        if not failures and answer.error is None:
            return
        sent_at_ns = started_at_ns
        for number, failure in enumerate(failures):
            ended_at_ns = max(failure.at_ns, sent_at_ns)
            self.rows.attempt(
                Attempt(
                    call_id=call_id,
                    attempt=number,
                    status_code=failure.status_code,
                    error_type=failure.error_type,
                    started_at_ns=sent_at_ns,
                    ended_at_ns=ended_at_ns,
                )
            )
            sent_at_ns = ended_at_ns + round(failure.retry_in_s * 1e9)
        if not lost:
            self.rows.attempt(
                Attempt(
                    call_id=call_id,
                    attempt=len(failures),
                    status_code=None,
                    error_type=answer.error,
                    started_at_ns=min(sent_at_ns, answer.last_at_ns),
                    ended_at_ns=answer.last_at_ns,
                )
            )

    def _tools(self, call_id: str, answer: Answer) -> None:
        for tool_id, use in answer.tools.items():
            result = self.session.results.get(tool_id)
            made = self.rows.tool(
                call_id,
                tool_id,
                use.name,
                kind="server" if use.server else "client",
                arguments_bytes=use.arguments_bytes,
                started_at_ns=use.at_ns,
            )
            if result is not None:
                made |= {
                    "result_bytes": result.result_bytes,
                    "executed": 1,
                    "failed": result.failed,
                    "ended_at_ns": max(result.at_ns, use.at_ns),
                }

    def add_unlogged_runs(self) -> None:
        """Name the sub-agent of each tool call that started one, and add runs whose calls are not in the log."""
        for agent, asked in self.session.started_by.items():
            asking, result = self._asking.get(asked), self.session.results.get(asked)
            if asking is None or asking.message_id not in self.made:
                continue
            if agent not in self._runs and asked not in self._inside:
                run = self._run(agent, asking.first_at_ns)
                run.started_at_ns = asking.tools[asked].at_ns
                run.ended_at_ns = result.at_ns if result is not None else None
        for run in self._runs.values():
            asking = self._asking.get(run.inside_tool_call_id or "")
            if asking is not None and run.inside_tool_call_id is not None:
                self._name(asking, run.inside_tool_call_id, run)

    def _name(self, asking: Answer, asked: str, run: Run) -> None:
        use = asking.tools[asked]
        self.rows.tool(_call_id(asking), asked, use.name)["agent_run_id"] = run.run_id
        result = self.session.results.get(asked)
        if result is not None and result.agent:
            said = {
                "tool_call_id": asked,
                "total_tokens": count(result.agent, "totalTokens"),
                "tool_use_count": count(result.agent, "totalToolUseCount"),
                "duration_ms": count(result.agent, "totalDurationMs"),
                "status": text(result.agent, "status"),
            }
            kept = self.made[asking.message_id]["extra"].setdefault("subagents", [])
            if all(one["tool_call_id"] != asked for one in kept):
                kept.append({name: value for name, value in said.items() if value is not None})


def _call_id(answer: Answer) -> str:
    # The provider's id, without the session: a resumed session repeats the calls of the one before it. That of the
    # request, where the log has it: the agent's telemetry names no other.
    return _older_id(answer) if answer.request_id is None else call_id_of(answer.request_id)


def _older_id(answer: Answer) -> str:
    return made_id(_FORMAT, "message", answer.message_id)


def _extra(answer: Answer, compactions: list[Mapping[str, Any]], *, lost: bool) -> dict[str, Any]:
    extra: dict[str, Any] = {}
    if not lost:
        extra["log_lines"] = len(answer.lines)
    for name, key in (
        ("output_tokens_logged", "output_tokens"),
        ("cache_write_5m_tokens", "ephemeral_5m_input_tokens"),
        ("cache_write_1h_tokens", "ephemeral_1h_input_tokens"),
    ):
        if key in answer.counts:
            extra[name] = answer.counts[key]
    if len(answer.iterations) > 1:  # one alone is the message itself
        extra |= usage_extra({"iterations": answer.iterations}, MESSAGES.answer)
    if answer.service_tier is not None:
        extra["service_tier"] = answer.service_tier
    if compactions:
        extra["compactions"] = [
            {"trigger": text(one, "trigger"), "pre_tokens": count(one, "preTokens")} for one in compactions
        ]
    return extra
