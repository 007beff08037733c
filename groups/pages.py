"""The pages on which people sign in, and change their password and tokens."""

from http import HTTPStatus

from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.contrib.auth.views import LoginView, PasswordChangeView
from django.contrib.messages.views import SuccessMessageMixin
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse_lazy
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from core.web.decorators import page
from groups.forms import FirstRunForm, NewPasswordForm, SignInForm, TokenForm
from groups.models import User
from groups.sign_in import NotTheFirst, make_first_administrator


class SignedInRequest(HttpRequest):
    """A request that passed the decorator `page`, so that its user is signed in."""

    user: User


class SignIn(LoginView):
    """Signs in, and redirects to the page `next` if that is on this server."""

    template_name = "groups/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True

    def dispatch(self, request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        if not User.objects.exists():
            return redirect("first-run")
        return super().dispatch(request, *args, **kwargs)

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        response = super().form_invalid(form)
        for error in form.non_field_errors().as_data():
            if error.code == "throttled" and error.params:
                response.status_code = HTTPStatus.TOO_MANY_REQUESTS
                response["Retry-After"] = str(error.params["wait"])
        return response


@never_cache
@sensitive_post_parameters()
def first_run(request: HttpRequest) -> HttpResponse:
    """Create the first administrator. As soon as there is a user, this page redirects to the sign-in."""
    if User.objects.exists():
        return redirect("sign-in")
    form = FirstRunForm(request.POST or None)
    if form.is_valid():
        user = form.save(commit=False)
        try:
            make_first_administrator(user=user)
        except NotTheFirst as error:
            messages.error(request, str(error))
            return redirect("sign-in")
        login(request, user)
        return redirect("home")
    return render(request, "groups/first_run.html", {"form": form})


class ChangePassword(SuccessMessageMixin, PasswordChangeView):
    template_name = "groups/password.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("profile")
    success_message = gettext_lazy("Your password is changed. Other browsers are signed out.")

    def get_form(self, form_class: type[PasswordChangeForm] | None = None) -> PasswordChangeForm:
        form = super().get_form(form_class)
        assert isinstance(form, NewPasswordForm)
        form.request = self.request
        return form


@page
def profile(request: SignedInRequest) -> HttpResponse:
    """The user's groups and tokens. The key of a new token is only in the response that issues it."""
    user = request.user
    form, issued = TokenForm(request.POST or None), None
    if form.is_valid():
        issued, form = form.issue(user), TokenForm()
    tokens = user.tokens.filter(revoked_at=None)
    context = {"form": form, "issued": issued, "tokens": tokens, "groups": user.groups.all(), "now": timezone.now()}
    response = render(request, "groups/profile.html", context)
    if issued:
        response["Cache-Control"] = "no-store"
    return response


@page
@require_POST
def revoke_token(request: SignedInRequest, pk: int) -> HttpResponse:
    """Revoke a token of the signed-in user."""
    token = get_object_or_404(request.user.tokens.filter(revoked_at=None), pk=pk)
    token.revoke()
    messages.success(request, _("%(name)s is revoked.") % {"name": token.name})
    return redirect("profile")
