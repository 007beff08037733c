"""The pages of a conversation."""

from django.urls import path

from chats.web import exports, pages

urlpatterns = [
    path("chats/<row_id:pk>", pages.chat_page, name="chat"),
    path("sessions/<uuid:uuid>", pages.session_page, name="session"),
    path("sessions/<uuid:uuid>/messages", pages.session_messages, name="session-messages"),
    path("sessions/<uuid:uuid>/messages/<row_id:pk>/switch", pages.switch_to_branch, name="session-switch"),
    path("sessions/<uuid:uuid>/events", pages.session_events, name="session-events"),
    path("sessions/<uuid:uuid>/export.md", exports.export_markdown, name="session-markdown"),
    path("sessions/<uuid:uuid>/export.json", exports.export_json, name="session-json"),
]
