"""What people fill in on their way in, and about themselves."""

from typing import Any

from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from groups.people import TooManyAttempts, sign_in


class SignInForm(AuthenticationForm):
    """E-mail and password; they are as slow to guess as at the API's sign-in."""

    error_messages = {"invalid_login": _("The e-mail or the password is wrong, or the user is not active.")}

    def clean(self) -> Any:
        email, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if email and password:
            try:
                self.user_cache = sign_in(request=self.request, email=email, password=password)  # type: ignore[arg-type]
            except TooManyAttempts as error:
                raise ValidationError(str(error)) from None
            if self.user_cache is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data
