"""From recorded runs and a plan to what a fleet asks of inference, with intervals.

Runs as the plan has them (`planned`, `counted`, `call_times`, `pace`) become `paths`, whose `resources` are summed over
random starts: `demand` and `windows` give cumulants, `bursts` what clustered arrivals add, `loads` the law in each
bucket, `peaks` the highest of a day, `totals` hours, days and months. `outer` and `assumptions` draw what is not known
for sure. `forecast` puts it together, `support` says what it rests on, and `buckets` reads it back. `simulate` is the
brute force that tests hold it against.
"""

__all__: list[str] = []
