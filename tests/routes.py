"""The routes, told apart in one place: pages, on which people act by a browser session, and all
else, which programs call. Programs read the API description, people docs/pages.md."""

import re

from app import create_app

# What the door of browsers has for everybody and everything: files, links, the state of the host.
CALLED = {
    "web.show_file",
    "web.download_file",
    "web.show_thumbnail",
    "web.ask",
    "web.delete",
    "web.robots",
    "web.healthz",
}


def is_page(endpoint: str) -> bool:
    """Whether a route is a page or an act on one."""
    return endpoint.startswith("web.") and endpoint not in CALLED


def routes(*, pages: bool | None = None) -> set[tuple[str, str]]:
    """Method and path of each route, `*` for a value in it; HEAD and OPTIONS go with each.

    Args:
        pages: only pages, or only what is none; None for all.
    """
    return {
        (method, re.sub("<[^>]*>", "*", rule.rule))
        for rule in create_app().url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if pages is None or is_page(rule.endpoint) is pages
    }
