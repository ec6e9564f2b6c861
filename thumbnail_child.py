"""Make one thumbnail. Run by thumbnails.py as a process of its own, which a hostile file may take.

    thumbnail_child.py image|video INPUT OUTPUT SIDE CPU MEMORY PIXELS [FFMPEG]

INPUT and OUTPUT are open descriptors, SIDE is the longest side in pixels, CPU is seconds, MEMORY
bytes, PIXELS what a picture may claim at most. Standard output gets the picture's width and height
as it is looked at. The exit status is one of those below.
"""

import os
import resource
import subprocess
import sys
from contextlib import suppress
from typing import Any

REFUSED = 3  # this file gives no thumbnail, today or tomorrow
UNWRITTEN = 4  # the disk took no thumbnail
_OUTPUT = 1024 * 1024  # bytes; 400 by 400 pixels never need a quarter of it
_FILES = 32
_NICE = 10  # about a tenth of the processor while the server wants all of it
_QUALITY = 80
_SIGNATURES = (
    (b"\x89PNG\r\n\x1a\n", "VipsForeignLoadPng"),
    (b"\xff\xd8\xff", "VipsForeignLoadJpeg"),
    (b"GIF87a", "VipsForeignLoadNsgif"),
    (b"GIF89a", "VipsForeignLoadNsgif"),
)
_FRAMES = 10  # frames of a video among which the most telling one is taken
_START = ("1", "0")  # seconds; the first frame of all is often black, and a clip may be short


class _Refused(Exception):
    pass


def main(
    kind: str, source: int, target: int, side: int, cpu: int, memory: int, pixels: int, ffmpeg: str
) -> int:
    """Limit this process, then make the thumbnail. Returns the exit status."""
    _step_back()
    for what, most in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, _OUTPUT),
        (resource.RLIMIT_NOFILE, _FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (most, most))
    import pyvips  # under the limits already

    pyvips.operation_block_set("VipsForeignLoad", True)
    pyvips.cache_set_max(0)
    # The thumbnail's profile is sRGB, which needs no telling: no metadata at all is kept.
    options: dict[str, Any] = {"height": side, "size": "down", "export_profile": "srgb"}
    try:
        if kind == "video":
            frame = _frame(pyvips, source, pixels, ffmpeg)
            width, height = frame.width, frame.height
            small = frame.thumbnail_image(side, **options)
        else:
            picture = _picture(pyvips, source)
            width, height = _seen(pyvips, picture, pixels)
            # Told to the loader: thumbnail_source's own fail_on does not reach it.
            options["option_string"] = "[fail_on=truncated]"
            small = pyvips.Image.thumbnail_source(picture, side, **options)
        data = memoryview(small.webpsave_buffer(Q=_QUALITY, keep="none"))
    except (_Refused, MemoryError, pyvips.Error):
        return REFUSED
    try:
        while data:
            data = data[os.write(target, data) :]
    except OSError:
        return UNWRITTEN
    print(width, height)
    return 0


def _step_back() -> None:
    """Leave processor and memory to the server; what the system does not grant is done without."""
    with suppress(OSError):
        os.nice(_NICE)
    for name, value in (
        # A session of its own is a group of its own for the processor, among which niceness does
        # not count (sched(7), "The autogroup feature"): without this it would take a half.
        ("autogroup", _NICE),
        ("oom_score_adj", 1000),  # where memory ends, the kernel ends this process and no other
    ):
        with suppress(OSError), open(f"/proc/self/{name}", "w") as file:
            file.write(str(value))


def _picture(pyvips: Any, source: int) -> Any:
    """The source of a picture, with the one loader allowed that its first bytes call for."""
    head = os.pread(source, 64, 0)
    loader = next((name for start, name in _SIGNATURES if head.startswith(start)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        loader = "VipsForeignLoadWebp"
    elif head[4:8] == b"ftyp" and (b"avif" in head or b"avis" in head):
        loader = "VipsForeignLoadHeif"
    if loader is None:
        raise _Refused
    pyvips.operation_block_set(loader, False)
    return pyvips.Source.new_from_descriptor(source)


def _seen(pyvips: Any, picture: Any, pixels: int) -> tuple[int, int]:
    """Width and height as the picture is looked at, by its header alone: nothing is decoded."""
    header = pyvips.Image.new_from_source(picture, "", access="sequential")
    if header.width * header.height > pixels:
        raise _Refused
    # Orientations 5 to 8 stand on their side (Exif 2.32, 4.6.4).
    if header.get_typeof("orientation") and header.get("orientation") >= 5:
        return header.height, header.width
    return header.width, header.height


def _frame(pyvips: Any, source: int, pixels: int, ffmpeg: str) -> Any:
    """One frame of a video, by ffmpeg under the limits of this process."""
    head = os.pread(source, 64, 0)
    if head[4:8] == b"ftyp":
        form = "mp4"
    elif head[:4] == b"\x1aE\xdf\xa3":
        form = "webm"
    else:
        raise _Refused
    for start in _START:
        # The demuxer is named and files are the only protocol: no playlist, no other address.
        command = [
            ffmpeg, "-nostdin", "-v", "quiet", "-threads", "1", "-max_pixels", str(pixels),
            "-protocol_whitelist", "file", "-f", form, "-ss", start, "-i", f"file:/dev/fd/{source}",
            "-an", "-sn", "-dn", "-vf", f"thumbnail=n={_FRAMES}", "-frames:v", "1",
            "-c:v", "ppm", "-pix_fmt", "rgb24", "-f", "image2pipe", "-threads", "1", "pipe:1",
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, pass_fds=(source,)
        ) as process:
            assert process.stdout is not None
            head = process.stdout.readline(16) + process.stdout.readline(64)
            numbers = head.split()  # P6 width height
            if len(numbers) == 3 and numbers[0] == b"P6" and process.stdout.readline(16):
                width, height = int(numbers[1]), int(numbers[2])
                if width * height > pixels:
                    process.kill()
                    raise _Refused
                data = process.stdout.read(width * height * 3)
                if len(data) == width * height * 3:
                    process.kill()
                    return pyvips.Image.new_from_memory(data, width, height, 3, "uchar")
    raise _Refused


if __name__ == "__main__":
    kind, *numbers = sys.argv[1:8]
    source, target, side, cpu, memory, pixels = map(int, numbers)
    ffmpeg = sys.argv[8] if len(sys.argv) > 8 else ""
    sys.exit(main(kind, source, target, side, cpu, memory, pixels, ffmpeg))
