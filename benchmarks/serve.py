"""How many real-time streams `codec serve` carries: N clients that send 80 ms of audio every 80 ms over WebSockets.

python -P benchmarks/serve.py FOLDER [--streams 50] [--seconds 20] [--direction encode|decode|both] [--cores 2]

FOLDER is what `codec export` made. The server is a process of its own; so are the clients, whose processor time is printed too.
A frame is late when its answer comes more than 80 ms (one message) after it was sent, and dropped when it never comes. `both`
lets every client send the codes of its first stream on to a second one and wait for the audio. With `--direct` streams are
driven in threads of this process, one way and without sockets, and calls wait `--patience` seconds for company.
"""

import argparse
import asyncio
import json
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
from websockets.asyncio.client import connect

from toneme.export.golden import made_audio

STEP = 0.08  # seconds per message


async def client(base: str, audio: np.ndarray, start: float, direction: str, step: int) -> tuple[list[float], int]:
    """Stream audio in real time; return the delays of the answers in seconds, and how many never came."""
    pieces = [audio[i : i + step].tobytes() for i in range(0, len(audio) - step + 1, step)]
    delays, waiting = [], []
    async with connect(f"{base}/v1/encode", compression=None, open_timeout=60) as encoder:
        await encoder.recv()
        decoder = await connect(f"{base}/v1/decode", compression=None, open_timeout=60) if direction == "both" else None
        if decoder:
            await decoder.recv()

        async def listen() -> None:
            while len(delays) < len(pieces):
                answer = await encoder.recv()
                if decoder:
                    await decoder.send(answer)
                    await decoder.recv()
                delays.append(time.perf_counter() - waiting[len(delays)])

        listener = asyncio.create_task(listen())
        for n, piece in enumerate(pieces):
            await asyncio.sleep(max(0.0, start + n * STEP - time.perf_counter()))
            waiting.append(time.perf_counter())
            await encoder.send(piece)
        done, _ = await asyncio.wait([listener], timeout=5)
        if not done:
            listener.cancel()
        if decoder:
            await decoder.close()
    return delays, len(pieces) - len(delays)


async def decoding_client(base: str, codes: bytes, messages: int, start: float, step: int) -> tuple[list[float], int]:
    """Stream codes in real time, as `client` does audio."""
    delays, waiting = [], []
    async with connect(f"{base}/v1/decode", compression=None, open_timeout=60) as decoder:
        await decoder.recv()

        async def listen() -> None:
            while len(delays) < messages:
                await decoder.recv()
                delays.append(time.perf_counter() - waiting[len(delays)])

        listener = asyncio.create_task(listen())
        for n in range(messages):
            await asyncio.sleep(max(0.0, start + n * STEP - time.perf_counter()))
            waiting.append(time.perf_counter())
            await decoder.send(codes[n * step : (n + 1) * step])
        done, _ = await asyncio.wait([listener], timeout=5)
        if not done:
            listener.cancel()
    return delays, messages - len(delays)


async def measure(port: int, args: argparse.Namespace, server: int) -> None:
    """Run the clients and print what came of it."""
    from toneme.export.runtime import StreamingCodec

    base, codec = f"ws://127.0.0.1:{port}", StreamingCodec(args.folder)
    audio = np.round(made_audio(codec.sample_rate, 1, args.seconds)[0, 0] * 32767).astype("<i2")
    step = round(STEP * codec.sample_rate)
    start, before, mine = time.perf_counter() + 1.0, cpu_seconds(server), time.process_time()
    starts = [start + STEP * n / args.streams for n in range(args.streams)]  # spread over the message's time
    if args.direction == "decode":
        frames = codec.encode(audio[: 10 * codec.sample_rate])[0].T.astype("<u2")  # type: ignore[union-attr]
        frames = np.tile(frames, (-(-int(args.seconds) // 10) + 1, 1))
        per, messages = round(STEP * codec.sample_rate) // codec.manifest.decoder.unit, int(args.seconds / STEP)
        size, data = per * frames.shape[1] * 2, frames.tobytes()
        results = await asyncio.gather(*(decoding_client(base, data, messages, at, size) for at in starts))
    else:
        results = await asyncio.gather(*(client(base, audio, at, args.direction, step) for at in starts))
    wall, spent = time.perf_counter() - start, cpu_seconds(server) - before
    delays = np.sort(np.concatenate([delays for delays, _ in results])) * 1000
    report = {
        "streams": args.streams, "direction": args.direction, "seconds": args.seconds, "messages": len(delays),
        "dropped": sum(dropped for _, dropped in results), "late": int((delays > 1000 * STEP).sum()),
        "ms_median": round(float(np.median(delays)), 1), "ms_99": round(float(np.percentile(delays, 99)), 1),
        "ms_worst": round(float(delays[-1]), 1), "server_cores": round(spent / wall, 2),
        "server_ms": round(1000 * spent / max(1, len(delays)), 2),
        "clients_cores": round((time.process_time() - mine) / wall, 2), "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip
    print(json.dumps(report))


def drive(args: argparse.Namespace) -> None:
    """Push 80 ms into every stream every 80 ms, in threads of this process; print what came of it."""
    from toneme.export.batching import BatchingCodec

    codec = BatchingCodec(args.folder, args.cores, args.patience)
    audio = made_audio(codec.sample_rate, codec.channels, 20)
    codes, size = codec.encode(audio), round(STEP * codec.sample_rate)
    per = size // codec.manifest.decoder.unit
    streams = [codec.encoder() if args.direction == "encode" else codec.decoder() for _ in range(args.streams)]
    start, busy, delays = time.perf_counter() + 0.5, time.process_time(), []

    def client(number: int) -> None:
        for n in range(int(args.seconds / STEP)):
            due, at = start + STEP * (n + number / args.streams), n % 200
            time.sleep(max(0.0, due - time.perf_counter()))
            whole, step = (audio, size) if args.direction == "encode" else (codes, per)
            streams[number].push(whole[..., at * step : (at + 1) * step])
            delays.append(1000 * (time.perf_counter() - due))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(args.streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    spent = time.process_time() - busy
    calls = sum(session.calls for session in codec._batching.values())
    report = {
        "streams": args.streams, "direction": args.direction, "patience": args.patience, "messages": len(delays),
        "streams_a_call": round(len(delays) / calls, 1), "late": int((np.array(delays) > 1000 * STEP).sum()),
        "ms_median": round(float(np.median(delays)), 1), "ms_99": round(float(np.percentile(delays, 99)), 1),
        "cores": round(spent / args.seconds, 2), "ms_of_processor": round(1000 * spent / len(delays), 2),
    }  # fmt: skip
    print(json.dumps(report))


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a process so far."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def main() -> None:
    """Start a server, measure, and end it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--direction", choices=["encode", "decode", "both"], default="encode")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--direct", action="store_true", help="without sockets")
    parser.add_argument("--patience", type=float, default=0.02, help="with --direct: seconds that a call waits for others")
    args, port = parser.parse_args(), free_port()
    if args.direct:
        return drive(args)
    command = [sys.executable, "-P", "-c", "from toneme.cli import main; main()", "serve", "--codec", args.folder]
    command += ["--port", str(port), "--max-connections", str(2 * args.streams), "--cores", str(args.cores)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_for(port)
        asyncio.run(measure(port, args, server.pid))
    finally:
        server.terminate()
        server.wait(10)


def wait_for(port: int) -> None:
    """Return once a server listens.

    Raises:
        TimeoutError: if none does within a minute.
    """
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the server did not start")


if __name__ == "__main__":
    main()
