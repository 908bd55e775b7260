"""The order system that the demo watches: six plain services on Redis streams.

It knows nothing of Eventwake and stands for the systems that people already run.
`python -m examples.order_system --help` says how to start and break it.
"""
