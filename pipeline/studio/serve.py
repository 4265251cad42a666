"""The studio as a server on this machine, until Ctrl-C."""

import contextlib
import ipaddress
import logging
import secrets
import socket
import webbrowser
from typing import Any

from nvg.errors import InputError
from nvg.fetch import named
from pipeline.studio.models import StudioOptions

LOCAL = ("127.0.0.1", "localhost", "::1")
MOST_PORT = 65_535
STOP_SECONDS = 2  # that open streams get

log = logging.getLogger("nvg")


def serve_studio(options: StudioOptions, host: str, port: int, opens: bool) -> None:
    """Serve a run to browsers; InputError where the run, or the port, cannot be used."""
    try:
        import uvicorn

        from pipeline.studio.app import make_app
    except ImportError:
        raise InputError('the studio needs its extra: pip install -e ".[studio]"') from None
    from pipeline.studio.models import open_models
    from pipeline.studio.warm import warm_beside
    from pipeline.studio.worker import Worker

    with contextlib.closing(bound_socket(host, port)) as listening:
        token, is_local = secrets.token_urlsafe(24), is_loopback(host)
        models = open_models(options)
        app = make_app(Worker(models), token, (*LOCAL, host) if is_local else None)
        if not is_local:
            log.warning(
                "the studio listens on %s: whoever has its address can use this machine's "
                "processor, and can read along, since nothing is encrypted",
                host,
            )
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listening.getsockname()[1]}/?token={token}"
        print(f"{address} is the studio of {named(options.run)}; stop with Ctrl-C", flush=True)
        warm_beside(models)  # what is asked meanwhile is answered
        if opens:
            webbrowser.open(address)
        config = uvicorn.Config(app, **QUIET, timeout_graceful_shutdown=STOP_SECONDS)
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])


QUIET: dict[str, Any] = {
    "loop": "asyncio",
    "http": "h11",
    "ws": "none",
    "log_level": "critical",  # errors reach the page; what ends with Ctrl-C is no error
    "access_log": False,
    "server_header": False,
    "limit_concurrency": 256,
}


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket on an address; InputError when it is none of this machine, or taken."""
    if port > MOST_PORT:
        raise InputError(f"port {port} is not a port: use 1..{MOST_PORT}")
    try:
        (family, kind, protocol, _, place), *_ = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM
        )
        found = socket.socket(family, kind, protocol)
    except OSError:
        raise InputError(f"--host {host} is no address of this machine") from None
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind(place)
        found.listen()  # a page that is opened at once waits for the networks
    except OSError as error:
        found.close()
        raise InputError(
            f"{host}:{port} cannot be used ({error.strerror}): choose another --port"
        ) from None
    return found
