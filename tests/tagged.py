"""Pictures of every kind that is stripped, full of secrets in every place that is known."""

import io
import struct
import zlib
from typing import Any

from PIL import Image, ImageCms, PngImagePlugin

SECRET = b"Secret Street 7"
XMP = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>" + SECRET + b"</x:xmpmeta>"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif_block(orientation: int | None = 6, order: str = "<") -> bytes:
    """A TIFF structure with a place, a camera, notes of its maker, and perhaps an orientation."""
    exif = Image.Exif()
    exif.endian = order
    text = SECRET.decode()
    exif[0x010F] = text  # Make
    if orientation is not None:
        exif[0x0112] = orientation
    exif.get_ifd(0x8769).update({0x927C: SECRET, 0x9286: SECRET})  # MakerNote, UserComment
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 8.0, 7.0), 29: "2026:11:22"})
    return exif.tobytes().removeprefix(b"Exif\0\0")


def picture(mode: str = "RGB", size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture that no two places of look the same, so that a lost byte shows."""
    width, height = size
    colours = [
        (x * 7 % 256, y * 11 % 256, x * y % 256) for y in range(height) for x in range(width)
    ]
    image = Image.new("RGB", size)
    image.putdata(colours)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.linear_gradient("L").resize(size))
    return image.convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def segment(marker: int, body: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def exif_segment(orientation: int | None = 6, order: str = "<") -> bytes:
    return segment(0xE1, b"Exif\0\0" + exif_block(orientation, order))


# An index of one picture (CIPA DC-007): Pillow warns of one that is broken.
_MPF = b"MPF\0II*\0\x08\0\0\0" + struct.pack(
    "<H HHI4s HHII HHII I 4I",
    *(3, 0xB000, 7, 4, b"0100", 0xB001, 4, 1, 1, 0xB002, 7, 16, 50),
    *(0, 0x20030000, 0, 0, 0),
)

# What tells about a JPEG, each in its own segment.
SECRET_SEGMENTS = {
    "xmp": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + XMP),
    "extended xmp": segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 40 + XMP),
    "photoshop and iptc": segment(
        0xED, b"Photoshop 3.0\0008BIM\x04\x04\0\0\0\0\0\x14\x1c\x02\x5a\0\x0f" + SECRET
    ),
    "comment": segment(0xFE, SECRET),
    "jfxx thumbnail": segment(0xE0, b"JFXX\0\x10" + SECRET),
    "mpf": segment(0xE2, _MPF + SECRET),
    "flashpix": segment(0xE2, b"FPXR\0" + SECRET),
    "jps": segment(0xE3, b"_JPSJPS_" + SECRET),
    "jumbf": segment(0xEB, b"JP\0\1\0\0\0\1" + SECRET),
    "ducky": segment(0xEC, b"Ducky" + SECRET),
    "app 14 of others": segment(0xEE, b"Other" + SECRET),
    "app 15": segment(0xEF, SECRET),
}


def with_segments(jpeg: bytes, *segments: bytes) -> bytes:
    """The JPEG with these after its start."""
    return jpeg[:2] + b"".join(segments) + jpeg[2:]


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


SECRET_CHUNKS = {
    "text": chunk(b"tEXt", b"Author\0" + SECRET),
    "compressed text": chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(SECRET)),
    "xmp": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP),
    "time": chunk(b"tIME", b"\x07\xea\x0b\x16\x02\x09\x28"),
    "private": chunk(b"prVt", SECRET),
    "content credentials": chunk(b"caBX", SECRET),
}


def with_chunks(png: bytes, *chunks: bytes) -> bytes:
    """The PNG with these after its header."""
    return png[:33] + b"".join(chunks) + png[33:]


def riff_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a WebP."""
    return struct.pack("<4sI", kind, len(data)) + data + bytes(len(data) % 2)


def with_riff_chunks(webp: bytes, *chunks: bytes) -> bytes:
    """The WebP with these at its end."""
    body = webp[8:] + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def frames(mode: str = "RGB") -> list[Image.Image]:
    """Three pictures for a film."""
    first = picture(mode)
    return [first, first.rotate(90), first.rotate(180)]


def plain() -> dict[str, bytes]:
    """Pictures without any metadata, by what they are."""
    film: dict[str, Any] = {
        "save_all": True,
        "append_images": frames()[1:],
        "duration": [90, 50, 70],
    }
    palette = picture().quantize(16)
    sixteen = Image.new("I;16", (40, 30))
    sixteen.putdata([number * 54 % 65536 for number in range(1200)])
    return {
        "jpeg": saved(picture(), "JPEG"),
        "jpeg progressive": saved(picture(), "JPEG", progressive=True),
        "jpeg restarts": saved(picture(), "JPEG", restart_marker_blocks=3),
        "jpeg grey": saved(picture("L"), "JPEG"),
        "jpeg cmyk": saved(picture("CMYK"), "JPEG"),
        "jpeg profile": saved(picture(), "JPEG", icc_profile=PROFILE),
        "png": saved(picture(), "PNG"),
        "png alpha": saved(picture("RGBA"), "PNG", dpi=(300, 300), icc_profile=PROFILE),
        "png palette": saved(palette, "PNG", transparency=3),
        "png 16 bit": saved(sixteen, "PNG"),
        "png film": saved(picture(), "PNG", **film),
        "webp": saved(picture(), "WEBP"),
        "webp lossless": saved(picture(), "WEBP", lossless=True),
        "webp alpha": saved(picture("RGBA"), "WEBP"),
        "webp profile": saved(picture("RGBA"), "WEBP", icc_profile=PROFILE),
        "webp film": saved(picture(), "WEBP", **film),
    }


def tagged() -> dict[str, bytes]:
    """The same, with all secrets that their kind has a place for."""
    found = {}
    for name, data in plain().items():
        if name.startswith("jpeg"):
            found[name] = with_segments(data, exif_segment(), *SECRET_SEGMENTS.values())
        elif name.startswith("png"):
            information = PngImagePlugin.PngInfo()
            information.add_text("Comment", SECRET.decode(), zip=True)
            chunks = (chunk(b"eXIf", exif_block()), *SECRET_CHUNKS.values())
            found[name] = with_chunks(data, *chunks) + SECRET
        else:
            with Image.open(io.BytesIO(data)) as image:
                options: dict[str, Any] = {"exif": exif_block(), "xmp": XMP, "icc_profile": PROFILE}
                if "film" in name:
                    options |= {"save_all": True, "duration": [90, 50, 70]}
                data = saved(image, "WEBP", lossless="lossless" in name, **options)
            found[name] = with_riff_chunks(data, riff_chunk(b"PRVT", SECRET)) + SECRET
    return found
