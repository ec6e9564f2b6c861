"""From a stored name's extension to the media type and headers under which its bytes are served.

The deployment's nginx configuration carries the same map; a test holds the two together.
"""

_IMAGES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
}
_VIDEOS = {"mp4": "video/mp4", "webm": "video/webm"}
_AUDIO = {
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "opus": "audio/ogg",
    "flac": "audio/flac",
    "wav": "audio/wav",
}
_DOCUMENTS = {"pdf": "application/pdf", "svg": "image/svg+xml"}

# Text that a browser could run or render is shown as source: nosniff alone stops none of it, and
# an uploaded script typed as one would run on any page whose CSP trusts the uploads' origin.
TEXT_TYPE = "text/plain; charset=utf-8"
_TEXT = """
    html htm xhtml xht shtml xml xsl xslt rss atom js mjs cjs jsx ts tsx css scss less
    json jsonl json5 map webmanifest md markdown rst adoc tex txt text log csv tsv ini
    conf cfg toml yaml yml env properties diff patch sql graphql proto sh bash zsh fish
    ps1 bat cmd py pyi rb pl pm php lua tcl r jl c h cc cpp cxx hpp hh m mm cs java kt kts
    scala groovy go rs swift dart zig nim d hs ml mli fs fsx ex exs erl clj cljs lisp el
    scm vim asm s v vhd tf nix srt vtt ass ics vcf sxcu nfo
"""
TEXT_EXTENSIONS = frozenset(_TEXT.split())

_TYPES = _IMAGES | _VIDEOS | _AUDIO | _DOCUMENTS
OCTETS = "application/octet-stream"

_STRICT = (
    "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'none'; "
    "base-uri 'none'; sandbox"
)
# Chromium refuses to play a video opened by its link under `sandbox`.
_PLAYABLE = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src 'self'; media-src 'self'; "
    "frame-ancestors 'none'; form-action 'none'; base-uri 'none'"
)


def extension(name: str) -> str:
    """The last extension of a stored name, without its dot; empty when it has none."""
    return name.rpartition(".")[2] if "." in name else ""


def media_type(name: str) -> str:
    """The Content-Type under which the stored file `name` is served."""
    suffix = extension(name)
    if suffix in TEXT_EXTENSIONS:
        return TEXT_TYPE
    return _TYPES.get(suffix, OCTETS)


def kind(name: str) -> str:
    """What a page does with the stored file `name`: image, video, audio, text or other."""
    suffix = extension(name)
    if suffix in _IMAGES:
        return "image"
    if suffix in _VIDEOS:
        return "video"
    if suffix in _AUDIO:
        return "audio"
    return "text" if suffix in TEXT_EXTENSIONS else "other"


def headers(name: str) -> dict[str, str]:
    """Every header that the bytes of the stored file `name` are served with, on any server.

    The reasons are those of OWASP's File Upload Cheat Sheet: no sniffing, no script, no framing,
    no referrer that would give the file's unguessable link away.
    """
    playable = kind(name) in ("image", "video", "audio")
    return {
        "Content-Type": media_type(name),
        "Content-Security-Policy": _PLAYABLE if playable else _STRICT,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
