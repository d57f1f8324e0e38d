"""The web server and the name server that the interop run fetches from.

    origin.py STATE_FILE FOLDER [ADDRESS]

Both listen on loopback and on ports that the kernel picks: HTTP on 127.0.0.1 and ::1 (one port), the same under TLS,
DNS over UDP and TCP on 127.0.0.1, and the pages over UDP on 127.0.0.1 and ::1 (one port). Once they serve,
STATE_FILE appears with `WEB_PORT DNS_PORT FAMILIES UDP_PORT TLS_PORT`. The names exist nowhere else, so a page fetched
by name was resolved by the relay. ADDRESS stands in place of 127.0.0.1 for the web. Ends after LIFETIME seconds.

Of FOLDER, tls/leaf.pem and tls/leaf.key are what is shown under TLS, files/ is served as /files/, and what a browser
posts to /told?MARK is left in told/MARK.

Over UDP a datagram `OFFSET PATH` is answered with the page's bytes from there on, a thousand at most; an
empty datagram is the page's end.

    /page   100 KiB or so of numbered lines      four.interop.test   A only
    /small  one line                             six.interop.test    AAAA only
    /sum    PUT: the body's sha256               both.interop.test   both
    /probe  a page that fetches /page and posts  192.0.2.9           nine.interop.test, by PTR
            what came to /told with its own query
"""

import hashlib
import http.server
import os
import re
import signal
import socket
import socketserver
import ssl
import struct
import sys
import threading

LIFETIME = 1800
UDP_PIECE = 1000
PAGES = {
    "/page": "".join(f"line {n:05} of a page that is fetched through a relay\n" for n in range(2000)).encode(),
    "/small": b"a small page\n",
}
WEB = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
V4 = socket.inet_pton(socket.AF_INET, WEB)
V6 = socket.inet_pton(socket.AF_INET6, "::1")
TYPE_A, TYPE_PTR, TYPE_AAAA = 1, 12, 28
ZONE = {
    b"four.interop.test": {TYPE_A: V4},
    b"six.interop.test": {TYPE_AAAA: V6},
    b"both.interop.test": {TYPE_A: V4, TYPE_AAAA: V6},
    b"9.2.0.192.in-addr.arpa": {TYPE_PTR: b"\x04nine\x07interop\x04test\x00"},
}


PROBE = b"""<!DOCTYPE html><title>probe</title><script>
function ask(method, path, body) {
  const request = new XMLHttpRequest();
  request.open(method, path, false);  // the page is not loaded before the answer is here
  request.send(body);
  return request.responseText;
}
ask("POST", "/told" + location.search, ask("GET", "/page"));
</script>"""


class Web(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30
    folder = "."

    def do_GET(self):
        path = self.path.partition("?")[0]
        if path == "/probe":
            self.answer(PROBE, "text/html")
        elif path.startswith("/files/"):
            self.answer(self.file(path), "text/html" if path.endswith("/") else "text/plain")
        else:
            self.answer(PAGES.get(self.path))

    do_HEAD = do_GET

    def do_PUT(self):
        self.answer(hashlib.sha256(self.body()).hexdigest().encode() + b"\n")

    def do_POST(self):
        mark = self.path.removeprefix("/told?")
        if not re.fullmatch("[a-z0-9.-]+", mark):
            return self.answer(None)
        path = os.path.join(self.folder, "told", mark)
        with open(path + ".partial", "wb") as told:
            told.write(self.body())
        os.rename(path + ".partial", path)
        self.answer(b"")

    def body(self):
        """All of it, by its length or in chunks (RFC 9112 sections 6.3 and 7.1)."""
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return body

    def file(self, path):
        """A file of the folder, or the index.html of one of its folders; nothing outside."""
        root = os.path.realpath(self.folder)
        found = os.path.realpath(os.path.join(root, path.lstrip("/")))
        if os.path.isdir(found):
            found = os.path.join(found, "index.html")
        if not found.startswith(root + "/files/") or not os.path.isfile(found):
            return None
        with open(found, "rb") as file:
            return file.read()

    def answer(self, body, kind="text/plain"):
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


class WebServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, family, address):
        self.address_family = family
        super().__init__(address, Web)

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


