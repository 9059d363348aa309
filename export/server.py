"""The server of `codec serve`: the page, whole files over HTTP, streams over WebSockets. API.md documents all of it."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from ..kernels.errors import TonemeError
from ..kernels.pauses import left_out
from .batching import BatchingCodec
from .coder import ExportedCoder
from .manifest import FILE
from .page import PAGE, RUNTIME_FILES, SECURITY, runtime_folder
from .server_files import decode_file, encode_file
from .server_limits import ENDING, Limits, RefusedError, Slots
from .server_streams import DecodingConversation, EncodingConversation, converse
from .storage import FILES

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_DONE = object()
Work = Callable[[bytes, io.BytesIO], Iterator[None]]  # of a request's body, to what is answered


class Server:
    """What requests share.

    Args:
        folder: of an exported codec.
        limits: of one client's share.
        runners: calls of a graph that run side by side.

    Raises:
        CheckpointError: if the folder holds no exported codec, or a damaged one.
    """

    def __init__(self, folder: Path, limits: Limits, runners: int = 2) -> None:
        self.codec, self.limits, self.slots = ExportedCoder(folder), limits, Slots(limits.connections)
        self.runtime = self.codec.runtime = BatchingCodec(folder, runners)
        for side in (self.runtime.manifest.encoder, self.runtime.manifest.decoder):
            if side is not None:  # now, since who starts it can mend it, and the first client should not wait
                self.runtime.session(side.file)
        self.pool = ThreadPoolExecutor(limits.connections, thread_name_prefix="toneme-client")

    def about(self) -> dict[str, Any]:
        """Return what GET /v1/info answers."""
        bounds, side = self.limits, self.codec.manifest.decoder
        chunks = [units * side.unit / self.runtime.sample_rate for units in bounds.chunks(side, self.runtime.sample_rate)]
        return {
            **self.codec.manifest.to_dict(),
            "kbps": [self.codec.spec.bitrate(n + 1) for n in range(self.runtime.codebooks)],
            "limits": {
                "seconds": bounds.seconds, "bytes": bounds.bytes, "connections": bounds.connections, "idle": bounds.idle,
                "chunk_seconds": chunks if side.mode == "chunks" else None,
            },
            "connections": self.slots.used,
        }  # fmt: skip

    async def run(self, request: Request, work: Work, media_type: str) -> Response:
        """Take a request's body, work it off piece by piece, and answer; a client that is gone ends the work.

        Raises:
            RefusedError: if the body is too large or stops coming, no place is free, or the server is being ended.
        """
        target = io.BytesIO()
        try:
            with self.slots.take():
                if not await self._finish(work(await self._body(request), target), request):
                    return Response(status_code=499)  # nobody reads it
        except asyncio.CancelledError:  # uvicorn, which ends this so, would write it down as a fault
            raise RefusedError(ENDING, 503) from None
        return Response(target.getvalue(), media_type=media_type)

    async def _finish(self, steps: Iterator[None], request: Request) -> bool:
        """Take all steps, and return whether the client waited for it."""
        loop = asyncio.get_running_loop()
        try:
            while await loop.run_in_executor(self.pool, next, steps, _DONE) is not _DONE:
                if await request.is_disconnected():
                    return False
            return True
        finally:
            with suppress(ValueError):  # cancelled while a step runs, as when the server ends, they are closed after it
                steps.close()  # type: ignore[attr-defined] - these are generators

    async def _body(self, request: Request) -> bytes:
        """Return a request's body; of one that is too large as much again is read, since who still sends hears no refusal."""
        if request.headers.get("content-type", "").startswith("multipart/"):
            raise RefusedError("a form came: send the file itself, as curl does with --data-binary @FILE", 415)
        header, bound = request.headers.get("content-length", "0"), self.limits.bytes
        claimed = int(header) if header.isdigit() else 0
        if claimed > 2 * bound:
            self.limits.check_bytes(claimed)
        body, size, chunks = bytearray(), 0, aiter(request.stream())
        while size <= 2 * bound:
            try:
                chunk = await asyncio.wait_for(anext(chunks), self.limits.idle)
            except StopAsyncIteration:
                break
            except TimeoutError:
                raise RefusedError(f"nothing came for {self.limits.idle:g} s: send it again", 408) from None
            size += len(chunk)
            body.extend(chunk if size <= bound else b"")
        self.limits.check_bytes(size)
        return bytes(body)

    def close(self) -> None:
        """End the threads."""
        self.pool.shutdown()
        self.runtime.close()


