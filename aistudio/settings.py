"""The settings of AI Studio: read from the environment, then from files; described in docs/settings.md.

A value that cannot be used stops the start with one line that names it.
"""

from pathlib import Path

from environs import Env, EnvError
from environs import validate as check

from core.database.url import database
from core.env import error_line, fernet_key, host_name, network, private_networks, read_files, secret, url_origin

BASE_DIR = Path(__file__).resolve().parent.parent
LOCAL_ENV_FILE = BASE_DIR / ".env.local"
VERSION = "0.1.0"

env = Env()

try:
    LOCAL_ENV = env.bool("LOCAL_ENV", True)
    read_files(*([LOCAL_ENV_FILE] if LOCAL_ENV else []), BASE_DIR / ".env")
    DEBUG = env.bool("DEBUG", False)
    SECRET_KEY = env.str("SECRET_KEY", validate=check.Length(min=50))
    FIELD_KEYS: list[str] = env.list("FIELD_KEYS", subcast=fernet_key, validate=check.Length(min=1))
    HOST = env.str("HOST", "127.0.0.1", validate=check.Regexp(r"[\w.:-]+$", error="It is no host name or address."))
    PORT = env.int("PORT", 8080, validate=check.Range(1, 65535))
    HTTPS = env.bool("HTTPS", True)
    ALLOWED_HOSTS: list[str] = env.list(
        "ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"], subcast=host_name, validate=check.Length(min=1)
    )
    CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [], subcast=url_origin)
    TRUSTED_PROXIES: list[str] = env.list("TRUSTED_PROXIES", [], subcast=network)
    env.add_parser("private_networks", private_networks)
    PRIVATE_NETWORKS: bool | tuple[str, ...] = env.private_networks("PRIVATE_NETWORKS", "0")
    LLM_CONNECT_TIMEOUT = env.float("LLM_CONNECT_TIMEOUT", 10, validate=check.Range(0.1, 600))
    LLM_FIRST_TOKEN_TIMEOUT = env.float("LLM_FIRST_TOKEN_TIMEOUT", 60, validate=check.Range(0.1, 3600))
    LLM_SILENCE_TIMEOUT = env.float("LLM_SILENCE_TIMEOUT", 600, validate=check.Range(0.1, 3600))
    LLM_TOKEN_TIMEOUT = env.float("LLM_TOKEN_TIMEOUT", 60, validate=check.Range(0.1, 3600))
    LLM_ANSWER_TIMEOUT = env.float("LLM_ANSWER_TIMEOUT", 1800, validate=check.Range(0.1, 86400))
    TOKEN_MAX_DAYS = env.int("TOKEN_MAX_DAYS", 0, validate=check.Range(0, 36_500))
    MAX_ANSWERS_PER_PERSON = env.int("MAX_ANSWERS_PER_PERSON", 20, validate=check.Range(1, 10_000))
    MAX_STREAMS_PER_PERSON = env.int("MAX_STREAMS_PER_PERSON", 50, validate=check.Range(1, 10_000))
    MAX_SEARCHES_PER_PERSON = env.int("MAX_SEARCHES_PER_PERSON", 4, validate=check.Range(1, 10_000))
    MAX_EXPORTS_PER_PERSON = env.int("MAX_EXPORTS_PER_PERSON", 2, validate=check.Range(1, 10_000))
    WORKERS = env.int("WORKERS", 0, validate=check.Range(0, 256))
    SHUTDOWN_TIMEOUT = env.int("SHUTDOWN_TIMEOUT", 10, validate=check.Range(0, 3600))
    DRAIN_TIME = env.float("DRAIN_TIME", 0, validate=check.Range(0, 600))
    DEMO_PASSWORD = env.str("DEMO_PASSWORD", "")
    LOG_FORMAT = env.str("LOG_FORMAT", "text", validate=check.OneOf(["text", "json"]))
    LOG_LEVEL = env.str("LOG_LEVEL", "INFO", validate=check.OneOf(["DEBUG", "INFO", "WARNING", "ERROR"]))
    METRICS_TOKEN = env.str("METRICS_TOKEN", "", validate=secret)
    METRICS_NETWORKS: list[str] = env.list("METRICS_NETWORKS", [], subcast=network)
    OTEL_EXPORTER_OTLP_ENDPOINT = env.str("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    OTEL_SDK_DISABLED = env.bool("OTEL_SDK_DISABLED", False)
    AUDIT_LOG = env.str(
        "AUDIT_LOG", "", validate=check.OneOf(["", "stdout"], error="It must be stdout, or empty for none.")
    )
    env.add_parser("database", database)
    DATABASES = {"default": env.database("DATABASE_URL", f"sqlite:///{BASE_DIR / 'data' / 'aistudio.sqlite3'}")}
except UnicodeDecodeError:
    raise SystemExit("AI Studio cannot start: .env or .env.local is not UTF-8. See docs/settings.md.") from None
except EnvError as error:
    raise SystemExit(f"AI Studio cannot start: {error_line(error)} See docs/settings.md.") from None

# local to a process; it counts wrong tokens, so many entries must not push others out early
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "OPTIONS": {"MAX_ENTRIES": 100_000}}}

INSTALLED_APPS = [
    "aistudio",
    "chats",
    "usage",
    "llms",
    "groups",
    "core",
    "unfold",  # before django.contrib.admin, whose templates it replaces
    "unfold.contrib.filters",
    "unfold.contrib.forms",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "rest_framework_json_api",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]
