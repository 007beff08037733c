"""Code of answers is coloured, and code that takes Pygments for ever stays plain and delays nobody."""

import asyncio
import io
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from rich.console import Console

from chats import colouring
from chats.bounded_cache import BoundedCache
from chats.colouring import Code, Colourer
from chats.models import Message
from chats.terminal.markdown import markdown_lines
from chats.web import markdown
from chats.web.markdown import MarkdownStream, render
from chats.web.rendering import append_text
from core.workers.extractors import extractors
from core.workers.process import Busy
from tests.live import manage
from tests.talking import Studio, ask, until

BACKSLASHES = "\\" * 60
BOMB = f'```scala\n"{BACKSLASHES}\n```\n'
BOMBS = "\n".join(BOMB.replace('"', f'{name} "') for name in "abcd")
PYTHON = '```python\ndef due(days):\n\treturn "<&>"\n```\n'
COLOURED = '<span class="k">def</span>'
COOKIE = """
from django.test import Client
from groups.models import User
client = Client()
client.force_login(User.objects.get(email="alice@example.com"))
print(*(f"{morsel.key}={morsel.value}" for morsel in client.cookies.values()), sep="; ")
"""


@pytest.fixture(autouse=True)
def empty_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(colouring, "cache", BoundedCache(colouring.MOST_CACHED))
    monkeypatch.setattr(markdown, "rendered", BoundedCache(markdown.MOST_CACHED))
    yield
    extractors.close()


def page_of(text: str) -> str:
    return "".join(render(text, Colourer("colour_html")))


def terminal_of(text: str) -> str:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, height=24, color_system="standard")
    return "\n".join(markdown_lines(console, text, Colourer("colour_tokens")))


def test_code_is_coloured_beside_code_that_is_ended() -> None:
    html = page_of(f"{PYTHON}\n{BOMB}\n- in a list\n\n  ```js\n  let x;\n  ```\n\n```python\nclass Cut")
    assert COLOURED in html
    assert '<span class="kd">let</span>' in html
    assert '<span class="k">class</span>' in html  # the text ends within the block
    assert f'<code>"{BACKSLASHES}\n</code>'.replace('"', "&quot;") in html or f'<code>"{BACKSLASHES}\n</code>' in html
    lines = terminal_of(f"{PYTHON}\n{BOMB}")
    assert "\x1b[94" in lines or "\x1b[34" in lines  # the keyword
    assert BACKSLASHES in lines
    assert "\t" not in lines


@pytest.mark.parametrize("shown", [page_of, terminal_of])
def test_the_next_look_asks_no_extractor(shown: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(shown)
    first = shown(f"{BOMB}\n{PYTHON}")
    monkeypatch.setattr(extractors, "run_sync", None)
    assert shown(f"{BOMB}\n{PYTHON}") == first
    assert shown(f"{BOMB}\n{PYTHON}\nMore.")  # the blocks are known, although the text is not


def test_all_blocks_of_a_page_have_two_seconds_together() -> None:
    colourer = Colourer("colour_html")
    codes = [Code("scala", f'{number} "{BACKSLASHES}') for number in range(20)]
    assert colourer.colour_sync(codes) == {}
    tried = [code for code in codes if colourer.has_tried([code])]
    assert 1 <= len(tried) <= 4
    assert tried == codes[: len(tried)]


def test_what_was_refused_for_lack_of_processes_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise Busy

    with monkeypatch.context() as patch:
        patch.setattr(extractors, "run_sync", refuse)
        assert COLOURED not in page_of(PYTHON)
    assert COLOURED in page_of(PYTHON)


@pytest.mark.parametrize(
    "result", [17, [["Keyword", "other"]], [["keyword", "x = 1"]], [[1, 2, 3]], {"a": 1}, "\x1b[2J"]
)
def test_results_that_are_not_the_code_are_not_shown(monkeypatch: pytest.MonkeyPatch, result: object) -> None:
    monkeypatch.setattr(extractors, "run_sync", lambda *args, **options: result)
    assert terminal_of("```python\nx = 1\n```").strip().endswith("x = 1")
    if not isinstance(result, str):
        assert "x = 1" in page_of("```python\nx = 1\n```")


def test_html_of_a_job_is_cleaned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extractors, "run_sync", lambda *args, **options: "<script>alert(1)</script><b>x</b>")
    assert "<script" not in page_of("```python\nx = 1\n```")


def test_a_growing_block_is_coloured_once_it_is_complete() -> None:
    async def grow() -> list[str]:
        growing, colourer = MarkdownStream(), Colourer("colour_html")
        return [
            "".join((await append_text(growing, text, colourer)).blocks) for text in (PYTHON[:-4], "```", "\n\nEnd")
        ]

    unfinished, finished, final = asyncio.run(grow())
    assert "def due" in unfinished and COLOURED not in unfinished
    assert COLOURED in finished and COLOURED in final


def test_the_event_loop_is_free_while_code_is_coloured() -> None:
    async def turns() -> int:
        turns = 0
        work = asyncio.create_task(append_text(MarkdownStream(), BOMBS + "\nEnd", Colourer("colour_html")))
        while not work.done():
            await asyncio.sleep(0.01)
            turns += 1
        assert BACKSLASHES in "".join((await work).blocks)
        return turns

    assert asyncio.run(turns()) > 10  # one or two for each block, if the loop waited for it


@pytest.mark.parametrize("studio", ["sqlite"], indirect=True)
def test_others_are_answered_while_a_page_with_such_code_is_rendered(studio: Studio) -> None:
    session = studio.session(studio.chat())
    list(ask(studio.urls[0], studio.key, session, f"/echo {BOMBS}\n{PYTHON}"))
    assert studio.answer(session)["status"] == Message.Status.COMPLETE
    cookie = {"Cookie": manage(studio.variables, "shell", "-v", "0", "-c", COOKIE).strip()}

    def read_page() -> tuple[float, str]:
        begun = time.monotonic()
        response = httpx.get(f"{studio.urls[0]}/sessions/{session}", headers=cookie, trust_env=False, timeout=120)
        assert response.status_code == 200
        return time.monotonic() - begun, response.text

    answered = 0
    with ThreadPoolExecutor() as threads:
        reading = threads.submit(read_page)
        while not reading.done():
            studio.call("GET", f"/sessions/{session}")
            answered += 1
    seconds, html = reading.result()
    assert seconds > 0.5  # the code was tried
    assert answered > 2  # while one page was made
    assert html.count(BACKSLASHES) >= 4
    until(lambda: COLOURED in read_page()[1])  # the last block, for which there was no time at first
    assert min(read_page()[0] for _ in range(5)) < seconds


def test_a_cache_keeps_what_was_used_last() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10)
    for number, key in enumerate("abc"):
        cache.put(key, number, 4)
        assert cache.get("a") == (0 if key != "c" or "a" in cache else None)
    assert ("a" in cache, "b" in cache, "c" in cache, cache.size) == (True, False, True, 8)
    cache.put("a", 5, 1)
    assert (cache.get("a"), cache.size) == (5, 5)
    cache.put("too large", 6, 11)
    assert "too large" not in cache and cache.size == 0
