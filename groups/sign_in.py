"""Signing in, API keys, and the rule that an active administrator remains."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from math import ceil
from textwrap import wrap

from django.contrib.auth import authenticate
from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.dispatch import Signal, receiver
from django.http import HttpRequest
from django.utils import timezone
from django.utils.crypto import salted_hmac

from core.audit import recording
from core.audit.models import AuditEvent
from core.database.casefold import fold
from groups.attempts import count_attempt, known_browser, network_of, remember_browser
from groups.models import ApiToken, SignInAttempt, User, digest, is_administrator

API_KEY_NAME = "api-key"
FAILED_SIGN_INS = 10  # of one account from one address, or from a browser that has signed in before
OF_ADDRESS = OF_ACCOUNT = 50  # failed sign-ins
SIGN_IN_WINDOW = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
CODE_LENGTH = 20  # hexadecimal digits: 80 bits, which nobody guesses


class LastAdministrator(Exception):
    """The change would leave no active administrator."""


class NotTheFirst(Exception):
    """There is a user already, so that nobody can become the first administrator."""


class TokenEnded(Exception):
    """The token of the request was revoked while the request was answered."""


class TooManyAttempts(Exception):
    """There were too many attempts to sign in to this account, or from this address. `wait` is in seconds."""

    def __init__(self, wait: float) -> None:
        minutes = ceil(wait / 60)
        super().__init__(f"Too many attempts to sign in. Try again in {minutes} minute{'s' * (minutes > 1)}.")
        self.wait = wait


@contextmanager
def an_administrator_remains() -> Iterator[None]:
    """Undo a change of users that leaves no active administrator, and raise LastAdministrator."""
    with transaction.atomic():
        before = lock_administrators()  # otherwise two that demote each other would both succeed
        yield
        if before and not active_administrators().exists():
            raise LastAdministrator("This is the last active administrator; make another one first.")


def active_administrators() -> QuerySet[User]:
    """Those who may manage everything and can sign in, the oldest first."""
    return User.objects.filter(is_administrator(), is_active=True).order_by("pk")


def lock_administrators() -> int:
    """Lock the active administrators until the end of the transaction; returns how many there are."""
    return len(active_administrators().select_for_update(no_key=True))


def first_run_code() -> str:
    """The code for creating the first administrator. It proves that its user can read the server's output.

    It is derived from the server's secret, so that all processes have the same. It is useless once there is a user.
    """
    code = salted_hmac("groups.first_run", "", algorithm="sha256").hexdigest()[:CODE_LENGTH]
    return "-".join(wrap(code, 4))


@recording.recording()
def make_first_administrator(*, user: User) -> None:
    """Store the first user, as administrator. Raises NotTheFirst if there is one, even if many are made at once."""
    if connection.vendor == "postgresql":  # SQLite lets one transaction at a time write
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE groups_user IN SHARE ROW EXCLUSIVE MODE")
    if User.objects.exists():
        raise NotTheFirst("There is an administrator already. Sign in, or ask them.")
    user.is_admin = True
    user.save()


@recording.recording()
def roll_api_key(*, user: User, token_id: int | None = None) -> str:
    """Issue a token named "api-key" and revoke the one before; other tokens stay. Returns its key.

    `token_id` is that of the token with which it is done. Raises TokenEnded.
    """
    User.objects.select_for_update(no_key=True).get(pk=user.pk)
    made_by = lock_token(token_id)
    for token in user.tokens.filter(name=API_KEY_NAME, revoked_at=None):
        token.revoke()
    if made_by and made_by.user_id != user.pk:
        made_by = (
            None  # people keep the keys that an administrator made for them, whatever becomes of the administrator
        )
    if made_by:
        made_by.refresh_from_db()  # it may be the one before, or have been made with that one
    _, key = ApiToken.issue(user, name=API_KEY_NAME, made_by=made_by)
    return key


def lock_token(pk: int | None) -> ApiToken | None:
    """The token of this id, locked until the transaction ends, so that what is made with it can end with it.

    Raises TokenEnded if it was revoked meanwhile.
    """
    if pk is None:
        return None
    token = ApiToken.objects.select_for_update(no_key=True).filter(pk=pk, revoked_at=None).first()
    if token is None:
        raise TokenEnded("The token was revoked at this moment.")
    return token


def sign_in(*, request: HttpRequest, email: str, password: str) -> User | None:
    """The user with this password, or None. Raises TooManyAttempts without checking the password.

    Strangers cannot lock out a browser that has signed in before, because it has a counter of its own.
    """
    account, address = digest(fold(email)), network_of(request)
    browser = known_browser(request, account)
    own = (f"browser:{browser}:{account}" if browser else f"{account}:{address}", FAILED_SIGN_INS)
    of_address, of_account = (f"address:{address}", OF_ADDRESS), (f"account:{account}", OF_ACCOUNT)
    limits = [own] if browser else [of_address, own, of_account]
    # Counted before the outcome is known: otherwise many attempts at once would all pass. The account comes last, so
    # that an address that may not try any more locks nobody out.
    for counter, most in limits:
        count, wait = count_attempt(counter, SIGN_IN_WINDOW)
        if count > most:
            refusals, _ = count_attempt(f"refused:{address}", MINUTE)
            if refusals == 1:  # its record stands for all of this minute
                record_refusal(email, "too many attempts")
            raise TooManyAttempts(wait)
    user = authenticate(request, username=email, password=password)
    if not isinstance(user, User):
        return None
    SignInAttempt.objects.filter(counter=own[0]).delete()
    shared = [counter for counter, _ in limits if counter != own[0]]
    SignInAttempt.objects.filter(counter__in=shared, count__gt=0).update(count=F("count") - 1)
    remember_browser(request, account)
    return user


def forget_attempts() -> None:
    """Delete counts whose window is over. Writes nothing if there are none."""
    over = SignInAttempt.objects.filter(ends_at__lt=timezone.now())
    if over.exists():
        over.delete()


def record_refusal(email: str, reason: str) -> None:
    """Record that a sign-in was refused. The input is stored only if it is an e-mail: it may be a password."""
    account = User.objects.filter(email_folded=fold(email)[:600]).first()
    name = account.email if account else email.strip()
    if account is None:
        try:
            validate_email(name)
        except ValidationError:
            name = ""
    recording.record(
        AuditEvent.Action.SIGN_IN_REFUSED,
        User.audited_as,
        object_id=account and account.pk,
        object_name=name,
        detail=reason,
        origin={"actor_id": None, "actor_name": ""},
    )


# Django sends these signals wherever someone signs in or out


@receiver(user_login_failed)
def record_failed_login(credentials: dict[str, object], **rest: object) -> None:
    """Record a refused sign-in in the audit. A receiver of Django's signal."""
    record_refusal(str(credentials.get("username", "")), "wrong e-mail or password, or not active")


@receiver([user_logged_in, user_logged_out])
def record_session(signal: Signal, user: User | None, **rest: object) -> None:
    """Record a sign-in or sign-out in the audit. A receiver of Django's signals."""
    if user is None or not user.is_authenticated:  # someone signed out who was not signed in
        return
    action = AuditEvent.Action.SIGNED_IN if signal is user_logged_in else AuditEvent.Action.SIGNED_OUT
    who = {"actor_id": user.pk, "actor_name": str(user)}
    recording.record(action, User.audited_as, object_id=user.pk, object_name=str(user), origin=who)
