#!/usr/bin/env python3
"""An HTTP server around the ClickHouse engine (chdb), for the tests.

    clickhouse_http.py [--host 127.0.0.1] [--port 8123] [--path DIR] [--user U --password-env NAME] [--verbose]

Requires `chdb-core` and `lz4`. Implements the part of ClickHouse's HTTP interface that clients need: statements with
database, parameters and settings in the URL, inserts in any input format (plain or in ClickHouse's LZ4 blocks), error
codes, summaries and keep-alive. Each statement uses its own pooled engine connection, so statements run concurrently.

Only for tests:
    GET  /_log?database=D                    numbers of statements in D: insert, select, delete, system, other, failed
    POST /_log/reset?database=D
    POST /_fault?database=D&mode=M&count=N   affects the next N INSERTs in D (kind=select|delete|... for others)
         mode=refuse&code=252&text=...       answers with this ClickHouse error, executes nothing
         mode=lost_request                   closes the connection, executes nothing
         mode=lost_answer                    executes, then closes the connection without an answer
         mode=delay&ms=500                   waits, then executes and answers
         count=0 clears the fault."""
import argparse
import base64
import collections
import hmac
import json
import os
import re
import signal
import ssl
import struct
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

import lz4.block
import lz4.frame

os.environ['TZ'] = 'UTC'  # the engine reads the server time zone from it at import
from chdb import session  # noqa: E402

# URL parameters of the HTTP layer. All others except param_* are settings of the engine.
HTTP_ONLY = {'query', 'database', 'default_format', 'compress', 'decompress', 'user', 'password', 'query_id', 'session_id',
             'session_timeout', 'session_check', 'wait_end_of_query', 'buffer_size', 'role', 'quota_key',
             'enable_http_compression', 'http_zlib_compression_level', 'http_write_exception_in_output_format'}
STATUS = {194: 401, 192: 403, 193: 403, 516: 403, 46: 404, 47: 404, 50: 404, 56: 404, 60: 404, 81: 404, 115: 404, 202: 503,
          **dict.fromkeys((6, 26, 27, 38, 41, 53, 62, 72, 117, 130, 131, 354, 457), 400)}
BLANK = re.compile(r'(?:\s|--[^\n]*\n|/\*.*?\*/|\()*', re.S)
INSERT_DATA = re.compile(r'\bFORMAT\s+(\w+)\s*;?\s*\Z', re.I)
OWN_SETTINGS = re.compile(r'\bSETTINGS\s+(?=\w+\s*=)', re.I)
IDLE_MAX = 32


class Refused(Exception):
    """An error answer of this server, not of the engine."""

    def __init__(self, code, text):
        super().__init__(f'Code: {code}. DB::Exception: {text}')


def kind_of(sql):
    words = sql[BLANK.match(sql).end():][:2000].upper()
    first = words.split(None, 1)[0] if words else ''
    if first in ('SELECT', 'WITH'):
        return 'system' if re.search(r'\bFROM\s+`?(SYSTEM|INFORMATION_SCHEMA)`?\.', words) else 'select'
    if first == 'ALTER' and re.match(r'ALTER\s+TABLE\s+\S+\s+(ON\s+\S+\s+)?DELETE\b', words):
        return 'delete'
    return first.lower() if first in ('INSERT', 'DELETE') else 'other'


def unframe(data):
    """Decodes compressed blocks: 16 bytes checksum (not verified), method, size with the 9-byte header, raw size."""
    out, i = [], 0
    try:
        while i < len(data):
            method, size, raw = struct.unpack_from('<BII', data, i + 16)
            if size < 9 or i + 16 + size > len(data):
                raise ValueError('truncated block')
            body = memoryview(data)[i + 25:i + 16 + size]
            if method not in (0x02, 0x82):
                raise ValueError(f'unknown compression method {method:#x}')
            out.append(lz4.block.decompress(body, uncompressed_size=raw) if method == 0x82 else bytes(body))
            i += 16 + size
    except (ValueError, struct.error, lz4.block.LZ4BlockError) as e:
        raise Refused(354, f'Cannot decompress: {e}. (ZLIB_INFLATE_FAILED)') from e
    return out[0] if len(out) == 1 else b''.join(out)


def settings_list(settings):
    return ', '.join("`%s` = '%s'" % (k, v.replace('\\', '\\\\').replace("'", "\\'")) for k, v in settings)


