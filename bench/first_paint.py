"""How long the page of a conversation of 1,000 messages takes to its first paint, in a browser: medians of ten loads.

    .venv/bin/python -m bench.first_paint

It starts a server of its own on a database of its own, and needs Chromium.
"""

import statistics
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import CHROMIUM, OPTIONS, sign_in
from tests.live import manage
from tests.talking import opened

EMAIL, PASSWORD = "ada@example.com", "a long phrase of ada"
LOADS = 10
PAINT = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
TALK = f"""
from chats.models import Chat, Message, Session
from groups.models import User
session = Session.objects.create(user=User.objects.get(email="{EMAIL}"), chat=Chat.objects.latest("pk"), name="Long")
leaf = None
for number in range(1000):
    role = "assistant" if number % 2 else "user"
    leaf = Message.objects.create(
        session=session, parent=leaf, sequence=number + 1, role=role, text=f"**{{number}}** and `code`\\n\\n- a\\n- b"
    )
session.leaf, session.last_sequence = leaf, 1000
session.save()
print(session.uuid)
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as data, opened(Path(data), servers=1) as studio, sync_playwright() as started:
        group = studio.make("groups", name="Readers")
        studio.make("users", email=EMAIL, password=PASSWORD, group_ids=[group])
        studio.chat(group)
        session = manage(studio.variables, "shell", "--no-imports", "--command", TALK).strip()
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        page = browser.new_page(base_url=studio.urls[0])
        sign_in(page, EMAIL, PASSWORD)
        times = []
        for _ in range(LOADS):
            page.goto(f"/sessions/{session}", wait_until="networkidle")
            times.append(page.evaluate(PAINT))
        browser.close()
    print(f"First paint after {statistics.median(times):.0f} ms, at most {max(times):.0f} ms.")


if __name__ == "__main__":
    main()
