"""The paste page: what becomes of a text, how it is called, what is refused, and that nothing of a
refused text is lost."""

import re
from collections.abc import Callable

import pytest

import pastes
import texts
from errors import Unavailable
from models import Album, AlbumItem, Item, User
from tests.conftest import Kissa, Person
from tests.forms import field, form
from tests.people import OURS, Browser
from tests.test_pages import is_page

Start = Callable[..., Kissa]
MIB = 1024 * 1024
GUESSES = {
    "json": '{"a": [1, 2, {"b": null}]}',
    "diff": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n",
    "html": "<!DOCTYPE html>\n<html><title>x</title>\n",
    "xml": '<?xml version="1.0"?>\n<a/>\n',
    "php": "<?php\necho 1;\n",
    "py": "import os\n\n\ndef f(a):\n    return os.path.join(a)\n",
    "sh": '#!/bin/sh\nset -e\nfor a in "$@"; do echo "$a"; done\n',
    "js": "const a = require('x');\nfunction f() {\n  return a;\n}\n",
    "rb": "#!/usr/bin/env ruby\nputs 1\n",
    "pl": "#!/usr/bin/perl\nmy $a = 1;\n",
    "go": 'package main\n\nimport "fmt"\n\nfunc main() { fmt.Println(1) }\n',
    "java": "package a.b;\n\nimport java.util.List;\n\npublic class A {}\n",
    "rs": "use std::io;\n\nfn main() {\n    println!();\n}\n",
    "cpp": "#include <vector>\nint main() { std::vector<int> a; }\n",
    "c": "#include <stdio.h>\nint main(void) { return 0; }\n",
    "ts": "export interface A {\n  b: string;\n}\n",
    "sql": "SELECT a, b\nFROM c WHERE d = 1;\n",
    "css": ".a {\n  color: red;\n}\n",
    "md": "# Title\n\nSome words.\n\n- one\n- two\n",
    "toml": '[project]\nname = "kissa"\n',
    "ini": "[site]\nname=kissa\nurl=http://x/\n",
    "yaml": "a: 1\nb:\n  - c\n  - d\n",
    "txt": "Dear Alice,\n\nthe cat is well: she eats, from morning to evening, and sleeps.\n",
}


@pytest.fixture
def home(kissa: Kissa, alice: Person) -> Browser:
    return Browser(kissa, "alice")


def paste(home: Browser, text: str, title: str = "", language: str = "") -> str:
    answer = home.post("/paste", text=text, title=title, language=language)
    assert answer.status_code == 200, answer.text
    return is_page(answer)


def test_the_form(home: Browser) -> None:
    text = home.text("/paste")
    assert '<form class="paste" method="post" action="/paste" enctype="multipart/form-data"' in text
    assert f'data-max="{MIB}"' in text
    assert '<option value="">Guess it</option>' in text
    assert '<option value="py">Python</option>' in text
    assert '<a href="/paste" aria-current="page">Paste</a>' in text


def test_every_language_is_shown_as_text() -> None:
    assert all(texts.is_shown(f"paste.{extension}") for extension in pastes.LANGUAGES)
    assert set(pastes._GUESSED) <= set(pastes.LANGUAGES)


def test_a_paste(kissa: Kissa, home: Browser) -> None:
    sent = paste(home, "def f():\r\n    pass\r\n", "first", "py")
    item = Item.get()
    assert (item.state, item.original_name, item.rating) == ("unlisted", "first.py", None)
    assert (kissa.uploads / item.name).read_bytes() == b"def f():\n    pass\n"
    assert item.name.endswith(".py")
    for address in (f"v/{item.name}", f"f/{item.name}"):
        assert f'<a href="http://kissa.example/{address}">' in sent
    assert f'data-copy="http://kissa.example/v/{item.name}"' in sent
    assert '<span class="k">def</span>' in Browser(kissa).text(f"/v/{item.name}")
    assert User.get().bytes == 18
    found = re.search(r'href="http://kissa\.example(/delete/[^"]+)"', sent)
    assert found
    assert Browser(kissa).post(found[1]).status_code == 200
    assert kissa.files() == set()


@pytest.mark.parametrize(
    ("title", "language", "name"),
    [
        ("", "", "paste.txt"),
        ("", "rs", "paste.rs"),
        ("notes", "", "notes.txt"),
        ("notes", "md", "notes.md"),
        ("main.py", "", "main.py"),
        ("main.py", "py", "main.py"),
        ("main.py", "txt", "main.py.txt"),
        ("Main.PY", "", "Main.PY"),
        ("release 1.2", "", "release 1.2.txt"),
        ("photo.png", "", "photo.png.txt"),
        ("../../etc/passwd", "", "passwd.txt"),
        (".bashrc", "sh", "bashrc.sh"),
        (" . ", "", "paste.txt"),
        ("a\u202egnp.py", "", "agnp.py"),
        ("<b>'\"", "html", "<b>'\".html"),
        ("x" * 200, "js", "x" * 200 + ".js"),
    ],
)
def test_names(home: Browser, title: str, language: str, name: str) -> None:
    paste(home, "hello, how are you?", title, language)
    item = Item.get()
    assert item.original_name == name
    assert item.name.rpartition(".")[2] == name.rpartition(".")[2].lower()


@pytest.mark.parametrize("extension", GUESSES)
def test_guesses(extension: str) -> None:
    assert texts.guess(GUESSES[extension], pastes._GUESSED) == extension


