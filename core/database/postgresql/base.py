"""Django's backend of PostgreSQL, with a pool that hands out no dead connection, for databases in UTF-8 alone."""

import select
from time import monotonic
from typing import Any, ClassVar

import psycopg
from django.db.backends.postgresql import base
from psycopg_pool import ConnectionPool, PoolTimeout

from core.database.postgresql import OtherEncoding

PATIENCE = 10  # seconds that work waits for a connection: PostgreSQL may be restarting
PATIENCE_WHEN_AWAY = 2  # once the database was away for longer, so that threads are free for other requests


class DatabaseWrapper(base.DatabaseWrapper):
    """Looks at each connection that comes out of the pool, which costs one system call and no round trip."""

    is_away: ClassVar[bool] = False  # whether the last work of this process that wanted a connection got none in time

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        deadline = monotonic() + (PATIENCE_WHEN_AWAY if DatabaseWrapper.is_away else PATIENCE)
        while True:
            try:
                connection = super().get_new_connection(conn_params)
            except PoolTimeout:  # the pool's own timeout is short: asking again makes it try to connect again
                DatabaseWrapper.is_away = monotonic() >= deadline
                if DatabaseWrapper.is_away:
                    raise
                continue
            if not self.pool or is_alive(connection):
                break
            connection.close()
            self.pool.putconn(connection)  # which connects anew
        DatabaseWrapper.is_away = False
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            _ = self.pool.putconn(connection) if self.pool else connection.close()
            raise OtherEncoding(f"its encoding is {encoding}, and AI Studio needs UTF8")
        return connection


def is_alive(connection: Any) -> bool:
    """Whether the server still holds this idle connection. When it ends one, there is something to read."""
    try:
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        if poll.poll(0):  # perhaps only a notice
            ConnectionPool.check_connection(connection)
    except psycopg.Error:
        return False
    return True
