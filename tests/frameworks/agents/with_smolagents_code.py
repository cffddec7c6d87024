# /// script
# dependencies = ["smolagents[openai]"]
# ///
"""smolagents: the same with agents that write code, in which they ask tools and agents, one after another."""

from shared import play
from smolagents import CodeAgent
from with_smolagents import scenarios

if __name__ == "__main__":
    play(scenarios(CodeAgent))
