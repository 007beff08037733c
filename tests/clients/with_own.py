"""Use the API as a client that was generated from its description; print what came back as JSON.

API_URL and API_TOKEN say where and who. mypy reads this, too.
"""

import json
import os
import sys
from http import HTTPStatus

from aistudio_client import AuthenticatedClient
from aistudio_client.api.chats import chats_create, chats_destroy, chats_list, chats_retrieve, chats_update
from aistudio_client.api.groups import groups_create, groups_destroy, groups_users_get, groups_users_post
from aistudio_client.api.users import users_me_get
from aistudio_client.models import (
    ApiChatInput,
    ApiChatInputData,
    ApiChatInputDataAttributes,
    ApiChatResponse,
    Chat,
    ChatChange,
    ChatChangeData,
    ChatChangeDataAttributes,
    ErrorDocument,
    Group,
    GroupInput,
    GroupInputData,
    GroupInputDataAttributes,
    User,
    UserIdentifier,
    UserIdentifierData,
)

client = AuthenticatedClient(
    base_url=os.environ["API_URL"],
    token=os.environ["API_TOKEN"],
    raise_on_unexpected_status=True,
    httpx_args={"trust_env": False},
)
with client:
    chats = chats_list.sync(client=client, sort="id", page_size=1)
    assert isinstance(chats, list)
    demo: Chat = chats[0]

    me = users_me_get.sync(client=client)
    assert isinstance(me, User)

    group = groups_create.sync(
        client=client, body=GroupInput(GroupInputData(GroupInputDataAttributes(name="From our own client")))
    )
    assert isinstance(group, Group)
    group_id = int(group.id)
    added = groups_users_post.sync_detailed(
        group_id, client=client, body=UserIdentifier(UserIdentifierData(type_="users", id=me.id))
    )
    members = groups_users_get.sync(group_id, client=client)
    assert isinstance(members, list)

    fields = ApiChatInputDataAttributes(
        name="From our own client",
        llm_id=demo.attributes.llm_id,
        llm_settings_id=demo.attributes.llm_settings_id,
        group_ids=[group_id],
    )
    made = chats_create.sync(client=client, body=ApiChatInput(ApiChatInputData(attributes=fields)))
    assert isinstance(made, ApiChatResponse)
    assert isinstance(made.id, str)
    chat_id = int(made.id)

    change = ChatChangeDataAttributes(name="Changed", description=None, group_ids=[])
    changed = chats_update.sync(chat_id, client=client, body=ChatChange(ChatChangeData(change)))
    assert isinstance(changed, Chat)

    refused = chats_update.sync(
        chat_id, client=client, body=ChatChange(ChatChangeData(ChatChangeDataAttributes(llm_id=999_999)))
    )
    assert isinstance(refused, ErrorDocument)
    source = refused.errors[0].source

    deleted: list[HTTPStatus] = [
        chats_destroy.sync_detailed(chat_id, client=client).status_code,
        groups_destroy.sync_detailed(group_id, client=client).status_code,
    ]
    gone = chats_retrieve.sync_detailed(chat_id, client=client)
    assert isinstance(gone.parsed, ErrorDocument)

json.dump(
    {
        "demo": demo.attributes.name,
        "added": added.status_code,
        "members": [(member.id, member.attributes.email) for member in members],
        "me": (me.id, me.attributes.email),
        "made_in": [item.id for item in made.attributes.groups or []] if made.attributes else None,
        "group": group.id,
        "changed": (changed.id, changed.attributes.name, [item.id for item in changed.attributes.groups]),
        "made": made.id,
        "refused": (refused.errors[0].code, source.pointer if source else None),
        "deleted": deleted,
        "gone": (gone.status_code, gone.parsed.errors[0].code),
    },
    sys.stdout,
)
