"""Passes sockets as a service manager does, and becomes the server: WHAT... -- PROGRAM...

WHAT is NAME=KIND:WHERE with kind tcp, udp or unix, or NAME=file; a variable in capitals, as LISTEN_FDS=2, is set in place of the right one.
"""
import os
import socket
import sys

end = sys.argv.index("--")
names, passed, variables = [], [], {}
for word in sys.argv[1:end]:
    name, _, what = word.partition("=")
    if name.startswith("LISTEN_"):
        variables[name] = what
        continue
    kind, _, where = what.partition(":")
    if kind == "file":
        passed.append(os.open("/dev/null", os.O_RDONLY))
    elif kind == "unix":
        one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        one.bind(where)
        one.listen(16)
        passed.append(one.detach())
    else:
        address, port = where.rsplit(":", 1)
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if name.endswith("+"):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind((address, int(port)))
        if kind == "tcp":
            one.listen(16)
        passed.append(one.detach())
    names.append(name)

# First out of the way of each other.
passed = [os.dup2(fd, 100 + nth) for nth, fd in enumerate(passed)]
for nth, fd in enumerate(passed):
    os.dup2(fd, 3 + nth)
    os.close(fd)
environment = dict(
    os.environ,
    LISTEN_PID=str(os.getpid()),
    LISTEN_FDS=str(len(passed)),
    LISTEN_FDNAMES=":".join(names),
)
environment.update(variables)
os.execvpe(sys.argv[end + 1], sys.argv[end + 1 :], environment)
