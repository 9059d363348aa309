"""`codec serve`: the page and the API of one codec, on this machine."""

import signal
import socket
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from toneme.cli import options

Host = Annotated[str, typer.Option("--host", help="Address to listen on; 0.0.0.0 lets other machines in.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on, 0 for any free one.")]
MaxSeconds = Annotated[float, typer.Option("--max-seconds", min=0.1, help="Seconds of audio in one request or stream.")]
MaxConnections = Annotated[int, typer.Option("--max-connections", min=1, help="Requests and streams served at a time.")]
MaxBytes = Annotated[int, typer.Option("--max-bytes", min=1024, help="Bytes of a request's body.")]
Idle = Annotated[float, typer.Option("--idle", min=0.1, help="Seconds of silence after which a client counts as gone.")]
ChunkSeconds = Annotated[
    float | None,
    typer.Option(
        "--chunk-seconds",
        help="Audio of a stream that a codec which is not causal works on at once: less is sooner, and costs more; a client may"
        " ask for less.",
        show_default="the codec's",
    ),
]
Cores = Annotated[int, typer.Option("--cores", min=1, help="Calls of a graph that run side by side, one core each.")]
Web = Annotated[
    Path | None,
    typer.Option(
        "--onnxruntime-web", metavar="DIR", help="The npm package, for the page.", show_default="node_modules/onnxruntime-web"
    ),
]
Static = Annotated[
    Path | None,
    typer.Option("--static", metavar="DIR", help="Write the page as files for any web server, and end.", show_default=False),
]


def serve(
    codec: options.CodecName = "default",
    host: Host = "127.0.0.1",
    port: Port = 8765,
    max_seconds: MaxSeconds = 600.0,
    max_connections: MaxConnections = 64,
    max_bytes: MaxBytes = 32 << 20,
    idle: Idle = 30.0,
    chunk_seconds: ChunkSeconds = None,
    cores: Cores = 2,
    onnxruntime_web: Web = None,
    static: Static = None,
) -> None:
    """Serve a page and an API for a codec.

    The page encodes and decodes in the browser; the API is documented in API.md, beside toneme's export code.
    """
    options.check_chunk(chunk_seconds)
    if static is not None:
        from toneme.export.page import write_page

        write_page(folder_of(codec), static, onnxruntime_web)
        print(f"wrote the page to {static}: serve it with any web server, as in `python -m http.server -d {static}`")
        return
    require_server()
    import uvicorn

    from toneme.export.server import LOOPBACK, make_app
    from toneme.export.server_limits import MESSAGE_BYTES, Limits

    limits = Limits(max_seconds, max_connections, max_bytes, idle, chunk_seconds)
    app = make_app(folder_of(codec), limits, host in LOOPBACK, onnxruntime_web, cores)
    with listen(host, port) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
        print(f"serving {app.state.server.codec.name} on {address} (Ctrl-C ends)", flush=True)
        settings = uvicorn.Config(
            app, log_level="warning", ws_max_size=MESSAGE_BYTES, ws_max_queue=4, ws_per_message_deflate=False,
            limit_concurrency=4 * max_connections + 64, timeout_keep_alive=5, timeout_graceful_shutdown=3,
        )  # fmt: skip
        run_until_ended(uvicorn.Server(settings), listener)


def run_until_ended(server: Any, listener: socket.socket) -> None:
    """Serve until a signal, at which requests have a moment to finish: uvicorn sees to all but the terminal's end."""
    ended_by = 0

    def hang_up(number: int, frame: FrameType | None) -> None:
        nonlocal ended_by
        ended_by, server.should_exit = number, True

    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, hang_up)
    server.run(sockets=[listener])
    if ended_by:
        raise typer.Exit(128 + ended_by)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    Raises:
        TonemeError: if the address cannot be had.
    """
    from toneme.codecs.errors import TonemeError

    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=256)
    except OSError as error:
        raise TonemeError(
            f"{host} cannot be listened on at port {port} ({error.strerror}): name others with --host and --port"
        ) from None


def require_server() -> None:
    """Raise MissingDependencyError where the server's packages are not installed."""
    from toneme.codecs.errors import MissingDependencyError, how_to_install

    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401
    except ImportError:
        raise MissingDependencyError(f"to serve, install fastapi, uvicorn and websockets: {how_to_install('serve')}") from None


def folder_of(codec: str) -> Path:
    """Return the folder of the exported codec, which is made in the cache if need be."""
    from toneme.export.manifest import is_exported

    if is_exported(codec):
        return Path(codec)
    from toneme.export.cache import exported

    return exported(codec).runtime.folder