class TlsWebServer(WebServer):
    """Each handshake on the thread of its own connection."""

    def __init__(self, family, address):
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        tls = os.path.join(Web.folder, "tls")
        self.context.load_cert_chain(os.path.join(tls, "leaf.pem"), os.path.join(tls, "leaf.key"))
        super().__init__(family, address)

    def finish_request(self, request, client_address):
        request.settimeout(Web.timeout)
        super().finish_request(self.context.wrap_socket(request, server_side=True), client_address)


def dns_answer(query):
    """The reply to one query of one question, or None where the query cannot be read (RFC 1035 section 4)."""
    if len(query) < 17 or query[2] & 0x80 or query[4:6] != b"\0\1":
        return None
    labels, at = [], 12
    while at < len(query) and query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]])
        at += 1 + query[at]
    question = query[12 : at + 5]
    if len(question) < at - 7:
        return None
    (kind,) = struct.unpack("!H", query[at + 1 : at + 3])
    records = ZONE.get(b".".join(labels).lower())
    data = (records or {}).get(kind)
    rcode = 3 if records is None else 0
    answer = b"" if data is None else b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 60, len(data)) + data
    header = query[:2] + struct.pack("!BBHHHH", 0x84 | query[2] & 1, 0x80 | rcode, 1, bool(answer), 0, 0)
    return header + question + answer


class DnsUdp(socketserver.BaseRequestHandler):
    def handle(self):
        query, sock = self.request
        reply = dns_answer(query)
        if reply:
            sock.sendto(reply, self.client_address)


class DnsTcp(socketserver.StreamRequestHandler):
    timeout = 30

    def handle(self):
        while len(size := self.rfile.read(2)) == 2:
            reply = dns_answer(self.rfile.read(struct.unpack("!H", size)[0]))
            if reply:
                self.wfile.write(struct.pack("!H", len(reply)) + reply)


def dns_servers():
    for _ in range(50):
        udp = socketserver.ThreadingUDPServer(("127.0.0.1", 0), DnsUdp)
        try:
            return [udp, socketserver.ThreadingTCPServer(udp.server_address, DnsTcp)]
        except OSError:
            udp.server_close()
    raise SystemExit("no port is free for both UDP and TCP")


class Pages(socketserver.BaseRequestHandler):
    def handle(self):
        question, sock = self.request
        offset, _, path = question.decode("ascii", "replace").partition(" ")
        if offset.isdecimal() and path in PAGES:
            sock.sendto(PAGES[path][int(offset) : int(offset) + UDP_PIECE], self.client_address)


class PagesServer(socketserver.ThreadingUDPServer):
    daemon_threads = True

    def __init__(self, family, address):
        self.address_family = family
        super().__init__(address, Pages)

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


def on_both_families(server):
    """One server for each loopback family on one port; IPv4 alone where the machine has no ::1."""
    for _ in range(50):
        four = server(socket.AF_INET, (WEB, 0))
        try:
            return [four, server(socket.AF_INET6, ("::1", four.server_address[1]))]
        except OSError as error:
            if error.errno != 98:  # EADDRINUSE: another port may be free for both
                return [four]
            four.server_close()
    raise SystemExit("no port is free on both loopback addresses")


def main():
    signal.alarm(LIFETIME)
    Web.folder = sys.argv[2]
    web, dns, udp = on_both_families(WebServer), dns_servers(), on_both_families(PagesServer)
    tls = on_both_families(TlsWebServer)
    for server in web + dns + udp + tls:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    partial = sys.argv[1] + ".partial"
    with open(partial, "w") as state:
        ports = [web[0].server_port, dns[0].server_address[1], len(web), udp[0].server_address[1], tls[0].server_port]
        print(*ports, file=state)
    os.rename(partial, sys.argv[1])
    signal.pause()


if __name__ == "__main__":
    main()
