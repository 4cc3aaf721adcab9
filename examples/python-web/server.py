"""A small web app that shows what the platform gave it. Standard library only."""

import json
import os
import signal
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

PORT = int(os.environ.get("PORT", "8080"))
STARTED = time.time()
CHUNK = b"x" * 65536


def vcap_application():
    """The platform's description of this instance; {} when started by hand."""
    try:
        return json.loads(os.environ.get("VCAP_APPLICATION", "{}"))
    except ValueError:
        return {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    disable_nagle_algorithm = True

    def do_GET(self):
        self.server.enter()
        try:
            self.route()
        finally:
            self.server.leave()

    do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_GET

    def route(self):
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        parts = url.path.strip("/").split("/")
        door = getattr(self, "door_" + (parts[0] or "home"), None)
        self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if door is None:
            return self.text("nothing here\n", 404)
        try:
            return door(parts[1:], query)
        except ValueError as error:
            return self.text(f"that does not work: {error}\n", 400)

    # --- the doors --------------------------------------------------------------------

    def door_home(self, _rest, _query):
        self.json({
            "greeting": os.environ.get("GREETING"),
            "port": PORT,
            "instance_index": int(os.environ.get("CF_INSTANCE_INDEX", "0")),
            "uptime_seconds": round(time.time() - STARTED, 3),
            "vcap_application": vcap_application(),
        })

    def door_health(self, _rest, _query):
        self.text("ok\n")

    def door_env(self, rest, _query):
        if not rest:
            return self.json(dict(os.environ))
        value = os.environ.get(rest[0])
        return self.text("not set\n", 404) if value is None else self.text(value + "\n")

    def door_instance(self, _rest, _query):
        app = vcap_application()
        self.json({
            "index": int(os.environ.get("CF_INSTANCE_INDEX", "0")),
            "guid": os.environ.get("CF_INSTANCE_GUID") or app.get("instance_id"),
            "pid": os.getpid(),
        })

    def door_headers(self, _rest, _query):
        self.json({"method": self.command, "path": self.path,
                   "headers": [[key, value] for key, value in self.headers.items()]})

    def door_echo(self, _rest, _query):
        kind = self.headers.get("Content-Type", "application/octet-stream")
        self.answer(200, kind, self.body)

    def door_sleep(self, _rest, query):
        seconds = min(float(query.get("ms", "1000")) / 1000, 300)
        time.sleep(seconds)
        self.text(f"slept {seconds:.3f} s\n")

    def door_bytes(self, _rest, query):
        left = max(0, int(query.get("n", "1048576")))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(left))
        self.end_headers()
        while left > 0 and self.command != "HEAD":
            left -= self.wfile.write(CHUNK[:left])

    def door_chunked(self, _rest, query):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for number in range(int(query.get("n", "10"))):
            line = f"chunk {number}\n".encode()
            self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            self.wfile.flush()
            time.sleep(float(query.get("ms", "0")) / 1000)
        self.wfile.write(b"0\r\n\r\n")

    def door_status(self, rest, _query):
        code = int(rest[0]) if rest else 200
        if not 200 <= code <= 599:
            raise ValueError("a status from 200 to 599, please")
        self.text(f"status {code}\n", code)

    def door_log(self, _rest, query):
        lines = min(int(query.get("lines", "1")), 1_000_000)
        out = sys.stderr if query.get("to") == "stderr" else sys.stdout
        text = query.get("text", "a line of log")
        for number in range(1, lines + 1):
            print(f"{text} {number}", file=out)
        out.flush()
        self.text(f"wrote {lines} lines\n")

    def door_crash(self, _rest, query):
        code = int(query.get("code", "1"))
        self.text("crashing\n")
        self.wfile.flush()
        print(f"asked to crash with exit code {code}", flush=True)
        os._exit(code)

    # --- answers ----------------------------------------------------------------------

    def json(self, value, status=200):
        body = json.dumps(value, indent=2, sort_keys=True).encode() + b"\n"
        self.answer(status, "application/json", body)

    def text(self, value, status=200):
        self.answer(status, "text/plain; charset=utf-8", value.encode())

    def answer(self, status, kind, body):
        self.send_response(status)
        if status in (204, 304):
            body = b""
        else:
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format, *args):
        """The router already writes an access log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address, handler):
        self.lock = threading.Lock()
        self.in_flight = 0
        super().__init__(address, handler)

    def server_bind(self):
        """Binds without looking up our own name, which can take seconds where DNS is slow."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]

    def enter(self):
        with self.lock:
            self.in_flight += 1

    def leave(self):
        with self.lock:
            self.in_flight -= 1


def main():
    server = Server(("0.0.0.0", PORT), Handler)
    # shutdown() waits for the serving loop, so it cannot run inside the signal handler itself.
    stop = threading.Thread(target=server.shutdown, daemon=True)
    signal.signal(signal.SIGTERM, lambda *_: stop.start() if not stop.ident else None)
    index = os.environ.get("CF_INSTANCE_INDEX", "0")
    print(f"instance {index} listens on port {PORT}", flush=True)
    server.serve_forever(poll_interval=0.05)
    deadline = time.time() + 5
    while server.in_flight and time.time() < deadline:
        time.sleep(0.01)
    print("asked to stop: goodbye", flush=True)


if __name__ == "__main__":
    main()
