"""Colour, render or guess one text. Run by texts.py as a process of its own: a lexer's patterns may
be at a hostile text for ever, and the packages that do this stay out of the server's memory.

    text_child.py colour CPU MEMORY SECONDS NAME
        how many lines have colours, then all lines as HTML
    text_child.py render CPU MEMORY SECONDS PREFIX...
        Markdown as sanitised HTML; pictures only where their address begins with a PREFIX
    text_child.py guess CPU MEMORY SECONDS EXTENSION...
        which of these extensions fits best, or txt

Standard input is the text as UTF-8, standard output the result. CPU is seconds and MEMORY bytes
that the process may take at most; after SECONDS a text goes on without colours. The exit status is
0, or REFUSED when there is no result.
"""

import html
import json
import os
import re
import resource
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

REFUSED = 3
_OUTPUT = 8 * 1024 * 1024  # bytes of HTML, after which a text goes on without colours
_HEAD = 16 * 1024  # characters that are looked at to guess a language

# Few colours: what most of a text consists of has none, which keeps its page small.
CLASSES = {
    "Keyword": "k", "Keyword.Constant": "m", "Keyword.Type": "t",
    "Literal": "m", "Literal.String": "s", "Literal.String.Escape": "m", "Literal.Number": "m",
    "Comment": "c", "Comment.Preproc": "k", "Operator.Word": "k",
    "Name.Function": "f", "Name.Class": "t", "Name.Decorator": "f", "Name.Builtin": "t",
    "Name.Exception": "t", "Name.Namespace": "t", "Name.Constant": "m", "Name.Tag": "k",
    "Name.Attribute": "f", "Name.Label": "f", "Name.Entity": "m", "Name.Variable": "t",
    "Generic.Heading": "f", "Generic.Subheading": "f", "Generic.Deleted": "d",
    "Generic.Inserted": "i", "Generic.Emph": "s", "Generic.Strong": "k", "Generic.Prompt": "c",
    "Generic.Output": "c",
}  # fmt: skip

_KEPT = """
    a abbr b blockquote br caption cite code dd del details dfn div dl dt em h1 h2 h3 h4 h5 h6
    hr i img ins kbd li mark ol p pre q s samp small span strong sub summary sup table tbody td
    tfoot th thead tr u ul var
"""
_DROPPED = "script style title textarea noscript template iframe svg math"
_ATTRIBUTES = {
    "a": {"href", "title"},
    "abbr": {"title"},
    "details": {"open"},
    "img": {"src", "alt", "title", "width", "height"},
    "ol": {"start"},
    "td": {"align", "colspan", "rowspan"},
    "th": {"align", "colspan", "rowspan"},
}
_LINK = re.compile(r"(?:https?://|mailto:)\S", re.IGNORECASE)

