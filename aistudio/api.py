"""The v1 API: a line per resource."""

from rest_framework.routers import SimpleRouter

from chats.api.chats import ChatViewSet
from chats.api.conversations import MessageViewSet, SessionViewSet
from chats.api.records import RecordViewSet
from core.audit.views import AuditEventViewSet
from groups.views import AuthViewSet, GroupViewSet, TokenViewSet, UserViewSet
from llms.views import LLMSettingsViewSet, LLMViewSet, VendorViewSet
from usage.views import LLMCallViewSet

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
