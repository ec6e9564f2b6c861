"""A process that guesses passwords on many connections until its standard input ends.

Arguments: port, source address, number of connections. In the end it prints the statuses as JSON.
"""

import http.client
import json
import sys
import threading
from collections import Counter

seen: Counter[int] = Counter()
lock = threading.Lock()
stop = threading.Event()


def guess(port: int, address: str, number: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, 30, source_address=(address, 0))
    while not stop.is_set():
        try:
            headers = {
                "username": f"user{number}",
                "password": "a wrong one",
                "Content-Length": "0",
            }
            connection.request("POST", "/api/token/get", headers=headers)
            answer = connection.getresponse()
            answer.read()
            status = answer.status
        except (OSError, http.client.HTTPException):
            connection.close()
            status = 0
        with lock:
            seen[status] += 1
    connection.close()


def main() -> None:
    port, address, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    threads = [
        threading.Thread(target=guess, args=(port, address, number)) for number in range(count)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
