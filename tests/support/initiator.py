# One end of a GSSAPI context, over the system's own library: a child process of a test, which writes requests to
# its standard input and reads answers from its standard output. Both have one frame: an octet, a length of four
# octets, and so many octets more. The octet of a request says what is asked for, that of an answer 0 or, for an
# error, 1 with its text behind it. It knows nothing of SOCKS: frames are the test's.

import struct
import sys

import gssapi
from gssapi import raw

KRB5 = gssapi.MechType.kerberos
# The flags that a test may ask for, by their bits (RFC 2744, appendix A).
FLAGS = {
    2: gssapi.RequirementFlag.mutual_authentication,
    4: gssapi.RequirementFlag.replay_detection,
    8: gssapi.RequirementFlag.out_of_sequence_detection,
    16: gssapi.RequirementFlag.confidentiality,
    32: gssapi.RequirementFlag.integrity,
    # Kerberos then needs a third token, of the initiator again; beyond the RFC.
    4096: gssapi.RequirementFlag.dce_style,
}


class End:
    def __init__(self):
        self.context = None
        self.credentials = None
        self.name = None
        self.flags = []
        self.initiator = b""

    def start(self, body):
        """A context as initiator: its flags (four octets), and the name of the service. Gives the first token."""
        (bits,) = struct.unpack(">I", body[:4])
        name = body[4:].decode()
        kind = gssapi.NameType.kerberos_principal if "/" in name else gssapi.NameType.hostbased_service
        self.name = raw.import_name(name.encode(), kind)
        self.flags = [flag for bit, flag in FLAGS.items() if bits & bit]
        self.context = None
        return self.round(None)

    def round(self, token):
        step = raw.init_sec_context(
            self.name, context=self.context, mech=KRB5, flags=self.flags, input_token=token or None
        )
        self.context = step.context
        return bytes([0 if step.more_steps else 1]) + (step.token or b"")

    def listen(self, _):
        """Credentials as acceptor, of the keytab in KRB5_KTNAME."""
        self.credentials = raw.acquire_cred(None, usage="accept").creds
        self.context = None
        return b""

    def accept(self, token):
        step = raw.accept_sec_context(token, acceptor_creds=self.credentials, context=self.context)
        self.context = step.context
        if not step.more_steps:
            self.initiator = raw.display_name(step.initiator_name, False).name
        return bytes([0 if step.more_steps else 1]) + (step.token or b"")

    def wrap(self, body):
        """An octet, 1 to encrypt, and what is to be wrapped."""
        wrapped = raw.wrap(self.context, body[1:], body[0] == 1)
        if wrapped.encrypted != (body[0] == 1):
            raise ValueError("the library did not wrap as it was asked to")
        return wrapped.message

    def flood(self, body):
        """How many (four octets), an octet, 1 to encrypt, and what is to be wrapped each time. Gives the tokens, each
        behind its length of two octets."""
        (count,) = struct.unpack(">I", body[:4])
        tokens = (raw.wrap(self.context, body[5:], body[4] == 1).message for _ in range(count))
        return b"".join(len(token).to_bytes(2, "big") + token for token in tokens)

    def unwrap(self, token):
        """Gives an octet, 1 where it was encrypted, and what was wrapped."""
        unwrapped = raw.unwrap(self.context, token)
        return bytes([unwrapped.encrypted]) + unwrapped.message

    def size_limit(self, body):
        """An octet, 1 to encrypt, and the largest token that is wanted (four octets)."""
        (most,) = struct.unpack(">I", body[1:])
        return struct.pack(">I", raw.wrap_size_limit(self.context, most, body[0] == 1))

    def who(self, _):
        """The initiator's name as the acceptor knows it."""
        return self.initiator


def read(source, length):
    body = source.read(length)
    if len(body) < length:
        sys.exit()
    return body


def main():
    end = End()
    answers = {
        b"I": end.start,
        b"S": end.round,
        b"L": end.listen,
        b"A": end.accept,
        b"W": end.wrap,
        b"F": end.flood,
        b"U": end.unwrap,
        b"M": end.size_limit,
        b"N": end.who,
    }
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    while True:
        head = read(source, 5)
        body = read(source, int.from_bytes(head[1:], "big"))
        try:
            status, answer = 0, answers[head[:1]](body)
        except Exception as error:
            status, answer = 1, f"{type(error).__name__}: {error}".encode()
        sink.write(bytes([status]) + len(answer).to_bytes(4, "big") + answer)
        sink.flush()


main()
