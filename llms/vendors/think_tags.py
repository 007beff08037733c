"""Some models think aloud in their text: between <think> and </think>, before they answer."""

OPEN, CLOSE = "<think>", "</think>"


class ThinkTagSplitter:
    """Divides the pieces of a text that begins with <think> into thinking and answer. Tags can be cut anywhere."""

    done = False  # all that follows is the answer
    _inside = False
    _closed = False
    _held = ""  # the beginning of what may be a tag

    def split(self, text: str) -> tuple[str, str]:
        """The thinking and the answer in this piece."""
        text, self._held = self._held + text, ""
        if not self._inside and not self._closed:
            start = text.lstrip()
            if OPEN.startswith(start):
                self._held = text
                return "", ""
            if not start.startswith(OPEN):
                self.done = True
                return "", text
            self._inside, text = True, start.removeprefix(OPEN)
        thinking = ""
        if self._inside:
            thinking, tag, text = text.partition(CLOSE)
            if not tag:
                size = next(size for size in range(len(CLOSE) - 1, -1, -1) if thinking.endswith(CLOSE[:size]))
                end = len(thinking) - size
                self._held = thinking[end:]
                return thinking[:end], ""
            self._inside, self._closed = False, True
        answer = text.lstrip()
        self.done = bool(answer)
        return thinking, answer

    def flush(self) -> tuple[str, str]:
        """What was held back, at the end of the answer."""
        held, self._held, self.done = self._held, "", True
        return (held, "") if self._inside else ("", held)
