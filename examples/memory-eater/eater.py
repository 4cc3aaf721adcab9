"""Takes memory on request and never gives it back. Standard library only."""

import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

MB = 1024 * 1024
eaten = []


def eat(megabytes):
    """Takes `megabytes` MB and touches every page, so that they are really there."""
    for _ in range(megabytes):
        eaten.append(bytearray(os.urandom(1)) * MB)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path == "/eat":
            wanted = parse_qs(url.query).get("mb", ["16"])[-1]
            print(f"eating {wanted} MB", flush=True)
            while wanted == "forever":
                eat(1)
            if not wanted.isdigit():
                return self.answer(400, "mb= wants a number or `forever`\n")
            eat(int(wanted))
        elif url.path != "/":
            return self.answer(404, "nothing here\n")
        self.answer(200, f"{len(eaten)} MB eaten\n")

    def answer(self, status, text):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):
        """The router already writes an access log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        """Binds without looking up our own name, which can take seconds where DNS is slow."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def main():
    eat(int(os.environ.get("EAT_AT_START_MB", "0")))
    port = int(os.environ.get("PORT", "8080"))
    print(f"listening on port {port}, hungry", flush=True)
    Server(("0.0.0.0", port), Handler).serve_forever()


if __name__ == "__main__":
    sys.exit(main())
