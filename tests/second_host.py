"""Another host of the tests, as a process: goes on with one upload in pieces, on the database and
bucket of its environment, with what comes by its standard input.

Says `ready`, then what became of it, each as a line of JSON: the offset, or the status of the
refusal.
"""

import json
import sys

import config
import context
import resumable
from errors import ServiceError
from models import Resumable
from resumable import Desk, Sender


def main(name: str, offset: int) -> None:
    """Go on with the upload `name` behind its first `offset` bytes."""
    services = context.open_services(config.load())
    desk = Desk(config=services.config, store=services.storage, secret=services.secret)
    sender = Sender(user_id=Resumable.get(Resumable.name == name).user_id, api="nekos")
    print(json.dumps("ready"), flush=True)
    try:
        progress = resumable.receive(desk, sender, name, sys.stdin.buffer, offset=offset, size=None)
        told = {"offset": progress.offset, "finished": progress.finished is not None}
    except ServiceError as error:
        told = {"status": error.status}
    print(json.dumps(told), flush=True)
    context.close_services(services)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
