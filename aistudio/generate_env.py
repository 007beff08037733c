"""`python -m aistudio.generate_env` writes the secrets of a new installation to `.env`, which the settings read."""

import os
import secrets
from pathlib import Path

from cryptography.fernet import Fernet


def main(path: Path = Path(".env")) -> None:
    """Write the file for its owner alone. Raises FileExistsError, because new keys cannot decrypt what is stored."""
    lines = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "FIELD_KEYS": Fernet.generate_key().decode(),
        "DEMO_PASSWORD": secrets.token_urlsafe(12),
    }
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.writelines(f"{name}={value}\n" for name, value in lines.items())
    print(f"Wrote new secrets to {path}: keep a copy of FIELD_KEYS, without it no stored key can be read.")


if __name__ == "__main__":
    main()
