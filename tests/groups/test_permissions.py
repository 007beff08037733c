"""Permissions are asked by name, and one table says who has them."""

import ast
from collections.abc import Iterator

import pytest

from groups.models import User
from groups.permissions import PERMISSIONS, ROLES
from tests.test_imports import LEVEL, ROOT, modules, tree_of

# who shows or edits the flag of other people, or makes an administrator
MAY_NAME_THE_FLAG = {"groups.models", "groups.serializers", "groups.admin", "groups.views", "groups.sign_in"}
PERMISSION_NAMES = ("permission", "access_permission", "read_permission", "change_permission")


def code_of(module: str) -> Iterator[ast.AST]:
    return ast.walk(tree_of(module))


def production() -> list[str]:
    return [name for name in modules() if ".migrations" not in name]


def asked_in(module: str) -> Iterator[str]:
    """The names of permissions in a module: arguments of `may`, and what views and serializers declare."""
    for node in code_of(module):
        values: list[ast.AST] = []
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute) and node.func.attr == "may":
                values += node.args
            values += [keyword.value for keyword in node.keywords if keyword.arg in PERMISSION_NAMES]
        elif isinstance(node, ast.Assign):
            names = {item.id for target in node.targets for item in ast.walk(target) if isinstance(item, ast.Name)}
            if names & {*PERMISSION_NAMES}:
                values.append(node.value)
            elif names & {"restricted"} and isinstance(node.value, ast.Dict):
                values += node.value.values
        elif isinstance(node, ast.FunctionDef) and node.name in PERMISSION_NAMES:
            values += [item.value for item in ast.walk(node) if isinstance(item, ast.Return) and item.value]
        for value in values:
            for constant in ast.walk(value):
                if isinstance(constant, ast.Constant) and isinstance(constant.value, str) and "." in constant.value:
                    yield constant.value


@pytest.mark.parametrize("module", production())
def test_nothing_else_reads_the_flag(module: str) -> None:
    for node in code_of(module):
        if isinstance(node, ast.Attribute) and node.attr == "is_admin" and isinstance(node.ctx, ast.Load):
            assert module == "groups.models", f"{module} reads is_admin"
        if module in MAY_NAME_THE_FLAG:
            continue
        named = getattr(node, "attr", None) or getattr(node, "arg", None) or getattr(node, "value", None)
        assert not (isinstance(named, str) and "is_admin" in named.split("__")), f"{module} names is_admin"
        assert not (isinstance(node, ast.Attribute) and node.attr == "is_superuser"), f"{module} names is_superuser"


def test_code_asks_for_what_the_table_has_and_the_table_has_what_code_asks_for() -> None:
    asked = {name for module in production() for name in asked_in(module)}
    assert asked == PERMISSIONS.keys()


def test_no_template_reads_the_flag() -> None:
    templates = [file for app in LEVEL for file in (ROOT / app).rglob("*.html")]
    assert templates
    assert [file.name for file in templates if "is_admin" in file.read_text()] == []


@pytest.mark.parametrize("permission", PERMISSIONS)
def test_the_table_decides(permission: str) -> None:
    for role in ROLES:
        user = User.of_role(role, 1)
        assert user.role == role
        assert user.may(permission) is getattr(PERMISSIONS[permission], role)


def test_there_is_no_other_permission() -> None:
    with pytest.raises(KeyError):
        User.of_role("administrator", 1).may("chats.burn")


@pytest.mark.django_db
def test_a_role_changes_with_the_flag() -> None:
    user = User.objects.create_user("dora@example.com")
    assert user.role == "member"
    user.is_admin = True
    user.save()
    assert user.may("llms.change")
