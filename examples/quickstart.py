"""Record an agent's task in three lines, and see where its tokens went.

It runs offline: a recorded provider stands in for the model's server. To record a real one, leave out the provider and
make the client as you always do.
"""

import openai

import tokenflation.sdk as tf
from tokenflation import analysis
from tokenflation.demo.replay import load_recording, replay

QUESTION = "What is 17 * 23?"


def main() -> None:
    with replay(load_recording(), pace=0) as url, tf.instrument("quickstart.db") as recording:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", default_headers={"x-demo-task": "calculate-00"})
        with tf.task("calculate", id="T-1"), tf.agent("planner"):
            messages = [{"role": "user", "content": QUESTION}]
            answer = client.chat.completions.create(model="smollm2-135m-instruct", messages=messages)
            call = answer.choices[0].message.tool_calls[0]
            with tf.tool(call.function.name):
                result = str(17 * 23)
            messages += [answer.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": result}]
            stream = client.chat.completions.create(model="smollm2-135m-instruct", messages=messages, stream=True)
            print("".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices))
            tf.outcome(success=True)
        client.close()

    calls = analysis.load(recording.store)
    print(
        calls[["task", "agent", "step", "api", "input_tokens", "cache_read_tokens", "output_tokens"]].to_string(
            index=False
        )
    )
    print(
        analysis.profile(calls)[["task", "tasks", "calls_sum", "input_tokens_sum", "tool_calls_sum"]].to_string(
            index=False
        )
    )


if __name__ == "__main__":
    main()
