"""The one thing in EXIF that changes how a picture looks: which way up it is."""

import struct

LIMIT = 65_536  # bytes of a block that are looked at; a JPEG cannot hold more
_PREFIX = b"Exif\0\0"  # stands before the block in JPEG, and by mistake in other files
_ORIENTATION, _SHORT = 0x0112, 3


def find_orientation(block: bytes) -> int | None:
    """How to turn and mirror the picture, 2 to 8; None when it is shown as it is.

    As browsers read it: from the first directory, as one unsigned 16-bit number. A broken block
    says nothing.

    Args:
        block: the beginning of the TIFF structure that EXIF is (Exif 2.32, 4.5).
    """
    block = block.removeprefix(_PREFIX)
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for number in range(count):
            tag, kind, values, value = struct.unpack_from(
                f"{order}HHIH", block, start + 2 + 12 * number
            )
            if tag == _ORIENTATION:
                usable = kind == _SHORT and values == 1 and 2 <= value <= 8
                return int(value) if usable else None
    except struct.error:
        pass
    return None


def make(orientation: int) -> bytes:
    """An EXIF block that holds this orientation and nothing else."""
    entry = struct.pack(">HHIHH", _ORIENTATION, _SHORT, 1, orientation, 0)
    return struct.pack(">2sHIH", b"MM", 42, 8, 1) + entry + bytes(4)
