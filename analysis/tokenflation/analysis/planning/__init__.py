"""What a fleet will be asked to do: a plan, read, checked and written. Knows nothing of demand.

`plan`, out of `parts`, `limits` and `serving`, is the record; `content` makes it of what a YAML `file` holds;
`arrivals` is its rate over time, `arrival_trace` a measured one.
"""

__all__: list[str] = []
