# Starts a program to which the kernel refuses some calls: `refuse.py RULE... -- PROGRAM ARGUMENT...`. What a filter of
# seccomp, as service managers and container runtimes install them, does to a server. It becomes the program.

import ctypes
import errno
import os
import platform
import struct
import sys

# The architecture as audit(7) numbers it, and the numbers of socket, setsockopt and getsockopt.
ARCH, SOCKET, SETSOCKOPT, GETSOCKOPT = {
    "x86_64": (0xC000003E, 41, 54, 55),
    "aarch64": (0xC00000B7, 198, 208, 209),
}[platform.machine()]

# Which calls (number, and arguments by their place), and what they fail with.
RULES = {
    "netlink": ([(SOCKET, {0: 16})], errno.EAFNOSUPPORT),
    "set-congestion": ([(SETSOCKOPT, {1: 6, 2: 13})], errno.EPERM),
    "get-congestion": ([(GETSOCKOPT, {1: 6, 2: 13})], errno.EPERM),
    "port-ranges": ([(SETSOCKOPT, {1: 0, 2: 51})], errno.ENOPROTOOPT),
}

# Classic BPF: load a word of struct seccomp_data, skip so many where it is not equal, return.
LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000


def unless(value, skip):
    return (EQUAL, 0, skip, value)


def program(names):
    code = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, ARCH), (RETURN, 0, 0, ALLOW)]
    for name in names:
        calls, error = RULES[name]
        for number, arguments in calls:
            tests = [(0, number)] + [(16 + 8 * at, value) for at, value in arguments.items()]
            for left, (offset, value) in zip(range(len(tests), 0, -1), tests):
                code += [(LOAD, 0, 0, offset), unless(value, 2 * left - 1)]
            code.append((RETURN, 0, 0, FAIL | error))
    return code + [(RETURN, 0, 0, ALLOW)]


def install(code):
    packed = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *one) for one in code))
    filters = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code), ctypes.addressof(packed)))
    libc = ctypes.CDLL(None, use_errno=True)
    # PR_SET_NO_NEW_PRIVS, and PR_SET_SECCOMP with a filter.
    for call in ((38, 1, 0, 0, 0), (22, 2, filters, 0, 0)):
        if libc.prctl(*call) != 0:
            sys.exit(os.strerror(ctypes.get_errno()))


at = sys.argv.index("--")
install(program(sys.argv[1:at]))
os.execvp(sys.argv[at + 1], sys.argv[at + 1 :])
