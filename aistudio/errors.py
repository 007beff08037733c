"""The one table of how the API answers the errors of the apps. An error's arguments become those of its HTTP error."""

from rest_framework.exceptions import APIException, AuthenticationFailed, NotFound, Throttled

from chats import errors as chats
from core.database.time_limit import TooSlow
from core.idempotency.attempts import KeyReused
from core.rest.errors import Conflict, InvalidParameter, Unavailable
from groups.sign_in import LastAdministrator, TokenEnded
from llms.errors import LLMNotUsable
from usage.errors import VendorsBusy

HTTP_ERRORS: dict[type[Exception], type[APIException]] = {
    chats.SessionNotFound: NotFound,
    chats.MessageNotFound: NotFound,
    chats.AnswerInProgress: Conflict,
    chats.ChatClosed: Conflict,
    chats.ChatNotAnswerable: Conflict,
    chats.NotAQuestion: Conflict,
    chats.NothingToStop: Conflict,
    chats.QuestionKeyReused: KeyReused,
    chats.InvalidPosition: InvalidParameter,
    chats.RunnerUnavailable: Unavailable,
    chats.TooManyAnswers: Throttled,
    LastAdministrator: Conflict,
    TokenEnded: AuthenticationFailed,
    LLMNotUsable: Conflict,
    VendorsBusy: Unavailable,
    TooSlow: Unavailable,
}
