"""Ports for servers that a test or an experiment starts."""

import random
import socket
from contextlib import suppress

PORTS = range(10_000, 30_000)  # below those that the kernel gives to connections, one of which would be in the way


def free_port() -> int:
    """A port of this machine that nothing listens on."""
    generator = random.SystemRandom()  # whoever else looks for one at the same time does not find the same
    while True:
        port = generator.choice(PORTS)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
