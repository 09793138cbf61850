"""Redis addresses: what the URL says, and nothing else.

``redis://[[user]:password@]host[:port][/db]``
    One server, over TCP. ``rediss://`` is the same with TLS, the server's certificate and name being checked.
``unix://[[user]:password@]/path/to/socket[?db=0]``
    One server on this machine.
``redis+sentinel://[[user]:password@]host[:port][,host[:port]...]/service[/db]``
    The master that these Sentinels know by the name of ``service``; user and password are those of the master.
    ``rediss+sentinel://`` uses TLS, to the Sentinels too.

Options follow a ``?``: ``db``, ``username``, ``password``, ``client_name``; with TLS ``ssl_cert_reqs`` (``required`` or
``none``), ``ssl_check_hostname`` (``true`` or ``false``), ``ssl_ca_certs``, ``ssl_certfile``, ``ssl_keyfile`` (files);
for Sentinel ``sentinel_username`` and ``sentinel_password``. Special characters are percent-encoded. These are the
spellings of redis-py, and for Sentinel those that its users have long agreed on.
"""

from __future__ import annotations

import re
import ssl
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from attrs import field, frozen

from anysched.errors import InvalidURL

__all__ = ["SCHEMES", "TLS", "Address", "parse_address", "redact"]

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
"""What an address begins with, in small letters or large ones."""

_PORTS = {"redis": 6379, "rediss": 6379, "redis+sentinel": 26379, "rediss+sentinel": 26379}
_CREDENTIALS = ("username", "password")
_SSL = ("ssl_cert_reqs", "ssl_check_hostname", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_SENTINEL = ("sentinel_username", "sentinel_password")
_HARMLESS = {"db", "username", "client_name", "sentinel_username", *_SSL}
_SCHEME = re.compile(r"[A-Za-z+]+:/+")
_USER = re.compile(r"[\w.-]*:")


@frozen
class TLS:
    """How a server's certificate is checked, and ours shown."""

    cert_reqs: Literal["required", "none"] = "required"
    check_hostname: bool = True
    ca_certs: str | None = None
    certfile: str | None = None
    keyfile: str | None = None

    def context(self, kind: type[ssl.SSLContext] = ssl.SSLContext) -> ssl.SSLContext:
        """A context by these rules.

        Args:
            kind: of which class.

        Raises:
            OSError: a file cannot be read.
        """
        context = kind(ssl.PROTOCOL_TLS_CLIENT)

        if sys.version_info >= (3, 13):  # as ssl.create_default_context() does from there on
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT

        if self.ca_certs is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(self.ca_certs)

        context.check_hostname = self.check_hostname
        context.verify_mode = ssl.CERT_REQUIRED if self.cert_reqs == "required" else ssl.CERT_NONE

        if self.certfile is not None:
            context.load_cert_chain(self.certfile, self.keyfile)

        return context


@frozen
class Address:
    """Where a Redis is, and how to get in."""

    hosts: tuple[tuple[str, int], ...] = ()
    """The server, or its Sentinels; empty for a socket in the file system."""
    path: str | None = None
    service: str | None = None
    """What the Sentinels call it."""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    client_name: str | None = None
    tls: TLS | None = None

    def __str__(self) -> str:
        """The address to be shown: without credentials."""
        if self.path is not None:
            return f"unix://{self.path}?db={self.db}"

        scheme = ("rediss" if self.tls else "redis") + ("+sentinel" if self.service else "")
        hosts = ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts)
        service = f"/{self.service}" if self.service else ""
        return f"{scheme}://{hosts}{service}/{self.db}"


def parse_address(url: str) -> Address:
    """Read a URL.

    Raises:
        InvalidURL: it cannot be understood, or names an option that does not exist. No password is shown.
    """
    shown = redact(url)
    scheme, separator, rest = url.partition("://")

    if not separator or scheme.lower() not in SCHEMES:
        raise InvalidURL(shown, "a URL that begins with " + _one_of([f"{scheme}://" for scheme in SCHEMES]))

    try:
        split = urlsplit(f"//{rest}")
    except ValueError:
        # What it says may quote the password.
        raise InvalidURL(shown, "a URL: Invalid IPv6 address, or brackets where there is none") from None

    return _Reader(shown=shown, scheme=scheme.lower(), split=split).read()


