"""Code is coloured in processes that end, whatever the code does to Pygments."""

import time
from collections.abc import Iterator

import pytest
from pygments.token import string_to_tokentype

from chats.colouring import LANGUAGES
from core.workers.extractors import JOBS, ExtractorPool, register
from core.workers.process import MIB, Deadline, Result

PYTHON = 'def f(a):\n    """Say <it> & "go"."""\n    return [None, 1.5]  # ä\n'
BACKSLASHES = '"' + "\\" * 60


@pytest.fixture(scope="module")
def pool() -> Iterator[ExtractorPool]:
    before = dict(JOBS)
    register("colour_html", "chats.web.colour_job:colour_html")
    register("colour_tokens", "chats.web.colour_job:colour_tokens")
    pool = ExtractorPool(size=2)
    yield pool
    pool.close()
    JOBS.clear()
    JOBS.update(before)


def colour(pool: ExtractorPool, job: str, code: str, language: str, deadline: float = 20) -> Result:
    return pool.run_sync(
        job, code.encode(), deadline=deadline, memory=256 * MIB, arguments={"language": language}, wait=60
    )


def test_the_html_has_the_classes_of_the_page(pool: ExtractorPool) -> None:
    assert colour(pool, "colour_html", 'def f(): return "<&"  # ä', "python") == (
        '<span class="k">def</span><span class="w"> </span><span class="nf">f</span><span class="p">():</span> '
        '<span class="k">return</span> <span class="s2">"&lt;&amp;"</span>  <span class="c1"># ä</span>\n'
    )


def test_tokens_hold_all_of_the_text(pool: ExtractorPool) -> None:
    tokens = colour(pool, "colour_tokens", PYTHON, "python")
    assert isinstance(tokens, list)
    assert "".join(text for _, text in tokens) == PYTHON
    assert ["Keyword", "def"] in tokens
    assert ["Literal.Number.Float", "1.5"] in tokens
    assert all(str(string_to_tokentype(kind)) == f"Token.{kind}" for kind, _ in tokens)


@pytest.mark.parametrize("job", ["colour_html", "colour_tokens"])
def test_code_that_would_take_for_ever_is_ended_and_the_next_is_coloured(pool: ExtractorPool, job: str) -> None:
    colour(pool, job, "val a = 1", "scala")
    begun = time.monotonic()
    with pytest.raises(Deadline):
        colour(pool, job, BACKSLASHES, "scala", deadline=0.5)
    assert time.monotonic() - begun < 60  # it would take years
    assert colour(pool, job, "val a = 1", "scala")


def test_every_language_of_the_page_is_coloured(pool: ExtractorPool) -> None:
    for language in sorted(LANGUAGES):
        assert colour(pool, "colour_html", "a = 1\n", language), language
