"""What every page of ours is: well formed, self-contained, and told in words wherever it shows something."""

import re
from html.parser import HTMLParser

VOID = {"br", "img", "link", "meta"}
ADDRESSES = {"action", "data", "href", "poster", "src", "srcset", "xlink:href"}


class _Page(HTMLParser):
    """Follows the tags of a page; what is wrong is an AssertionError."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.headings: list[int] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert len(values) == len(attrs), f"<{tag}> has an attribute twice"
        assert tag not in {"script", "iframe", "link", "object"}
        assert tag != "img" or values.get("alt"), "a picture without alt"
        assert tag not in {"p", "ul", "table"} or "p" not in self.open, f"<{tag}> within <p>"
        if "id" in values:
            self.ids.append(str(values["id"]))
        for name in ADDRESSES & values.keys():
            address = str(values[name])
            assert address.startswith(("data:image/", "#")), f"{name} leads away: {address[:80]}"
            if address.startswith("#"):
                self.targets.append(address[1:])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-1:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            assert "url(" not in data and "@import" not in data
        elif data.strip():
            self.texts.append(" ".join(data.split()))


def check_page(page: str) -> list[str]:
    """Checks a page; its texts, piece by piece."""
    found = _Page()
    found.feed(page)
    found.close()
    assert page.startswith("<!doctype html>") and not found.open, f"left open: {found.open}"
    assert len(set(found.ids)) == len(found.ids) and set(found.targets) <= set(found.ids)
    assert found.headings[0] == 1 and found.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(found.headings, found.headings[1:], strict=False))
    return found.texts
