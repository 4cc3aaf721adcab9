# The app of the dea's own tests: a tiny HTTP server that does as it is told by path and environment.
import os
import re
import select
import signal
import socket
import sys
import time

ENV = os.environ


def say(text, to=1):
    """Writes a line; when nobody listens any more, it is lost."""
    try:
        os.write(to, (text + "\n").encode())
    except OSError:
        pass


def end(number, frame):
    say("got TERM")
    os._exit(0)


def attempt(action):
    try:
        action()
        return "ok"
    except OSError as error:
        return f"failed: {error.strerror}"


def write_file():
    with open("written", "w") as file:
        file.write("x")


def fill_disk():
    with open("filling", "wb") as file:
        while True:
            file.write(b"x" * 1_000_000)


def eat_memory():
    held = []
    while True:
        held.append(b"x" * 1_000_000)


def where():
    mask = os.umask(0)
    os.umask(mask)
    return f"{os.getcwd()} {mask:04o} {os.getppid()}"


def answer(path):
    if variable := re.match(r"env/(\w+)", path):
        return ENV.get(variable[1], "(unset)")
    if code := re.match(r"exit/(\d+)", path):
        os._exit(int(code[1]))
    if path == "eat":
        eat_memory()
    if path == "fill":
        fill_disk()
    if path == "flood":
        for number in range(1, 20_001):
            say(f"flood {number}")
    if path == "cwd":
        return where()
    if path == "write":
        return attempt(write_file)
    if path == "look":
        return "there" if os.path.exists("written") else "not there"
    if path == "chmod":
        return attempt(lambda: os.chmod("server.py", 0o600))
    return f"hello from {ENV['CF_INSTANCE_INDEX']}"


def serve(client):
    request = client.makefile("rb")
    asked = re.match(r"GET /(\S*)", request.readline().decode("latin-1"))
    while request.readline().strip():
        pass
    body = answer(asked[1] if asked else "").encode()
    head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    client.sendall(head.encode() + body)


def main():
    signal.signal(signal.SIGTERM, signal.SIG_IGN if ENV.get("IGNORE_TERM") else end)
    if "EXIT_AT_START" in ENV:
        os._exit(int(ENV["EXIT_AT_START"]))
    if ENV.get("NEVER_LISTEN"):
        time.sleep(1000)
    time.sleep(float(ENV.get("LISTEN_AFTER", 0)))
    server = socket.create_server(("0.0.0.0", int(ENV["PORT"])), backlog=64)
    say(f"listening on {ENV['PORT']}")
    say("a word on stderr", to=2)
    count = 0
    while True:
        if ENV.get("COUNT"):
            say(f"count {count}")
            count += 1
        ready, _, _ = select.select([server], [], [], 0.02 if ENV.get("COUNT") else None)
        if not ready:
            continue
        client, _ = server.accept()
        with client:
            try:
                serve(client)
            except OSError:
                pass


sys.exit(main())
