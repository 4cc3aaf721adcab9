"""Answers requests and will not go when asked. Standard library only."""

import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def do_GET(self):
        body = b"still here\n"
        self.send_response(200)
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
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, lambda number, _frame: print(
            f"{signal.Signals(number).name}: no, thank you", flush=True))
    # A child in a session of its own, to see that the whole container goes and not just one process.
    subprocess.Popen(
        ["sh", "-c", "trap '' TERM INT HUP QUIT; while :; do sleep 1000; done"],
        start_new_session=True,
    )
    port = int(os.environ.get("PORT", "8080"))
    print(f"listening on port {port}, here to stay", flush=True)
    Server(("0.0.0.0", port), Handler).serve_forever()


if __name__ == "__main__":
    sys.exit(main())