# What Pygments' own guessing misses or takes for something else, in the order of asking.
_SIGNS = r"""
diff  \A(?:diff --git |--- \S.*\n\+\+\+ |Index: |commit [0-9a-f]{40})
html  \A\s*<(?:!doctype html|!DOCTYPE html|html)\b
xml   \A\s*<\?xml\b
php   \A\s*<\?php\b
py    \A#!.*\bpython
sh    \A#!.*\b(?:ba|z|da|k)?sh\b
js    \A#!.*\bnode\b
rb    \A#!.*\bruby\b
pl    \A#!.*\bperl\b
go    ^package \w+\s*$[\s\S]*^(?:import|func|type|var|const)\b
java  ^(?:package|import) [\w.]+(?:\.\*)?;\s*$|^public (?:final |abstract )?class \w
rs    ^(?:pub )?(?:fn \w+.*\{|use \w+::.*;|impl\b.*\{|mod \w+;)\s*$
cpp   ^#include <(?:iostream|vector|string|map|memory|algorithm)>|^using namespace\b
c     ^#include [<"]
ts    ^(?:export )?(?:interface|type) \w+.*[={]\s*$
js    ^(?:import .* from ['"]|export (?:default|const|function)\b|(?:const|let|var) \w+ = )
js    ^(?:async )?function \w+\(.*\)\s*\{
py    ^(?:from [\w.]+ import |import [\w., ]+$|(?:async )?def \w+\(.*:\s*$|class \w+.*:\s*$)
sql   (?i:^\s*(?:select\b[^;]*\bfrom\b|insert into |create (?:table|index|view)\b|update \w+ set ))
css   ^[.#@:\w][^{}\n;]*\{\s*$[^{}]*^\s+[\w-]+:[^;]*;\s*$
md    ^```\w*$|^#{1,6} \S.*$[\s\S]*?(?:^[-*] |\]\(|^#{1,6} |\*\*\w)
toml  ^\[+[\w."-]+\]+\s*$[\s\S]*?^[\w.-]+ = (?:"|\[|\d|true|false)
ini   ^\[[^\]\n]+\]\s*$[\s\S]*?^[\w.-]+\s*=
yaml  \A(?:---\s*$|(?:#.*\n|\s*\n)*[\w-]+:(?: .*)?\n(?:[\w-]+:(?: .*)?$|\s+[\w-]+:|\s*- ))
"""


class _Refused(Exception):
    pass


def main(what: str, cpu: int, memory: int, seconds: float, *rest: str) -> int:
    """Limit this process, then do what it is for. Returns the exit status."""
    deadline = time.monotonic() + seconds
    os.nice(5)
    for limit, most in (
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(limit)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (most, most))
    text = sys.stdin.buffer.read().decode()
    try:
        if what == "colour":
            count, lines = colour(text, rest[0], deadline)
            result = f"{count}\n" + "\n".join(lines)
        else:
            result = render(text, rest, deadline) if what == "render" else guess(text, rest)
            result += "\n"  # never empty, which would be no result
    except (_Refused, MemoryError, RecursionError):
        return REFUSED
    sys.stdout.buffer.write(result.encode())
    return 0


def colour(text: str, name: str, deadline: float) -> tuple[int, list[str]]:
    """The lines of `text` as HTML, in the language that its `name` speaks of.

    Args:
        deadline: by the monotonic clock, in seconds; what is left by then stays as it is.

    Returns:
        how many lines have colours, and all of them; as many as there are line ends, and one.
    """
    from pygments.lexers import find_lexer_class_for_filename

    found = find_lexer_class_for_filename(name, text[:_HEAD])
    if found is None or found.name == "Text only":
        raise _Refused
    return _coloured(found(), text, deadline)


def _coloured(lexer: Any, text: str, deadline: float) -> tuple[int, list[str]]:
    # Most lexers expect the last line to be ended; _preprocess of Pygments would do that too, but
    # also drop blank lines.
    ended = text if text.endswith("\n") else f"{text}\n"
    pieces: list[str] = []
    size = done = steps = 0
    css = _Classes()
    for start, kind, value in lexer.get_tokens_unprocessed(ended):
        if start < done:
            continue  # a few lexers come back to what they have told
        if start > done:
            value, start = ended[done:start] + value, done
        name, plain = css[kind], html.escape(value, quote=False)
        if name and not value.isspace():
            parts = plain.split("\n")
            plain = "\n".join(
                f'<span class="{name}">{part}</span>' if part else "" for part in parts
            )
        pieces.append(plain)
        size += len(plain)
        done = start + len(value)
        steps += 1
        if size > _OUTPUT or (steps % 256 == 0 and time.monotonic() > deadline):
            break
    head = "".join(pieces)
    count = head.count("\n") + 1
    whole = (head + html.escape(ended[done:], quote=False)).split("\n")
    if not text.endswith("\n"):
        whole.pop()  # the line end that we have put there
    return min(count, len(whole)), whole


