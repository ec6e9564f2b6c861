"""Metadata taken out of pictures: none of it is left, and not a pixel is changed.

What is left is looked at by exiftool, and the pixels by Pillow and libvips: none of them is ours.
"""

import errno
import hashlib
import io
import json
import os
import shutil
import struct
import subprocess
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pyvips
from PIL import Image

import config
import exif
import metadata
import segments
from errors import Invalid, NoSpace
from metadata import Stripped
from storage_local import LocalIncoming, LocalStorage
from tests.tagged import (
    PROFILE,
    SECRET,
    SECRET_CHUNKS,
    SECRET_SEGMENTS,
    XMP,
    chunk,
    exif_block,
    exif_segment,
    picture,
    plain,
    riff_chunk,
    saved,
    segment,
    tagged,
    with_chunks,
    with_riff_chunks,
    with_segments,
)

ORIENTATION = 0x0112
PLAIN = plain()
TAGGED = tagged()
JPEG, PNG, WEBP = PLAIN["jpeg"], PLAIN["png"], PLAIN["webp"]
every_kind = pytest.mark.parametrize("name", PLAIN)
needs_exiftool = pytest.mark.skipif(
    shutil.which("exiftool") is None, reason="no exiftool: make test-packages installs it"
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[LocalStorage]:
    store = LocalStorage(tmp_path / "uploads", durable=False)
    yield store
    store.close()


def strip(store: LocalStorage, data: bytes) -> tuple[bytes, str]:
    """What is kept of this file, and what was said of it."""
    with store.open() as incoming:
        incoming.write(data)
        stripped = metadata.strip(store, incoming)
        with stripped.file as file:
            kept = file.read_at(file.size + 1, 0)
            assert file.size == len(kept)
            assert file.sha256 == hashlib.sha256(kept).digest()
            assert (file is incoming) == (stripped.outcome != "removed")
            assert isinstance(incoming, LocalIncoming)
            assert incoming.fd >= 0  # whoever opened it closes it
    return kept, str(stripped.outcome)


def pixels(data: bytes) -> list[Any]:
    """Every frame, as Pillow and libvips decode it, with what else changes how it looks."""
    found: list[Any] = []
    with Image.open(io.BytesIO(data)) as image:
        image.info.pop("exif", None)
        profile = image.info.get("icc_profile")
        density = image.info.get("dpi") if image.format == "PNG" else None
        found.append((image.mode, image.size, profile, density, image.info.get("transparency")))
        for number in range(1 if image.format == "MPO" else getattr(image, "n_frames", 1)):
            image.seek(number)
            found.append((image.info.get("duration"), image.tobytes()))
    found.append(decoded(data))
    return found


def decoded(data: bytes) -> bytes:
    """The pixels by libvips, which reads over what Pillow refuses."""
    return bytes(pyvips.Image.new_from_buffer(data, "").write_to_memory())


def orientation(data: bytes) -> int:
    with Image.open(io.BytesIO(data)) as image:
        return int(image.getexif().get(ORIENTATION, 1))


@every_kind
def test_all_is_removed_and_no_pixel_is_changed(store: LocalStorage, name: str) -> None:
    data = TAGGED[name]
    assert SECRET in data
    kept, outcome = strip(store, data)
    assert outcome == "removed"
    assert SECRET not in kept
    assert pixels(kept) == pixels(data)
    assert orientation(kept) == 6
    with Image.open(io.BytesIO(kept)) as image:
        assert set(image.getexif()) == {ORIENTATION}
        assert not image.info.keys() & {"xmp", "comment", "photoshop", "Author", "mpf"}
    assert strip(store, kept) == (kept, "clean")


@every_kind
def test_what_is_clean_stays_as_it_is(store: LocalStorage, name: str) -> None:
    assert strip(store, PLAIN[name]) == (PLAIN[name], "clean")


def exiftool(path: Path, *arguments: str) -> None:
    result = subprocess.run(
        ["exiftool", "-q", "-q", "-overwrite_original", *arguments, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def tags(path: Path) -> dict[str, Any]:
    """Every tag that exiftool finds, unknown, doubled and in trailers too."""
    command = ["exiftool", "-json", "-G1", "-a", "-u", "-U", "-ee", str(path)]
    (found,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert isinstance(found, dict)
    return found


# The groups of exiftool that say what the picture is, not what somebody said of it.
TECHNICAL = {
    "ExifTool", "System", "File", "JFIF", "Adobe", "APP14", "PNG", "PNG-pHYs", "RIFF", "Composite",
    "ICC_Profile", "ICC-header", "ICC-view", "ICC-meas", "ICC-chrm", "IFD0",
}  # fmt: skip


@needs_exiftool
@every_kind
def test_exiftool_finds_nothing_left(store: LocalStorage, tmp_path: Path, name: str) -> None:
    path = tmp_path / f"cat.{name.split()[0]}"
    path.write_bytes(PLAIN[name])
    before = tags(path)
    thumbnail = tmp_path / "thumbnail.jpg"
    thumbnail.write_bytes(saved(picture(size=(16, 16)), "JPEG"))
    words = [
        "-Make=Secret", "-Model=Secret", "-Artist=Secret", "-SerialNumber=Secret",
        "-Orientation#=8", "-GPSLatitude=48.137", "-GPSLatitudeRef=N", "-GPSLongitude=11.575",
        "-GPSLongitudeRef=E", "-DateTimeOriginal=2026:11:22 02:09:40", "-UserComment=Secret",
        "-ImageDescription=Secret", "-XMP:Creator=Secret", "-XMP:GPSLatitude=48.137",
        f"-ThumbnailImage<={thumbnail}",
    ]  # fmt: skip
    if not name.startswith("webp"):
        words += ["-IPTC:City=Secret", "-Comment=Secret"]
    if name.startswith("png"):
        words += ["-PNG:Author=Secret", "-PNG:ModifyDate=2026:11:22 02:09:40"]
    exiftool(path, *words)
    written = tags(path)
    assert written["GPS:GPSLatitude"]
    data = path.read_bytes()
    kept, outcome = strip(store, data)
    assert outcome == "removed"
    path.write_bytes(kept)
    left = tags(path)
    assert "Secret" not in str(left)
    assert {tag.partition(":")[0] for tag in left} - {"SourceFile"} <= TECHNICAL
    new = {tag for tag in left.keys() - before.keys() if not tag.startswith(("System", "RIFF"))}
    assert new <= {"IFD0:Orientation", "File:ExifByteOrder"}
    assert left["IFD0:Orientation"] == "Rotate 270 CW"
    assert pixels(kept) == pixels(data)


@needs_exiftool
def test_iptc_profiles_of_imagemagick_in_a_png(store: LocalStorage, tmp_path: Path) -> None:
    """exiftool writes IPTC into a PNG as `Raw profile type iptc`, as ImageMagick does EXIF."""
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    exiftool(path, "-IPTC:City=Secret")
    assert "IPTC:City" in tags(path)
    assert strip(store, path.read_bytes()) == (PNG, "removed")


@pytest.mark.parametrize(
    "suffix", [".jpg", ".jpg[interlace]", ".png", ".png[interlace]", ".webp", ".webp[lossless]"]
)
def test_pictures_of_libvips(store: LocalStorage, suffix: str) -> None:
    image = pyvips.Image.new_from_buffer(PLAIN["jpeg profile"], "").copy()
    for name in ("exif-data", "xmp-data", "iptc-data"):
        value = b"Exif\0\0" + exif_block() if name == "exif-data" else XMP
        image.set_type(pyvips.GValue.blob_type, name, value)
    image.set_type(pyvips.GValue.gint_type, "orientation", 6)
    data = image.write_to_buffer(suffix)
    assert SECRET in data or suffix.startswith(".png")
    kept, outcome = strip(store, data)
    assert outcome == "removed"
    assert SECRET not in kept
    assert pixels(kept) == pixels(data)
    assert orientation(kept) == 6
    assert set(pyvips.Image.new_from_buffer(kept, "").get_fields()) >= {"icc-profile-data"}
    assert not {"xmp-data", "iptc-data"} & set(pyvips.Image.new_from_buffer(kept, "").get_fields())


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
@pytest.mark.parametrize("name", ["cat.jpg", "cat.png", "cat.apng", "cat.webp"])
def test_pictures_of_ffmpeg(store: LocalStorage, tmp_path: Path, name: str) -> None:
    """It writes its version into each JPEG, as a comment."""
    path = tmp_path / name
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "testsrc=s=160x90:r=3", "-frames:v"]
    count = "3" if name == "cat.apng" else "1"
    subprocess.run(
        [*command, count, "-metadata", f"comment={SECRET.decode()}", str(path)], check=True
    )
    data = path.read_bytes()
    kept, outcome = strip(store, data)
    assert outcome == ("removed" if name == "cat.jpg" else "clean")
    assert b"Lavc" not in kept
    assert pixels(kept) == pixels(data)


# JPEG


@pytest.mark.parametrize("body", SECRET_SEGMENTS.values(), ids=SECRET_SEGMENTS)
def test_each_segment_that_goes(store: LocalStorage, body: bytes) -> None:
    assert strip(store, with_segments(JPEG, body)) == (JPEG, "removed")


ICC = segment(0xE2, b"ICC_PROFILE\0\1\1" + PROFILE)
ADOBE = segment(0xEE, b"Adobe\0d\0\0\0\0\1")


@pytest.mark.parametrize("body", [ICC, ADOBE, segment(0xDD, b"\0\0")], ids=["icc", "adobe", "dri"])
def test_each_segment_that_stays(store: LocalStorage, body: bytes) -> None:
    data = with_segments(JPEG, body)
    assert strip(store, data) == (data, "clean")
    assert strip(store, with_segments(data, SECRET_SEGMENTS["comment"])) == (data, "removed")


def test_thumbnail_in_jfif_and_tail_of_adobe(store: LocalStorage) -> None:
    jfif = b"JFIF\0\1\2\1\0\x48\0\x48"
    data = JPEG[:2] + JPEG[20:]  # without its own JFIF
    fat = with_segments(data, segment(0xE0, jfif + b"\1\1" + SECRET[:3]), ADOBE)
    lean = with_segments(data, segment(0xE0, jfif + b"\0\0"), ADOBE)
    assert strip(store, fat) == (lean, "removed")
    assert pixels(fat) == pixels(lean)
    tail = segment(0xEE, ADOBE[4:] + SECRET)
    assert strip(store, with_segments(data, tail)) == (with_segments(data, ADOBE), "removed")


def test_segments_between_scans(store: LocalStorage) -> None:
    data = PLAIN["jpeg progressive"]
    second = data.index(b"\xff\xda", data.index(b"\xff\xda") + 1)
    inner = exif_segment() + b"".join(SECRET_SEGMENTS.values())
    tagged = data[:second] + inner + data[second:]
    kept, outcome = strip(store, tagged)
    # That EXIF comes too late: no decoder turned the picture by it.
    assert (kept, outcome) == (data, "removed")
    assert pixels(tagged) == pixels(data)


@pytest.mark.parametrize(
    "trailer",
    [
        pytest.param(SECRET, id="text"),
        pytest.param(b"\0\0\0\x18ftypmp42" + SECRET, id="motion-photo"),
        pytest.param(with_segments(JPEG, exif_segment()), id="second-picture"),
        pytest.param(b"\0" * segments.BLOCK + SECRET, id="long"),
    ],
)
@every_kind
def test_what_follows_the_picture_goes(store: LocalStorage, name: str, trailer: bytes) -> None:
    assert strip(store, PLAIN[name] + trailer) == (PLAIN[name], "removed")


def test_second_pictures_of_a_phone(store: LocalStorage) -> None:
    """As gain maps are kept: a multi-picture file, which Pillow writes and knows."""
    first, second = picture(), picture().rotate(180)
    data = saved(first, "MPO", save_all=True, append_images=[second], exif=exif_block())
    kept, outcome = strip(store, data)
    assert outcome == "removed"
    assert len(kept) < len(data) * 0.7
    with Image.open(io.BytesIO(kept)) as image:
        assert (image.format, getattr(image, "n_frames", 1)) == ("JPEG", 1)
    assert pixels(kept)[1:2] == pixels(data)[1:2]


def test_fill_bytes_and_rubbish_between_segments(store: LocalStorage) -> None:
    comment = SECRET_SEGMENTS["comment"]
    data = with_segments(
        JPEG, b"\xff\xff" + comment, b"\xff" * 5 + comment, SECRET, b"\xff\0\xff\xd3"
    )
    assert strip(store, data) == (JPEG, "removed")
    assert decoded(data) == decoded(JPEG)
    at_end = JPEG[:-2] + b"\xff\xff\xff" + JPEG[-2:]
    assert strip(store, at_end) == (at_end, "clean")


@pytest.mark.parametrize("shift", range(-4, 5))
def test_marker_at_the_border_of_a_block(store: LocalStorage, shift: int) -> None:
    """The scan is lengthened so that what follows it lies across the border of two reads."""
    start = JPEG.index(b"\xff\xda")
    ends, offset, size = [], start + 2 + int.from_bytes(JPEG[start + 2 : start + 4], "big"), 1024
    for _ in range(6):
        ends.append(offset + size)
        offset, size = offset + size - 1, min(8 * size, segments.BLOCK)
    for end in ends:
        if end < len(JPEG):
            continue
        scan = JPEG[:-2].ljust(end + shift, b"\x55")
        data = scan + SECRET_SEGMENTS["comment"] + b"\xff\xd9"
        assert strip(store, data) == (scan + b"\xff\xd9", "removed")


def test_a_scan_cut_short_is_stripped_as_far_as_it_goes(store: LocalStorage) -> None:
    """Browsers show such a picture, and its EXIF is whole."""
    for length in (len(JPEG) // 2, len(JPEG) - 2, len(JPEG) - 1):
        cut = JPEG[:length]
        data = with_segments(cut, exif_segment(1), *SECRET_SEGMENTS.values())
        assert strip(store, data) == (cut, "removed")


def test_a_header_cut_short_cannot_be_parsed(store: LocalStorage) -> None:
    data = TAGGED["jpeg"]
    for length in range(3, data.index(b"\xff\xda"), 5):
        assert strip(store, data[:length]) == (data[:length], "unparsed")


# Orientation


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("form", ["jpeg", "png", "webp"])
def test_orientation_stays(store: LocalStorage, form: str, value: int, order: str) -> None:
    if form == "webp":
        data = saved(picture(), "WEBP", exif=exif_block(value, order))
    elif form == "png":
        data = with_chunks(PNG, chunk(b"eXIf", exif_block(value, order)))
    else:
        data = with_segments(JPEG, exif_segment(value, order))
    assert orientation(data) == value
    kept, outcome = strip(store, data)
    assert outcome == "removed"
    assert orientation(kept) == value
    assert (b"MM\0*" in kept) == (value != 1)
    assert pixels(kept) == pixels(data)
    assert strip(store, kept) == (kept, "clean")


def tiff(*entries: tuple[int, int, int, bytes], start: int = 8, count: int | None = None) -> bytes:
    body = b"".join(struct.pack(">HHI4s", *entry) for entry in entries)
    count = len(entries) if count is None else count
    return b"MM\0*" + struct.pack(">IH", start, count) + body + bytes(4)


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        pytest.param(tiff((0x0112, 3, 1, b"\0\6\0\0")), 6, id="good"),
        pytest.param(b"Exif\0\0" + tiff((0x0112, 3, 1, b"\0\6\0\0")), 6, id="prefixed"),
        pytest.param(tiff((1, 3, 1, b"\0\1"), (0x0112, 3, 1, b"\0\x03\0\0")), 3, id="second"),
        pytest.param(tiff((0x0112, 3, 1, b"\0\6\0\0"), count=9), 6, id="before-the-cut"),
        pytest.param(tiff((1, 3, 1, b"\0\1"), count=65535), None, id="count-too-large"),
        pytest.param(tiff((0x0112, 3, 1, b"\0\1\0\0")), None, id="one"),
        pytest.param(tiff((0x0112, 3, 1, b"\0\0\0\0")), None, id="zero"),
        pytest.param(tiff((0x0112, 3, 1, b"\0\x09\0\0")), None, id="nine"),
        pytest.param(tiff((0x0112, 3, 2, b"\0\6\0\6")), None, id="two-values"),
        pytest.param(tiff((0x0112, 4, 1, b"\0\0\0\6")), None, id="long"),
        pytest.param(tiff(), None, id="empty"),
        pytest.param(tiff((0x0112, 3, 1, b"\0\6"), start=0xFFFFFFFF), None, id="start-too-far"),
        pytest.param(tiff((0x0112, 3, 1, b"\0\6"))[:12], None, id="cut"),
        pytest.param(b"MM\0*", None, id="head-alone"),
        pytest.param(b"XX\0*" + bytes(20), None, id="no-order"),
        pytest.param(b"", None, id="nothing"),
    ],
)
def test_orientation_in_odd_exif(store: LocalStorage, block: bytes, expected: int | None) -> None:
    assert exif.find_orientation(block) == expected
    for data in (
        with_segments(JPEG, segment(0xE1, b"Exif\0\0" + block)),
        with_chunks(PNG, chunk(b"eXIf", block)),
    ):
        kept, outcome = strip(store, data)
        assert outcome == ("clean" if expected and block == exif.make(expected) else "removed")
        assert (exif.make(expected) in kept) if expected else kept in (JPEG, PNG)


def test_the_first_of_two_exif_blocks_counts(store: LocalStorage) -> None:
    data = with_segments(JPEG, exif_segment(3), exif_segment(6))
    assert orientation(strip(store, data)[0]) == 3
    data = with_chunks(PNG, chunk(b"eXIf", exif_block(1)), chunk(b"eXIf", exif_block(6)))
    assert strip(store, data) == (PNG, "removed")


# PNG


@pytest.mark.parametrize("body", SECRET_CHUNKS.values(), ids=SECRET_CHUNKS)
def test_each_chunk_that_goes(store: LocalStorage, body: bytes) -> None:
    assert strip(store, with_chunks(PNG, body)) == (PNG, "removed")
    assert strip(store, PNG[:-12] + body + PNG[-12:]) == (PNG, "removed")


SHOWN = (b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"pHYs", b"cICP", b"mDCV")


@pytest.mark.parametrize("kind", [*SHOWN, b"cLLI", b"hIST", b"sPLT", b"acTL", b"fcTL", b"fdAT"])
def test_each_chunk_that_stays(store: LocalStorage, kind: bytes) -> None:
    data = with_chunks(PNG, chunk(kind, b"abcdef"))
    assert strip(store, data) == (data, "clean")


def test_a_png_cut_short_is_stripped_as_far_as_it_goes(store: LocalStorage) -> None:
    cut = PNG[: len(PNG) // 2]
    assert strip(store, with_chunks(cut, *SECRET_CHUNKS.values())) == (cut, "removed")


# WebP


def test_flags_and_size_tell_what_is_left(store: LocalStorage) -> None:
    data = saved(picture("RGBA"), "WEBP", exif=exif_block(1), xmp=XMP, icc_profile=PROFILE)
    assert data[20] == 0x3C  # ICC, alpha, EXIF, XMP
    kept, _ = strip(store, data)
    assert kept[20] == 0x30
    assert struct.unpack_from("<I", kept, 4) == (len(kept) - 8,)
    assert b"EXIF" not in kept


def test_padding(store: LocalStorage) -> None:
    odd = riff_chunk(b"EXIF", exif_block(1) + b"x" * (1 + len(exif_block(1)) % 2))
    xmp = riff_chunk(b"XMP ", XMP + b"x" * (len(XMP) % 2))
    assert strip(store, with_riff_chunks(WEBP, odd, xmp)) == (WEBP, "removed")
    unpadded = with_riff_chunks(WEBP, odd[:-1])
    assert strip(store, unpadded) == (WEBP, "removed")
    assert strip(store, unpadded + b"\0") == (WEBP, "removed")


def test_the_last_padding_may_be_missing_or_not_counted(store: LocalStorage) -> None:
    data = WEBP[:12] + struct.pack("<4sI", b"VP8L", 13) + b"\x2f" + bytes(12)
    missing = data[:4] + struct.pack("<I", len(data) - 8) + data[8:]
    assert strip(store, missing) == (missing, "clean")
    assert strip(store, missing + b"\0") == (missing + b"\0", "clean")
    assert strip(store, missing + b"\0" + SECRET) == (missing + b"\0", "removed")


def test_exif_without_its_header_turns_nothing(store: LocalStorage) -> None:
    """No decoder looks for EXIF in a WebP without VP8X."""
    data = with_riff_chunks(WEBP, riff_chunk(b"EXIF", exif_block(6)))
    assert orientation(data) == 1
    assert strip(store, data) == (WEBP, "removed")


def test_a_webp_cut_short_is_stripped_as_far_as_it_goes(store: LocalStorage) -> None:
    data = with_riff_chunks(riff_chunk(b"XMP ", XMP).join([WEBP[:12], WEBP[12:]]))
    cut, shown = data[:-100], WEBP[:-100]
    assert strip(store, cut) == (shown, "removed")


# What is not stripped


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved(picture(), "GIF"), id="gif"),
        pytest.param(saved(picture(), "TIFF"), id="tiff"),
        pytest.param(saved(picture(), "AVIF", exif=exif_block()), id="avif"),
        pytest.param(b"\0\0\0\x18ftypheic" + SECRET, id="heic"),
        pytest.param(b"\0\0\0\x18ftypmp42" + SECRET, id="mp4"),
        pytest.param(b"RIFF\x24\0\0\0WAVEfmt " + SECRET, id="wav"),
        pytest.param(b"%PDF-1.7\n" + SECRET, id="pdf"),
        pytest.param(b"<svg>" + SECRET, id="svg"),
        pytest.param(b"\xff", id="byte"),
        pytest.param(b" " + TAGGED["jpeg"], id="jpeg-after-a-blank"),
    ],
)
def test_other_kinds_are_not_touched(store: LocalStorage, data: bytes) -> None:
    assert strip(store, data) == (data, "untouched")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"\xff\xd8\xff", id="jpeg-start-alone"),
        pytest.param(b"\xff\xd8\xff\xd9", id="jpeg-without-scan"),
        pytest.param(with_segments(JPEG, b"\xff\xe1\0\1"), id="jpeg-length-one"),
        pytest.param(with_segments(JPEG, b"\xff\xd8"), id="jpeg-second-start"),
        pytest.param(with_segments(JPEG, segment(0xF7, SECRET)), id="jpeg-ls"),
        pytest.param(JPEG[:-9] + b"\xff\x01" + JPEG[-9:], id="jpeg-temporary"),
        pytest.param(with_segments(JPEG, segment(0x02, SECRET)), id="jpeg-reserved"),
        pytest.param(PNG[:8], id="png-signature-alone"),
        pytest.param(PNG[:33], id="png-without-picture"),
        pytest.param(PNG[:8] + PNG[33:], id="png-without-header"),
        pytest.param(with_chunks(PNG, PNG[8:33]), id="png-second-header"),
        pytest.param(with_chunks(PNG, chunk(b"a\0bc", SECRET)), id="png-odd-type"),
        pytest.param(with_chunks(PNG, b"\xff\xff\xff\xfftEXt"), id="png-length"),
        pytest.param(WEBP[:12], id="webp-start-alone"),
        pytest.param(WEBP[:4] + b"\4\0\0\0" + WEBP[8:], id="webp-size-too-small"),
        pytest.param(WEBP[:4] + b"\0\0\0\0" + WEBP[8:], id="webp-size-zero"),
        pytest.param(WEBP[:16] + b"\xff\xff\xff\xff" + WEBP[20:], id="webp-chunk-too-large"),
        pytest.param(with_riff_chunks(WEBP[:12], riff_chunk(b"XMP ", XMP)), id="webp-xmp-alone"),
    ],
)
def test_what_cannot_be_parsed_is_kept_as_it_is(store: LocalStorage, data: bytes) -> None:
    assert strip(store, data) == (data, "unparsed")


