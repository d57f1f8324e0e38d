"""The FTP server that the interop run transfers files with, in active mode: it connects to the client.

    ftpd.py DIRECTORY STATE_FILE

Serves DIRECTORY to anybody on 127.0.0.1, at a port that the kernel picks. Once it serves, STATE_FILE appears with
the port. Passive mode is refused, so a transfer that succeeds was an active one. Ends after LIFETIME seconds.
"""

import os
import signal
import sys

from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer

LIFETIME = 1800


class ActiveOnly(FTPHandler):
    proto_cmds = {name: of for name, of in FTPHandler.proto_cmds.items() if name not in ("PASV", "EPSV")}


def main(directory, state_file):
    signal.alarm(LIFETIME)
    ActiveOnly.authorizer = DummyAuthorizer()
    ActiveOnly.authorizer.add_anonymous(directory, perm="elrw")
    server = FTPServer(("127.0.0.1", 0), ActiveOnly)
    with open(state_file + ".new", "w") as state:
        print(server.socket.getsockname()[1], file=state)
    os.rename(state_file + ".new", state_file)
    server.serve_forever()


main(*sys.argv[1:])
