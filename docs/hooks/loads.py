"""What a built page loads by itself: nothing of it may come from the network."""

import html.parser
import re
import sys
from pathlib import Path

REMOTE = re.compile(r"\s*(?:https?:)?//", re.IGNORECASE)
# Links that a browser does not fetch.
NOT_LOADED = {"canonical", "next", "prev", "alternate"}
STYLE_LOAD = re.compile(r"""(?:url\(|@import)\s*["']?\s*((?:https?:)?//[^"')\s]+)""", re.IGNORECASE)


class _Page(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.undescribed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        names = ["src", "poster"]
        if tag == "link" and not set(found.get("rel", "").split()) & NOT_LOADED:
            names.append("href")
        self.loaded += [found[name] for name in names if name in found]
        self.loaded += [part.split()[0] for part in found.get("srcset", "").split(",") if part]
        if tag == "img" and "alt" not in found:
            self.undescribed.append(found.get("src", ""))


def problems_of_page(text: str) -> list[str]:
    """What an HTML page would fetch from the network, and its pictures without a description."""
    page = _Page()
    page.feed(text)
    remote = [url for url in page.loaded if REMOTE.match(url)]
    remote += STYLE_LOAD.findall(text)
    return [f"loads {url}" for url in remote] + [f"{url} has no alt" for url in page.undescribed]


def problems_of_style(text: str) -> list[str]:
    """What a style sheet would fetch from the network."""
    return [f"loads {url}" for url in STYLE_LOAD.findall(text)]


def problems_of_site(folder: Path) -> list[str]:
    """All of them in a built site, by file."""
    found = []
    for suffix, problems in ((".html", problems_of_page), (".css", problems_of_style)):
        for path in sorted(folder.rglob(f"*{suffix}")):
            text = path.read_text(encoding="utf-8")
            found += [f"{path.relative_to(folder)}: {problem}" for problem in problems(text)]
    return found


if __name__ == "__main__":
    sys.exit("\n".join(problems_of_site(Path(sys.argv[1]))) or None)
