"""Colours the code of answers in extractor processes, because some of Pygments' lexers do not end for some code."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import NamedTuple, TypedDict

from markdown_it.token import Token

from chats.bounded_cache import BoundedCache
from core.workers.extractors import extractors, register
from core.workers.process import MIB, Busy, Crashed, ExtractorError, Result

LONGEST_CODE = 20_000  # characters of a block of code that is coloured
LONGEST_LINE = 2_000  # characters of a line of such a block
MOST_COLOURED = 60_000  # characters of coloured code in one text
MOST_SECONDS = 2.0  # for all blocks of a page or of a growing answer
MOST_CACHED = 1_000_000  # characters of code whose colours are cached; they take about ten times as much memory
DEADLINE = 0.5  # seconds for one block
LONGEST_WAIT = 1.0  # seconds until a process is free
MEMORY = 256 * MIB

# Languages that people ask for. Few of the hundreds that Pygments knows, so that few modules are loaded.
# fmt: off
LANGUAGES = frozenset((
    "bash", "c", "c++", "cpp", "c#", "cs", "csharp", "clojure", "console", "cmake", "css", "dart", "diff", "docker",
    "dockerfile", "elixir", "erlang", "fortran", "go", "golang", "graphql", "groovy", "haskell", "hs", "hcl",
    "html", "http", "ini", "java", "javascript", "js", "json", "jsx", "julia", "kotlin", "latex", "tex", "less",
    "lua", "make", "makefile", "matlab", "nginx", "nix", "objective-c", "ocaml", "pascal", "perl", "php",
    "powershell", "properties", "protobuf", "py", "python", "python3", "r", "rb", "rs", "ruby", "rust", "scala",
    "scss", "sh", "shell", "sql", "swift", "terraform", "tf", "toml", "ts", "tsx", "typescript", "vim", "vue",
    "xml", "yaml", "yml", "zig", "zsh",
))
# fmt: on


class Code(NamedTuple):
    """A block of code. Its language is one of LANGUAGES."""

    language: str
    text: str


class Limits(TypedDict):
    deadline: float
    memory: int
    wait: float


# Of each job and code, the job's result, or None if the code has none: it stays plain, and is not tried again.
cache: BoundedCache[tuple[str, Code], Result] = BoundedCache(MOST_CACHED)

for name in ("colour_html", "colour_tokens"):
    register(name, f"chats.web.colour_job:{name}")


class Colourer:
    """Runs one of the jobs in colour_job.py for the code of one page or one growing answer, for MOST_SECONDS in all.

    Code that could not be coloured is missing in the results. They are untrusted, like the code.
    """

    def __init__(self, job: str) -> None:
        self.job, self.seconds = job, MOST_SECONDS

    def colour_sync(self, codes: Sequence[Code]) -> dict[Code, Result]:
        """For threads without an event loop."""
        for code in self.select_untried(codes):
            with self.account(code):
                data, arguments = code.text.encode(errors="replace"), {"language": code.language}
                result = extractors.run_sync(self.job, data, arguments=arguments, **self.limits())
                cache.put((self.job, code), result, len(code.text))
        return self.results(codes)

    async def colour(self, codes: Sequence[Code]) -> dict[Code, Result]:
        for code in self.select_untried(codes):
            with self.account(code):
                data, arguments = code.text.encode(errors="replace"), {"language": code.language}
                result = await extractors.run(self.job, data, arguments=arguments, **self.limits())
                cache.put((self.job, code), result, len(code.text))
        return self.results(codes)

    def limits(self) -> Limits:
        return {"deadline": DEADLINE, "memory": MEMORY, "wait": min(LONGEST_WAIT, self.seconds)}

    def select_untried(self, codes: Sequence[Code]) -> Iterator[Code]:
        """The code that is not in the cache, as long as there is time."""
        for code in codes:
            if self.seconds > 0 and (self.job, code) not in cache:
                yield code

    @contextmanager
    def account(self, code: Code) -> Iterator[None]:
        """Subtract the time that passes within the context, and handle the errors of a call."""
        started_at = monotonic()
        try:
            yield
        except (Busy, Crashed):  # not the code's fault: a later page may try again
            self.seconds = 0
        except ExtractorError:
            cache.put((self.job, code), None, len(code.text))
        finally:
            self.seconds -= monotonic() - started_at

    def results(self, codes: Iterable[Code]) -> dict[Code, Result]:
        found = {code: cache.get((self.job, code)) for code in codes}
        return {code: result for code, result in found.items() if result is not None}

    def has_tried(self, codes: Iterable[Code]) -> bool:
        """Whether another call would bring no more results."""
        return all((self.job, code) in cache for code in codes)


def code_blocks(tokens: Iterable[Token], *, is_complete: bool) -> list[Code]:
    """The fenced blocks in a text that are to be coloured. In an incomplete text, those that still grow are not."""
    codes = []
    characters = 0
    for token in tokens:
        if token.type == "fence" and (is_complete or is_closed(token)):
            code = code_of(token)
            longest_line = max(map(len, code.text.splitlines()), default=0)
            is_short = len(code.text) <= min(LONGEST_CODE, MOST_COLOURED - characters) and longest_line < LONGEST_LINE
            if code.language in LANGUAGES and code.text and is_short:
                characters += len(code.text)
                codes.append(code)
    return codes


def is_closed(fence: Token) -> bool:
    """Whether the block has its closing line, which is not part of its content."""
    first, end = fence.map or (0, 0)
    return fence.content.count("\n") == end - first - 2 and fence.content.endswith("\n")


def code_of(fence: Token) -> Code:
    return Code((fence.info.split() or [""])[0].lower(), fence.content)
