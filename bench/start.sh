#!/usr/bin/env bash
# How long from a fresh clone to the first answer, how long started again, and the idle memory of the server.
#   bench/start.sh [PORT]
set -euo pipefail
port=${1:-8090}
source=$(cd "$(dirname "$0")/.." && pwd)
folder=$(mktemp -d)
trap 'kill "$server" 2>/dev/null || true; rm -rf "$folder"' EXIT
git clone --quiet "$source" "$folder/aistudio"
cd "$folder/aistudio"

measure() {
    local begun now
    begun=$(date +%s.%N)
    PORT=$port make run >"$folder/log" 2>&1 &
    server=$!
    until curl --silent --fail "http://localhost:$port/health" >/dev/null 2>&1; do
        kill -0 "$server" 2>/dev/null || { cat "$folder/log"; exit 1; }
        sleep 0.05
    done
    now=$(date +%s.%N)
    echo "$1: $(echo "$now - $begun" | bc) s to the first answer"
}

stop() {
    pkill --parent "$server" || true
    wait "$server" || true
}

measure "from nothing"
stop
measure "started again"
sleep 3
pid=$(pgrep --parent "$server" --full quickstart || echo "$server")
echo "idle: $(awk '/^Pss:/ {print int($2 / 1024)}' "/proc/$pid/smaps_rollup") MiB"
stop
