"""Redis addresses: what is understood, what is refused, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from anysched.backends.redis.addresses import TLS, Address, parse_address, redact
from anysched.errors import InvalidURL

HERE = (("localhost", 6379),)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", Address(hosts=HERE)),
        ("redis://localhost", Address(hosts=HERE)),
        ("REDIS://localhost/", Address(hosts=HERE)),
        ("redis://h:1/2", Address(hosts=(("h", 1),), db=2)),
        ("redis://h?db=3", Address(hosts=(("h", 6379),), db=3)),
        ("redis://[::1]:7/1", Address(hosts=(("::1", 7),), db=1)),
        ("redis://:pw@h", Address(hosts=(("h", 6379),), password="pw")),
        ("redis://u:p%40%2F%3A@h", Address(hosts=(("h", 6379),), username="u", password="p@/:")),
        ("redis://u@h", Address(hosts=(("h", 6379),), username="u")),
        ("redis://h?username=u&password=p%26", Address(hosts=(("h", 6379),), username="u", password="p&")),
        ("redis://h?client_name=me", Address(hosts=(("h", 6379),), client_name="me")),
        ("rediss://h", Address(hosts=(("h", 6379),), tls=TLS())),
        ("rediss://h?ssl_cert_reqs=none", Address(hosts=(("h", 6379),), tls=TLS("none", check_hostname=False))),
        ("rediss://h?ssl_check_hostname=false", Address(hosts=(("h", 6379),), tls=TLS(check_hostname=False))),
        ("unix:///run/redis.sock", Address(path="/run/redis.sock")),
        ("unix://u:p@/run/a%20b.sock?db=1", Address(path="/run/a b.sock", username="u", password="p", db=1)),
        ("redis+sentinel://a/mymaster", Address(hosts=(("a", 26379),), service="mymaster")),
        (
            "redis+sentinel://:pw@a:1,b,[::1]:3/mymaster/4?sentinel_username=su&sentinel_password=sp",
            Address(
                hosts=(("a", 1), ("b", 26379), ("::1", 3)),
                service="mymaster",
                db=4,
                password="pw",
                sentinel_username="su",
                sentinel_password="sp",
            ),
        ),
        ("rediss+sentinel://a/m", Address(hosts=(("a", 26379),), service="m", tls=TLS())),
    ],
)
def test_an_address_is_understood(url: str, address: Address) -> None:
    """Each spelling that the documentation names, and its defaults."""
    assert address == parse_address(url)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "begins with redis://"),
        ("localhost:6379", "begins with redis://"),
        ("http://h", "rediss+sentinel://"),
        ("redis://h:port", "a number from 1 to 65535"),
        ("redis://h:0", "a number from 1 to 65535"),
        ("redis://h:70000", "a number from 1 to 65535"),
        ("redis://a,b", "redis+sentinel://"),
        ("redis://h/one", "a database number"),
        ("redis://h/-1", "a database number"),
        ("redis://h?db=x", "a database number"),
        ("redis://h?sockettimeout=3", "no option 'sockettimeout'; with redis:// it may be db, username"),
        ("redis://h?ssl_cert_reqs=none", "no option 'ssl_cert_reqs'"),
        ("redis://h#1", "%23"),
        ("redis://[::1", "Invalid IPv6"),
        ("rediss://h?ssl_cert_reqs=maybe", "ssl_cert_reqs=required"),
        ("rediss://h?ssl_check_hostname=1", "ssl_check_hostname=true"),
        ("rediss://h?ssl_cert_reqs=none&ssl_check_hostname=true", "with ssl_cert_reqs=none it is false"),
        ("rediss://h?ssl_ca_certs=/none.crt", "a file that exists for ssl_ca_certs, not '/none.crt'"),
        ("unix://", "unix:///run/redis.sock"),
        ("unix://host/run/redis.sock", "an absolute path"),
        ("redis+sentinel://a,b", "the master's name"),
        ("redis+sentinel://a//0", "the master's name"),
    ],
)
def test_a_bad_address_says_what_is_allowed(url: str, said: str) -> None:
    """The error names what is wrong."""
    with pytest.raises(InvalidURL) as caught:
        parse_address(url)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://u:hunter2@h:port",
        "redis://:hunter2@h/x",
        "redis://h/x?password=hunter2",
        "http://u:hunter2@h",
        "redis://u:hun@ter2@h/x",
        "redis://:hunter2#@h",
        "redis://:hunter2/x@h",
        "redis://:hunter2?@h",
        "redis+sentinel://:hunter2@a?sentinel_password=hunter2",
        "u:hunter2@h",
        "redis:/u:hunter2@h",
        "redis://u:hunter2@[h",
        "redis://hunter2@h/x",
        "redis://:1/hunter2@h",
        "redis://:p?hunter2@h",
        "redis://h/x?pass=hunter2",
        "redis://h/x?password=hunter2@3",
    ],
)
def test_no_password_is_shown(url: str) -> None:
    """However a URL is broken, its password stays out of the message, and of what caused it."""
    with pytest.raises(InvalidURL) as caught:
        parse_address(url)

    said = f"{caught.value} {caught.value.__cause__} {caught.value.value}"
    assert "hunter2" not in said
    assert "ter2" not in said


def test_an_address_is_shown_without_credentials(tmp_path: Path) -> None:
    """Neither its text nor its repr has any password."""
    address = parse_address("redis+sentinel://:hunter2@a:1,[::1]:2/m/3?sentinel_password=hunter3")

    assert "redis+sentinel://a:1,[::1]:2/m/3" == str(address)
    assert "hunter" not in repr(address)
    assert f"unix://{tmp_path}/s?db=0" == str(parse_address(f"unix://:p@{tmp_path}/s"))
    assert "redis://u:***@h/0?password=***&db=1" == redact("redis://u:p@h/0?password=q&db=1")
