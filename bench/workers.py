"""Prints what an extractor process costs: .venv/bin/python bench/workers.py

The jobs cost next to nothing, so that the figures are those of the process and its channel.
"""

import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)

from core.workers.extractors import ExtractorPool, register  # noqa: E402  (found from the root)
from core.workers.process import INPUTS, MIB  # noqa: E402

STARTS, CALLS = 20, INPUTS - 1


def main() -> None:
    register("length", "bench.worker_jobs:length")
    register("echo", "bench.worker_jobs:echo")
    cold, warm, large = [], [], []
    resident = 0
    for _ in range(STARTS):
        pool = ExtractorPool(size=1)
        cold.append(measure(pool, "length", b"x"))
        resident = pool.unused[0].resident_memory()
        pool.close()
    pool = ExtractorPool(size=1)
    measure(pool, "length", b"x")
    warm = [measure(pool, "length", b"x") for _ in range(CALLS)]
    measure(pool, "echo", b"x")
    large = [measure(pool, "echo", bytes(10 * MIB)) for _ in range(10)]
    print(f"isolation              {dict(pool.isolation)}")
    pool.close()
    print(f"first call (a start)   {median(cold):8.2f} ms, worst {max(cold):.2f} ms")
    print(f"warm call              {median(warm):8.2f} ms, worst {max(warm):.2f} ms")
    print(f"10 MiB there and back  {median(large):8.2f} ms, worst {max(large):.2f} ms")
    print(f"memory of a process    {resident / MIB:8.1f} MiB")


def measure(pool: ExtractorPool, job: str, data: bytes) -> float:
    begun = time.perf_counter()
    pool.run_sync(job, data, deadline=60, memory=500 * MIB, output=100 * MIB)
    return (time.perf_counter() - begun) * 1000


main()