@pytest.mark.parametrize(
    ("whole", "at", "part", "most"),
    [
        pytest.param(JPEG, 2, b"\xff\xfe\0\2", segments.MAX_SEGMENTS, id="jpeg"),
        pytest.param(PNG, 33, chunk(b"tEXt", b""), segments.MAX_CHUNKS, id="png"),
        # Kept and removed by turns, which takes many pieces.
        pytest.param(
            PNG, 33, chunk(b"tEXt", b"") + chunk(b"pHYs", b""), segments.MAX_PIECES, id="pieces"
        ),
    ],
)
def test_more_parts_than_any_real_picture_has(
    store: LocalStorage, whole: bytes, at: int, part: bytes, most: int
) -> None:
    few = whole[:at] + part * (most - 100) + whole[at:]
    assert strip(store, few)[1] == "removed"
    data = whole[:at] + part * (most + 1) + whole[at:]
    assert strip(store, data) == (data, "unparsed")


def test_memory_does_not_grow_with_the_file(store: LocalStorage) -> None:
    size = 48 * 1024 * 1024
    with store.open() as incoming:
        incoming.write(with_segments(JPEG, exif_segment())[:-2])
        for _ in range(size // (1 << 20)):
            incoming.write(b"\x55" * (1 << 20))
        incoming.write(b"\xff\xd9")
        tracemalloc.start()
        stripped = metadata.strip(store, incoming)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        with stripped.file as file:
            assert stripped.outcome == "removed"
            assert file.size > size
    assert peak < 4 * 1024 * 1024


def test_a_full_disk_leaves_nothing_open(
    store: LocalStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with store.open() as incoming:
        incoming.write(TAGGED["jpeg"])
        before = os.listdir("/proc/self/fd")
        with monkeypatch.context() as patch:
            patch.setattr(os, "write", full)
            with pytest.raises(NoSpace):
                metadata.strip(store, incoming)
        assert os.listdir("/proc/self/fd") == before
        assert isinstance(incoming, LocalIncoming)
        assert incoming.fd >= 0


# Who asks for it


def apply(store: LocalStorage, tmp_path: Path, mode: str, is_listed: bool, wish: str) -> Stripped:
    file = tmp_path / "config.ini"
    file.write_text(f"[uploads]\nstrip_metadata = {mode}\n")
    incoming = store.open()
    incoming.write(TAGGED["jpeg"])
    try:
        return metadata.apply(
            config.load(file, {}), store, incoming, is_listed=is_listed, wish=wish
        )
    except BaseException:
        incoming.close()
        raise


@pytest.mark.parametrize(
    ("mode", "is_listed", "wish", "is_stripped"),
    [
        ("listed", True, "", True),
        ("listed", False, "", False),
        ("listed", False, "yes", True),
        ("listed", True, "no", False),
        ("all", False, "", True),
        ("all", True, "", True),
        ("all", False, "0", False),
        ("off", True, "", False),
        ("off", False, "  ", False),
        ("off", False, " On ", True),
        ("off", True, "1", True),
        ("off", True, "TRUE", True),
        ("all", True, "false", False),
        ("all", True, "off", False),
    ],
)
def test_configuration_and_wish(
    store: LocalStorage, tmp_path: Path, mode: str, is_listed: bool, wish: str, is_stripped: bool
) -> None:
    stripped = apply(store, tmp_path, mode, is_listed, wish)
    with stripped.file as file:
        assert stripped.outcome == ("removed" if is_stripped else None)
        assert (SECRET in file.read_at(file.size, 0)) is not is_stripped


@pytest.mark.parametrize("wish", ["maybe", "yes please", "2", "ja", "\0"])
@pytest.mark.parametrize("mode", ["listed", "all", "off"])
def test_a_wish_that_is_neither(store: LocalStorage, tmp_path: Path, mode: str, wish: str) -> None:
    with pytest.raises(Invalid, match=r"^strip-metadata must be yes or no\.$"):
        apply(store, tmp_path, mode, True, wish)
