"""Program 1: samples the brokers into the store and carries out commands. `python -m collectors`."""
