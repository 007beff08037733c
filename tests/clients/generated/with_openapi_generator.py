"""Use the API as openapi-generator's client for Python does; write what came back as JSON.

API_URL and API_TOKEN say where and who.
"""

import json
import os
import sys
from http import HTTPStatus

import openapi_client as api

configuration = api.Configuration(
    host=os.environ["API_URL"], api_key={"BearerAuth": os.environ["API_TOKEN"]}, api_key_prefix={"BearerAuth": "Bearer"}
)
client = api.ApiClient(configuration)
chats, sessions = api.ChatsApi(client), api.SessionsApi(client)

(demo,) = chats.chats_list(sort="id", page_size=1)
model = {"model_name": "demo", "stop_words": ["END"], "metadata": {"team": "research"}}
settings = api.LlmSettingsApi(client).llm_settings_create(
    api.LLMSettingsInput.from_dict({"data": {"attributes": model}})
)
attributes = {"llm_id": demo.attributes.llm_id, "llm_settings_id": int(settings.id), "group_ids": []}
created = chats.chats_create(api.ApiChatInput.from_dict({"data": {"attributes": {"name": "Generated", **attributes}}}))
chat = int(created.id)
changed = chats.chats_update(chat, api.ChatChange.from_dict({"data": {"attributes": {"name": "Changed"}}}))
session = sessions.sessions_create(api.SessionInput.from_dict({"data": {"attributes": {"chat_id": chat}}}))
question = api.MessageInput.from_dict({"data": {"attributes": {"text": "/events"}}})
answer = sessions.sessions_messages_create(session.id, question).attributes
deleted = chats.chats_destroy_with_http_info(chat).status_code
try:
    chats.chats_retrieve(chat)
except api.ApiException as error:
    gone = [error.status, error.data.errors[0].code]
else:
    raise AssertionError(HTTPStatus.OK)
seen = {
    "demo": demo.attributes.name,
    "settings": [settings.attributes.stop_words, settings.attributes.metadata],
    "names": [created.attributes.name, changed.attributes.name],
    "answer": [answer.status, [[part.type, part.text or part.tool] for part in answer.parts]],
    "deleted": deleted,
    "gone": gone,
}
json.dump(seen, sys.stdout)
