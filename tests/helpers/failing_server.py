"""A web server that fails in the ways of `server.plan`."""

import re
import threading
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Handler(BaseHTTPRequestHandler):
    """Fails as in `server.plan`, one entry per request; without an entry, it succeeds."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server = self.server
        server.seen.append(dict(self.headers.items()))
        server.paths.append(self.path)
        fault = server.plan.pop(0) if server.plan else {}
        self.close_connection = True
        if "replace" in fault:
            server.content, server.version = fault["replace"], server.version + 1
        if "status" in fault:
            self.answer(fault["status"], {"Location": "/again"} if fault["status"] == 302 else {}, b"no")
            return
        content = server.content
        headers = {"ETag": f'"{server.version}"'}
        if server.dated:
            headers = {"Last-Modified": formatdate(server.version * 10**6, usegmt=True)}
        if server.weak:
            headers = {"ETag": f'W/"{server.version}"'}
        start, asked = 0, re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        validator = self.headers.get("If-Range")
        current = validator is None or validator in headers.values() or fault.get("ignore_if_range")
        if asked and current and not fault.get("ignore_range"):
            start = int(asked[1]) + fault.get("wrong_range", 0)
            if start >= len(content):
                self.answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
                return
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if "encoding" in fault:
            headers["Content-Encoding"] = fault["encoding"]
        self.answer(206 if start else 200, headers, content[start:], fault)

    def answer(self, status, headers, body, fault=None):
        fault = fault or {}
        stop = fault.get("stop", len(body))
        self.server.sent.append(len(body[:stop]))  # before the client has it, so that tests never see it too late
        self.send_response(status)
        self.send_header("Connection", "close")  # else the client may reuse a connection that is closing
        for key, value in headers.items():
            self.send_header(key, value)
        if fault.get("chunked"):
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        data = body[:stop]
        if fault.get("chunked"):
            data = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in (data[:2000], data[2000:]) if piece)
            data += b"0\r\n\r\n" if stop == len(body) else b""
        self.wfile.write(data)
        self.wfile.flush()
        if fault.get("stall"):
            self.server.released.wait(60)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    """Serves one file; what it was asked for and has sent is in its lists."""

    daemon_threads = True

    def __init__(self, content):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.version, self.dated, self.weak = content, 1, False, False
        self.plan, self.seen, self.paths, self.sent = [], [], [], []
        self.released = threading.Event()
        self.base = f"http://127.0.0.1:{self.server_port}"
        self.url = f"{self.base}/set/pictures.zip"

    def handle_error(self, request, client_address):
        """Interrupted connections are intended."""

    def ranges(self):
        return [headers.get("Range") for headers in self.seen]
