from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group as UnusedGroup
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.admin import ModelAdmin, TabularInline
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from groups.models import ApiToken, Group, User

admin.site.unregister(UnusedGroup)  # access is by our groups; administrators need no finer permissions


class MembershipInline(TabularInline):
    model = Group.members.through
    verbose_name, verbose_name_plural = "group", "groups"
    autocomplete_fields = ("group",)
    extra = 0


class NewUserForm(UserCreationForm):
    class Meta:
        model = User
        fields = ("email", "name")


class ChangedUserForm(UserChangeForm):
    class Meta:
        model = User
        fields = ("email", "name", "password", "is_admin", "is_active")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):
    form = ChangedUserForm
    add_form = NewUserForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("email", "name", "is_admin", "is_active", "last_login")
    list_filter = ("is_admin", "is_active", "groups")
    search_fields = ("email_folded", "name")
    ordering = ("email_folded",)
    filter_horizontal = ()
    readonly_fields = ("last_login", "created_at")
    fieldsets = (
        (None, {"fields": ("email", "name", "password")}),
        ("Access", {"fields": ("is_admin", "is_active")}),
        ("Dates", {"fields": ("created_at", "last_login")}),
    )
    add_fieldsets = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)
    inlines = (MembershipInline,)


@admin.register(Group)
class GroupAdmin(ModelAdmin):
    list_display = ("name", "member_count", "created_at")
    search_fields = ("name_folded",)
    autocomplete_fields = ("members",)
    readonly_fields = ("created_at",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Group]:
        return super().get_queryset(request).annotate(member_count=Count("members"))

    @display(description="members", ordering="member_count")
    def member_count(self, group: Any) -> int:
        return int(group.member_count)


class IssueTokenForm(forms.ModelForm):
    class Meta:
        model = ApiToken
        fields = ("user", "name", "expires_at")


@admin.register(ApiToken)
class ApiTokenAdmin(ModelAdmin):
    """Tokens are issued, and their key shown once; afterwards they can only be revoked or deleted."""

    form = IssueTokenForm
    list_display = ("name", "user", "prefix", "state", "created_at", "expires_at", "last_used_at")
    list_filter = (("revoked_at", admin.EmptyFieldListFilter), ("expires_at", admin.EmptyFieldListFilter))
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__email_folded")
    autocomplete_fields = ("user",)
    actions = ("revoke",)

    def get_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        issued = ("prefix", "state", "created_at", "last_used_at", "revoked_at")
        return ("user", "name", "expires_at", *(issued if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: ApiToken | None = None) -> Any:
        return self.get_fields(request, obj) if obj else ()

    @display(description="state", label={"usable": "success", "revoked": "danger", "not usable": "warning"})
    def state(self, token: ApiToken) -> str:
        return "revoked" if token.revoked_at else "usable" if token.is_usable else "not usable"

    def save_model(self, request: HttpRequest, obj: ApiToken, form: Any, change: bool) -> None:
        if not change:
            issued, obj.key = ApiToken.issue(obj.user, name=obj.name, expires_at=obj.expires_at)  # type: ignore[attr-defined]
            obj.pk, obj.prefix = issued.pk, issued.prefix

    def response_add(self, request: HttpRequest, obj: ApiToken, post_url_continue: Any = None) -> HttpResponse:
        """The page that shows the key: it is answered at once, so that the key is kept nowhere."""
        context = {**self.admin_site.each_context(request), "title": "Token issued", "token": obj, "opts": self.opts}
        response = TemplateResponse(request, "admin/groups/apitoken/issued.html", context)
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke selected tokens", permissions=["change"])
    def revoke(self, request: HttpRequest, tokens: QuerySet[ApiToken]) -> None:
        pending = [token for token in tokens if not token.revoked_at]
        for token in pending:
            token.revoke()
        self.message_user(request, f"Revoked: {len(pending)}.")
