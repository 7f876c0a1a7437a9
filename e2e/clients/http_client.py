"""Python's HTTP clients: http.client and urllib of the standard library, and requests.

usage: http_client.py BASE CA   CA is a file, or empty; prints "ok" with how many requests it made on how many
connections, or fails
"""

import gzip
import hashlib
import http.client
import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import requests

UPLOAD = os.urandom(5_000_000)
MANY = 100
PATIENCE = 15


def checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def parts():
    """A body in parts whose whole length nobody is told."""
    for start in range(0, len(UPLOAD), 70_000):
        yield UPLOAD[start : start + 70_000]


def assert_taken(body: bytes, method: str, framing: str, content: bytes = UPLOAD) -> None:
    wanted = {"method": method, "length": len(content), "sum": checksum(content), "framing": framing}
    assert json.loads(body) == wanted, f"{body!r} in place of {wanted}"


class Kept:
    """http.client on one connection, for as long as the server keeps it."""

    def __init__(self, base: str, context: ssl.SSLContext | None):
        parsed = urlsplit(base)
        if context:
            self.connection = http.client.HTTPSConnection(parsed.netloc, timeout=PATIENCE, context=context)
        else:
            self.connection = http.client.HTTPConnection(parsed.netloc, timeout=PATIENCE)
        self.requests = 0
        self.sockets = []

    def count(self) -> None:
        self.requests += 1
        if self.connection.sock not in self.sockets:
            self.sockets.append(self.connection.sock)

    def ask(self, method: str, path: str, body=None, headers=None, chunked=False):
        self.connection.request(method, path, body, headers or {}, encode_chunked=chunked)
        self.count()
        response = self.connection.getresponse()
        return response, response.read()

    def upload_when_wanted(self) -> None:
        """Sends nothing of the body before the server's 100, which http.client itself would pass over."""
        connection = self.connection
        connection.putrequest("POST", "/take")
        connection.putheader("Expect", "100-continue")
        connection.putheader("Content-Length", str(len(UPLOAD)))
        connection.endheaders()
        self.count()
        interim = b""
        while not interim.endswith(b"\r\n\r\n"):
            byte = connection.sock.recv(1)
            assert byte, f"the connection has ended after {interim!r}"
            interim += byte
        assert interim.startswith(b"HTTP/1.1 100 "), interim
        connection.send(UPLOAD)
        assert_taken(connection.getresponse().read(), "POST", "length")


def standard_library(base: str, context: ssl.SSLContext | None) -> str:
    kept = Kept(base, context)
    response, body = kept.ask("GET", "/hello", headers={"User-Agent": "http.client"})
    assert body == b"hello, http.client", body
    assert response.headers.get_all("Set-Cookie") == ["a=1; Path=/", "b=2; Path=/; HttpOnly"]
    response, body = kept.ask("HEAD", "/big")
    assert (response.status, response.headers["Content-Length"], body) == (200, "20000000", b"")
    for path in ["/big", "/big-in-chunks"]:
        response, body = kept.ask("GET", path)
        assert checksum(body) == response.headers["X-Sum"], path
        assert (response.headers["Transfer-Encoding"] == "chunked") == (path == "/big-in-chunks")
    response, body = kept.ask("GET", "/gzip")
    assert response.headers["Content-Encoding"] == "gzip" and checksum(body) == response.headers["X-Sum"]
    assert len(gzip.decompress(body)) == 250_000
    response, body = kept.ask("DELETE", "/empty")
    assert (response.status, body) == (204, b"")
    response, body = kept.ask("GET", "/cached", headers={"If-None-Match": '"version 1"'})
    assert (response.status, body, response.headers["ETag"]) == (304, b"", '"version 1"')
    response, body = kept.ask("GET", "/moved")
    assert (response.status, response.headers["Location"]) == (302, "/hello")
    assert_taken(kept.ask("POST", "/take", UPLOAD)[1], "POST", "length")
    assert_taken(kept.ask("PUT", "/take", parts(), {"Transfer-Encoding": "chunked"}, chunked=True)[1], "PUT", "chunked")
    kept.upload_when_wanted()
    for number in range(MANY):
        assert kept.ask("GET", f"/hello?{number}")[0].status == 200
    return f"http.client {kept.requests} on {len(kept.sockets)}"


def urllib_opens(base: str, context: ssl.SSLContext | None) -> str:
    """One connection for each request, and redirects followed."""

    # A proxy of the machine has no place in a test on loopback.
    handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)]
    opener = urllib.request.build_opener(*handlers)

    def ask(path: str, body: bytes | None = None):
        return opener.open(base + path, body, PATIENCE)

    with ask("/moved") as response:
        assert (response.status, response.url) == (200, f"{base}/hello")
    with ask("/take", UPLOAD) as response:
        assert_taken(response.read(), "POST", "length")
    try:
        ask("/teapot")
        raise AssertionError("418 was taken for success")
    except urllib.error.HTTPError as error:
        assert (error.code, error.read()) == (418, b"short and stout")
    return "urllib 3"


def requests_session(base: str, authority: str) -> str:
    with requests.Session() as session:
        session.trust_env = False
        session.verify = authority or True

        def ask(method: str, path: str, **options):
            return session.request(method, base + path, timeout=PATIENCE, **options)

        assert ask("GET", "/hello").text.startswith("hello, python-requests")
        assert dict(session.cookies) == {"a": "1", "b": "2"}
        streamed = hashlib.sha256()
        with ask("GET", "/big-in-chunks", stream=True) as big:
            for part in big.iter_content(100_000):
                streamed.update(part)
        assert streamed.hexdigest() == big.headers["X-Sum"]
        assert len(ask("GET", "/gzip").content) == 250_000
        assert ask("GET", "/cached", headers={"If-None-Match": '"version 1"'}).status_code == 304
        assert_taken(ask("PUT", "/take", data=UPLOAD).content, "PUT", "length")
        assert_taken(ask("POST", "/take", data=parts()).content, "POST", "chunked")
        moved = ask("POST", "/moved-with-body", data=UPLOAD)
        assert [answer.status_code for answer in moved.history] == [307]
        assert_taken(moved.content, "POST", "length")
        for number in range(MANY):
            assert ask("GET", f"/hello?{number}").status_code == 200
        [pool] = session.get_adapter(base).poolmanager.pools._container.values()
        return f"requests {pool.num_requests} on {pool.num_connections}"


def main(base: str, authority: str) -> None:
    context = ssl.create_default_context(cafile=authority) if authority else None
    said = [standard_library(base, context), urllib_opens(base, context), requests_session(base, authority)]
    print("ok", ", ".join(said))


main(*sys.argv[1:])
