"""Real servers for the tests: PostgreSQL, MariaDB, FreeRADIUS, started by the test session on free loopback ports.

One database cluster of each kind a session, in a temporary folder of its own; tests ask it for fresh databases with the
schema that FreeRADIUS ships. Every server here is a context manager too, for benches that run outside pytest. A server
dies with the thread that started it (parent-death signal), so start them from the main thread.

A server that is not installed skips the test with one line, and fails it where `CI=true`: what is not run in CI is
not tested. Programs come from `tests/system-packages`.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import sqlite3
import string
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import psycopg
import pymysql
import pytest

from agent.connectors.radius.schema import Database, SqlTarget, TableSet

RADDB = Path("/etc/freeradius/3.0")
"""Where Debian keeps FreeRADIUS' stock schema, queries and filters; copied from, never changed."""

PASSWORD = "radpass-2f"
_names = itertools.count(1)


class ServerStartError(Exception):
    """A server did not become ready; the message has the end of its log."""


class ServerMissingError(Exception):
    """A program that the test needs is not installed here."""


def missing(reason: str) -> None:
    """Skip the test, or fail it where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI needs it: {reason}", pytrace=False)
    pytest.skip(reason)


def program(name: str, package: str, *globs: str) -> str:
    """Return the path of a program.

    Raises:
        ServerMissingError: it is not installed.
    """
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    for pattern in () if found else globs:
        # The newest version first: 9 sorts after 17 as text.
        hits = sorted(Path("/").glob(pattern), key=lambda p: [int(n) for n in re.findall(r"\d+", str(p))])
        found = str(hits[-1]) if hits else None
    if not found:
        raise ServerMissingError(f"{name} is not installed (package {package}; see tests/system-packages)")
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket(socket.AF_INET, kind) as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


# --- processes and folders ------------------------------------------------------------------------------------------


def _account(name: str) -> str | None:
    """Return the account to run a server as; None is our own: only root can choose, and PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for candidate in (name, "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(candidate).pw_name
    return None


def _home(prefix: str, account: str | None) -> Path:
    """Return a new folder that `account` owns. Not pytest's: those are 0700 root, and too long for a socket's path."""
    home = Path(tempfile.mkdtemp(prefix=prefix))
    if account:
        shutil.chown(home, account)
    return home


def _as_account(account: str | None, command: Sequence[str], death: str = "TERM") -> list[str]:
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if account:
            raise ServerMissingError("setpriv is not installed (package util-linux)")
        return list(command)
    change = ["--reuid", account, "--regid", str(pwd.getpwnam(account).pw_gid), "--init-groups"] if account else []
    return [setpriv, *change, "--pdeathsig", death, *command]


class _Process:
    """A server process with its log file."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        cwd: Path,
        stop: signal.Signals = signal.SIGTERM,
        environment: Mapping[str, str] | None = None,
        abort: signal.Signals = signal.SIGKILL,
    ) -> None:
        self._log, self._stop, self._abort = log, stop, abort
        with log.open("ab") as out:
            self._popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd, env=environment
            )

    @property
    def pid(self) -> int:
        return self._popen.pid

    def wait_ready(self, ready: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while not ready():
            if self._popen.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = self._log.read_text(errors="replace")[-2000:]
                raise ServerStartError(f"{what}: exit code {self._popen.returncode}, log ends with\n{tail}")
            time.sleep(0.02)

    def kill(self, sig: signal.Signals) -> None:
        self._popen.send_signal(sig)

    def abort(self) -> None:
        """Stop it at once, whatever it loses: a database on a busy machine takes half a minute to stop in order."""
        self._stop = self._abort
        self.stop()

    def stop(self) -> None:
        if self._popen.poll() is None:
            self._popen.send_signal(self._stop)
            try:
                self._popen.wait(15)
            except subprocess.TimeoutExpired:
                self._popen.kill()
        self._popen.wait()


class _Server:
    """Start in `__enter__`, stop and remove the folder in `__exit__`."""

    home: Path
    _process: _Process

    def start(self) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        self._process.stop()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _signal(self, sig: signal.Signals) -> None:
        """Send a signal to the server and to its children: PostgreSQL has one for each client."""
        for child in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), sig)
        self._process.kill(sig)

    def pause(self) -> None:
        """Let the server hang: it keeps its sockets and answers nothing until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End the server at this instant, with what it had not made durable."""
        self._signal(signal.SIGKILL)
        self._process.stop()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            shutil.rmtree(self.home, ignore_errors=True)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._process.abort()  # nobody needs its data any more
        shutil.rmtree(self.home, ignore_errors=True)


def _start_on_free_port(start: Callable[[], None]) -> None:
    """Run `start`, again when it fails: the port that it picked may have been taken meanwhile."""
    for attempt in range(3):
        try:
            return start()
        except ServerStartError:
            if attempt == 2:
                raise
    return None


# --- databases ------------------------------------------------------------------------------------------------------


class Cluster(Protocol):
    """A database server that gives fresh databases."""

    kind: Database

    def fresh(self, tables: TableSet = TableSet.STOCK) -> RadiusDatabase: ...


@dataclass(frozen=True, slots=True)
class RadiusDatabase:
    """A database with FreeRADIUS' tables, empty when it was made."""

    kind: Database
    tables: TableSet
    dbname: str
    host: str = "127.0.0.1"
    port: int = 0
    user: str = "radius"
    password: str = PASSWORD
    path: str = ""

    def connect(self, *, autocommit: bool = True) -> Any:
        """Return a DB-API connection (its type depends on the database, hence Any)."""
        match self.kind:
            case Database.POSTGRESQL:
                return psycopg.connect(
                    host=self.host,
                    port=self.port,
                    dbname=self.dbname,
                    user=self.user,
                    password=self.password,
                    autocommit=autocommit,
                )
            case Database.MARIADB:
                return pymysql.connect(
                    host=self.host,
                    port=self.port,
                    database=self.dbname,
                    user=self.user,
                    password=self.password,
                    autocommit=autocommit,
                )
            case Database.SQLITE:
                return sqlite3.connect(self.path, isolation_level=None if autocommit else "DEFERRED")

    def run(self, sql: str, *parameters: object) -> list[tuple[Any, ...]]:
        """Execute one statement (parameters as `%s`) in its own connection and return its rows."""
        with contextlib.closing(self.connect()) as connection, contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(self._placeholders(sql), parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def run_many(self, sql: str, rows: Iterable[Sequence[object]]) -> None:
        """Execute one statement for many rows in one transaction."""
        with contextlib.closing(self.connect(autocommit=False)) as connection:
            with contextlib.closing(connection.cursor()) as cursor:
                cursor.executemany(self._placeholders(sql), list(rows))
            connection.commit()

    def _placeholders(self, sql: str) -> str:
        return sql.replace("%s", "?") if self.kind is Database.SQLITE else sql

    def add_user(
        self, login: str, password: str, groups: Mapping[str, int], reply: Sequence[tuple[str, str, str]] = ()
    ) -> None:
        """Add a Cleartext-Password, groups (name -> priority) and reply rows (attribute, op, value) of a subscriber."""
        self.run(
            "INSERT INTO radcheck (username, attribute, op, value) VALUES (%s, 'Cleartext-Password', ':=', %s)",
            login,
            password,
        )
        self.run_many(
            "INSERT INTO radusergroup (username, groupname, priority) VALUES (%s, %s, %s)",
            [(login, name, priority) for name, priority in groups.items()],
        )
        self.run_many(
            "INSERT INTO radreply (username, attribute, op, value) VALUES (%s, %s, %s, %s)",
            [(login, *row) for row in reply],
        )

    def add_group(
        self, name: str, reply: Sequence[tuple[str, str, str]], check: Sequence[tuple[str, str, str]] = ()
    ) -> None:
        """Add a group: its reply and check rows (attribute, op, value)."""
        for table, rows in (("radgroupreply", reply), ("radgroupcheck", check)):
            self.run_many(
                f"INSERT INTO {table} (groupname, attribute, op, value) VALUES (%s, %s, %s, %s)",
                [(name, *row) for row in rows],
            )

    def target(self, name: str = "main", **options: Any) -> SqlTarget:
        """Return the connector's configuration of this database; `options` are further fields of SqlTarget."""
        return SqlTarget(
            name=name,
            database=self.kind,
            host=self.host,
            port=self.port,
            dbname=self.dbname,
            user=self.user,
            path=self.path,
            tables=self.tables,
            **options,
        )


def schema_sql(dialect: str) -> str:
    """Return the schema that FreeRADIUS ships for `dialect` (postgresql, mysql, sqlite).

    Raises:
        ServerMissingError: FreeRADIUS' files are not there, or not readable by us.
    """
    path = RADDB / "mods-config/sql/main" / dialect / "schema.sql"
    try:
        return path.read_text()
    except OSError as err:
        raise ServerMissingError(f"cannot read FreeRADIUS' stock files: {err.strerror} ({path})") from err


# daloRADIUS keeps people beside the stock tables; only what a reader of logins may meet.
_DALORADIUS = (
    """CREATE TABLE userinfo (id {serial} PRIMARY KEY, username varchar(128), firstname varchar(200),
    lastname varchar(200), email varchar(200), mobilephone varchar(200), address varchar(200), notes varchar(200))""",
    """CREATE TABLE userbillinfo (id {serial} PRIMARY KEY, username varchar(128), planname varchar(128),
    contactperson varchar(200), phone varchar(200), billstatus varchar(128), nextbill varchar(32))""",
)


def _extra(tables: TableSet, serial: str) -> list[str]:
    return [s.format(serial=serial) for s in _DALORADIUS] if tables is TableSet.DALORADIUS else []


class PostgreSQL(_Server):
    """A PostgreSQL cluster. `durable` keeps fsync on (benches); tests go without."""

    kind = Database.POSTGRESQL

    def __init__(self, *, durable: bool = False) -> None:
        self._initdb = program("initdb", "postgresql", "usr/lib/postgresql/*/bin/initdb")
        self._postgres = program("postgres", "postgresql", "usr/lib/postgresql/*/bin/postgres")
        self._schema = schema_sql("postgresql")
        self._account = _account("postgres")
        self._durable = durable
        self.home = _home("isp-pg-", self._account)
        self.port = 0

    def start(self) -> None:
        command = [self._initdb, "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        done = subprocess.run(
            _as_account(self._account, command), cwd=self.home, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ServerStartError(f"initdb: exit code {done.returncode}\n{done.stderr[-2000:]}")
        hba = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
        (self.home / "data/pg_hba.conf").write_text(hba)
        _start_on_free_port(self._start)
        with self._superuser("postgres") as db:
            db.execute(f"CREATE ROLE radius LOGIN PASSWORD '{PASSWORD}'")
            for tables in TableSet:
                db.execute(f"CREATE DATABASE template_{tables.value} OWNER radius")
        for tables in TableSet:
            with self._superuser(f"template_{tables.value}") as db:
                db.execute("SET ROLE radius")
                for statement in [self._schema, *_extra(tables, "serial")]:
                    db.execute(statement)

    def _start(self) -> None:
        self.port = free_port()
        self.start_again()

    def start_again(self) -> None:
        """Start a stopped server on the port and the data that it had."""
        unsafe = () if self._durable else ("fsync=off", "synchronous_commit=off", "full_page_writes=off")
        settings = (
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            f"unix_socket_directories={self.home}",
            "max_connections=120",
            "timezone=UTC",
            *unsafe,
        )
        command = [self._postgres, "-D", str(self.home / "data"), *(x for s in settings for x in ("-c", s))]
        # SIGINT is PostgreSQL's fast shutdown; SIGTERM would wait for clients. SIGQUIT ends it with all its children.
        self._process = _Process(
            _as_account(self._account, command, "INT"),
            self.home / "log",
            self.home,
            signal.SIGINT,
            abort=signal.SIGQUIT,
        )
        self._process.wait_ready(self._ready, "postgres")

    def _ready(self) -> bool:
        try:
            self._superuser("postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    def _superuser(self, dbname: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(host=str(self.home), port=self.port, user="postgres", dbname=dbname, autocommit=True)

    def add_login(self, name: str) -> None:
        """Let somebody else log in, with the rights and the password of `radius`."""
        with self._superuser("postgres") as db:
            db.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}' IN ROLE radius")

    def fresh(self, tables: TableSet = TableSet.STOCK) -> RadiusDatabase:
        """Return a new database, copied from a template."""
        name = f"radius_{next(_names)}"
        with self._superuser("postgres") as db:
            db.execute(f"CREATE DATABASE {name} TEMPLATE template_{tables.value} OWNER radius")
        return RadiusDatabase(self.kind, tables, name, port=self.port)


class MariaDB(_Server):
    """A MariaDB server with Debian's default character set and collation (case-insensitive logins)."""

    kind = Database.MARIADB

    def __init__(self, *, durable: bool = False) -> None:
        self._install = program("mariadb-install-db", "mariadb-server")
        self._mariadbd = program("mariadbd", "mariadb-server")
        self._schema = schema_sql("mysql")
        self._account = _account("mysql")
        self._durable = durable
        self.home = _home("isp-my-", self._account)
        self.port = 0

    def start(self) -> None:
        command = [
            self._install,
            "--no-defaults",
            f"--datadir={self.home}/data",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]
        done = subprocess.run(
            _as_account(self._account, command), cwd=self.home, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise ServerStartError(f"mariadb-install-db: exit code {done.returncode}\n{done.stdout[-2000:]}")
        _start_on_free_port(self._start)
        with contextlib.closing(self._superuser()) as db, contextlib.closing(db.cursor()) as cursor:
            cursor.execute(f"CREATE USER radius@'%' IDENTIFIED BY '{PASSWORD}'")
            cursor.execute("GRANT ALL ON *.* TO radius@'%'")

    def _start(self) -> None:
        self.port = free_port()
        self.start_again()

    def start_again(self) -> None:
        """Start a stopped server on the port and the data that it had."""
        unsafe = ("--innodb-flush-log-at-trx-commit=0", "--innodb-flush-method=nosync", "--innodb-fast-shutdown=2")
        command = [
            self._mariadbd,
            "--no-defaults",
            f"--datadir={self.home}/data",
            f"--socket={self.home}/my.sock",
            f"--pid-file={self.home}/my.pid",
            f"--port={self.port}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            "--max-connections=200",
            "--innodb-buffer-pool-size=64M",
            "--innodb-log-file-size=32M",
            *(() if self._durable else unsafe),
        ]
        self._process = _Process(_as_account(self._account, command), self.home / "log", self.home)
        self._process.wait_ready(self._ready, "mariadbd")

    def _ready(self) -> bool:
        # Not with PyMySQL until the socket answers: it leaks its own when the connection is refused.
        with socket.socket(socket.AF_UNIX) as s, contextlib.suppress(OSError):
            s.settimeout(1.0)
            s.connect(f"{self.home}/my.sock")
            return bool(s.recv(1))
        return False

    def _superuser(self) -> pymysql.Connection[Any]:
        return pymysql.connect(unix_socket=f"{self.home}/my.sock", user="root", autocommit=True)

    def add_login(self, name: str) -> None:
        """Let somebody else log in, with the rights and the password of `radius`."""
        with contextlib.closing(self._superuser()) as db, contextlib.closing(db.cursor()) as cursor:
            cursor.execute(f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'")
            cursor.execute(f"GRANT ALL ON *.* TO {name}@'%'")

    def fresh(self, tables: TableSet = TableSet.STOCK) -> RadiusDatabase:
        """Return a new database with the schema loaded."""
        name = f"radius_{next(_names)}"
        many = pymysql.constants.CLIENT.MULTI_STATEMENTS
        with contextlib.closing(self._superuser()) as db, contextlib.closing(db.cursor()) as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
        database = RadiusDatabase(self.kind, tables, name, port=self.port)
        connection = pymysql.connect(
            unix_socket=f"{self.home}/my.sock", user="root", database=name, client_flag=many, autocommit=True
        )
        with contextlib.closing(connection), contextlib.closing(connection.cursor()) as cursor:
            cursor.execute(self._schema + ";\n".join(_extra(tables, "int AUTO_INCREMENT")))
            while cursor.nextset():
                pass
        return database


def sqlite_database(folder: Path, tables: TableSet = TableSet.STOCK) -> RadiusDatabase:
    """Return a new SQLite database in `folder` with the stock schema.

    Raises:
        ServerMissingError: FreeRADIUS' files are not there, or not readable by us.
    """
    path = folder / f"radius_{next(_names)}.db"
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.executescript(schema_sql("sqlite"))
        for statement in _extra(tables, "integer"):
            db.execute(statement)
        db.commit()
    return RadiusDatabase(Database.SQLITE, tables, path.stem, path=str(path))


# --- FreeRADIUS -----------------------------------------------------------------------------------------------------

_RADIUSD_CONF = """\
prefix = /usr
sysconfdir = $home
logdir = $home/log
run_dir = $home
raddbdir = $home
confdir = $home
modconfdir = $home/mods-config
libdir = /usr/lib/freeradius
pidfile = $home/freeradius.pid
name = freeradius
max_request_time = 10
cleanup_delay = 2
max_requests = 16384
hostname_lookups = no
proxy_requests = no
log {
	destination = files
	file = $home/log/radius.log
	auth = no
}
security {
	max_attributes = 200
	reject_delay = 0
	status_server = yes
	allow_vulnerable_openssl = no
	require_message_authenticator = $need_ma
	limit_proxy_state = yes
}
thread pool {
	start_servers = 4
	max_servers = 16
	min_spare_servers = 2
	max_spare_servers = 8
	max_requests_per_server = 0
}
client local {
	ipaddr = 127.0.0.0/8
	secret = "$secret"
	require_message_authenticator = $need_ma
	shortname = local
}
modules {
	pap {
	}
	chap {
	}
	mschap {
	}
	expiration {
	}
	logintime {
		minimum_timeout = 60
	}
	preprocess {
		huntgroups = $home/empty
		hints = $home/empty
	}
	attr_filter attr_filter.access_reject {
		key = "%{User-Name}"
		filename = $home/mods-config/attr_filter/access_reject
	}
	expr {
	}
	always ok {
		rcode = ok
	}
	always reject {
		rcode = reject
	}
	always handled {
		rcode = handled
	}
	linelog dynauth_log {
		filename = $home/log/dynauth.log
		format = "$dynauth"
	}
	sql {
		dialect = "$dialect"
		driver = "rlm_sql_$dialect"
		server = "127.0.0.1"
		port = $db_port
		login = "$db_user"
		password = "$db_password"
		radius_db = "$db_name"
		sqlite {
			filename = "$db_path"
			busy_timeout = 2000
		}
		acct_table1 = "radacct"
		acct_table2 = "radacct"
		postauth_table = "radpostauth"
		authcheck_table = "radcheck"
		groupcheck_table = "radgroupcheck"
		authreply_table = "radreply"
		groupreply_table = "radgroupreply"
		usergroup_table = "radusergroup"
		delete_stale_sessions = yes
		read_groups = yes
		read_profiles = yes
		read_clients = yes
		client_table = "nas"
		group_attribute = "SQL-Group"
		pool {
			start = 2
			min = 2
			max = 16
			spare = 4
			uses = 0
			retry_delay = 1
			lifetime = 0
			idle_timeout = 60
		}
		$$INCLUDE $home/mods-config/sql/main/$dialect/queries.conf
	}
}
policy {
	$$INCLUDE $home/policy.d/
}
server default {
	listen {
		type = auth
		ipaddr = 127.0.0.1
		port = $auth_port
	}
	listen {
		type = acct
		ipaddr = 127.0.0.1
		port = $acct_port
	}
	authorize {
		preprocess
		chap
		mschap
		sql
		expiration
		logintime
		pap
	}
	authenticate {
		Auth-Type PAP {
			pap
		}
		Auth-Type CHAP {
			chap
		}
		Auth-Type MS-CHAP {
			mschap
		}
	}
	preacct {
		preprocess
		acct_unique
	}
	accounting {
		sql
	}
	session {
		sql
	}
	post-auth {
		Post-Auth-Type REJECT {
			attr_filter.access_reject
		}
	}
}
"""

_DYNAUTH = {
    "type": "Packet-Type",
    "user": "User-Name",
    "session": "Acct-Session-Id",
    "address": "Framed-IP-Address",
    "rate": "Mikrotik-Rate-Limit",
    "address_list": "Mikrotik-Address-List",
    "message_authenticator": "Message-Authenticator",
    "event_timestamp": "integer:Event-Timestamp",
}
"""What `dynauth_requests` tells of each request: key -> attribute."""

_COA_CONF = """\
server dynauth {
	listen {
		type = coa
		ipaddr = 127.0.0.1
		port = $coa_port
	}
	recv-coa {
		dynauth_log
		if (&User-Name =~ /^nak-([0-9]+)/) {
			update reply {
				&Error-Cause := "%{1}"
			}
			reject
		}
		elsif (&User-Name =~ /^drop/) {
			do_not_respond
		}
		else {
			ok
		}
	}
	send-coa {
		ok
	}
}
"""


class FreeRadius(_Server):
    """A FreeRADIUS server on a `RadiusDatabase`, with Debian's stock queries and a configuration folder of its own.

    With `coa` it also takes CoA- and Disconnect-Requests on `coa_port`, as a NAS would: a User-Name `nak-503...` is
    answered with NAK and that Error-Cause, `drop...` not at all, any other with ACK; `dynauth_requests` tells what
    came. It never touches radacct for them. `timezone` is a POSIX TZ string (`PKT-5` is UTC+5): dates are read in it.
    """

    def __init__(
        self,
        database: RadiusDatabase,
        *,
        secret: str = "lab-shared-secret",
        coa: bool = False,
        require_message_authenticator: bool = True,
        timezone: str = "UTC0",
    ) -> None:
        self._radiusd = program("freeradius", "freeradius")
        self._dialect = "mysql" if database.kind is Database.MARIADB else database.kind.value
        schema_sql(self._dialect)
        module = Path(f"/usr/lib/freeradius/rlm_sql_{self._dialect}.so")
        if not module.exists():
            raise ServerMissingError(f"{module.name} is not installed (package freeradius-{self._dialect})")
        self.database, self.secret = database, secret
        self._coa, self._need_ma = coa, require_message_authenticator
        self._environment = {**os.environ, "TZ": timezone}
        self.home = _home("isp-fr-", None)
        self.host = "127.0.0.1"
        self.auth_port = self.acct_port = self.coa_port = 0

    def start(self) -> None:
        sql = f"mods-config/sql/main/{self._dialect}"
        shutil.copytree(RADDB / sql, self.home / sql)
        for part in ("mods-config/attr_filter", "policy.d"):
            shutil.copytree(RADDB / part, self.home / part)
        if self._dialect == "sqlite":
            self._repair_sqlite_queries(self.home / sql / "queries.conf")
        (self.home / "log").mkdir()
        for empty in ("empty", "dictionary"):
            (self.home / empty).touch()
        _start_on_free_port(self._start)

    @staticmethod
    def _repair_sqlite_queries(path: Path) -> None:
        """Repair 3.2.7's simul_verify_query: it asks for username='%{SQL-Group}', so Simultaneous-Use never bites."""
        head, query, tail = path.read_text().partition("simul_verify_query")
        path.write_text(head + query + tail.replace("%{${group_attribute}}", "%{SQL-User-Name}", 1))

    def _start(self) -> None:
        self.auth_port, self.acct_port, self.coa_port = (free_port(socket.SOCK_DGRAM) for _ in range(3))
        template = string.Template(_RADIUSD_CONF + (_COA_CONF if self._coa else ""))
        db = self.database
        (self.home / "radiusd.conf").write_text(
            template.substitute(
                home=self.home,
                need_ma="yes" if self._need_ma else "no",
                secret=self.secret,
                dialect=self._dialect,
                db_port=db.port,
                db_user=db.user,
                db_password=db.password,
                db_name=db.dbname,
                db_path=db.path,
                auth_port=self.auth_port,
                acct_port=self.acct_port,
                coa_port=self.coa_port,
                dynauth="\\t".join(f"%{{{attribute}}}" for attribute in _DYNAUTH.values()),
            )
        )
        command = _as_account(None, [self._radiusd, "-f", "-d", str(self.home)])
        self._process = _Process(command, self.home / "log/radius.log", self.home, environment=self._environment)
        self._process.wait_ready(self._ready, "freeradius", within_s=30.0)

    def _ready(self) -> bool:
        """Ask with a Status-Server (RFC 5997): answered once the listener is up and the modules are loaded."""
        attribute = b"\x50\x12" + bytes(16)
        head = b"\x0c\x01\x00\x26" + os.urandom(16)
        packet = head + b"\x50\x12" + hmac.digest(self.secret.encode(), head + attribute, hashlib.md5)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.connect((self.host, self.auth_port))
                s.send(packet)
                return s.recv(4096)[:2] == b"\x02\x01"
            except OSError:
                return False

    def dynauth_requests(self) -> list[dict[str, str]]:
        """Return the CoA- and Disconnect-Requests taken so far, oldest first."""
        path = self.home / "log/dynauth.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(zip(_DYNAUTH, line.split("\t"), strict=True)) for line in lines]

    def radclient(
        self,
        kind: str,
        *attributes: tuple[str, str],
        port: int | None = None,
        secret: str | None = None,
        timeout_s: float = 20.0,
    ) -> RadclientReply | None:
        """Send one request (`auth`, `acct`, `coa`, `disconnect`) to this server; see `radclient`."""
        default = {"acct": self.acct_port, "coa": self.coa_port, "disconnect": self.coa_port}
        where = f"{self.host}:{port or default.get(kind, self.auth_port)}"
        return radclient(where, kind, secret or self.secret, attributes, self.home, timeout_s)


PATIENT_S = 10.0
"""A request that waits so long for each reply is sent again; one that waits less expects none."""


@dataclass(frozen=True, slots=True)
class RadclientReply:
    """What radclient received: the packet's name and its attributes, in order, as FreeRADIUS prints them."""

    code: str
    attributes: tuple[tuple[str, str], ...]

    def get(self, name: str) -> tuple[str, ...]:
        return tuple(v for k, v in self.attributes if k == name)


def radclient(
    where: str,
    kind: str,
    secret: str,
    attributes: Iterable[tuple[str, str]],
    raddb: Path | None = None,
    timeout_s: float = 20.0,
) -> RadclientReply | None:
    """Send one request with FreeRADIUS' radclient and return the reply, or None when none came in time.

    Blocks: call it in a thread when the peer is served by this process. A reply that does not verify counts as none.

    Args:
        where: `host:port`.
        kind: `auth`, `acct`, `coa`, `disconnect` or `status`.
        secret: the shared secret.
        attributes: name and value; a User-Password or CHAP-Password is given in the clear and encoded by radclient.
        raddb: folder with a `dictionary`, so that none of the system's is needed.

    Raises:
        ServerMissingError: radclient is not installed.
    """
    binary = program("radclient", "freeradius-utils")
    lines = "".join(f'{k} = "{_quoted(v)}"\n' for k, v in attributes)
    if kind in ("coa", "disconnect", "auth") and "Message-Authenticator" not in lines:
        lines += "Message-Authenticator = 0x00\n"
    folder = ["-d", str(raddb)] if raddb else []
    done = subprocess.run(
        # Sent again where no reply is expected to be missing: a busy server drops a packet now and then
        [binary, *folder, "-x", "-r", "1" if timeout_s < PATIENT_S else "3", "-t", str(timeout_s), where, kind, secret],
        input=lines,
        capture_output=True,
        text=True,
        check=False,
    )
    return _radclient_reply(done.stdout)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"')


def _radclient_reply(output: str) -> RadclientReply | None:
    received = re.search(r"^Received (\S+) Id .*\n((?:\t.*\n)*)", output, re.MULTILINE)
    if received is None:
        return None
    pairs = re.findall(r"^\t(\S+) = (.*)$", received[2], re.MULTILINE)
    return RadclientReply(received[1], tuple((k, _unquoted(v)) for k, v in pairs if k != "Message-Authenticator"))


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text


# --- fixtures -------------------------------------------------------------------------------------------------------


def _session(server: Callable[[], Any]) -> Iterator[Any]:
    try:
        made = server()
    except ServerMissingError as err:
        missing(str(err))
        return
    with made:
        yield made


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """The session's PostgreSQL cluster."""
    yield from _session(PostgreSQL)


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """The session's MariaDB server."""
    yield from _session(MariaDB)


@pytest.fixture(scope="session", params=["postgresql", "mariadb"])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    """Each kind of cluster in turn."""
    found: Cluster = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def radius_database(cluster: Cluster) -> RadiusDatabase:
    """A fresh database with the stock schema, on each kind of cluster in turn."""
    return cluster.fresh()


@pytest.fixture
def sqlite_radius(tmp_path: Path) -> RadiusDatabase:
    """A fresh SQLite database with the stock schema."""
    try:
        return sqlite_database(tmp_path)
    except ServerMissingError as err:
        missing(str(err))
        raise


@pytest.fixture
def freeradius() -> Iterator[Callable[..., FreeRadius]]:
    """Return `start(database, **options)`: FreeRADIUS servers that stop with the test."""
    with contextlib.ExitStack() as stack:

        def start(database: RadiusDatabase, **options: Any) -> FreeRadius:
            try:
                server = FreeRadius(database, **options)
            except ServerMissingError as err:
                missing(str(err))
                raise
            return stack.enter_context(server)

        yield start
