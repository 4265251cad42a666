"""What Ray runs to start a worker in tests: asks the server of `tests/ray_forks.py` for one.

Imports next to nothing. Where no server is named Ray's own program follows.
"""

import array
import json
import os
import socket
import sys

VARIABLE = "NVG_RAY_FORKS"
STDIO = (0, 1, 2)


def address(name: str) -> str:
    """Of a server, without a file: Linux drops it with the process."""
    return f"\0nvg-ray-{name}"


def main() -> None:
    """Lasts as long as the worker, which has the other end of the connection."""
    name = os.environ.get(VARIABLE)
    if not name:
        from ray._private.workers import setup_worker

        os.execv(sys.executable, [sys.executable, setup_worker.__file__, *sys.argv[1:]])
    wanted = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    files = array.array("i", STDIO)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(address(name))
        server.sendmsg([wanted], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
        server.recv(1)


if __name__ == "__main__":
    main()
