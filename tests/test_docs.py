"""Documentation and routes name each other: nothing is undocumented, nothing documented is gone."""

import re
from pathlib import Path

import pytest
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from app import create_app
from tests.routes import routes

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCS = {str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "README.md", *PAGES)}
TEXT = "\n".join(path.read_text() for path in PAGES)
CALL = re.compile(r"\b(GET|HEAD|POST|PUT|PATCH|DELETE) (/[A-Za-z0-9_./-]*)")
PATH = re.compile(r"(?<![\w./-])/(?:api|f|delete|healthz)\b[A-Za-z0-9_./-]*")
# Capitals stand for a value in docs.
ROUTES = routes()


def shape(path: str) -> str:
    return re.sub(r"(?<=/)[A-Z]+(?=[/.]|$)", "*", path.rstrip("."))


@pytest.mark.parametrize(("method", "path"), sorted(routes(pages=False)))
def test_every_route_has_a_heading(method: str, path: str) -> None:
    headings = {
        (match[1], shape(match[2]))
        for line in TEXT.splitlines()
        if line.startswith("#") and (match := CALL.search(line))
    }
    assert (method, path) in headings


def test_every_page_is_in_the_table() -> None:
    """In pages.md each page and each act on one has a line: the call, who may, what it does."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in DOCS["docs/pages.md"].splitlines()
        if line.startswith("| `")
    ]
    assert all(len(row) == 3 and all(row) for row in rows)
    calls = [CALL.search(call) for call, _, _ in rows]
    named = [(call[1], shape(call[2])) for call in calls if call]
    assert len(named) == len(set(named)) == len(rows)
    assert set(named) == routes(pages=True)


@pytest.mark.parametrize("page", DOCS)
def test_every_call_named_exists(page: str) -> None:
    named = {(method, shape(path)) for method, path in CALL.findall(DOCS[page])}
    assert named <= ROUTES


@pytest.mark.parametrize("page", DOCS)
def test_every_path_named_exists(page: str) -> None:
    adapter = create_app().url_map.bind("kissa.example")
    prefixes = {"/api", "/api/v2", "/api/admin", "/api/files/tus", "/f"}
    for path in PATH.findall(DOCS[page]):
        path = path.rstrip("./")
        if path in prefixes:
            continue
        try:
            adapter.match(path, "GET")
        except MethodNotAllowed:
            continue
        except HTTPException:
            pytest.fail(f"{page} names {path}")


def test_every_page_is_linked() -> None:
    for page in PAGES:
        if page.name != "README.md":
            assert f"({page.name})" in DOCS["docs/README.md"]


@pytest.mark.parametrize("page", DOCS)
def test_every_link_leads_somewhere(page: str) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]+)(#[^)]*)?\)", DOCS[page]):
        found = (ROOT / page).parent / target
        assert found.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", found.read_text(), re.MULTILINE)
            anchors = {
                re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings
            }
            assert anchor[1:] in anchors, anchor
