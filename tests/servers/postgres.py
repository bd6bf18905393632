# SPDX-License-Identifier: MIT
"""A PostgreSQL cluster of its own from Debian's package. REELD_TEST_POSTGRES_URL names its database `reeld`."""
import json
import os
import pwd
import shutil
import signal
import subprocess

from .common import Server, wait_until


def openssl(directory, *arguments):
    done = subprocess.run(["openssl", *arguments], check=False, cwd=directory, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"openssl {arguments[0]}: {done.stderr}")


def make_authority(directory, name):
    """name.pem and name.key: an authority that signs itself."""
    openssl(directory, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
            "-keyout", f"{name}.key", "-out", f"{name}.pem")


def make_certificates(directory):
    """ca.pem, and server.pem with server.key for localhost."""
    make_authority(directory, "ca")
    openssl(directory, "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost", "-keyout", "server.key", "-out", "server.csr")
    openssl(directory, "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-copy_extensions",
            "copy", "-out", "server.pem")
    os.chmod(os.path.join(directory, "server.key"), 0o600)


class Postgres(Server):
    name = "postgres"
    durable = False  # the server's own crash safety is not under test; True where its process is killed

    def __init__(self, directory, durable=False, name=None, tls=False):
        """Several in one directory need names. `tls`: it has a certificate for localhost, by the authority whose certificate is `ca`."""
        self.name = name or self.name
        super().__init__(directory)
        self.durable = durable
        self.ca = os.path.join(self.directory, "ca.pem") if tls else None
        versions = sorted(os.listdir("/usr/lib/postgresql"), key=int)
        self.bin = f"/usr/lib/postgresql/{versions[-1]}/bin"
        self.data = os.path.join(self.directory, "data")

    def user(self):
        """It refuses to run as root."""
        return "postgres" if os.geteuid() == 0 else None

    def prepare(self):
        self.give_directory()
        if self.ca is not None:
            make_certificates(self.directory)
            self.own("server.key")
        self.run("initdb", "-D", self.data, "-U", "reeld", "--auth=trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")

    def give_directory(self):
        """To the user it runs as."""
        if self.user():
            self.own()
            parent = self.directory
            while parent not in ("/", "/tmp"):
                os.chmod(parent, os.stat(parent).st_mode | 0o011)
                parent = os.path.dirname(parent)

    def own(self, name=""):
        if self.user():
            owner = pwd.getpwnam("postgres")
            os.chown(os.path.join(self.directory, name), owner.pw_uid, owner.pw_gid)

    def run(self, program, *arguments):
        done = subprocess.run([os.path.join(self.bin, program), *arguments], check=False, user=self.user(), capture_output=True, text=True, cwd="/")
        if done.returncode != 0:
            raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")
        return done.stdout

    def argv(self):
        options = {"port": self.port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self.directory, "shared_buffers": "32MB",
                   "max_connections": "100", "log_min_messages": "warning", "track_commit_timestamp": "on"}
        if not self.durable:
            options.update(fsync="off", synchronous_commit="off", full_page_writes="off")
        if self.ca is not None:
            options.update(ssl="on", ssl_cert_file=os.path.join(self.directory, "server.pem"), ssl_key_file=os.path.join(self.directory, "server.key"))
        argv = [os.path.join(self.bin, "postgres"), "-D", self.data]
        for name, value in options.items():
            argv += ["-c", f"{name}={value}"]
        return argv

    def ready(self):
        return subprocess.run([os.path.join(self.bin, "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)], check=False).returncode == 0

    def start(self):
        super().start()
        if self.psql("SELECT 1 FROM pg_database WHERE datname = 'reeld'", database="postgres") == "":
            self.psql("CREATE DATABASE reeld", database="postgres")
        return self

    def url(self, database="reeld"):
        return f"postgresql://reeld@127.0.0.1:{self.port}/{database}"

    def psql(self, sql, database="reeld"):
        """Unaligned rows, fields separated by |."""
        done = subprocess.run(["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", self.url(database), "-c", sql], check=False,
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    def rows(self, sql, *arguments, database="reeld"):
        """Rows as dicts; `?` stands for an argument. None while there is no such table."""
        parts = sql.split("?")
        assert len(parts) == len(arguments) + 1
        text = parts[0]
        for argument, part in zip(arguments, parts[1:]):
            text += "'" + str(argument).replace("'", "''") + "'" + part
        try:
            return json.loads(self.psql(f"SELECT coalesce(json_agg(x), '[]') FROM ({text}) x", database=database))
        except RuntimeError as error:
            # The daemon is ready before its migrations are done.
            if "does not exist" in str(error):
                return []
            raise

    def environment(self):
        return {"REELD_TEST_POSTGRES_URL": self.url()}

    def stop(self, number=signal.SIGINT):
        """SIGINT: at once but clean."""
        super().stop(number)

    def processes(self):
        """The postmaster and what it started: each of those has a process group of its own."""
        found = [self.child.pid]
        for entry in os.listdir("/proc"):
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                    if int(stat.read().rpartition(")")[2].split()[1]) == self.child.pid:
                        found.append(int(entry))
            except (OSError, ValueError, IndexError):
                continue  # no process, or one that ended meanwhile
        return found

    def signal_all(self, number):
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def kill(self):
        # Backends that outlive the postmaster keep its shared memory from the next one.
        if self.child is not None and self.child.poll() is None:
            self.signal_all(signal.SIGKILL)
        super().kill()

    def pause(self):
        self.signal_all(signal.SIGSTOP)

    def resume(self):
        self.signal_all(signal.SIGCONT)

    def wipe(self):
        shutil.rmtree(self.data, ignore_errors=True)


class Standby(Postgres):
    """A copy of `primary`, which streams to it. Once it is told to, the primary answers no commit that is not on this disk too."""

    name = "standby"

    def __init__(self, directory, primary):
        super().__init__(directory)
        self.primary = primary

    def prepare(self):
        self.give_directory()
        self.run("pg_basebackup", "-d", f"host=127.0.0.1 port={self.primary.port} user=reeld application_name={self.name}", "-D", self.data, "-R",
                 "-X", "stream", "-c", "fast", "--no-sync")

    def be_waited_for(self):
        self.primary.psql(f"ALTER SYSTEM SET synchronous_standby_names = '{self.name}'", database="postgres")
        self.primary.psql("SELECT pg_reload_conf()", database="postgres")
        wait_until(lambda: self.primary.psql("SELECT sync_state FROM pg_stat_replication", database="postgres") == "sync", "synchronous replication")

    def promote(self):
        self.run("pg_ctl", "promote", "-D", self.data, "-w")
