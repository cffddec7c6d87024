"""Which call continues which, and which agent run is inside of which tool call. Pure: readings in, placements out.

`placing` is the way in and joins the rest. What a call continues is found by `continuing` and `words`; what a new agent
run is inside of by `hosting` at once, and by `inside` once results tell; what it tells of other runs by `retelling`, and
what is only told about one, to shorten or judge it, by `beside`; what an answer asked for in its text by `intext`; whom
embeddings serve by `seeking`.
`runs` begins agent runs, `moving` puts them elsewhere. `histories` and `recalling` are the memory, `tools` and `blocks`
are what else is remembered; `places`, `heads`, `messages` and `naming` look at one call alone.

Explicit scopes win. Without them the wire tells, and each edge says what it rests on:

| evidence | a call continues another (or an agent run is inside of a tool call) because | strength |
|---|---|---|
| `response_id`, `conversation_id` | it names the answer, its token ids, or the conversation that the provider keeps | exact |
| `history` | its messages begin with all of the other's, and the other's answer follows | exact; weak where the answer does not follow or is another, or where equal histories were continued equally |
| `tool_call_id` | it brings results for the other's tool calls | exact; strong where the messages before were changed |
| `answer` | the last answer in it is the other's | exact; strong where the messages before were changed |
| `words` | it has the other's instructions, the beginning of its prompt, and words of its answer, which is made of fields and not its agent's last | strong |
| `compaction` | it begins with the other's answer, a summary of an agent run with its instructions, or with the other's prompt and its answer in one message | strong |
| `flow_result` | it left from where the other waits for a tool call, and tells results of the steps before; or it offers no tools and is told them | weak |
| `flow_arguments` | (inside) a text of an open tool call's arguments stands in its first messages | strong; weak below 16 characters, or where several say the same |
| `flow_result` | (inside) its last answer stands in the result of the tool call: known only then | as above |
| `flow_arguments`, `flow_result` | (inside, no tool call) it began behind an answer that asked for it in its text, with words of that, or its last words are told as that agent goes on: known only then; in no context, if they are | strong if both, else weak |
| `context` | (inside) it left from the thread or task, or one begun by that, which had asked for the tool call | strong; weak where several were asked for, or where a thread goes on while others wait |
| `open_tool_call` | (inside) nobody noted contexts, and one agent run with other instructions waits | weak |
| `sought` | (in a task) it only seeks, as an embedding does, and the prompt behind it holds what it sought | strong; weak where it did not leave from the same thread or task |
| `scope`, `span` | (inside) the user's scopes say so, or spans of other tracing | exact |

What none of these says is left open: a new history then is a task of its own. One call is continued twice only by a
branch, which says which one it is. A call that failed or was broken off is tried again beside it: one that asks the same
within a minute, perhaps another model or provider.

Left tool calls. An agent that gives up leaves its tool calls open, and its thread goes on to others. So context alone
puts an agent run inside a tool that began its kind before, but inside another neither where the newest of its kind stood
alone nor, if it offers tools, where the tool was answered without any agent inside. A context that so goes on to a task
of its own has left the agent run, and what stood inside by context alone is taken out. A tool call that nobody answers,
as the agent run begins anew in the same context, was its answer; `final_result` and its like, and a tool that the
request forced, are known to be.

Other agents of the same task. A history that goes on with other instructions is the same agent run's, whose prompt holds
a date or an id, or whose tools came and went. It is another agent's, of the same task and depth, if

* a tool call named `transfer_to_...` handed it over, or
* its system prompt begins with other words, unless what asked for tools is told their results and offers the same ones.

So is a new history that

* begins with the first message of a run that hands over,
* quotes what a run that is over gave the tool that hands over,
* quotes the last answer of a run that is over (`quoted`, weak), or of an answer that is made of fields (JSON, DSPy's,
  XML's elements) words that its request did not hold. Where it quotes those of several tasks, as what puts parts or
  votes together does, they are one.

Calls about a run. A call without tools that repeats results of an agent run that waits is about that run, which goes on
to wait: what shortens a history does so. It is no sub-agent inside the open tool call, whose arguments it would know. In
another context it must repeat the run's first message too; in the run's own, calls with the same system prompt are of
its kind. Where its answer then begins a history with the run's instructions, the run goes on from there (`compaction`).
After its first tool call a run was told no result that could be repeated. What knows its first message, or the summary
that it went on from, is inside the tool call then, or a task of its own in another context, until its answer shows what
it was: in such a beginning, or before the tool call that the run's next request keeps, it is the run's summary. A
sub-agent's answer is the result, or behind it.

Calls that only seek (embeddings, rankings) generate nothing and are no agent runs. Each is a step of the run that it
serves, which is, in this order, the one

* whose open tool call has in its arguments what is sought (`flow_arguments`), or in the arguments of which it stands,
* whose answer, the last before in the context, holds what is sought, or stands in it (`flow_arguments`, `flow_result`),
* whose tool call the context waits for (`context`),
* whose prompt, sent within a minute, then holds what was sought (`sought`): of several the newest, not a batch's.

One that serves none is a task of its own, named by its api also where all tasks are given one kind: no user asks for it.

Places rest on what is known at the time: an agent run that turns out to have been inside a tool call is moved with all
that is inside of it (`Lineage.take_moves`). Memory is bounded: the histories, tasks and agent runs longest not heard of
are forgotten.
"""  # noqa: W505 (a table)

from tokenflation.sdk.lineage.histories import MAX_HISTORIES, History
from tokenflation.sdk.lineage.messages import contains
from tokenflation.sdk.lineage.places import Move, Placement
from tokenflation.sdk.lineage.placing import Lineage

__all__ = ["MAX_HISTORIES", "History", "Lineage", "Move", "Placement", "contains"]
