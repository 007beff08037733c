"""A link whose text is another address shows its own; other links show only their text."""

import re

import pytest

from chats.colouring import Colourer
from chats.web.markdown import render

ANOTHER = {
    "another host": "[https://house.test](https://evil.test/in)",
    "without a scheme": "[house.com](https://evil.test/in)",
    "of documents": "[house.example/path](https://evil.test/in)",
    "www": "[www.house.com](https://evil.test/in)",
    "in a sentence": "[Please sign in at house.co.uk now](https://evil.test/in)",
    "emphasized": "[**house**.com](https://evil.test/in)",
    "code": "[`https://house.com/`](https://evil.test/in)",
    "two": "[evil.test or house.com](https://evil.test/in)",
    "user": "[house.com](https://house.com@evil.test/in)",
    "beginning of the host": "[house.com](https://house.com.evil.test/in)",
    "end of the host": "[house.com](https://evil-house.com/in)",
    "path": "[https://house.com/out](https://house.com/in)",
    "port": "[https://house.com/](https://house.com:8443/in)",
    "letter of another alphabet": "[https://h\u043euse.com](https://house.com/in)",
    "wide characters": "[\uff48ouse\uff0ecom](https://evil.test/in)",
    "ideographic dot": "[house\u3002com](https://evil.test/in)",
    "unseen character": "[hou\u200bse.com](https://evil.test/in)",
    "turned": "[\u202ehouse.com](https://evil.test/in)",
    "number": "[10.1.2.3](http://10.1.2.4/in)",
    "mail": "[bob@house.com](mailto:bob@evil.test)",
    "mail and page": "[bob@house.com](https://evil.test/in)",
    "reference": "[https://house.com][1]\n\n[1]: https://evil.test/in",
    "image": "![https://house.com](https://evil.test/in)",
    "image in a link": "[![house.com](https://evil.test/in.png)](https://evil.test/in)",
    "image of another": "[![a house](https://house.com/i.png)](https://evil.test/in)",
    "in a table": "|a|\n|-|\n|[house.com](https://evil.test/in)|",
    "relative": "[//house.com/x](https://evil.test/in)",
}
ITS_OWN = {
    "words": "[the documentation](https://house.com/docs)",
    "none": "[](https://house.com/docs)",
    "same": "[https://house.com/docs](https://house.com/docs)",
    "slash": "[https://house.com/docs/](https://house.com/docs)",
    "other case": "[HTTPS://House.com](https://house.com/docs)",
    "host": "[house.com](https://www.house.com/docs?a=b#c)",
    "beginning": "[house.com/docs](https://house.com/docs/3/library)",
    "alphabet": "[https://m\xfcnchen.de/stra\xdfe](https://m\xfcnchen.de/stra\xdfe)",
    "encoded": "[https://house.com/a b](<https://house.com/a b>)",
    "bare": "https://house.com/docs and <https://house.com/a_b>",
    "mail": "[bob@house.com](mailto:Bob@house.com?subject=x)",
    "names of code": "[`os.path.join`](https://docs.test/3) [Node.js](https://nodes.test) [3.11](https://docs.test)",
    "image in a link": "[![a house](https://house.com/i.png)](https://house.com/i.png)",
}


@pytest.mark.parametrize("text", ANOTHER.values(), ids=ANOTHER)
def test_another_address(text: str) -> None:
    [block] = render(text, Colourer("colour_html"))
    [address] = re.findall(r'href="([^"]+)"', block)
    assert f" ({address})" in re.sub("<[^>]+>", "", block)


@pytest.mark.parametrize("text", ITS_OWN.values(), ids=ITS_OWN)
def test_its_own_address(text: str) -> None:
    [block] = render(text, Colourer("colour_html"))
    assert re.sub("<[^>]+>", "", block).count("(") == text.count("![")  # images show theirs
    assert "href=" in block
