"""The web server and the name server that the interop run fetches from.

    origin.py STATE_FILE

Both listen on loopback and on ports that the kernel picks: HTTP on 127.0.0.1 and ::1 (one port), DNS
over UDP and TCP on 127.0.0.1, and the pages over UDP on 127.0.0.1 and ::1 (one port). Once they serve,
STATE_FILE appears with `WEB_PORT DNS_PORT FAMILIES UDP_PORT`. The names exist nowhere else, so a page fetched
by name was resolved by the relay. Ends after LIFETIME seconds.

Over UDP a datagram `OFFSET PATH` is answered with the page's bytes from there on, a thousand at most; an
empty datagram is the page's end.

    /page   100 KiB or so of numbered lines      four.interop.test   A only
    /small  one line                             six.interop.test    AAAA only
    /sum    PUT: the body's sha256               both.interop.test   both
"""

import hashlib
import http.server
import os
import signal
import socket
import socketserver
import struct
import sys
import threading

LIFETIME = 1800
UDP_PIECE = 1000
PAGES = {
    "/page": "".join(f"line {n:05} of a page that is fetched through a relay\n" for n in range(2000)).encode(),
    "/small": b"a small page\n",
}
V4 = socket.inet_pton(socket.AF_INET, "127.0.0.1")
V6 = socket.inet_pton(socket.AF_INET6, "::1")
TYPE_A, TYPE_AAAA = 1, 28
ZONE = {
    b"four.interop.test": {TYPE_A: V4},
    b"six.interop.test": {TYPE_AAAA: V6},
    b"both.interop.test": {TYPE_A: V4, TYPE_AAAA: V6},
}


class Web(http.server.BaseHTTPRequestHandler):
    timeout = 30

    def do_GET(self):
        self.answer(PAGES.get(self.path))

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(hashlib.sha256(body).hexdigest().encode() + b"\n")

    def answer(self, body):
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *_):
        pass


class WebServer(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def __init__(self, family, address):
        self.address_family = family
        super().__init__(address, Web)

    def server_bind(self):
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        super().server_bind()


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
        four = server(socket.AF_INET, ("127.0.0.1", 0))
        try:
            return [four, server(socket.AF_INET6, ("::1", four.server_address[1]))]
        except OSError as error:
            if error.errno != 98:  # EADDRINUSE: another port may be free for both
                return [four]
            four.server_close()
    raise SystemExit("no port is free on both loopback addresses")


def main():
    signal.alarm(LIFETIME)
    web, dns, udp = on_both_families(WebServer), dns_servers(), on_both_families(PagesServer)
    for server in web + dns + udp:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    partial = sys.argv[1] + ".partial"
    with open(partial, "w") as state:
        print(web[0].server_port, dns[0].server_address[1], len(web), udp[0].server_address[1], file=state)
    os.rename(partial, sys.argv[1])
    signal.pause()


if __name__ == "__main__":
    main()
