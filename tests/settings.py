"""The settings under test: the real ones, fed from here instead of this machine's environment and `.env`."""

import os

os.environ.update(
    LOCAL_ENV="0",
    SECRET_KEY="tests-only-" + "x" * 50,
    FIELD_KEYS="dGVzdHMtb25seS10ZXN0cy1vbmx5LXRlc3RzLW9ubHk=",
    HTTPS="0",
    DEBUG="0",
    ALLOWED_HOSTS="testserver,localhost,127.0.0.1",
    DATABASE_URL=os.environ.get("TEST_DATABASE_URL", "sqlite:///:memory:"),
    PRIVATE_NETWORKS="0",
    HOST="127.0.0.1",
    PORT="8080",
    CSRF_TRUSTED_ORIGINS="",
    TRUSTED_PROXIES="",
    DEMO_PASSWORD="",
    LOG_FORMAT="text",
    LOG_LEVEL="INFO",
    METRICS_TOKEN="",
    METRICS_NETWORKS="",
    OTEL_EXPORTER_OTLP_ENDPOINT="",
    OTEL_SDK_DISABLED="0",
    AUDIT_LOG="",
)
from aistudio.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # 0.2 s a user otherwise
