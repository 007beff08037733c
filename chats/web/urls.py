"""The pages of a conversation."""

from django.urls import path

from chats.web import pages

urlpatterns = [
    path("chats/<int:pk>", pages.chat, name="chat"),
    path("sessions/<uuid:uuid>", pages.session, name="session"),
    path("sessions/<uuid:uuid>/messages", pages.messages, name="session-messages"),
    path("sessions/<uuid:uuid>/messages/<int:pk>/switch", pages.switch, name="session-switch"),
    path("sessions/<uuid:uuid>/events", pages.events, name="session-events"),
    path("sessions/<uuid:uuid>/export.md", pages.export_markdown, name="session-markdown"),
    path("sessions/<uuid:uuid>/export.json", pages.export_json, name="session-json"),
]