class Engine:
    """Engine connections pooled by database and settings, so that a statement needs neither USE nor SET."""

    def __init__(self, path):
        self.path, self.lock, self.idle = path, threading.Lock(), collections.OrderedDict()
        self.root = session.Session(path)  # keeps the engine running while the pool is empty
        self.root.query('CREATE DATABASE IF NOT EXISTS default')

    def take(self, key):
        with self.lock:
            free = self.idle.get(key)
            if free:
                self.idle.move_to_end(key)
                return free.pop()
        conn = session.Session(self.path)
        try:
            conn.query('USE `%s`' % key[0].replace('`', '\\`'))
            if key[1]:
                conn.query('SET ' + settings_list(key[1]))
        except BaseException:
            conn.close()
            raise
        return conn

    def give_back(self, key, conn):
        with self.lock:
            self.idle.setdefault(key, []).append(conn)
            old = [] if len(self.idle) <= IDLE_MAX else self.idle.popitem(last=False)[1]
        for conn in old:
            conn.close()

    def run(self, sql, body, database, fmt, params, settings):
        """Runs a statement. Returns the result, the rows read and the rows written."""
        data = INSERT_DATA.search(sql) if kind_of(sql) == 'insert' else None
        if data:  # Settings go into the statement: each insert has its own token, which must not need a connection.
            sql = sql[:data.start()]
            if settings:
                own = OWN_SETTINGS.search(sql)
                at, end = (own.end(), ', ') if own else (len(sql), ' ')
                sql = sql[:at] + ('' if own else ' SETTINGS ') + settings_list(settings) + end + sql[at:]
            settings = ()
        elif body:  # INSERT … VALUES, or a statement that continues in the body
            sql = sql.encode() + b'\n' + body
        key = (database, settings)
        conn = self.take(key)
        keep = False
        try:
            if data:
                ins = conn.send_insert(sql, data.group(1))
                try:
                    ins.append(body)
                    result = b'', 0, ins.finish().rows_written
                except BaseException:
                    ins.cancel()
                    raise
            else:
                r = conn.query(sql, fmt, params=params or None)
                result = (b'', 0, 0) if r is None else (bytes(r.bytes() or b''), r.storage_rows_read(), r.rows_written())
            # HTTP is stateless: a connection whose state the statement changed is not reused.
            keep = bool(data) or not isinstance(sql, str) or not re.match(r'\s*(SET|USE|CREATE\s+TEMPORARY)\b', sql, re.I)
            return result
        finally:
            self.give_back(key, conn) if keep else conn.close()

    def close(self):
        for conns in self.idle.values():
            for conn in conns:
                conn.close()
        self.root.close()


