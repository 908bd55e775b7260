"""Bytes of strangers -> values of the domain."""
