"""A client process of the races: sends all of its requests but their ends, waits for the signal.

Speaks JSON lines: a job comes in, `ready` goes out, the moment (CLOCK_MONOTONIC, which all
processes share) to let go comes in, the answers go out.
"""

import base64
import http.client
import json
import random
import socket
import sys
import threading
import time
from typing import Any

PATIENCE = 30.0


def begin(port: int, request: dict[str, Any]) -> socket.socket:
    """Connect and send the first part."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(base64.b64decode(request["first"]))
    return connection


def finish(connection: socket.socket, request: dict[str, Any]) -> tuple[int, str]:
    """Send the rest, and read the answer."""
    with connection:
        connection.sendall(base64.b64decode(request["rest"]))
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        return answer.status, answer.read().decode()


def race(
    port: int, request: dict[str, Any], go: threading.Event, ready: threading.Semaphore
) -> Any:
    """The last answer to a request, which is repeated while the server is busy."""
    try:
        connection = begin(port, request)
    finally:
        ready.release()
    go.wait()
    status, text = finish(connection, request)
    deadline = time.monotonic() + PATIENCE
    while status == 503 and time.monotonic() < deadline:
        time.sleep(random.uniform(0.005, 0.03))
        status, text = finish(begin(port, request), request)
    return status, text


def main() -> None:
    for line in sys.stdin:
        job = json.loads(line)
        go, ready = threading.Event(), threading.Semaphore(0)
        answers: list[Any] = [None] * len(job["requests"])

        def run(index: int, request: Any, job: Any = job, go: Any = go, ready: Any = ready) -> None:
            try:
                answers[index] = race(job["port"], request, go, ready)  # noqa: B023
            except (OSError, http.client.HTTPException) as error:
                answers[index] = (0, repr(error))  # noqa: B023

        threads = [
            threading.Thread(target=run, args=(index, request))
            for index, request in enumerate(job["requests"])
        ]
        for thread in threads:
            thread.start()
        for _ in threads:
            ready.acquire()
        print("ready", flush=True)
        moment = float(sys.stdin.readline())
        time.sleep(max(0.0, moment - time.monotonic()))
        go.set()
        for thread in threads:
            thread.join()
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
