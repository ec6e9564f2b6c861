"""Pastes: what may be pasted, and what the file is called that a paste becomes."""

import storage as files
import texts
from errors import Invalid, TooLarge
from storage import MIB

MAX = MIB  # bytes of a text as UTF-8
MAX_TITLE = 200  # characters

# Extension and name of each language to choose from; the extension decides over the colours.
LANGUAGES = {
    "txt": "Plain text",
    "md": "Markdown",
    "sh": "Bash / shell",
    "c": "C",
    "cpp": "C++",
    "cs": "C#",
    "css": "CSS",
    "csv": "CSV",
    "diff": "Diff / patch",
    "go": "Go",
    "hs": "Haskell",
    "html": "HTML",
    "ini": "INI",
    "java": "Java",
    "js": "JavaScript",
    "json": "JSON",
    "kt": "Kotlin",
    "tex": "LaTeX",
    "log": "Log",
    "lua": "Lua",
    "nix": "Nix",
    "pl": "Perl",
    "php": "PHP",
    "ps1": "PowerShell",
    "py": "Python",
    "r": "R",
    "rb": "Ruby",
    "rs": "Rust",
    "scala": "Scala",
    "sql": "SQL",
    "swift": "Swift",
    "toml": "TOML",
    "ts": "TypeScript",
    "vim": "Vim script",
    "xml": "XML",
    "yaml": "YAML",
    "zig": "Zig",
}
# Of these a text shows signs; others would only be taken for something else.
_SIGNED = "json diff html xml php py sh js rb pl go java rs cpp c ts sql css md toml ini yaml"
_GUESSED = tuple(_SIGNED.split())


def check_text(text: str, most: int) -> str:
    """A text as it is stored, with plain line ends.

    Args:
        most: bytes that a file may have on this host.

    Raises:
        Invalid: there is nothing in it, or what no text has.
        TooLarge: it is too long.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if not text.strip():
        raise Invalid("There is no text yet.")
    if "\0" in text:
        raise Invalid("This is not text; send it as a file by the upload page.")
    most = min(most, MAX)
    if len(text.encode("utf-8", "replace")) > most:
        limit = most // MIB
        raise TooLarge(f"A paste has at most {limit} MB; send more as a file by the upload page.")
    return text.encode("utf-8", "replace").decode()


def name_for(title: str, language: str, text: str) -> str:
    """The name of the file that a paste becomes.

    Args:
        title: what its author calls it; may be empty, may have an extension.
        language: an extension among LANGUAGES; empty to guess it from the title, else the text.

    Raises:
        Invalid: the language is none, or the title too long.
    """
    if language and language not in LANGUAGES:
        raise Invalid("This language is not known here.")
    if len(title) > MAX_TITLE:
        raise Invalid(f"A title has at most {MAX_TITLE} characters.")
    name = files.display_name(title).strip(". ") or "paste"
    given = files.extension_of(name).lstrip(".")
    if not language and given and texts.is_shown(name):
        return name
    language = language or texts.guess(text, _GUESSED)
    return name if given == language else f"{name}.{language}"
