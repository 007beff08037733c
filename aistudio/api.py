"""The v1 API: a line per resource."""

from rest_framework.routers import SimpleRouter

from chats.views import ChatViewSet

router = SimpleRouter(trailing_slash=False, use_regex_path=False)
router.register("chats", ChatViewSet, "chat")