class _Classes(dict[Any, str]):
    """The class of a type of token, or of the nearest of its parents that has one."""

    def __missing__(self, kind: Any) -> str:
        name = ".".join(kind)
        found = CLASSES.get(name, "" if kind.parent is None else self[kind.parent])
        self[kind] = found
        return found


def render(text: str, prefixes: tuple[str, ...], deadline: float) -> str:
    """Markdown as HTML in which nothing runs and nothing is fetched from elsewhere.

    Args:
        prefixes: what the address of a picture begins with that is shown; others become links.
        deadline: as for `colour`; code after it has no colours.
    """
    import mistune
    import nh3
    from mistune.plugins.task_lists import task_lists

    class Renderer(mistune.HTMLRenderer):
        def image(self, text: str, url: str, title: str | None = None) -> str:
            if url.startswith(prefixes):
                return super().image(text, url, title)
            return self.link(html.escape(text or url), url, title)

        def block_code(self, code: str, info: str | None = None) -> str:
            words = (info or "").split()
            return f"<pre><code>{_block(code, words[0] if words else '', deadline)}</code></pre>\n"

    def task(renderer: Any, text: str, checked: bool = False) -> str:
        return f"<li class=task>{'☑' if checked else '☐'} {text}</li>\n"

    renderer = Renderer(escape=False)
    markdown = mistune.Markdown(renderer)
    for use in (*_plugins(mistune), task_lists):
        use(markdown)
    renderer.register("task_list_item", task)
    rendered = str(markdown(text))
    if len(rendered) > _OUTPUT:
        raise _Refused

    def checked(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "href":
            return value if _LINK.match(value) else None
        if attribute == "src":
            return value if value.startswith(prefixes) else None
        return value

    return nh3.clean(
        rendered,
        tags=set(_KEPT.split()),
        clean_content_tags=set(_DROPPED.split()),
        attributes=_ATTRIBUTES,
        attribute_filter=checked,
        allowed_classes={"span": set(CLASSES.values()), "li": {"task"}},
        # Wide ones scroll, for which the keyboard must come to them.
        set_tag_attribute_values={"pre": {"tabindex": "0"}, "table": {"tabindex": "0"}},
        link_rel="nofollow noreferrer noopener",
        url_schemes={"http", "https", "mailto"},
    )


def _plugins(mistune: Any) -> Iterator[Callable[..., None]]:
    for name in ("strikethrough", "table", "url"):
        yield mistune.plugins.import_plugin(name)


def _block(code: str, language: str, deadline: float) -> str:
    """A block of code in Markdown, coloured if its language is known by name."""
    from pygments.lexers import find_lexer_class_by_name
    from pygments.util import ClassNotFound

    if language and time.monotonic() < deadline:
        try:
            lexer = find_lexer_class_by_name(language)()
            return "\n".join(_coloured(lexer, code, deadline)[1])
        except ClassNotFound:
            pass
    return html.escape(code, quote=False)


def guess(text: str, extensions: tuple[str, ...]) -> str:
    """The extension, of these, of the language in which `text` seems to be written; or txt."""
    from pygments.lexers import find_lexer_class_for_filename

    head = text[:_HEAD]
    if "json" in extensions and head.lstrip()[:1] in ("{", "["):
        try:
            json.loads(text)
        except ValueError:
            pass
        else:
            return "json"
    for line in _SIGNS.strip().splitlines():
        extension, sign = line.split(maxsplit=1)
        if extension in extensions and re.search(sign, head, re.MULTILINE):
            return extension
    best, found = 0.3, "txt"  # below that Pygments is not sure either
    for extension in extensions:
        lexer = find_lexer_class_for_filename(f"paste.{extension}", head)
        score = lexer.analyse_text(head) if lexer is not None else 0
        if score > best:
            best, found = score, extension
    return found


if __name__ == "__main__":
    sys.exit(
        main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), *sys.argv[5:])
    )
