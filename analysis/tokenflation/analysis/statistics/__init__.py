"""What samples say of what they were drawn from. Pure NumPy; knows no frames and no columns.

Means of few runs (`prototypes`, `censoring` where some were cut short), ratios of sums (`ratios`, `of_tasks`,
`intervals`), what differs between two samples (`tilting`), laws as cumulants and tables (`quantiles`, `mixtures`), and
exact splits of differences and variances (`decomposition`, `attribution`).
"""

__all__: list[str] = []
