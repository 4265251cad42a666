"""`python -m tests.soak.view [REQUESTS]`: the memory of `nvgctl view`, request after request.

Every kind of request that the page makes, and nonsense, from 8 clients at a time. The memory of the
server after each tenth of them is printed; it must not grow by more than MOST_GROWTH after the
first.
"""

import random
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

from tests.nvg.store.makers import make_store

CLIENTS, PARTS, ROWS = 8, 10, 200
MOST_GROWTH = 16.0  # MiB


def request(port: int, number: int) -> int:
    """One request, chosen by its number; the status of the answer."""
    draw = random.Random(number)
    row, stage = draw.randrange(ROWS), draw.randrange(4)
    paths = ("/", f"/list?offset={row}", f"/image/{row}", f"/thumb/{row}",
             f"/same?stage={stage}&code={draw.randrange(16)}", f"/image/{row}9999", "/nothing",
             f"/list?search={number}")  # fmt: skip
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", draw.choice(paths))
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def resident(process: int) -> float:
    """MiB that a process holds in memory."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def main() -> None:
    """Serve a store, ask, and exit 1 where memory grows."""
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as name:
        make_store(Path(name) / "store.vgs", rows=ROWS)
        command = [sys.executable, "-m", "cli.app", "view", f"{name}/store.vgs", "--port", "0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout
            port = int(server.stdout.readline().split("/ shows")[0].rsplit(":", 1)[1])
            held: list[float] = []
            with ThreadPoolExecutor(CLIENTS) as pool:
                for part in range(PARTS):
                    numbers = range(part * requests // PARTS, (part + 1) * requests // PARTS)
                    found = list(pool.map(request, [port] * len(numbers), numbers))
                    held.append(resident(server.pid))
                    odd = sorted(set(found) - {200, 404})
                    print(f"{numbers.stop} requests: {held[-1]:.1f} MiB, other answers than 200 "
                          f"and 404: {odd or 'none'}", flush=True)  # fmt: skip
            server.terminate()
        growth = held[-1] - held[0]
        print(f"memory grew by {growth:.1f} MiB after the first tenth")
        sys.exit(growth > MOST_GROWTH)


if __name__ == "__main__":
    main()
