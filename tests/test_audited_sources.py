"""What changes rows without `save` leaves no record of the audit: each place that does is known, with its reason."""

import ast
from collections.abc import Iterator

import pytest

from tests.test_imports import modules, tree_of

PAST_SAVE = {
    "update", "aupdate", "bulk_create", "abulk_create", "bulk_update", "abulk_update", "save_base", "_update",
    "_raw_delete", "execute", "executemany",
}  # fmt: skip
A_DICT = "a dict, no rows"
READS = "only reads"
NOT_AUDITED = "sessions, messages, runs and pieces are not audited: they are what people say, not what they may do"
COUNTS = "counts attempts, whose refusals have records of their own"
OF_ALL = "a whole database is copied, with its records"
KNOWN = {
    "core.audit.recording": {
        "model._base_manager.using(using).bulk_create": "the records themselves",
    },
    "core.database.backup_file": {"digest.update": "bytes", "self.digest.update": "bytes"},
    "core.database.connections": {"cursor.execute": OF_ALL},
    "core.server.health": {"cursor.execute": READS},
    "core.idempotency.attempts": {
        "rows.bulk_create": "requests are not audited",
        "rows.filter(pk=row.pk, holder=row.holder).update": "requests are not audited",
        "self.own_row.update": "requests are not audited",
    },
    "core.database.key_rotation": {
        "model._base_manager.filter(pk=row.pk).update": "the same secret under another key is no change of it",
    },
    "core.database.move_to_postgres": {"cursor.execute": OF_ALL},
    "core.rest.parsers": {"document.update": A_DICT},
    "core.rest.errors": {"_http_errors.update": A_DICT},
    "core.database.backup": {"cursor.execute": OF_ALL},
    "core.database.casefold": {"rows.filter(pk=pk).update": "migrations fold names anew, which is no change of them"},
    "core.database.compiled": {"cursor.execute": READS},
    "core.database.time_limit": {"cursor.execute": "sets a limit"},
    "core.database.table_dump": {"cursor.executemany": OF_ALL},
    "groups.models": {
        "type(self)._base_manager.filter(pk=self.pk).update": "a better hash of the same password is no change of it",
    },
    "groups.authentication": {
        "ApiToken.objects.filter(pk=pk).update": "when a token was last used is no change of it",
    },
    "chats.conversation": {"active.update": NOT_AUDITED},
    "chats.answering.journal": dict.fromkeys(
        (
            "cursor.execute",
            "cursor.executemany",
            "ActiveAnswer.objects.filter(worker=worker, message__in=answers).update",
            "Message.objects.filter(pk=message).update",
        ),
        NOT_AUDITED,
    ),
    "groups.attempts": {"cursor.execute": COUNTS},
    "groups.sign_in": {
        "cursor.execute": "locks a table",
        "SignInAttempt.objects.filter(counter__in=shared, count__gt=0).update": COUNTS,
    },
    "chats.models": dict.fromkeys(("Chat.groups.through", "Group.members.through"), READS),
    "llms.serializers": {"self.update": "the serializer's own, which saves"},
    "groups.admin": {"Group.members.through": "the form's rows are set as the user's groups instead"},
}


def past_save(module: str) -> Iterator[str]:
    """What in a module changes rows without `save`, or may."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Attribute) and node.attr == "through" and "self" not in ast.unparse(node.value):
            yield ast.unparse(node)
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        if isinstance(function, ast.Attribute) and function.attr in PAST_SAVE:
            if not (isinstance(function.value, ast.Call) and ast.unparse(function.value) == "super()"):
                yield ast.unparse(function)
        elif any(keyword.arg == "manager" for keyword in node.keywords):  # a relation by another manager than its own
            yield ast.unparse(function)


@pytest.mark.parametrize("module", [name for name in modules() if ".migrations" not in name])
def test_nothing_changes_rows_past_the_audit(module: str) -> None:
    found, known = set(past_save(module)), set(KNOWN.get(module, {}))
    assert found - known == set(), (
        "An audited row is changed with save(); anything else is named above, with its reason."
    )
    assert known - found == set(), "It is there no more: take it off the list."


def test_the_walk_finds_them() -> None:
    tree = "User.objects.filter(pk=1).update(is_admin=True)\nUser.groups.through.objects.bulk_create(rows)"
    names = [node.attr for node in ast.walk(ast.parse(tree)) if isinstance(node, ast.Attribute)]
    assert PAST_SAVE & set(names) == {"update", "bulk_create"}
