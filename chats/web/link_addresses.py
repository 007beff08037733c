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
    """A rule of the parser. Images, which are shown as links, have their addresses anyway."""
    for token in state.tokens:
        link: Token | None = None
        text, children = "", []
        for child in token.children or []:
            if child.type == "link_open":
                link, text = child, ""
            elif child.type == "link_close" and link is not None:
                own = str(link.attrs["href"])
                if link.info != "auto" and names_other_address(state.md, text, own):  # "auto": the text is the address
                    children.append(Token("text", "", 0, content=f" ({own})"))
                link = None
            else:
                text += f"{child.content} {child.attrs.get('src', '')}" if child.type == "image" else child.content
            children.append(child)
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
