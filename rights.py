"""What the operator decides about people: roles, quotas, new tokens, new passwords."""

import accounts
import audit
import credentials
import models
import sessions
from errors import Conflict, Invalid
from models import User

MAX_QUOTA_MB = 1_073_741_824


def set_password(cost: int, username: str, password: str) -> User:
    """Give a user another password; tokens and keys stay, browser sessions end.

    Args:
        cost: of bcrypt, 4 to 16.

    Raises:
        NotFound: there is no such user.
        Invalid: the password does not have the shape of one.
    """
    accounts.get_user(username)  # before time goes into a hash
    password_hash = credentials.hash_password(credentials.valid_password(password), cost)

    def work() -> User:
        user = accounts.get_user(username)
        User.update(password_hash=password_hash).where(User.id == user.id).execute()
        sessions.end_all(user.id)
        audit.record(None, "set password", f"#{user.id}")
        return user

    return models.write(work)


def set_role(secret: bytes, username: str, role: str, *, by: User | None = None) -> bool:
    """Make a user an admin, with an admin token, or an admin a plain user, without one.

    Args:
        role: user or admin.
        by: the admin who decides, None for the operator.

    Returns:
        whether that changed anything.

    Raises:
        NotFound: there is no such user.
        Conflict: it is the last admin.
    """

    def work() -> bool:
        user = accounts.get_user(username)
        if user.role == role:
            return False
        if role == "admin":
            accounts.give_admin_token(secret, user.id)
        else:
            accounts.require_other_admin(user)
            none = {"role": "user", "admin_nonce": None, "admin_token_hash": None}
            User.update(**none).where(User.id == user.id).execute()
        audit.record(by.id if by else None, f"make {role}", f"#{user.id}")
        return True

    return models.write(work)


def set_quota(username: str, quota_mb: int | None, *, by: User | None = None) -> None:
    """Limit what a user may store. What is stored already stays.

    Args:
        quota_mb: in MB of 1,048,576 bytes; 0 for no limit, None for the host's default.
        by: the admin who decides, None for the operator.

    Raises:
        NotFound: there is no such user.
        Invalid: that is no quota.
    """
    if quota_mb is not None and not 0 <= quota_mb <= MAX_QUOTA_MB:
        raise Invalid(f"A quota is 0 to {MAX_QUOTA_MB} MB.")

    def work() -> None:
        user = accounts.get_user(username)
        User.update(quota_mb=quota_mb).where(User.id == user.id).execute()
        shown = "default" if quota_mb is None else f"{quota_mb} MB"
        audit.record(by.id if by else None, "set quota", f"#{user.id} {shown}")

    models.write(work)


def reset_token(secret: bytes, username: str, *, of_admin: bool = False) -> str:
    """Give a user another upload token, or an admin another admin token; the old one dies at once.

    Returns:
        the new token.

    Raises:
        NotFound: there is no such user.
        Conflict: an admin token of somebody who is no admin.
    """

    def work() -> str:
        user = accounts.get_user(username)
        if of_admin and user.role != "admin":
            raise Conflict(f"{user.username} is no admin.")
        if of_admin:
            accounts.give_admin_token(secret, user.id)
        else:
            nonce = credentials.new_nonce()
            token = credentials.derive_token(secret, credentials.UPLOAD, nonce)
            fresh = {"token_nonce": nonce, "token_hash": credentials.hash_key(token)}
            User.update(**fresh).where(User.id == user.id).execute()
        audit.record(None, "renew admin token" if of_admin else "renew token", f"#{user.id}")
        user = User.get_by_id(user.id)
        return (accounts.admin_token if of_admin else accounts.upload_token)(secret, user)

    return models.write(work)
