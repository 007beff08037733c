"""What can keep an LLM from being used. The texts are for people; `aistudio.errors` maps the classes to HTTP."""


class LLMNotUsable(Exception):
    """The LLM cannot be called with these settings. The text says an administrator why."""
