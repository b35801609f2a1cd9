#!/usr/bin/env python3
"""ClickHouse's HTTP interface in front of chdb, ClickHouse's engine as a library: for tests.

bridge.py [DIRECTORY [PORT]] listens on the loopback, on a free port if none is given, prints `PORT`
when it is ready, and ends with its standard input. The URL's `query` and the body are one statement, or, where the query
is an INSERT, the body is its data; `param_*` are its parameters, `database` the default database.
Bodies may come in ClickHouse's compressed blocks (`decompress=1`). Statements run one by one.

For tests of failures: while the file DIRECTORY/fail has a number N, the N next inserts are made and
the connection is closed without an answer.
"""

import http.server
import os
import re
import struct
import sys
import tempfile
import threading
import urllib.parse

from chdb import session

OWN = {"query", "database", "default_format", "decompress", "compress"}
FORMAT = re.compile(r"\s+FORMAT\s+(\w+)\s*;?\s*$", re.IGNORECASE)
CODE = re.compile(r"Code: (\d+)")
LZ4, NONE = 0x82, 0x02


class Refused(Exception):
    pass


def plain(data):
    """The content of compressed blocks: checksum (16), method (1), sizes (4 and 4), data."""
    import pyarrow

    whole = bytearray()
    at = 0
    while at < len(data):
        method, size, content = struct.unpack_from("<BII", data, at + 16)
        block = data[at + 25 : at + 16 + size]
        if method == LZ4:
            block = pyarrow.decompress(block, decompressed_size=content, codec="lz4_raw", asbytes=True)
        elif method != NONE:
            raise Refused(f"Code: 89. DB::Exception: compression method {method:#x} is unknown here")
        whole += block
        at += 16 + size
    return bytes(whole)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.answer(200, b"Ok.\n")

    def do_POST(self):
        body = self.body()
        url = urllib.parse.urlsplit(self.path)
        pairs = urllib.parse.parse_qsl(url.query, keep_blank_values=True)
        try:
            with self.server.lock:
                found = self.run(dict(pairs), body)
        except (Refused, RuntimeError, ValueError) as error:
            text = str(error)
            code = CODE.search(text)
            headers = {"X-ClickHouse-Exception-Code": code.group(1)} if code else {}
            self.answer(500, text.encode(), headers)
            return
        if found is None:
            self.close_connection = True
            self.connection.close()
            return
        self.answer(200, found)

    def run(self, options, body):
        chdb = self.server.session
        if options.get("decompress") == "1":
            body = plain(body)
        database = options.get("database")
        if database and database != self.server.database:
            name = database.replace("\\", "\\\\").replace("`", "\\`")
            chdb.query(f"USE `{name}`")
            self.server.database = database
        params = {name[6:]: value for name, value in options.items() if name.startswith("param_")}
        unknown = {name for name in options if name not in OWN and not name.startswith("param_")}
        if unknown:
            raise Refused(f"Code: 115. DB::Exception: settings in the URL are not known here: {unknown}")
        query = options.get("query", "")
        if re.match(r"\s*INSERT\b", query, re.IGNORECASE):
            return self.insert(query, body)
        query += body.decode()
        form = options.get("default_format", "TabSeparated")
        found = FORMAT.search(query)
        if found:
            form, query = found.group(1), query[: found.start()]
        result = chdb.query(query, form, params=params) if params else chdb.query(query, form)
        return result.bytes() if result is not None else b""

    def insert(self, query, data):
        form = FORMAT.search(query)
        if not form:
            raise Refused("Code: 73. DB::Exception: an INSERT with data needs FORMAT here")
        inserter = self.server.session.send_insert(query[: form.start()], form.group(1))
        inserter.append(data)
        inserter.finish()
        fail = os.path.join(self.server.directory, "fail")
        if os.path.exists(fail):
            with open(fail) as file:
                left = int(file.read() or 0)
            if left > 0:
                with open(fail, "w") as file:
                    file.write(str(left - 1))
                return None
        return b""

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        whole = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            whole += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(whole)

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp()
    server = Server(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Handler)
    server.lock = threading.Lock()
    server.directory = directory
    server.database = None
    server.session = session.Session(os.path.join(directory, "data"))
    print(server.server_address[1], flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
