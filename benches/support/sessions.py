# Clients of a bench: sessions that get as far as their request and no further, so many at a time. Where GSSAPI is asked
# for, contexts are begun beforehand: the less the clients compute meanwhile, the less the server waits for them.
#
# Arguments: method ("none" or "gssapi"), port of the server, port at which nobody listens, both on 127.0.0.1.
# A line on standard input is a number of sessions to prepare, answered with a line; the next has them made, and is
# answered once the last is over.

import socket
import struct
import sys

HOST = "127.0.0.1"
SERVICE = "rcmd@localhost"
LEVEL = b"\x02"
# Sessions of one process that are under way at a time: four processes stay within the server's bound for one source.
AT_ONCE = 16
OVER = object()
# How long the server may take for an answer before something must be wrong.
PATIENCE_SECONDS = 30


def receive(sock, length):
    body = b""
    while len(body) < length:
        part = sock.recv(length - len(body))
        if not part:
            raise EOFError(f"{body!r} in place of {length} bytes")
        body += part
    return body


def receive_message(sock, kind):
    head = receive(sock, 4)
    if head[:2] != bytes([1, kind]):
        raise ValueError(f"message {head!r} in place of one of type {kind}")
    return receive(sock, int.from_bytes(head[2:], "big"))


def message(kind, token):
    return bytes([1, kind]) + len(token).to_bytes(2, "big") + token


def refused(reply):
    if reply[:2] != b"\x05\x05":
        raise ValueError(f"reply {reply!r}: the port is closed")


class Plain:
    """Sessions without authentication."""

    def prepare(self):
        return None

    def run(self, _, sock, request):
        sock.sendall(b"\x05\x01\x00")
        yield
        receive(sock, 2)
        sock.sendall(request)
        yield
        refused(receive(sock, 10))


class Gssapi:
    """Sessions with a context, at level 2 (RFC 1961)."""

    def __init__(self):
        import gssapi
        from gssapi import raw

        self.raw = raw
        self.mechanism = gssapi.MechType.kerberos
        flag = gssapi.RequirementFlag
        self.flags = [
            flag.mutual_authentication,
            flag.replay_detection,
            flag.out_of_sequence_detection,
            flag.confidentiality,
            flag.integrity,
        ]
        self.name = raw.import_name(SERVICE.encode(), gssapi.NameType.hostbased_service)

    def step(self, context, token):
        return self.raw.init_sec_context(
            self.name, context=context, mech=self.mechanism, flags=self.flags, input_token=token
        )

    def prepare(self):
        first = self.step(None, None)
        return first.context, first.token

    def run(self, prepared, sock, request):
        context, token = prepared
        sock.sendall(b"\x05\x01\x01")
        yield
        receive(sock, 2)
        sock.sendall(message(1, token))
        yield
        context = self.step(context, receive_message(sock, 1)).context
        sock.sendall(message(2, self.raw.wrap(context, LEVEL, False).message))
        yield
        if self.raw.unwrap(context, receive_message(sock, 2)).message != LEVEL:
            raise ValueError("another level was granted")
        sock.sendall(message(3, self.raw.wrap(context, request, True).message))
        yield
        reply = self.raw.unwrap(context, receive_message(sock, 3))
        if not reply.encrypted:
            raise ValueError("the reply is not encrypted")
        refused(reply.message)


def session(server, sessions, prepared, request):
    """A session from its connection to its end; stops wherever the server is to speak next."""
    with socket.create_connection((HOST, server), PATIENCE_SECONDS) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield from sessions.run(prepared, sock, request)


def main():
    method, server, closed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    sessions = Gssapi() if method == "gssapi" else Plain()
    request = b"\x05\x01\x00\x01" + socket.inet_aton(HOST) + struct.pack(">H", closed)
    for line in sys.stdin:
        prepared = [sessions.prepare() for _ in range(int(line))]
        print("prepared", flush=True)
        if not sys.stdin.readline():
            return
        for first in range(0, len(prepared), AT_ONCE):
            under_way = [session(server, sessions, each, request) for each in prepared[first : first + AT_ONCE]]
            while under_way:
                under_way = [each for each in under_way if next(each, OVER) is not OVER]
        print("done", flush=True)


main()
