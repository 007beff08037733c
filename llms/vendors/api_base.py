"""Endpoints as people paste them from a vendor's documentation: with the path of a request behind the base URL."""

import re

# /models only behind a version: elsewhere it is the end of a base URL, as at Azure.
REQUEST_PATH = re.compile(
    r"""(
        /chat/completions
        | (?<=/v1)/(completions|responses|messages|models)
        | (?<=/v1beta)/models
        | /models/[^/]+:\w+
        | /api/(chat|generate|tags)
    )?/*$""",
    re.VERBOSE,
)


def api_base(endpoint: str) -> str:
    """The URL that the vendor's own clients take, without a slash at its end."""
    return REQUEST_PATH.sub("", endpoint)
