"""A link whose text is another address than its own shows its own, too."""

import unicodedata
from urllib.parse import urlsplit

from linkify_it import LinkifyIt
from linkify_it.tlds import TLDS
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

LONGEST_TEXT = 500  # characters of a link's text in which addresses are looked for
# "example" stands for the names that only documents have.
ADDRESSES = LinkifyIt(options={"fuzzy_ip": True}).tlds([*TLDS, "example"])


def show_addresses(state: StateCore) -> None:
    """A rule of the parser: adds their addresses to links, and to images, which are shown as links."""
    for token in state.tokens:
        link: Token | None = None
        text, children = "", []
        for child in token.children or []:
            own = ""
            if child.type == "link_open":
                link, text = child, ""
            elif child.type == "link_close" and link is not None:
                own = "" if link.info == "auto" else str(link.attrs["href"])  # "auto": the text is the address
                link = None
            elif child.type == "image" and link is None:
                own, text = str(child.attrs["src"]), child.content
            else:
                text += child.content
            children.append(child)
            if own and names_other_address(state.md, text, own):
                note = Token("text", "", 0, content=f" ({own})")
                children.insert(-1 if child.type == "link_close" else len(children), note)
        if children:
            token.children = children


def names_other_address(parser: MarkdownIt, text: str, own: str) -> bool:
    """Whether an address is in the text that is neither the link's own nor the beginning of it."""

    def place_and_rest(address: str) -> tuple[str, str]:
        parts = urlsplit(parser.normalizeLink(address))  # as the parser has normalized the link's own
        if parts.scheme == "mailto":
            return parts.path.lower(), ""
        place = parts.netloc.rpartition("@")[2].lower().removeprefix("www.")
        return place, parts._replace(scheme="", netloc="").geturl()

    seen = unicodedata.normalize("NFKC", text[:LONGEST_TEXT]).replace("。", ".")  # which separates labels, too
    seen = "".join(each for each in seen if unicodedata.category(each) != "Cf")  # nobody sees these
    for match in ADDRESSES.match(seen) or []:
        try:
            (place, rest), (own_place, own_rest) = place_and_rest(match.url), place_and_rest(own)
        except ValueError:  # one of them is no address
            return True
        if place != own_place or not own_rest.startswith(rest.rstrip("/")):
            return True
    return False
