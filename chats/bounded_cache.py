"""A cache in the memory of this process that does not grow beyond a size."""

from collections import OrderedDict
from threading import Lock
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Keeps the values that were used last. Their sizes together are at most `capacity`. Threads may share it."""

    def __init__(self, capacity: int) -> None:
        self.capacity, self.size = capacity, 0
        self.entries: OrderedDict[K, tuple[V | None, int]] = OrderedDict()
        self.lock = Lock()

    def __contains__(self, key: K) -> bool:
        return key in self.entries

    def get(self, key: K) -> V | None:
        with self.lock:
            if key not in self.entries:
                return None
            self.entries.move_to_end(key)
            return self.entries[key][0]

    def put(self, key: K, value: V | None, size: int) -> None:
        with self.lock:
            _, size_before = self.entries.pop(key, (None, 0))
            self.entries[key] = value, size
            self.size += size - size_before
            while self.size > self.capacity:
                _, (_, freed) = self.entries.popitem(last=False)
                self.size -= freed
