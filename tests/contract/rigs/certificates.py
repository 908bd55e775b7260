"""Certificates for servers that speak TLS."""

import subprocess
from pathlib import Path


def make_certificates(directory: Path) -> None:
    """A certificate authority, and certificates for a server on 127.0.0.1 and a client."""
    _certificate(directory, "ca")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1")
    _certificate(directory, "server", *signed)
    _certificate(directory, "client", *signed)


def _certificate(directory: Path, name: str, *more: str) -> None:
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.crt", "-subj", f"/CN={name}")
    command = ["openssl", "req", "-x509", *curve, *files, *more]
    subprocess.run(command, cwd=directory, check=True, capture_output=True)
