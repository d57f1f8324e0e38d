"""Fetches one page through a SOCKS5 proxy with a Python client and writes its body to standard output.

    fetch.py CLIENT PROXY_PORT USER PASSWORD HOST PORT PATH      (an empty USER: method none)
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


CLIENTS = {
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
