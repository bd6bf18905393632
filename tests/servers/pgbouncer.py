# SPDX-License-Identifier: MIT
"""A PgBouncer in transaction mode from Debian's package, in front of the Postgres that REELD_TEST_POSTGRES_URL names (start that one first).
REELD_TEST_PGBOUNCER_URL names the same database through it."""
import os
import pwd
import urllib.parse

from .common import Server


class Pgbouncer(Server):
    name = "pgbouncer"

    def __init__(self, directory, postgres=None, pool_size=3):
        super().__init__(directory)
        self.postgres = postgres
        self.pool_size = pool_size  # fewer than the clients want: they must share

    def user(self):
        """It refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def prepare(self):
        target = urllib.parse.urlsplit(self.postgres or os.environ["REELD_TEST_POSTGRES_URL"])
        self.database = target.path.lstrip("/")
        with open(os.path.join(self.directory, "users"), "w", encoding="utf-8") as users:
            users.write(f'"{target.username}" ""\n')
        with open(os.path.join(self.directory, "pgbouncer.ini"), "w", encoding="utf-8") as config:
            config.write(f"""[databases]
* = host={target.hostname} port={target.port} user={target.username}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = trust
auth_file = {os.path.join(self.directory, "users")}
pool_mode = transaction
default_pool_size = {self.pool_size}
ignore_startup_parameters = extra_float_digits
""")
        self.role = target.username
        if self.user():
            owner = pwd.getpwnam("postgres")
            for path in (self.directory, *(os.path.join(self.directory, name) for name in ("users", "pgbouncer.ini"))):
                os.chown(path, owner.pw_uid, owner.pw_gid)
            parent = self.directory
            while parent not in ("/", "/tmp"):
                os.chmod(parent, os.stat(parent).st_mode | 0o011)
                parent = os.path.dirname(parent)

    def argv(self):
        return ["/usr/sbin/pgbouncer", os.path.join(self.directory, "pgbouncer.ini")]

    def url(self):
        return f"postgresql://{self.role}@127.0.0.1:{self.port}/{self.database}"

    def environment(self):
        return {"REELD_TEST_PGBOUNCER_URL": self.url()}
