"""Users, groups, API tokens, and attempts to sign in."""

import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.hashers import check_password
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from django.utils.functional import cached_property

from core.audit.recording import Audited, recording
from core.audit.relations import AuditedManyToManyField
from core.database.casefold import CasefoldedCharField, NameField, UniqueCasefolded, fold, refuse_control_characters
from core.database.compiled import CompiledQuery, column_names, to_instance
from groups.permissions import PERMISSIONS, Role


class UserQuerySet(models.QuerySet["User"]):
    """Which users a user may see."""

    def visible_to(self, user: "User") -> Self:
        """Everyone with the permission `users.read`, else the user alone."""
        return self if user.may("users.read") else self.filter(pk=user.pk)


class UserManager(BaseUserManager.from_queryset(UserQuerySet)):  # type: ignore[misc]
    """Creates users, and finds them by e-mail without regard to case."""

    def get_by_natural_key(self, email: str | None) -> "User":
        # the exact one first: where old addresses have become the same, each person signs in with their own
        return self.filter(email=email).first() or self.get(email_folded=fold(email or ""))

    def create_user(self, email: str, password: str | None = None, **fields: Any) -> "User":
        user: User = self.model(email=email.strip(), **fields)
        user.set_password(password)
        user.save()
        return user

    def create_superuser(self, email: str, password: str | None = None, **fields: Any) -> "User":
        return self.create_user(email, password, **{**fields, "is_admin": True})


class User(Audited, AbstractBaseUser):
    """A person, known by e-mail address. Their role, administrator or member, decides what they may do."""

    email = models.EmailField("e-mail", max_length=254, unique=True, validators=[refuse_control_characters])
    email_folded = CasefoldedCharField("email")
    name = NameField(max_length=200, blank=True)
    name_folded = CasefoldedCharField("name")
    is_admin = models.BooleanField(
        "administrator", default=False, help_text="May manage everything, here and in the API."
    )
    is_active = models.BooleanField(
        "active", default=True, help_text="Without it, sign-in and every token are refused from the next request on."
    )
    created_at = models.DateTimeField("created", auto_now_add=True)

    token_id: int  # of the token that the user acts with; set by `ApiToken.user_of` alone

    objects: ClassVar[UserManager] = UserManager()

    audited_as = "users"
    audited_secrets = frozenset({"password"})
    unaudited = frozenset({"last_login"})  # each sign-in has a record of its own

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        ordering = ("email_folded",)
        constraints = (UniqueCasefolded("email_folded", name="user_email_unique"),)

    def __str__(self) -> str:
        return self.email

    def check_password(self, raw_password: str | None) -> bool:
        """Whether this is the password. If Django then stores a better hash of it, the audit records no change."""

        def hash_anew(raw_password: str) -> None:
            self.set_password(raw_password)
            type(self)._base_manager.filter(pk=self.pk).update(password=self.password)

        return check_password(raw_password, self.password, hash_anew)

    def get_full_name(self) -> str:
        return self.name or self.email

    get_short_name = get_full_name

    @classmethod
    def of_role(cls, role: str, pk: int) -> "User":
        """A user that is not stored, to compose a query for all users of a role."""
        return cls(pk=pk, is_admin=role == "administrator")

    @cached_property
    def role(self) -> Role:
        """The role as of the last save, or since the row was read."""
        return "administrator" if self.is_admin else "member"

    def save(self, **options: Any) -> None:
        self.__dict__.pop("role", None)
        super().save(**options)

    def may(self, permission: str) -> bool:
        """Whether the user's role has this permission of `groups.permissions`; raises KeyError if there is none."""
        return bool(getattr(PERMISSIONS[permission], self.role))

    # read by Django's admin
    @property
    def is_staff(self) -> bool:
        return self.may("admin.use")

    is_superuser = is_staff

    def has_perm(self, perm: object, obj: models.Model | None = None) -> bool:
        return self.is_active and self.is_staff

    has_perms = has_module_perms = has_perm  # of several permissions, of an app


def is_administrator(prefix: str = "") -> Q:
    """Rows of administrators; the prefix leads from a row to its user, as in `"user__"`."""
    return Q(**{f"{prefix}is_admin": True})


class GroupQuerySet(models.QuerySet["Group"]):
    """Which groups a user may see."""

    def visible_to(self, user: User) -> Self:
        """Every group with the permission `groups.read`, else the user's own."""
        return self if user.may("groups.read") else self.filter(members=user)


