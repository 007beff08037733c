"""All URLs: the router of the API, the pages, the admin."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.decorators.cache import cache_control
from drf_spectacular.views import SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from chats.api.chats import ChatViewSet
from chats.api.conversations import MessageViewSet, SessionViewSet
from chats.api.records import RecordViewSet
from chats.web.home import home
from chats.web.sidebar import conversations
from core.audit.views import AuditEventViewSet
from core.rest.schema_view import SchemaView
from core.server.health import health
from groups.pages import ChangePassword, SignIn, first_run, profile, revoke_token
from groups.views import AuthViewSet, GroupViewSet, TokenViewSet, UserViewSet
from llms.views import LLMSettingsViewSet, LLMViewSet, VendorViewSet
from usage.views import LLMCallViewSet

HOUR = 3600  # seconds

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("sessions/<uuid:session>/messages", MessageViewSet, "message")  # first: it is asked most
router.register("auth", AuthViewSet, "auth")
router.register("users/me/tokens", TokenViewSet, "token")
router.register("users", UserViewSet, "user")
router.register("groups", GroupViewSet, "group")
router.register("audit-events", AuditEventViewSet, "audit-event")
router.register("vendors", VendorViewSet, "vendor")
router.register("llms", LLMViewSet, "llm")
router.register("llms", LLMCallViewSet, "llm-call")
router.register("llm-settings", LLMSettingsViewSet, "llm-settings")
router.register("chats", ChatViewSet, "chat")
router.register("sessions", SessionViewSet, "session")
router.register("chat-history-records", RecordViewSet, "chat-history-record")

urlpatterns = [
    path("api/v1/", include(router.urls)),
    path("", home, name="home"),
    path("conversations", conversations, name="conversations"),
    path("first-run", first_run, name="first-run"),
    path("sign-in", SignIn.as_view(), name="sign-in"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("profile", profile, name="profile"),
    path("profile/password", ChangePassword.as_view(), name="password"),
    path("profile/tokens/<row_id:pk>/revoke", revoke_token, name="revoke-token"),
    path("", include("chats.web.urls")),
    path("health", health),
    path("admin/", admin.site.urls),
    path("api/v1/schema", cache_control(max_age=HOUR)(SchemaView.as_view()), name="schema"),
    path("api/v1/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
]

handler400 = "core.rest.errors.bad_request"
handler403 = "core.rest.errors.permission_denied"
handler404 = "core.rest.errors.not_found"
handler500 = "core.rest.errors.server_error"
