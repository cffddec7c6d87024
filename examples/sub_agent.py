"""A sub-agent inside a tool: scopes as decorators, two vendors' clients, and the depth of each call.

It runs offline: a recorded provider stands in for the model's server.
"""

import json

import anthropic
import openai

import tokenflation.sdk as tf
from tokenflation import analysis
from tokenflation.demo.replay import load_recording, replay

MODEL = "smollm2-135m-instruct"
RECORDED = {"x-demo-task": "explain-00"}


class Team:
    def __init__(self, url: str) -> None:
        self.openai = openai.OpenAI(base_url=f"{url}/v1", api_key="none", default_headers=RECORDED)
        self.anthropic = anthropic.Anthropic(base_url=url, api_key="none", default_headers=RECORDED)

    @tf.task("explain")
    @tf.agent("planner")
    def plan(self, question: str) -> str:
        messages = [{"role": "user", "content": question}]
        answer = self.openai.chat.completions.create(model=MODEL, messages=messages)
        call = answer.choices[0].message.tool_calls[0]
        notes = self.ask_reader(**json.loads(call.function.arguments))
        return self.openai.responses.create(model=MODEL, input=f"{notes}\n{question}").output_text

    @tf.tool("ask_reader")
    @tf.agent("reader")
    def ask_reader(self, topic: str) -> str:
        page = {"role": "user", "content": f"What is said about {topic}?"}
        with self.anthropic.messages.stream(model=MODEL, max_tokens=16, messages=[page]) as stream:
            return stream.get_final_text()

    def close(self) -> None:
        self.openai.close()
        self.anthropic.close()


def main() -> None:
    with replay(load_recording(), pace=0) as url, tf.instrument("sub_agent.db") as recording:
        team = Team(url)
        print(team.plan("What does the with statement do?"))
        team.close()
    calls = analysis.load(recording.store)
    print(calls[["task", "agent", "depth", "step", "api", "input_tokens", "output_tokens"]].to_string(index=False))


if __name__ == "__main__":
    main()
