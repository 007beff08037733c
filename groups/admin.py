from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group as UnusedGroup
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from unfold.admin import ModelAdmin, TabularInline
from unfold.contrib.filters.admin import (
    AutocompleteSelectFilter,
    BooleanRadioFilter,
    RadioFilter,
    RelatedDropdownFilter,
)
from unfold.decorators import action, display
from unfold.forms import AdminPasswordChangeForm, AuthenticationForm, UserCreationForm

from core.web.admin import LINK, Admin, ReadOnly, count_link, count_of, link, links
from groups.forms import ThrottledSignInForm
from groups.models import ApiToken, Group, User
from groups.sign_in import LastAdministrator, an_administrator_remains

admin.site.unregister(UnusedGroup)  # Django's groups give no access here; ours do.


class AdminSignInForm(ThrottledSignInForm, AuthenticationForm):
    error_messages = {"invalid_login": "This is not the e-mail and password of an active administrator."}


admin.site.login_form = AdminSignInForm


class TokenState:
    """The column that says whether a token can be used."""

    @display(
        description="state",
        label={"usable": "success", "revoked": "danger", "expired": "warning", "user not active": "warning"},
    )
    def state(self, token: ApiToken) -> str:
        if token.revoked_at:
            return "revoked"
        if token.is_usable:
            return "usable"
        return "expired" if token.user.is_active else "user not active"


class MembershipInline(TabularInline):
    model = Group.members.through
    verbose_name, verbose_name_plural = "group", "groups"
    autocomplete_fields = ("group",)
    hide_title = True
    extra = 0


class TokenInline(TokenState, ReadOnly, TabularInline):
    """A person's tokens; nothing here changes them."""

    model = ApiToken
    fields = readonly_fields = ("token_link", "state", "created_at", "expires_at", "last_used_at")
    empty_value_display = "never"
    hide_title = True
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[ApiToken]:
        return super().get_queryset(request).select_related("user")

    @display(description="token")
    def token_link(self, token: ApiToken) -> str:
        return link(token)


class NewUserForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name", "is_admin")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["usable_password"].label = "Sign-in with a password"
        self.fields["usable_password"].help_text = "Without it they can only use the API, with tokens."


