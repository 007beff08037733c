"""What can keep a conversation from going on. The texts are for people; `aistudio.errors` maps the classes to HTTP."""


class ChatError(Exception):
    """The base of these errors."""


class SessionNotFound(ChatError):
    """There is no such session, or the user may not see it."""


class MessageNotFound(ChatError):
    """There is no such message in the session."""


class AnswerInProgress(ChatError):
    """The last question of the session is still being answered."""


class TooManyAnswers(ChatError):
    """The person has as many answers in production as one may have. Arguments: seconds to wait, and the reason."""

    def __str__(self) -> str:
        return str(self.args[1])


class ChatClosed(ChatError):
    """The chat of the session was deleted."""


class NotAQuestion(ChatError):
    """Only a question can be edited."""


class NothingToStop(ChatError):
    """Nothing is being answered in the session."""


class QuestionKeyReused(ChatError):
    """The idempotency key came with another question before."""


class ChatNotAnswerable(ChatError):
    """The LLM of the chat cannot be called, until an administrator changes that."""


class InvalidPosition(ChatError):
    """A client names an event that does not exist. Arguments: the name of the parameter, and why it is invalid."""


class RunnerUnavailable(ChatError):
    """This process produces no answers, or none any more."""
