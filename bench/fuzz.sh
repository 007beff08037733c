#!/usr/bin/env bash
# Fuzz a server of its own, on a database of its own, in all phases and as an administrator: no failure is the result.
#   bench/fuzz.sh [PORT]
set -euo pipefail
cd "$(dirname "$0")/.."
port=${1:-8091}
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
export DATABASE_URL="sqlite:///$folder/fuzz.sqlite3" HTTPS=0 NO_PROXY='*'
nowhere=http://127.0.0.1:9 # for the LLMs that the fuzzer makes: no vendor is ever asked
python=$PWD/.venv/bin/python
$python manage.py migrate --verbosity 0
$python manage.py demo
AISTUDIO_TOKEN=$($python manage.py create_token admin@example.com)
export AISTUDIO_TOKEN
HTTP_PROXY=$nowhere HTTPS_PROXY=$nowhere NO_PROXY='' PRIVATE_NETWORKS=0 \
    $python manage.py runserver "$port" >"$folder/log" 2>&1 &
server=$!
until curl --silent --fail "http://localhost:$port/health" >/dev/null; do sleep 0.1; done
config=$PWD/schemathesis.toml
cd "$folder"
"$(dirname "$python")/schemathesis" --config-file "$config" run "http://localhost:$port/api/v1/schema" \
    --url "http://localhost:$port/api/v1" --workers 2
if grep --silent Traceback "$folder/log"; then
    cat "$folder/log"
    exit 1
fi
