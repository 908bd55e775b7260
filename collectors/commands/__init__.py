"""Sub-commands of `python -m eventwake` that touch brokers."""
