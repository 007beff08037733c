"""The pages of a person: the way in and out, and what is theirs."""

from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import LoginView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from groups.forms import SignInForm


class SignIn(LoginView):
    template_name = "groups/sign_in.html"
    authentication_form = SignInForm
    redirect_authenticated_user = True


@login_required
def profile(request: HttpRequest) -> HttpResponse:
    return render(request, "groups/profile.html")
