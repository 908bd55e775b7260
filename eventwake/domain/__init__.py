"""What Eventwake is about, in plain values and rules: standard library only, no clock, no I/O.

Times are integers in milliseconds since the epoch (UTC), named `*_ms`; durations in seconds are named `*_s`.
"""