class Group(Audited):
    """People who may use the same chats."""

    name = NameField(max_length=200)
    name_folded = CasefoldedCharField("name")
    members = AuditedManyToManyField(User, related_name="groups", blank=True)
    created_at = models.DateTimeField("created", auto_now_add=True)

    objects = GroupQuerySet.as_manager()

    audited_as = "groups"

    class Meta:
        ordering = ("name_folded", "id")
        constraints = (UniqueCasefolded("name_folded", name="group_name_unique"),)

    def __str__(self) -> str:
        return self.name


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Which tokens can be used."""

    def usable(self) -> Self:
        """Tokens that are neither revoked nor expired nor older than TOKEN_MAX_DAYS, of active users."""
        days = settings.TOKEN_MAX_DAYS
        young = self.filter(created_at__gt=Now() - timedelta(days=days)) if days else self
        return young.filter(Q(expires_at=None) | Q(expires_at__gt=Now()), revoked_at=None, user__is_active=True)


class ApiToken(Audited):
    """A token with which a program acts as a user. Only a digest of its key is stored; `issue` returns the key once.

    A token that was made with another token ends with that one, and no later.
    """

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="tokens")
    name = NameField(max_length=100, help_text="What uses it, so that one can tell what stops when it is revoked.")
    prefix = models.CharField(max_length=12, editable=False, help_text="How the key begins.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    made_by = models.ForeignKey(
        "self", on_delete=models.CASCADE, null=True, related_name="made", editable=False,
        help_text="The token with which it was made, and with which it ends.",
    )  # fmt: skip
    created_at = models.DateTimeField("created", auto_now_add=True)
    expires_at = models.DateTimeField("expires", null=True, blank=True, help_text="Never, when empty.")
    revoked_at = models.DateTimeField("revoked", null=True, blank=True, editable=False)
    last_used_at = models.DateTimeField("last used", null=True, blank=True, editable=False)

    objects = ApiTokenQuerySet.as_manager()

    audited_as = "tokens"
    audited_secrets = frozenset({"digest"})
    unaudited = frozenset({"last_used_at"})

    class Meta:
        verbose_name = "API token"
        ordering = ("-created_at", "-id")

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix}…)"

    @classmethod
    def issue(
        cls, user: User, *, name: str, expires_at: datetime | None = None, made_by: "ApiToken | None" = None
    ) -> tuple["ApiToken", str]:
        """Make a token; returns it and its key, which cannot be read again. It ends at `latest_end` if not earlier.

        `made_by` must be locked. If it was just replaced by this token, the token that made it takes its part.
        """
        key = "ais_" + secrets.token_urlsafe(32)
        ends = [moment for moment in (expires_at, cls.latest_end(made_by)) if moment]
        while made_by and made_by.revoked_at:
            made_by = made_by.made_by
        values = {"user": user, "name": name, "prefix": key[:10], "digest": digest(key), "made_by": made_by}
        return cls.objects.create(**values, expires_at=min(ends, default=None)), key

    @staticmethod
    def latest_end(made_by: "ApiToken | None") -> datetime | None:
        """When a token that is made now has to end; None if nothing bounds it."""
        ends = [made_by.expires_at] if made_by and made_by.expires_at else []
        if settings.TOKEN_MAX_DAYS:
            ends.append(timezone.now() + timedelta(days=settings.TOKEN_MAX_DAYS))
        return min(ends, default=None)

    @staticmethod
    def user_of(key: str) -> "User | None":
        """The user who may act with this key, with the `token_id` of its token: one query."""
        row = USERS_BY_DIGEST.get(digest(key))
        if row is None:
            return None
        user = to_instance(User, USER_COLUMNS, row[:-1])
        user.token_id = row[-1]
        return user

    def revoke(self) -> None:
        """Revoke the token, and with it those that were made with it."""
        now, tokens = timezone.now(), [self]
        with recording():
            while tokens:  # not a recursion, because a chain of tokens can have any length
                for token in tokens:
                    token.revoked_at = now
                    token.save(update_fields=["revoked_at"])
                tokens = list(ApiToken.objects.filter(made_by__in=tokens, revoked_at=None))

    @property
    def is_usable(self) -> bool:
        return self.revoked_at is None and not self.has_expired and self.user.is_active

    @property
    def has_expired(self) -> bool:
        ends = [self.expires_at] if self.expires_at else []
        if settings.TOKEN_MAX_DAYS:
            ends.append(self.created_at + timedelta(days=settings.TOKEN_MAX_DAYS))
        return any(end <= timezone.now() for end in ends)


USER_COLUMNS = column_names(User)
USERS_BY_DIGEST = CompiledQuery(
    str,
    compose=lambda digest: (
        ApiToken.objects.usable()
        .filter(digest=digest)
        .order_by()
        .values_list(*(f"user__{name}" for name in USER_COLUMNS), "pk")
    ),
)


def digest(key: str) -> str:
    """SHA-256 in hex. A key has 256 random bits, so that a slower hash would add nothing."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class SignInAttempt(models.Model):
    """How often someone tried to sign in to an account from an address, and until when that counts."""

    counter = models.CharField(max_length=200, unique=True, help_text="A digest of the e-mail, and the address.")
    count = models.PositiveIntegerField()
    ends_at = models.DateTimeField(db_index=True)

    class Meta:
        verbose_name = "sign-in attempt"

    def __str__(self) -> str:
        return f"{self.count} until {self.ends_at}"