class Server(ThreadingHTTPServer):
    daemon_threads, request_queue_size = True, 256

    def __init__(self, a):
        super().__init__((a.host, a.port), Handler)
        if a.certificate:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(a.certificate, a.key)
            # The handshake is in the thread of the connection, so a client that sends nothing holds up no other.
            self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.verbose, self.user = a.verbose, a.user
        self.password = os.environ.get(a.password_env, '') if a.password_env else ''
        self.engine = Engine(a.path)
        self.lock, self.running = threading.Lock(), 0
        self.log, self.faults = collections.defaultdict(collections.Counter), {}

    def count(self, database, kind):
        with self.lock:
            self.log[database][kind] += 1

    def next_fault(self, database, kind):
        with self.lock:
            fault = self.faults.get((database, kind))
            if not fault or fault['count'] < 1:
                return {}
            fault['count'] -= 1
            return fault

    def control(self, path, args):
        database = args.get('database', 'default')
        with self.lock:
            if path == '/_log/reset':
                self.log.pop(database, None)
            elif path == '/_fault':
                if args.get('mode') not in ('refuse', 'lost_request', 'lost_answer', 'delay') and args.get('count') != '0':
                    raise Refused(36, 'unknown mode')
                self.faults[database, args.get('kind', 'insert')] = {**args, 'count': int(args.get('count', 1))}
            counts = self.log.get(database, {})
            return {k: counts.get(k, 0) for k in ('insert', 'select', 'delete', 'system', 'other', 'failed')}


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    server_version = 'ClickHouse-test'
    disable_nagle_algorithm = True
    wbufsize = rbufsize = 1 << 17

    def log_message(self, *a):
        if self.server.verbose:
            sys.stderr.write('%s\n' % (a[0] % a[1:]))

    def handle_expect_100(self):  # the base class does not flush this answer
        super().handle_expect_100()
        self.wfile.flush()
        return True

    def date_time_string(self, timestamp=None):  # faster than the base class
        return time.strftime('%a, %d %b %Y %H:%M:%S GMT', time.gmtime(timestamp))

    def body(self):
        if 'chunked' not in self.headers.get('Transfer-Encoding', '').lower():
            return self.read(int(self.headers.get('Content-Length') or 0))
        out = []
        while size := int(self.rfile.readline().split(b';')[0], 16):
            out.append(self.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():  # trailers
            pass
        return b''.join(out)

    def read(self, size):
        data = self.rfile.read(size)
        if len(data) < size:
            raise ConnectionError('the request ended early')  # never execute a partial insert
        return data

    def reply(self, status, data, headers=()):
        self.send_response(status)
        for k, v in headers:
            self.send_header(k, v)
        self.send_header('Content-Length', str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def do_GET(self):
        self.serve()

    def do_POST(self):
        self.serve()

    def serve(self):
        try:
            with self.server.lock:
                self.server.running += 1
            self.statement(self.body())
        except (ConnectionError, ValueError):  # the client disconnected or sent invalid HTTP
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.running -= 1

    def arguments(self, body):
        url = urlsplit(self.path)
        args = dict(parse_qsl(url.query, keep_blank_values=True))
        form = re.match(r'multipart/form-data.*boundary="?([^";]+)', self.headers.get('Content-Type', ''))
        if form:  # long parameters are sent as a form
            for part in body.split(b'--' + form.group(1).encode())[1:-1]:
                head, _, value = part.partition(b'\r\n\r\n')
                args[re.search(rb'name="([^"]*)"', head).group(1).decode()] = value[:-2].decode()
            body = b''
        return url.path, args, body

    def check_user(self, args):
        if self.server.user is None:
            return
        user, password = self.headers.get('X-ClickHouse-User'), self.headers.get('X-ClickHouse-Key')
        basic = self.headers.get('Authorization', '')
        if basic.startswith('Basic '):
            user, _, password = base64.b64decode(basic[6:]).decode().partition(':')
        user, password = user or args.get('user') or 'default', password or args.get('password') or ''
        if user != self.server.user or not hmac.compare_digest(password.encode(), self.server.password.encode()):
            raise Refused(516, f'{user}: Authentication failed: password is incorrect, or there is no user with such name.'
                               ' (AUTHENTICATION_FAILED)')

    def statement(self, body):
        path, args, body = self.arguments(body)
        database, fault, kind = args.get('database') or 'default', {}, None
        try:
            if path.startswith('/_'):
                return self.reply(200, json.dumps(self.server.control(path, args)).encode(), [('Content-Type', 'application/json')])
            if path == '/ping':
                return self.reply(200, b'Ok.\n')
            self.check_user(args)
            if args.get('decompress') == '1' and body:
                body = unframe(body)
            sql = args.get('query', '')
            if not sql.strip():
                sql, body = body.decode(), b''
            if not sql.strip():
                return self.reply(200, b'Ok.\n')
            kind = kind_of(sql)
            self.server.count(database, kind)
            fault = self.server.next_fault(database, kind)
            if fault.get('mode') == 'refuse':
                raise Refused(fault.get('code', '252'), fault.get('text', 'Refused by a test. (TOO_MANY_PARTS)'))
            if fault.get('mode') == 'delay':
                time.sleep(int(fault.get('ms', 0)) / 1000)
            if fault.get('mode') == 'lost_request':
                return self.drop()
            params = {k[6:]: v for k, v in args.items() if k.startswith('param_')}
            settings = tuple(sorted((k, v) for k, v in args.items() if k not in HTTP_ONLY and not k.startswith('param_')))
            t0 = time.monotonic_ns()
            data, read, written = self.server.engine.run(sql, body, database, args.get('default_format') or 'TabSeparated',
                                                         params, settings)
        except (ConnectionError, BrokenPipeError):
            raise
        except Exception as e:  # every engine error is sent to the client
            if kind:
                self.server.count(database, 'failed')
            code = re.search(r'Code: (\d+)', str(e))
            text = str(e)[code.start():] if code else f'Code: 1002. DB::Exception: {e!r}'
            code = int(code.group(1)) if code else 1002
            if fault.get('mode') == 'lost_answer':
                return self.drop()
            return self.reply(STATUS.get(code, 500), text.strip().encode() + b'\n', [('X-ClickHouse-Exception-Code', str(code))])
        if fault.get('mode') == 'lost_answer':
            return self.drop()
        summary = {'read_rows': read, 'read_bytes': 0, 'written_rows': written, 'written_bytes': len(body) if written else 0,
                   'result_rows': 0, 'elapsed_ns': time.monotonic_ns() - t0}
        headers = [('X-ClickHouse-Summary', json.dumps({k: str(v) for k, v in summary.items()})), ('X-ClickHouse-Timezone', 'UTC'),
                   ('Content-Type', 'application/octet-stream')]
        if len(data) > 4096 and re.search(r'\blz4\b', self.headers.get('Accept-Encoding', '')):
            data = lz4.frame.compress(data)
            headers.append(('Content-Encoding', 'lz4'))
        self.reply(200, data, headers)

    def drop(self):
        self.close_connection = True


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument('--host', default='127.0.0.1', help='address to listen on; a container needs 0.0.0.0')
    ap.add_argument('--port', type=int, default=8123, help='0 selects a free port, which is printed')
    ap.add_argument('--path', help='data directory; without it the data is temporary')
    ap.add_argument('--user')
    ap.add_argument('--password-env', metavar='NAME', help='environment variable that holds the password')
    ap.add_argument('--certificate', metavar='FILE', help='PEM file; with it the server speaks HTTPS')
    ap.add_argument('--key', metavar='FILE', help='PEM file of the private key')
    ap.add_argument('--verbose', action='store_true', help='log each request to stderr')
    server = Server(ap.parse_args())
    # After the start of the engine, which installs its own handlers.
    for sig in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sig, lambda *_: threading.Thread(target=server.shutdown).start())
    print(f'listening on http://{server.server_address[0]}:{server.server_address[1]}', flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    deadline = time.monotonic() + 5
    while server.running and time.monotonic() < deadline:  # let running statements finish
        time.sleep(0.02)
    server.engine.close()
    os._exit(0)  # does not wait for idle keep-alive threads


if __name__ == '__main__':
    main()