def test_a_guess_that_takes_too_long_is_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "LIMITS", texts.Limits(seconds=0.001))
    assert texts.guess(GUESSES["json"], pastes._GUESSED) == "txt"


@pytest.mark.parametrize(
    ("form", "status", "sentence"),
    [
        pytest.param({"text": ""}, 400, "There is no text yet.", id="empty"),
        pytest.param({"text": " \r\n\t"}, 400, "There is no text yet.", id="blank"),
        pytest.param({}, 400, "There is no text yet.", id="missing"),
        pytest.param({"text": "a\0b"}, 400, "This is not text", id="binary"),
        pytest.param({"text": "x" * (MIB + 1)}, 413, "at most 1 MB", id="too long"),
        pytest.param({"text": "ü" * (MIB // 2 + 1)}, 413, "at most 1 MB", id="bytes count"),
        pytest.param({"text": "a", "language": "exe"}, 400, "not known here", id="language"),
        pytest.param({"text": "a", "title": "x" * 201}, 400, "at most 200", id="title"),
        pytest.param({"text": "a", "language": "php"}, 415, ".php", id="blocked"),
    ],
)
def test_refusals(start: Start, form: dict[str, str], status: int, sentence: str) -> None:
    kissa = start(uploads_blocked_extensions="php")
    kissa.person("alice")
    home = Browser(kissa, "alice")
    answer = send(home, **form)
    text = is_page(answer, status)
    assert re.search(r'<p class="refused" role="alert">([^<]*)</p>', text)[1].count(sentence)  # type: ignore[index]
    assert (Item.select().count(), kissa.files()) == (0, set())


def send(home: Browser, **fields: str):
    """As a browser sends the form, whatever its size."""
    parts = form(*(field(name, value) for name, value in fields.items()))
    return home.client.post("/paste", headers=OURS, **parts)


def test_the_largest_paste(kissa: Kissa, home: Browser) -> None:
    """Line ends come in two bytes, and count as one."""
    assert send(home, text="\r\n" * (MIB - 1) + "x").status_code == 200
    assert Item.get().size == MIB
    answer = send(home, text="x" * (2 * MIB + 64 * 1024))
    assert answer.status_code == 413
    assert Item.select().count() == 1


def test_other_forms_stay_small(kissa: Kissa, home: Browser) -> None:
    parts = form(field("username", "x" * MIB), field("password", "y"))
    assert home.client.post("/signin", headers=OURS, **parts).status_code == 413


def test_into_an_album(kissa: Kissa, home: Browser) -> None:
    answer = home.post("/paste", text="one\n", album=" Notes ")
    album = Album.get()
    assert (album.title, [album.id]) == ("Notes", [row.album.id for row in AlbumItem.select()])
    assert f'<a href="http://kissa.example/a/{album.name}">' in answer.text
    assert '<option value="Notes">' in home.text("/paste")
    refused = home.post("/paste", text="two\n", album="x" * 101)
    assert refused.status_code == 400
    assert f'value="{"x" * 101}"' in refused.text
    assert Item.select().count() == 1


def test_what_is_refused_is_still_in_the_form(kissa: Kissa, home: Browser) -> None:
    evil = "\n</textarea><script>alert(1)</script>"
    answer = home.post("/paste", text=evil, title='"><b>', language="nonsense")
    text = is_page(answer, 400)
    kept = "\n\n&lt;/textarea&gt;&lt;script&gt;alert(1)&lt;/script&gt;</textarea>"
    assert kept in text
    assert 'value="&#34;&gt;&lt;b&gt;"' in text
    answer = home.post("/paste", text="\0", language="py")
    assert '<option value="py" selected>' in answer.text


def test_a_database_that_is_away_takes_no_text(
    home: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise Unavailable("The database does not answer.")

    monkeypatch.setattr("items.create", fail)
    monkeypatch.setattr("albums.list_titles", fail)
    text = is_page(home.post("/paste", text="much work", album="Notes"), 503)
    assert "much work</textarea>" in text
    assert 'value="Notes"' in text


def test_the_rules_of_uploads_hold(start: Start) -> None:
    kissa = start(uploads_per_minute=2, uploads_quota_mb=1)
    kissa.person("alice")
    home = Browser(kissa, "alice")
    assert send(home, text="x" * (MIB - 100)).status_code == 200
    full = send(home, text="y" * 200)
    assert (full.status_code, "quota of 1 MB" in full.text) == (507, True)
    assert send(home, text="z").status_code == 200
    often = send(home, text="z")
    assert (often.status_code, often.headers["Retry-After"]) == (429, "60")
    assert Item.select().count() == 2


def test_nobody_else_pastes(kissa: Kissa, alice: Person, home: Browser) -> None:
    assert kissa.post("/paste", data={"text": "x"}).status_code == 403
    assert Browser(kissa).post("/paste", text="x").status_code == 401
    evil = OURS | {"Sec-Fetch-Site": "cross-site"}
    assert home.client.post("/paste", data={"text": "x"}, headers=evil).status_code == 403
    assert kissa.post("/paste", alice.by_token, data={"text": "x"}).status_code == 403
    assert Item.select().count() == 0
    assert "/paste" not in Browser(kissa).text("/")


def test_pastes_are_counted(kissa: Kissa, admin: Person, home: Browser) -> None:
    paste(home, "hello")
    told = kissa.get("/metrics", admin.by_admin_token).text
    assert 'kissa_uploads_total{api="web"} 1.0' in told
