"""Fills an empty database for the benchmark, in a process of its own: `python -m bench.filling CHATS`.

Prints JSON: the tokens, the ids that requests need, and how many statements each kind of request sends.
"""

import json
import random
import sys
from typing import Any

import django

django.setup()

from django.core.management import call_command  # noqa: E402  (Django is set up above)
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402
from django.test.utils import CaptureQueriesContext  # noqa: E402

from bench.requests import NEW_NAME, Place, requests_of  # noqa: E402
from chats.models import Chat  # noqa: E402
from core.database.casefold import fold  # noqa: E402
from groups.models import ApiToken, Group, User  # noqa: E402
from llms.models import LLM, LLMSettings  # noqa: E402

GROUPS = 200
OF_BOB = 5  # groups that bob is a member of
OPEN_TO_BOB = 100  # one chat in so many
PEOPLE = 50
BATCH = 5_000
TEXT = "Answer the questions of the house briefly, and say where you looked. " * 4


def fill(chats: int) -> Place:
    random.seed(1)
    call_command("migrate", verbosity=0)
    admin = User.objects.create_superuser("admin@example.com", name="Admin")
    bob = User.objects.create_user("bob@example.com", name="Bob")
    people = [User.objects.create_user(f"user{number}@example.com") for number in range(PEOPLE)]
    groups = [Group.objects.create(name=f"Group {number}") for number in range(GROUPS)]
    for group in groups:
        group.members.set([*random.sample(people, 5), *([bob] if group in groups[:OF_BOB] else [])])
    llms = [LLM.objects.create(name=f"Model {number}", vendor="demo", default_model="demo") for number in range(5)]
    settings = [LLMSettings.objects.create(model_name=f"model-{number}", temperature=0.5) for number in range(5)]
    for start in range(0, chats, BATCH):
        rows = [
            chat_row(number, random.choice(llms), random.choice(settings))
            for number in range(start, min(start + BATCH, chats))
        ]
        Chat.objects.bulk_create(rows)
        open_to(groups, rows, start)
    if connection.vendor == "postgresql":  # as its autovacuum does; nothing does so for SQLite
        with connection.cursor() as cursor:
            cursor.execute("VACUUM ANALYZE")
    last = Chat.objects.latest("pk")
    visible = Chat.objects.visible_to(bob).order_by("pk")[0]
    return Place(
        admin=ApiToken.issue(admin, name="bench")[1],
        member=ApiToken.issue(bob, name="bench")[1],
        chat=(Chat.objects.filter(pk__gt=last.pk // 2).order_by("pk").first() or last).pk,
        visible=visible.pk,
        llm=llms[0].pk,
        settings=settings[0].pk,
        group=groups[0].pk,
    )


def chat_row(number: int, llm: LLM, settings: LLMSettings) -> Chat:
    name = f"Chat {number} about {random.choice(('law', 'code', 'travel', 'people'))}"
    return Chat(
        name=name,
        name_folded=fold(name),
        description=TEXT[:70],
        system_prompt=TEXT,
        llm=llm,
        llm_settings=settings,
    )


def open_to(groups: list[Group], chats: list[Chat], start: int) -> None:
    """Two groups for each chat; one chat in a hundred has one of bob's."""
    through = Chat.groups.through
    rows = []
    for number, chat in enumerate(chats, start):
        chosen = random.sample(groups[OF_BOB:], 2)
        if number % OPEN_TO_BOB == 0:
            chosen[0] = random.choice(groups[:OF_BOB])
        rows += [through(chat_id=chat.pk, group_id=group.pk) for group in chosen]
    through.objects.bulk_create(rows, batch_size=BATCH)


def statements(place: Place) -> dict[str, int]:
    """How many SQL statements each request sends; the one that creates is undone."""
    client = Client(SERVER_NAME="localhost")
    counts = {}
    for name, request in requests_of(place).items():
        options: Any = {"headers": request.headers}
        if request.body:
            options |= {"data": request.body, "content_type": "application/json"}
        client.generic(request.method, request.path, **options)  # what only the first request does
        with CaptureQueriesContext(connection) as queries:
            response = client.generic(request.method, request.path, **options)
        assert response.status_code in (200, 201), (name, response.content[:300])
        counts[name] = len(queries)
    Chat.objects.filter(name=NEW_NAME).delete()
    return counts


if __name__ == "__main__":
    filled = fill(int(sys.argv[1]))
    print(json.dumps({"place": filled._asdict(), "statements": statements(filled)}))
