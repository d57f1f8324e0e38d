"""Fetches one page through an HTTP proxy with a Python client and writes its body to standard output.

    fetch.py requests|urllib PROXY_URL URL
"""

import sys

TIMEOUT = 15


def by_requests(proxy, url):
    import requests

    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, proxies={"http": proxy, "https": proxy}, timeout=TIMEOUT)
        answer.raise_for_status()
        return answer.content


def by_urllib(_, url):
    """By the environment, as most scripts go."""
    import urllib.request

    with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
        return answer.read()


def main():
    client, proxy, url = sys.argv[1:]
    sys.stdout.buffer.write({"requests": by_requests, "urllib": by_urllib}[client](proxy, url))


if __name__ == "__main__":
    main()