def redact(url: str) -> str:
    """The URL without what may be a password, however it is broken: all before the last ``@`` but a plain user name."""
    scheme = _SCHEME.match(url)
    start = scheme.group() if scheme else ""
    credentials, at, place = url.removeprefix(start).rpartition("@")
    user = _USER.match(credentials)
    before, question, query = place.partition("?")
    options = (option.partition("=") for option in query.split("&"))
    shown = "&".join(name + equals + (value if name in _HARMLESS else "***") for name, equals, value in options if name)
    return start + ((user.group() if user else "") + "***@" if at else "") + before + question + shown


def _one_of(names: list[str] | tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + " or " + names[-1]


@frozen
class _Reader:
    shown: str
    scheme: str
    split: SplitResult

    def read(self) -> Address:
        options = self._options()
        place, _, path = (self.split.netloc + self.split.path).partition("/")
        credentials, _, hosts = place.rpartition("@")
        user, _, password = credentials.partition(":")
        given: dict[str, Any] = {name: options.get(name) for name in ("client_name", *_SENTINEL)}
        given["username"] = options.get("username") or unquote(user) or None
        given["password"] = options.get("password") or unquote(password) or None
        tls = self._tls(options) if self.scheme.startswith("rediss") else None

        if self.scheme == "unix":
            if hosts or not path:
                raise InvalidURL(self.shown, "an absolute path to a socket, as in unix:///run/redis.sock")

            return Address(path="/" + unquote(path), db=self._db(options.get("db", "")), **given)

        service, db = None, path

        if self.scheme.endswith("sentinel"):
            service, _, db = path.partition("/")

            if not service:
                raise InvalidURL(
                    self.shown, "the master's name after the Sentinels, as in redis+sentinel://host:26379/mymaster/0"
                )

        return Address(
            hosts=tuple(self._host(host) for host in hosts.split(",")) if service else (self._host(hosts),),
            service=unquote(service) if service else None,
            db=self._db(options.get("db", db)),
            tls=tls,
            **given,
        )

    def _options(self) -> dict[str, str]:
        allowed = ["db", *_CREDENTIALS, "client_name"]
        allowed += _SSL if self.scheme.startswith("rediss") else ()
        allowed += _SENTINEL if self.scheme.endswith("sentinel") else ()

        if self.split.fragment:
            raise InvalidURL(self.shown, "no '#'; in a password it is written %23")

        found: dict[str, str] = {}

        for name, value in parse_qsl(self.split.query, keep_blank_values=True):
            if name not in allowed:
                unknown = repr(name) if name.isidentifier() else "of that name"
                raise InvalidURL(self.shown, f"no option {unknown}; with {self.scheme}:// it may be {_one_of(allowed)}")

            found[name] = value

        return found

    def _host(self, text: str) -> tuple[str, int]:
        try:
            one = urlsplit(f"//{text or 'localhost'}")
            host, port = one.hostname, one.port
        except ValueError:
            raise InvalidURL(self.shown, "host:port, the port a number from 1 to 65535") from None

        if not host or port == 0 or ("," in host):
            raise InvalidURL(
                self.shown, "host:port, the port a number from 1 to 65535; several hosts need redis+sentinel://"
            )

        return unquote(host), port or _PORTS[self.scheme]

    def _db(self, text: str) -> int:
        text = text.strip("/")

        if not text:
            return 0

        if not (text.isascii() and text.isdigit()):
            raise InvalidURL(self.shown, "a database number after the host, as in redis://localhost/0")

        return int(text)

    def _tls(self, options: Mapping[str, str]) -> TLS:
        reqs = options.get("ssl_cert_reqs", "required")
        check = options.get("ssl_check_hostname", "true" if reqs == "required" else "false").lower()
        files = {name: options.get(f"ssl_{name}") for name in ("ca_certs", "certfile", "keyfile")}

        if reqs not in ("required", "none"):
            raise InvalidURL(self.shown, "ssl_cert_reqs=required or ssl_cert_reqs=none")

        if check not in ("true", "false") or (check == "true" and reqs == "none"):
            raise InvalidURL(self.shown, "ssl_check_hostname=true or =false; with ssl_cert_reqs=none it is false")

        for name, file in files.items():
            if file is not None and not Path(file).exists():
                raise InvalidURL(self.shown, f"a file that exists for ssl_{name}, not {file!r}")

        if files["keyfile"] is not None and files["certfile"] is None:
            raise InvalidURL(self.shown, "ssl_certfile beside ssl_keyfile")

        return TLS(cert_reqs=reqs, check_hostname=check == "true", **files)
