"""The demo: a server, the order system, the collectors and the dashboard, started and stopped together."""
