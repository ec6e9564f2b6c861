"""What admins did: who, what, when, to what. Written in the transaction of the act itself."""

from models import Audit


def record(actor_id: int | None, act: str, target: str) -> None:
    """Add a line to the audit; call it inside `models.write`.

    Args:
        actor_id: the admin's user id; None for the operator at the command line.
        act: what was done, in a word or two.
        target: an id of ours such as `#17`; never a name, which would outlive its owner.
    """
    Audit.insert(actor_id=actor_id, act=act, target=target).execute()
