"""Fetches one page through a SOCKS5 proxy with a Python client and writes its body to standard output.

    fetch.py CLIENT PROXY_PORT USER PASSWORD HOST PORT PATH      (an empty USER: method none)

`direct` knows of no proxy: a wrapper takes it there. For `gssapi` USER is the level, 0 to 3, and the ticket of the
default cache is who it is.
"""

import asyncio
import socket
import sys

TIMEOUT = 15


def request(host, path):
    name = f"[{host}]" if ":" in host else host
    return f"GET {path} HTTP/1.0\r\nHost: {name}\r\n\r\n".encode()


def body(raw):
    head, _, rest = raw.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n")[0]:
        raise SystemExit(f"answered {head[:80]!r}")
    return rest


def fetch_over(sock, host, path):
    with sock:
        sock.sendall(request(host, path))
        raw = bytearray()
        while chunk := sock.recv(65536):
            raw += chunk
    return body(bytes(raw))


def pysocks(proxy, host, port, path):
    import socks

    sock = socks.socksocket(socket.AF_INET, socket.SOCK_STREAM)
    sock.set_proxy(socks.SOCKS5, "127.0.0.1", proxy[0], True, proxy[1] or None, proxy[2] or None)
    sock.settimeout(TIMEOUT)
    sock.connect((host, port))
    return fetch_over(sock, host, path)


def pysocks_udp(proxy, host, port, path):
    """The page by datagrams, one after the other; the client asks for an association when it binds."""
    import socks

    sock = socks.socksocket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.set_proxy(socks.SOCKS5, "127.0.0.1", proxy[0], True, proxy[1] or None, proxy[2] or None)
    sock.settimeout(TIMEOUT)
    with sock:
        sock.bind(("127.0.0.1", 0))
        page = b""
        while True:
            sock.sendto(f"{len(page)} {path}".encode(), (host, port))
            piece, (source, source_port) = sock.recvfrom(65536)
            if source not in ("127.0.0.1", "::1") or source_port != port:
                raise SystemExit(f"answered by {source} {source_port}")
            if not piece:
                return page
            page += piece


def url(scheme, proxy):
    port, user, password = proxy
    return f"{scheme}://{user}:{password}@127.0.0.1:{port}" if user else f"{scheme}://127.0.0.1:{port}"


def python_socks(proxy, host, port, path):
    from python_socks.sync import Proxy

    sock = Proxy.from_url(url("socks5", proxy), rdns=True).connect(host, port, timeout=TIMEOUT)
    sock.settimeout(TIMEOUT)
    return fetch_over(sock, host, path)


def python_socks_asyncio(proxy, host, port, path):
    from python_socks.async_.asyncio import Proxy

    async def fetch():
        sock = await Proxy.from_url(url("socks5", proxy), rdns=True).connect(host, port, timeout=TIMEOUT)
        reader, writer = await asyncio.open_connection(sock=sock)
        writer.write(request(host, path))
        raw = await reader.read()
        writer.close()
        return body(raw)

    return asyncio.run(asyncio.wait_for(fetch(), TIMEOUT))


def httpx(proxy, host, port, path):
    import httpx

    name = f"[{host}]" if ":" in host else host
    with httpx.Client(proxy=url("socks5h", proxy), timeout=TIMEOUT, trust_env=False) as client:
        return client.get(f"http://{name}:{port}{path}").raise_for_status().content


def direct(_, host, port, path):
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.connect((host, port))
    return fetch_over(sock, host, path)


def exactly(sock, length):
    got = b""
    while len(got) < length:
        piece = sock.recv(length - len(got))
        if not piece:
            raise SystemExit(f"the relay ended, {length - len(got)} bytes early")
        got += piece
    return got


class Wrapped:
    """A socket to the relay whose bytes are messages (RFC 1961 sections 3 to 5); at level 0 it is the socket."""

    def __init__(self, sock, context, level):
        self.sock, self.context, self.level, self.ahead = sock, context, level, b""

    def say(self, kind, token):
        self.sock.sendall(bytes([1, kind]) + len(token).to_bytes(2, "big") + token)

    def hear(self, kind):
        head = exactly(self.sock, 2)
        if head != bytes([1, kind]):
            raise SystemExit(f"the relay answered {head.hex()}")
        return exactly(self.sock, int.from_bytes(exactly(self.sock, 2), "big"))

    def sendall(self, plain):
        if self.level == 0:
            return self.sock.sendall(plain)
        return self.say(3, self.context.wrap(plain, self.level != 1).message)

    def recv(self, size):
        """Up to `size` bytes of one message; nothing at the end of the stream."""
        if self.level == 0:
            return self.sock.recv(size)
        while not self.ahead and self.sock.recv(1, socket.MSG_PEEK):
            opened = self.context.unwrap(self.hear(3))
            if self.level == 2 and not opened.encrypted:
                raise SystemExit("a message is not encrypted")
            self.ahead = opened.message
        got, self.ahead = self.ahead[:size], self.ahead[size:]
        return got

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()


def by_gssapi(proxy, host, port, path):
    import gssapi

    flags = gssapi.RequirementFlag
    wanted = [flags.mutual_authentication, flags.replay_detection, flags.out_of_sequence_detection, flags.confidentiality]
    service = gssapi.Name("rcmd@localhost", gssapi.NameType.hostbased_service)
    context = gssapi.SecurityContext(name=service, flags=wanted, usage="initiate")
    sock = socket.create_connection(("127.0.0.1", proxy[0]), TIMEOUT)
    sock.sendall(b"\x05\x01\x01")
    if (method := exactly(sock, 2)) != b"\x05\x01":
        raise SystemExit(f"the relay chose {method.hex()}")
    talk, level = Wrapped(sock, context, 0), int(proxy[1])
    token = context.step()
    while not context.complete:
        talk.say(1, token)
        token = context.step(talk.hear(1))
    talk.say(2, context.wrap(bytes([level]), False).message)
    if (answer := context.unwrap(talk.hear(2)).message) != bytes([level]):
        raise SystemExit(f"the relay answered level {answer.hex()}")
    talk.level = level
    name = host.encode()
    talk.sendall(b"\x05\x01\x00\x03" + bytes([len(name)]) + name + port.to_bytes(2, "big"))
    head = exactly(talk, 4)
    exactly(talk, {1: 4, 4: 16}.get(head[3], 0) + 2)
    if head[:2] != b"\x05\x00":
        raise SystemExit(f"the relay replied {head.hex()}")
    return fetch_over(talk, host, path)


CLIENTS = {
    "direct": direct,
    "gssapi": by_gssapi,
    "PySocks": pysocks,
    "PySocks-udp": pysocks_udp,
    "python-socks": python_socks,
    "python-socks-asyncio": python_socks_asyncio,
    "httpx": httpx,
}


def main():
    client, proxy_port, user, password, host, port, path = sys.argv[1:]
    page = CLIENTS[client]((int(proxy_port), user, password), host, int(port), path)
    sys.stdout.buffer.write(page)


if __name__ == "__main__":
    main()