class Guard:
    """Lets pages of this server in, and programs, but no other page that a browser here has open; adds headers to answers.

    A browser names the page's origin; a name that was made to point here for such a page shows in Host, which must be one
    of the loopback's where the server listens there only (`local`).
    """

    def __init__(self, app: Any, local: bool) -> None:
        self.app, self.local = app, local

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, or refuse with status 403."""

        async def secured(message: Any) -> None:
            if message["type"] == "http.response.start":
                added = [(name.lower().encode(), value.encode()) for name, value in SECURITY.items()]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        allowed = scope["type"] == "lifespan" or self._allowed(dict(scope["headers"]))
        if scope["type"] == "websocket" and not allowed:
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted, this is status 403
        elif not allowed:
            refusal = _sentence("pages of other sites may not use this server: use a program", 403)
            await refusal(scope, receive, secured)
        else:
            await self.app(scope, receive, secured)

    def _allowed(self, headers: dict[bytes, bytes]) -> bool:
        host, origin = headers.get(b"host", b"").decode("latin-1"), headers.get(b"origin", b"").decode("latin-1")
        try:
            named = urlsplit(f"//{host}").hostname
            return (not origin or urlsplit(origin).netloc == host) and (not self.local or named in LOOPBACK)
        except ValueError:
            return False


def make_app(
    folder: Path, limits: Limits | None = None, local: bool = True, onnxruntime_web: Path | None = None, runners: int = 2
) -> FastAPI:
    """Return the application.

    Args:
        folder: of an exported codec.
        limits: of one client's share.
        local: it listens on the loopback only.
        onnxruntime_web: the npm package's folder, for the page.
        runners: calls of a graph that run side by side, one core each.

    Raises:
        CheckpointError: if the folder holds no exported codec or a damaged one, or that of onnxruntime-web not its files.
    """
    server = Server(folder, limits or Limits(), runners)

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        with left_out():
            yield
        server.close()

    app = FastAPI(title="Toneme", version="1", docs_url=None, redoc_url=None, lifespan=life)  # their pages load from elsewhere
    app.state.server = server
    app.add_middleware(Guard, local=local)
    _add_errors(app)
    _add_api(app, server)
    _add_page(app, folder, runtime_folder(onnxruntime_web))
    return app


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(ClientDisconnect)
    async def leave(request: Request, gone: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nobody reads it

    @app.exception_handler(RefusedError)
    async def refuse(request: Request, refusal: RefusedError) -> Response:
        return _sentence(str(refusal), refusal.status)

    @app.exception_handler(TonemeError)
    async def fail(request: Request, error: TonemeError) -> Response:
        return _sentence(str(error), 422)

    @app.exception_handler(RequestValidationError)
    async def misunderstand(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return _sentence(f"{first['loc'][-1]} is not understood ({first['msg']}): see API.md", 422)

    @app.exception_handler(HTTPException)
    async def miss(request: Request, error: HTTPException) -> Response:
        path, allowed = request.url.path[:80], (error.headers or {}).get("Allow", "GET, HEAD")
        if error.status_code == 405:
            return _sentence(f"{path} takes {allowed} and no {request.method}: see API.md", 405, {"Allow": allowed})
        return _sentence(f"there is no {path} here: see API.md", error.status_code)


def _sentence(text: str, status: int, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"error": text}, status, {"Retry-After": "5"} if status == 503 else headers)


def _add_api(app: FastAPI, server: Server) -> None:
    @app.get("/v1/info")
    def info() -> dict[str, Any]:
        """Say what the codec is, and the limits."""
        return server.about()

    @app.post("/v1/encode")
    async def encode(
        request: Request, codebooks: int | None = None, bitrate: float | None = None, packed: bool = False
    ) -> Response:
        """Audio (WAV, FLAC, Ogg, MP3) to a token file."""
        spec = server.codec.spec
        if codebooks is not None and bitrate is not None:
            raise RefusedError("give either codebooks or bitrate, not both", 422)
        depth = spec.check_codebooks(codebooks) if bitrate is None else spec.codebooks_for(bitrate)
        encoding = "packed" if packed else "entropy"
        work = lambda data, target: encode_file(server.codec, data, depth, encoding, server.limits, target)  # noqa: E731
        return await server.run(request, work, "application/octet-stream")

    @app.post("/v1/decode")
    async def decode(request: Request) -> Response:
        """A token file to WAV."""
        work = lambda data, target: decode_file(server.codec, data, server.limits, target)  # noqa: E731
        return await server.run(request, work, "audio/wav")

    @app.websocket("/v1/encode")
    async def encode_stream(socket: WebSocket) -> None:
        begin = lambda query: EncodingConversation(server.runtime, query, server.limits)  # noqa: E731
        await converse(socket, begin, server.limits, server.slots, server.pool)

    @app.websocket("/v1/decode")
    async def decode_stream(socket: WebSocket) -> None:
        begin = lambda query: DecodingConversation(server.runtime, query, server.limits)  # noqa: E731
        await converse(socket, begin, server.limits, server.slots, server.pool)


def _add_page(app: FastAPI, folder: Path, runtime: Path | None) -> None:
    @app.get("/model/{name}", include_in_schema=False)
    def model(name: str) -> Response:
        if name not in (FILE, *FILES) or not (folder / name).is_file():
            return _sentence(f"the exported codec has no {name[:40]}", 404)
        return FileResponse(folder / name)

    @app.get("/ort/{name}", include_in_schema=False)
    def ort(name: str) -> Response:
        if name not in RUNTIME_FILES or runtime is None:
            return _sentence("onnxruntime-web is not here: `npm install onnxruntime-web`, then `codec serve` again", 404)
        return FileResponse(runtime / name, media_type=RUNTIME_FILES[name])

    files, missing = StaticFiles(directory=PAGE, html=True), app.router.default

    async def page(scope: Any, receive: Any, send: Any) -> None:
        await (files if scope["type"] == "http" else missing)(scope, receive, send)

    app.router.default = page  # a mount would take what is asked of a route by a method that it has not
