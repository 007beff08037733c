"""The forms for signing in, and for one's own password and tokens."""

from datetime import timedelta
from math import ceil

from django import forms
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm, BaseUserCreationForm, PasswordChangeForm
from django.core.exceptions import ValidationError
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from groups.models import ApiToken, User
from groups.sign_in import TooManyAttempts, first_run_code, record_refusal, sign_in

LIFETIMES = [("30", _("30 days")), ("90", _("90 days")), ("365", _("a year")), ("", _("no end"))]


def lifetimes() -> list[tuple[str, str]]:
    """The choices for a new token that TOKEN_MAX_DAYS admits, its own among them."""
    days = settings.TOKEN_MAX_DAYS
    known = [(value, str(label)) for value, label in LIFETIMES]
    if not days:
        return known
    own = ngettext("%(days)s day", "%(days)s days", days) % {"days": days}
    return [*((value, label) for value, label in known if value and int(value) < days), (str(days), own)]


def authenticate_user(request: HttpRequest | None, email: str, password: str) -> User | None:
    """The user with this password, or None; guesses are limited as at the API's sign-in."""
    assert request
    try:
        return sign_in(request=request, email=email, password=password)
    except TooManyAttempts as error:
        raise ValidationError(str(error), code="throttled", params={"wait": ceil(error.wait)}) from None


class ThrottledSignInForm(AuthenticationForm):
    """Signs in by the same rules as the API."""

    def clean(self) -> dict[str, object]:
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if email and password:
            self.user_cache = authenticate_user(self.request, email, password)
            if self.user_cache is None:
                raise self.get_invalid_login_error()
            try:
                self.confirm_login_allowed(self.user_cache)
            except ValidationError:
                record_refusal(email, "not an administrator, at the admin")
                raise
        return self.cleaned_data


class SignInForm(ThrottledSignInForm):
    error_messages = {"invalid_login": _("The e-mail or the password is wrong, or the user is not active.")}


class FirstRunForm(BaseUserCreationForm):
    """Creates the first administrator. The code proves that the person can read the output of the server."""

    code = forms.CharField(
        label=_("Code"),
        help_text=_("The server printed it when it started."),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )
    field_order = ("code", "email", "name", "password1", "password2")

    class Meta:
        model = User
        fields = ("email", "name")

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"].strip().lower()
        if not constant_time_compare(code, first_run_code()):
            raise ValidationError(_("This is not the code. Look for “first-run” in the output of the server."))
        return code


class NewPasswordForm(PasswordChangeForm):
    request: HttpRequest  # set by the view, because attempts are counted by the client's address

    def clean_old_password(self) -> str:
        """Throttled like a sign-in, so that someone at a browser left open cannot guess the password."""
        password: str = self.cleaned_data["old_password"]
        if authenticate_user(self.request, self.user.email, password) is None:
            raise ValidationError(self.error_messages["password_incorrect"], code="password_incorrect")
        return password


class TokenForm(forms.Form):
    """Issues a token."""

    name = forms.CharField(
        label=_("Name"),
        max_length=ApiToken._meta.get_field("name").max_length,
        help_text=_("What will use it, so that you can tell what stops when you revoke it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    lifetime = forms.ChoiceField(label=_("Valid for"), choices=lifetimes, initial="90", required=False)

    def clean_name(self) -> str:
        return str(ApiToken._meta.get_field("name").clean(self.cleaned_data["name"], None))

    def issue(self, user: User) -> tuple[ApiToken, str]:
        """Issue the token; returns it and its key."""
        days = self.cleaned_data["lifetime"]
        expires_at = timezone.now() + timedelta(days=int(days)) if days else None
        return ApiToken.issue(user, name=self.cleaned_data["name"], expires_at=expires_at)
