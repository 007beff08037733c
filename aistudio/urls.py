"""The map of the house."""

from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.urls import include, path
from django.views.decorators.cache import cache_control
from drf_spectacular.views import SpectacularSwaggerSplitView

from aistudio.api import router
from chats.web.home import home
from chats.web.sidebar import conversations
from core.rest.description import Description
from core.server.health import health
from groups.pages import ChangePassword, SignIn, first_run, profile, revoke_token

HOUR = 3600  # seconds

urlpatterns = [
    path("api/v1/", include(router.urls)),
    path("", home, name="home"),
    path("conversations", conversations, name="conversations"),
    path("first-run", first_run, name="first-run"),
    path("sign-in", SignIn.as_view(), name="sign-in"),
    path("sign-out", LogoutView.as_view(), name="sign-out"),
    path("profile", profile, name="profile"),
    path("profile/password", ChangePassword.as_view(), name="password"),
    path("profile/tokens/<int:pk>/revoke", revoke_token, name="revoke-token"),
    path("", include("chats.web.urls")),
    path("health", health),
    path("admin/", admin.site.urls),
    path("api/v1/schema", cache_control(max_age=HOUR)(Description.as_view()), name="schema"),
    path("api/v1/docs", SpectacularSwaggerSplitView.as_view(url_name="schema"), name="docs"),
]

handler400 = "core.rest.errors.bad_request"
handler403 = "core.rest.errors.permission_denied"
handler404 = "core.rest.errors.not_found"
handler500 = "core.rest.errors.server_error"
