"""Pictures of the main screens for docs/: desktop and phone, light and dark.

    .venv/bin/python -m bench.screenshots [FOLDER]

It starts a server of its own on a database of its own, talks a little in it, and needs Chromium.
"""

import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.browser import CHROMIUM, DESKTOP, OPTIONS, PHONE, sign_in
from tests.talking import opened
from tests.vendor_server import BEHAVIOURS, Connection, VendorServer, ok

EMAIL, PASSWORD = "ada@example.com", "a long phrase of ada"
ANSWER = """The clause counts from **delivery**, not from the invoice's date:

| Delivery | Invoice | Due |
|:--|:--|--:|
| 3 March | 7 March | 2 April |
| 10 March | 11 March | 9 April |

```python
def due(delivered: date, days: int = 30) -> date:
    return delivered + timedelta(days=days)
```

So the second reminder was sent *two days early*."""
QUESTIONS = ("Draft a reminder for a late delivery", "Which law applies?", "Was the second reminder sent too early?")
SCREENS = {"chats": "/", "conversation": "/sessions/{session}", "beginning": "/chats/{chat}", "profile": "/profile"}
SIZES = {"desktop": DESKTOP, "phone": {**PHONE, "device_scale_factor": 2}}


async def review(connection: Connection, argument: str, asked: dict[str, Any]) -> None:
    await ok(connection, ANSWER, asked)


def main(folder: Path) -> None:
    BEHAVIOURS["review"] = review
    with (
        tempfile.TemporaryDirectory() as data,
        VendorServer() as vendor,
        opened(Path(data), servers=1) as studio,
        sync_playwright() as started,
    ):
        group = studio.make("groups", name="Procurement")
        user = studio.make("users", email=EMAIL, name="Ada", password=PASSWORD, group_ids=[group])
        key = studio.call("POST", f"/users/{user}/roll-api-key")["attributes"]["api_key"]
        llm = {"vendor": "openai", "api_endpoint": vendor.url, "api_key": "sk-0123456789", "default_model": "review"}
        chat = studio.chat(group, llm=llm, description="Questions about contracts and invoices.")
        studio.call("PATCH", f"/chats/{chat}", {"name": "Contract review"})
        for question in QUESTIONS:
            session = studio.session(chat, key)
            studio.call("POST", f"/sessions/{session}/messages", {"text": question}, key=key)
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        page = browser.new_page(base_url=studio.urls[0])
        sign_in(page, EMAIL, PASSWORD)
        signed_in = page.context.storage_state()
        folder.mkdir(parents=True, exist_ok=True)
        for size, options in SIZES.items():
            for scheme in ("light", "dark"):
                page = browser.new_page(
                    base_url=studio.urls[0], storage_state=signed_in, color_scheme=scheme, **options
                )
                for name, path in SCREENS.items():
                    page.goto(path.format(session=session, chat=chat), wait_until="networkidle")
                    page.screenshot(path=folder / f"{name}-{size}-{scheme}.png")
                page.close()
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/screens"))
