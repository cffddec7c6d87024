"""What calls send again, how that grows, and what a prefix cache makes of it.

`steps` has a row per call and `growth` per agent run; `prefix` finds what prompts share, from which `kvcache` follows,
and `volatile` and `pauses` say what keeps them from sharing more.
"""

__all__: list[str] = []
