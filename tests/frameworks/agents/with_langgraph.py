# /// script
# dependencies = ["langgraph", "langchain-openai"]
# ///
"""LangGraph: graphs made by hand of a model node and a tool node; sub-agents are graphs run by tools.

The history is summarised by a node of its own, as LangGraph's documentation does it.
"""

import asyncio
from typing import Any

from langchain_core.messages import HumanMessage, RemoveMessage, SystemMessage
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, play, prompt
from shared import search as look_up

model = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key="k")
search = tool(look_up)


class State(MessagesState):
    summary: str


def graph(name: str, *tools: BaseTool, keep: int = 1000) -> CompiledStateGraph[Any]:
    bound = model.bind_tools(tools) if tools else model

    def call(state: State) -> dict[str, Any]:
        about = f" Summary of the conversation so far: {state['summary']}" if state.get("summary") else ""
        return {"messages": [bound.invoke([SystemMessage(INSTRUCTIONS[name] + about), *state["messages"]])]}

    def summarise(state: State) -> dict[str, Any]:
        if len(state["messages"]) <= keep:
            return {}
        so_far = state.get("summary", "nothing")
        ask = HumanMessage(f"The conversation was summarised so far as: {so_far}. Extend it by what stands above.")
        summary = model.invoke([*state["messages"][:-2], ask])
        return {"summary": summary.content, "messages": [RemoveMessage(one.id) for one in state["messages"][:-2]]}

    builder = StateGraph(State)
    builder.add_node("model", call)
    builder.add_node("tools", ToolNode(list(tools)))
    builder.add_node("summarise", summarise)
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "summarise")
    builder.add_edge("summarise", "model")
    return builder.compile()


def run(agent: CompiledStateGraph[Any], text: str) -> str:
    return str(agent.invoke({"messages": [HumanMessage(text)]})["messages"][-1].content)


def delegate(name: str, *tools: BaseTool) -> BaseTool:
    inner = graph(name, *tools)

    @tool(name, description=f"Ask the {name}.")
    def ask(query: str) -> str:
        return run(inner, query)

    return ask


def team(plan: str, *names: str) -> None:
    run(graph("assistant", *(delegate(name, search) for name in names)), prompt(plan))


def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    run(graph("assistant", delegate("researcher", search, reader)), prompt("nested"))


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = graph("assistant", search), graph(other, search)
    await at_once_async(asyncio.to_thread(run, one, prompt(first)), asyncio.to_thread(run, two, prompt(second)))


def in_a_row() -> None:
    def node(name: str, said: str) -> Any:
        system = SystemMessage(f"{INSTRUCTIONS[name]} {said}")
        return lambda state: {"messages": [model.invoke([system, *state["messages"]])]}

    builder = StateGraph(MessagesState)
    builder.add_node("assistant", node("assistant", prompt("handed-1")))
    builder.add_node("writer", node("writer", prompt("handed-2")))
    builder.add_edge(START, "assistant")
    builder.add_edge("assistant", "writer")
    run(builder.compile(), "Write about trains.")


if __name__ == "__main__":
    play(
        {
            "single": lambda: run(graph("assistant"), prompt("single")),
            "tools": lambda: run(graph("assistant", search), prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: run(graph("assistant", search), prompt("retry")),
            "compact": lambda: run(graph("assistant", search, keep=6), prompt("compact")),
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
