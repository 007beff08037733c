"""What each role may do, by the name of the permission: `user.may("llms.change")` reads this table.

A name says what may be done to what. Without a permission to read, users still see what is their own, or open to their
groups: see `visible_to` of each queryset.
"""

from typing import Literal, NamedTuple, get_args

Role = Literal["administrator", "member"]
ROLES: tuple[Role, ...] = get_args(Role)


class Grant(NamedTuple):
    """A column for each role: whether it has the permission."""

    administrator: bool
    member: bool


PERMISSIONS = {
    "admin.use": Grant(administrator=True, member=False),  # Django's admin
    "audit.read": Grant(administrator=True, member=False),
    "chats.change": Grant(administrator=True, member=False),
    "chats.explain": Grant(administrator=True, member=False),  # why someone may use a chat or not
    "chats.read": Grant(administrator=True, member=False),
    "chats.read_prompts": Grant(administrator=True, member=False),
    "groups.change": Grant(administrator=True, member=False),
    "groups.read": Grant(administrator=True, member=False),
    "groups.read_members": Grant(administrator=True, member=False),
    "llms.call": Grant(administrator=True, member=False),  # to check an LLM, or list its vendor's models
    "llms.change": Grant(administrator=True, member=False),
    "llms.read": Grant(administrator=True, member=False),
    "sessions.list": Grant(administrator=True, member=False),  # those of anyone; not what was said in them
    "users.change": Grant(administrator=True, member=False),
    "users.read": Grant(administrator=True, member=False),
}