MIDDLEWARE = [
    "core.server.middleware.request_id",
    "core.server.middleware.content_security_policy",
    "core.server.middleware.remember_request",
    "core.server.middleware.visible_bidi",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "core.server.authentication.RecordedAuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "aistudio.urls"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "chats.web.sidebar.sidebar",
            ]
        },
    }
]

AUTH_USER_MODEL = "groups.User"
LOGIN_URL = LOGOUT_REDIRECT_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
PASSWORD_HASHERS = ["groups.passwords.Argon2", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]  # the first hashes
VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{VALIDATION}.NumericPasswordValidator"},
    {"NAME": "groups.passwords.StrengthValidator"},
]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
TIME_ZONE = "UTC"

STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True  # Static files are served from their packages; `collectstatic` is not needed.
WHITENOISE_MAX_AGE = 0  # browsers ask each time whether a file changed: a page's modules must be of one version

SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^health(/\w+)?$"]  # probes ask the process, not the proxy
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_NAME = "aistudio_session"

MAX_BODY_SIZE = DATA_UPLOAD_MAX_MEMORY_SIZE = 2**20  # bytes

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "groups.authentication.TokenAuthentication",
        "groups.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["core.rest.permissions.NamedPermissions"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "core.rest.negotiation.ContentNegotiation",
    "DEFAULT_PARSER_CLASSES": ["core.rest.parsers.FlatParser", "core.rest.parsers.JSONAPIParser"],
    "DEFAULT_RENDERER_CLASSES": ["core.rest.renderers.FlatRenderer", "core.rest.renderers.JSONAPIRenderer"],
    "DEFAULT_PAGINATION_CLASS": "core.rest.pagination.PageNumberPagination",
    "DEFAULT_FILTER_BACKENDS": [
        "core.rest.filters.FilterBackend",
        "core.rest.filters.SearchBackend",
        "core.rest.filters.SortBackend",
    ],
    "DEFAULT_SCHEMA_CLASS": "core.rest.schema.AutoSchema",
    "DEFAULT_METADATA_CLASS": None,
    "EXCEPTION_HANDLER": "core.rest.errors.exception_handler",
    "PAGE_SIZE": 10,
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "AI Studio API",
    "VERSION": "1.0",
    "LICENSE": {"name": "Apache 2.0", "identifier": "Apache-2.0"},
    "TAGS": [
        {"name": "audit-events", "description": "Who changed what, and who signed in."},
        {"name": "auth", "description": "Signing in and out with a session, as browsers do."},
        {"name": "chat-history-records", "description": "Sessions as the published contract has them."},
        {"name": "chats", "description": "Each an LLM, its settings, and the groups that may use it."},
        {"name": "groups", "description": "People who may use the same chats."},
        {"name": "llm-settings", "description": "How an LLM is called."},
        {"name": "llms", "description": "Language models at vendors, and the keys to them."},
        {"name": "sessions", "description": "Conversations: their messages, and the events of an answer."},
        {"name": "users", "description": "People, their groups and their tokens."},
        {"name": "vendors", "description": "What an LLM can belong to."},
    ],
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/api/v1",
    "SCHEMA_PATH_PREFIX_TRIM": True,
    "SERVERS": [{"url": "/api/v1"}],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "SWAGGER_UI_SETTINGS": {"persistAuthorization": True},
    "DEFAULT_GENERATOR_CLASS": "core.rest.schema.Generator",
    "POSTPROCESSING_HOOKS": [],
    "APPEND_COMPONENTS": {
        "securitySchemes": {"BearerAuth": {"type": "apiKey", "name": "Authorization", "in": "header"}}
    },
}
FAVICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E"
    "%3Crect x='1' y='2' width='14' height='10' rx='3' fill='%239333ea'/%3E"
    "%3Cpath d='M4 11v4l4-4z' fill='%239333ea'/%3E%3C/svg%3E"
)
UNFOLD = {
    "SITE_TITLE": "AI Studio",
    "SITE_HEADER": "AI Studio",
    "SITE_SYMBOL": "forum",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: FAVICON}],
    "SHOW_VIEW_ON_SITE": False,
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {
        "request_id": {"()": "core.server.middleware.RequestIdFilter"},
        "no_traceback": {"()": "core.telemetry.logs.WithoutTraceback"},
        "no_traceback_of_503": {"()": "core.telemetry.logs.WithoutTracebackOf503"},
    },
    "formatters": {
        "text": {
            "()": "core.telemetry.logs.TextFormatter",
            "fmt": "%(asctime)s %(levelname)s %(name)s [%(request_id)s] %(message)s",
        },
        "json": {"()": "core.telemetry.logs.JSONFormatter"},
    },
    "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["request_id"], "formatter": LOG_FORMAT}},
    "root": {"handlers": ["console"], "level": LOG_LEVEL},
    # Django's own handlers print only under DEBUG: a 500 would not be logged
    "loggers": {
        "django": {"handlers": [], "level": LOG_LEVEL, "propagate": True},
        "django.security.DisallowedHost": {"filters": ["no_traceback"]},  # anyone can cause it
        "django.security.DisallowedModelAdminLookup": {"filters": ["no_traceback"]},
        "django.security.DisallowedModelAdminToField": {"filters": ["no_traceback"]},
        # aistudio.access logs every request
        "django.request": {"level": "ERROR", "filters": ["no_traceback_of_503"]},
        "django.db.backends": {"level": "INFO"},  # its DEBUG level logs stored data
        "django.template": {"level": "INFO"},  # its DEBUG level logs requests, with cookies and CSRF tokens
    },
}
