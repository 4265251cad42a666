"""What a launcher starts in tests: asks the server of `tests/forks.py` for a fork, and is it to the
launcher.

It hands signals on, ends as the fork does, and the fork ends with it. Imports next to nothing.
Where no server is named Ray's own program follows.
"""

import array
import json
import os
import signal
import socket
import sys

VARIABLE = "NVG_FORKS"
STDIO = (0, 1, 2)
HANDED_ON = (signal.SIGTERM, signal.SIGINT)


def address(name: str) -> str:
    """Of a server, without a file: Linux drops it with the process."""
    return f"\0nvg-forks-{name}"


def main() -> None:
    """Lasts as long as the fork, which has the other end of the connection."""
    name = os.environ.get(VARIABLE)
    if not name:
        from ray._private.workers import setup_worker

        os.execv(sys.executable, [sys.executable, setup_worker.__file__, *sys.argv[1:]])
    wanted = json.dumps([sys.argv[1:], dict(os.environ), os.getcwd()]).encode()
    files = array.array("i", STDIO)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(address(name))
        server.sendmsg([wanted], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, files)])
        fork = int(server.recv(16))
        for number in HANDED_ON:
            signal.signal(number, lambda number, frame: os.kill(fork, number))
        code = server.recv(16)
    if not code:
        os.kill(os.getpid(), signal.SIGKILL)
    sys.exit(int(code))


if __name__ == "__main__":
    main()