@admin.register(User)
class UserAdmin(DjangoUserAdmin, Admin):  # type: ignore[misc]  # Django's get_form names fewer arguments
    form = forms.ModelForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "role", "group_names", "last_login")
    list_filter = (
        ("is_admin", BooleanRadioFilter),
        ("is_active", BooleanRadioFilter),
        ("groups", RelatedDropdownFilter),
    )
    search_fields = ("email_folded", "name_folded")
    search_help_text = "E-mail or name"
    ordering = ("email_folded",)
    filter_horizontal = ()
    readonly_fields = ("password_state", "last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "name", "password_state")}),
        ("Access", {"fields": ("is_admin", "is_active")}),
        ("Dates", {"fields": ("created_at", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "is_admin", "usable_password", "password1", "password2")}),)
    inlines = (MembershipInline, TokenInline)
    actions_detail = ("issue_token",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[User]:
        return super().get_queryset(request).prefetch_related("groups")

    def get_inlines(self, request: HttpRequest, obj: User | None) -> tuple[type[TabularInline], ...]:
        return self.inlines if obj else (MembershipInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        """Administrators cannot lock themselves out."""
        return (*self.readonly_fields, *(("is_admin", "is_active") if obj == request.user else ()))

    def change(self, request: HttpRequest, page: Callable[[], HttpResponse]) -> HttpResponse:
        """A change of users is undone if it would leave no active administrator, as in the API."""
        if request.method != "POST":
            return page()
        try:
            with an_administrator_remains():
                return super().change(request, page)
        except LastAdministrator as error:
            self.message_user(request, str(error), messages.ERROR)
            return redirect(request.path)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """It saves the whole row, which must be locked: hashing takes long enough for another change."""
        return self.change(request, partial(super().user_change_password, request, id, form_url))

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return obj != request.user and super().has_delete_permission(request, obj)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Set the groups as everywhere else, since changes of the rows of a relation are not recorded."""
        if formset.model is not Group.members.through:
            super().save_formset(request, form, formset, change)
            return
        formset.save(commit=False)  # the history needs what it finds out
        rows = [row.cleaned_data for row in formset.forms if row.cleaned_data.get("group")]
        form.instance.groups.set([row["group"] for row in rows if not row.get("DELETE")])

    @display(description="role", label={"administrator": "info", "not active": "danger"})
    def role(self, user: User) -> str:
        return user.role if user.is_active else "not active"

    @display(description="groups")
    def group_names(self, user: User) -> str:
        return links(user.groups.all())

    @display(description="password")
    def password_state(self, user: User) -> str:
        state, change = "Set.", "Change it"
        if not user.has_usable_password():
            state, change = "None: they can only use the API, with tokens.", "Set one"
        return format_html('{} <a class="{}" href="../password/">{}</a>', state, LINK, change)

    @action(description="Issue a token", icon="key")
    def issue_token(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect(reverse("admin:groups_apitoken_add", query={"user": object_id}))


@admin.register(Group)
class GroupAdmin(Admin):
    list_display = ("name", "member_count", "chat_count", "created_at")
    search_fields = ("name_folded",)
    search_help_text = "Name"
    autocomplete_fields = ("members",)
    readonly_fields = ("chat_count", "created_at")
    when_empty = "A group is people who may use the same chats."

    def get_fields(self, request: HttpRequest, obj: Group | None = None) -> tuple[str, ...]:
        return ("name", "members", *(("chat_count", "created_at") if obj else ()))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        counts = {"member_count": count_of(Group, "members"), "chat_count": count_of(Group, "chats")}
        return super().get_queryset(request).annotate(**counts)

    @display(description="members", ordering="member_count")
    def member_count(self, group: Any) -> int:
        return int(group.member_count)

    @display(description="chats", ordering="chat_count")
    def chat_count(self, group: Any) -> str:
        return count_link(group, "chats", annotation="chat_count")


class IssueTokenForm(forms.ModelForm):
    class Meta:
        model = ApiToken
        fields = ("user", "name", "expires_at")
        help_texts = {"user": "Whoever has the token may do what this user may."}

    def clean(self) -> None:
        user, expires_at = self.cleaned_data.get("user"), self.cleaned_data.get("expires_at")
        if user and not user.is_active:
            self.add_error("user", "This user is not active, so the token would be refused.")
        if expires_at and expires_at <= timezone.now():
            self.add_error("expires_at", "This is in the past, so the token would be refused.")
        latest = ApiToken.latest_end(None)
        if expires_at and latest and expires_at > latest:
            self.add_error("expires_at", f"TOKEN_MAX_DAYS lets a token be valid for {settings.TOKEN_MAX_DAYS} days.")


class UsableFilter(RadioFilter):
    title = "state"
    parameter_name = "usable"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin) -> list[tuple[str, str]]:
        return [("1", "Usable"), ("0", "Not usable")]

    def queryset(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        usable = ApiToken.objects.usable().values("pk")
        match self.value():
            case "1":
                return tokens.filter(pk__in=usable)
            case "0":
                return tokens.exclude(pk__in=usable)
        return tokens


@admin.register(ApiToken)
class ApiTokenAdmin(TokenState, Admin):
    """Tokens are issued, and their key is shown once. Afterwards they can only be read, revoked and deleted."""

    form = IssueTokenForm
    list_display = ("name", "user_link", "prefix", "state", "created_at", "expires_at", "last_used_at")
    list_filter = (UsableFilter, ("user", AutocompleteSelectFilter))
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__email_folded", "user__name_folded")
    search_help_text = "Name, how the key begins, or user"
    autocomplete_fields = ("user",)
    empty_value_display = "never"
    actions = ("revoke_selected",)
    actions_detail = ("revoke",)
    has_change_permission = ReadOnly.has_change_permission
    add_label = "Issue a token"
    when_empty = "With a token, a program uses the API as the user whom it is issued for."

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> tuple[str, ...]:
        if not obj:
            return ("user", "name", "expires_at")
        return (
            "name",
            "user_link",
            "prefix",
            "state",
            "made_by",
            "created_at",
            "expires_at",
            "last_used_at",
            "revoked_at",
        )

    def get_form(
        self, request: HttpRequest, obj: ApiToken | None = None, change: bool = False, **options: Any
    ) -> type[forms.ModelForm]:
        if change:  # all fields are read-only
            options["help_texts"] = {"name": "", "expires_at": ""}
        return super().get_form(request, obj, change, **options)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest | None = None) -> bool:
        return not lookup.startswith("digest") and super().lookup_allowed(lookup, value, request)

    @display(description="user", ordering="user__email_folded")
    def user_link(self, token: ApiToken) -> str:
        return link(token.user)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, object] | None = None
    ) -> HttpResponse:
        return super().add_view(request, form_url, {**(extra_context or {}), "title": self.add_label})

    def save_model(self, request: HttpRequest, obj: ApiToken, form: object, change: bool) -> None:
        issued, obj.key = ApiToken.issue(obj.user, name=obj.name, expires_at=obj.expires_at)  # type: ignore[attr-defined]
        obj.pk, obj.prefix = issued.pk, issued.prefix

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: str | None = None) -> HttpResponse:
        """Answer with the page that shows the key. There is no redirect, so that the key is stored nowhere."""
        context = {**self.admin_site.each_context(request), "title": "Token issued", "token": obj, "opts": self.opts}
        return TemplateResponse(request, "admin/groups/apitoken/issued.html", context)

    @admin.action(description="Revoke selected tokens", permissions=["delete"])
    def revoke_selected(self, request: HttpRequest, tokens: Iterable[ApiToken]) -> None:
        pending = [token for token in tokens if not token.revoked_at]
        for token in pending:
            token.revoke()
            self.log_change(request, token, "Revoked.")
        self.message_user(request, f"{len(pending)} token{'s' * (len(pending) != 1)} revoked.")

    @action(
        description="Revoke",
        icon="block",
        permissions=["delete"],
        dialog={
            "title": "Revoke this token?",
            "description": "What uses it is refused from its next request on. This cannot be undone.",
            "form_class": None,
            "form_submit_text": "Revoke",
        },
    )
    def revoke(self, request: HttpRequest, form: object, object_id: str) -> HttpResponse:
        if not (token := self.get_object(request, object_id)):
            raise Http404
        self.revoke_selected(request, [token])
        return HttpResponse(headers={"HX-Redirect": reverse("admin:groups_apitoken_change", args=[token.pk])})
