"""The demo: an example agent, the local model it talks to, and the check of what was recorded.

`agent` is written to be read as documentation. Nothing here is imported by the recorder, the analysis or the exporters.
"""
