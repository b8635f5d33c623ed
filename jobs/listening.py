"""Where servers listen."""

import socket

from conf.errors import InputError

LOCAL = "127.0.0.1"


def listen(host: str, port: int) -> socket.socket:
    """A socket on the port (0: on any). Raises InputError where there can be none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as problem:
        raise InputError(
            f"--host {host} --port {port} cannot be listened on ({problem.strerror}): is it "
            "running there already? Choose another --port"
        ) from None
