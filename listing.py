"""What an item shows of itself: rating, tags, comment; from raw inputs, under the host's rules."""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

from config import Gallery
from errors import Invalid

RATINGS = ("sfw", "nsfw", "nsfl")
MAX_TAGS = 50
MAX_TAG_LENGTH = 64
MAX_COMMENT_LENGTH = 2000
MAX_REASON_LENGTH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What an item shows of itself in the gallery, checked by `check_listing`."""

    rating: str | None
    tags: tuple[str, ...]
    comment: str | None
    is_oc: bool
    is_shitpost: bool


def parse_tags(text: str) -> tuple[str, ...]:
    """The tags in a comma-separated `text`, in their order, without ratings and duplicates.

    Raises:
        Invalid: there are too many, or one is too long.
    """
    tags = dict.fromkeys(" ".join(plain(part).split()) for part in text.lower().split(","))
    kept = tuple(tag for tag in tags if tag and tag not in RATINGS)
    if len(kept) > MAX_TAGS:
        raise Invalid(f"An upload takes at most {MAX_TAGS} tags.")
    if any(len(tag) > MAX_TAG_LENGTH for tag in kept):
        raise Invalid(f"A tag has at most {MAX_TAG_LENGTH} characters.")
    return kept


def check_listing(
    gallery: Gallery, *, rating: str, tags: str, comment: str, is_oc: bool, is_shitpost: bool
) -> Listing:
    """The listing that these raw inputs make under the host's rules.

    Raises:
        Invalid: with the documented sentence for a missing rating or too few tags.
    """
    is_shitpost = is_shitpost and gallery.shitpost_mode != "off"
    free = is_shitpost or gallery.shitpost_mode == "always"
    chosen = rating.strip()
    if chosen not in RATINGS:
        if not free:
            raise Invalid("Rating (sfw/nsfw/nsfl) is required")
        chosen = ""
    parsed = parse_tags(tags)
    if not free and len(parsed) < gallery.min_tags:
        raise Invalid(f"At least {gallery.min_tags} tags are required")
    return Listing(
        rating=chosen or None,
        tags=parsed,
        comment=check_comment(comment) or None,
        is_oc=is_oc,
        is_shitpost=is_shitpost,
    )


def read_listing(gallery: Gallery, field: Callable[[str], str]) -> Listing:
    """As `check_listing`, of the documented fields of the f0ckm API.

    Args:
        field: gives the text of a field by its name, empty when it is not there.

    Raises:
        Invalid: as there.
    """
    return check_listing(
        gallery,
        rating=field("rating"),
        tags=field("tags"),
        comment=field("comment"),
        is_oc=is_yes(field("is_oc")),
        is_shitpost=is_yes(field("is_shitpost")),
    )


def is_yes(value: str) -> bool:
    """Whether a field that says yes or no says yes: `1` or `true`, in any case."""
    return value.strip().lower() in ("1", "true")


def check_comment(text: str) -> str:
    """A comment as it may be kept; empty when there is none.

    Raises:
        Invalid: it is too long.
    """
    text = plain(text.replace("\r\n", "\n"), keep="\n\t").strip()
    if len(text) > MAX_COMMENT_LENGTH:
        raise Invalid(f"A comment has at most {MAX_COMMENT_LENGTH} characters.")
    return text


def check_reason(text: str) -> str:
    """A reason for rejecting as it may be kept; empty when there is none.

    Raises:
        Invalid: it is too long.
    """
    text = plain(text).strip()
    if len(text) > MAX_REASON_LENGTH:
        raise Invalid(f"A reason has at most {MAX_REASON_LENGTH} characters.")
    return text


def plain(text: str, keep: str = "") -> str:
    """`text` in NFC, blanks for line ends and tabs, without other control characters and lone
    surrogates; the characters in `keep` stay."""
    kept = []
    for char in text:
        if char in keep or unicodedata.category(char) not in ("Cc", "Cs"):
            kept.append(char)
        elif char in "\t\n\r":
            kept.append(" ")
    return unicodedata.normalize("NFC", "".join(kept))
