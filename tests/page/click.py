#!/usr/bin/env python3
"""Opens a page of `data-worker coverage --html` in a headless Chromium, clicks a cell, and checks that days appear.

click.py PAGE [SCREENSHOT]    needs Chromium (CHROMIUM=program) and nothing besides Python's own library
"""
import base64
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time

DEADLINE = 60


class Browser:
    """A Chromium that is driven by its DevTools protocol over a websocket."""

    def __init__(self, program, folder):
        self.program = program
        arguments = ['--headless=new', '--disable-gpu', '--no-first-run', '--hide-scrollbars', '--disable-dev-shm-usage',
                     '--remote-debugging-port=0', f'--user-data-dir={folder}', '--window-size=1240,900']
        # Chromium refuses its sandbox to root. It opens no page but the given file.
        if os.geteuid() == 0:
            arguments.append('--no-sandbox')
        self.process = subprocess.Popen([program, *arguments, 'about:blank'], stdout=subprocess.DEVNULL,
                                        stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if 'DevTools listening on ws://' in line:
                self.address, _, path = line.strip().split('ws://')[1].partition('/')
                break
        else:
            raise SystemExit(f'{program} ended without an address of its DevTools')
        self.last, self.seen = 0, []
        self.connect('/' + path)
        target = self.call('Target.createTarget', url='about:blank')['targetId']
        self.session = None
        self.session = self.call('Target.attachToTarget', targetId=target, flatten=True)['sessionId']
        for domain in ('Page', 'Runtime', 'Network', 'Log'):
            self.call(f'{domain}.enable')

    def connect(self, path):
        host, port = self.address.rsplit(':', 1)
        self.socket = socket.create_connection((host, int(port)), DEADLINE)
        self.stream = self.socket.makefile('rb')
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall((f'GET {path} HTTP/1.1\r\nHost: {self.address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
                             f'Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n').encode())
        status = self.stream.readline()
        assert b' 101 ' in status, status
        while self.stream.readline().strip():
            pass

    def send(self, payload):
        mask, size = os.urandom(4), len(payload)
        if size < 126:
            head = bytes([0x81, 0x80 | size])
        elif size < 1 << 16:
            head = bytes([0x81, 0x80 | 126]) + size.to_bytes(2, 'big')
        else:
            head = bytes([0x81, 0x80 | 127]) + size.to_bytes(8, 'big')
        self.socket.sendall(head + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload)))

    def receive(self):
        """The next message; it may come in several frames."""
        text = b''
        while True:
            first, second = self.stream.read(2)
            size = second & 0x7f
            if size > 125:
                size = int.from_bytes(self.stream.read(2 if size == 126 else 8), 'big')
            payload = self.stream.read(size)
            if first & 0x0f in (0, 1):
                text += payload
                if first & 0x80:
                    return json.loads(text)

    def call(self, method, **params):
        self.last += 1
        message = {'id': self.last, 'method': method, 'params': params}
        if getattr(self, 'session', None):
            message['sessionId'] = self.session
        self.send(json.dumps(message).encode())
        while True:
            answer = self.receive()
            if answer.get('id') == self.last:
                assert 'error' not in answer, f'{method}: {answer["error"]}'
                return answer['result']
            self.seen.append(answer)

    def value(self, expression):
        result = self.call('Runtime.evaluate', expression=expression, returnByValue=True)
        assert 'exceptionDetails' not in result, result
        return result['result'].get('value')

    def wait_for(self, expression):
        end = time.monotonic() + DEADLINE
        while not self.value(expression):
            assert time.monotonic() < end, f'not within {DEADLINE} s: {expression}'
            time.sleep(0.05)

    def click(self, selector):
        """A click of the mouse in the middle of an element, which must be the one that is hit."""
        place = self.value(f'''(() => {{
            const element = document.querySelector({json.dumps(selector)});
            element.scrollIntoView({{block: 'center'}});
            const box = element.getBoundingClientRect(), x = box.x + box.width / 2, y = box.y + box.height / 2;
            return [x, y, document.elementFromPoint(x, y) === element];
        }})()''')
        assert place[2], f'{selector} is covered'
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=place[0], y=place[1], button='left', clickCount=1)

    def key(self, name, code):
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=name, code=name, windowsVirtualKeyCode=code)

    def close(self):
        self.process.terminate()
        self.process.wait()


def check(browser, page, screenshot):
    browser.call('Page.navigate', url=page.resolve().as_uri())
    browser.wait_for('document.readyState === "complete" && document.querySelectorAll("#map rect[role=button]").length > 0')
    rows, months = browser.value('[new Set([...document.querySelectorAll("#map rect[role=button]")].map((r) => r.dataset.row)).size,'
                                 'new Set([...document.querySelectorAll("#map rect[role=button]")].map((r) => r.dataset.month)).size]')
    assert (rows, months) == (5, 120), (rows, months)
    assert browser.value('document.querySelector("#detail").textContent') == '', 'nothing is chosen yet'
    browser.click('#map rect[data-row="STAR"][data-month="2025-03"]')
    browser.wait_for('document.querySelector("#detail table") !== null')
    text = browser.value('document.querySelector("#detail").textContent')
    for wanted in ('688105.SH', '2025-03-10', '2025-03-31', 'STAR, 2025-03'):
        assert wanted in text, text
    assert '2025-03-07' not in text, text
    # The next month by the keyboard: of this code each trading day is missing.
    browser.value('document.querySelector(\'#map rect[data-row="STAR"][data-month="2025-03"]\').focus()')
    browser.key('ArrowRight', 39)
    browser.key('Enter', 13)
    browser.wait_for('document.querySelector("#detail h3").textContent.startsWith("STAR, 2025-04")')
    text = browser.value('document.querySelector("#detail").textContent')
    assert '2025-04-30' in text and '2025-04-04' not in text, text
    # What others wrote is text.
    assert browser.value('document.querySelectorAll("img").length') == 0
    assert 'onerror=alert(1)' in browser.value('document.querySelector("#letters").textContent')
    assert browser.value('document.querySelectorAll("#charts figure").length') == 2
    assert browser.value('document.querySelectorAll("#days tbody tr").length') == 60
    assert browser.value('document.querySelectorAll("#map rect[role=button]:not([aria-label])").length') == 0
    for scheme in ('light', 'dark'):
        browser.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        back, text = browser.value('[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]')
        assert back != text, scheme
    browser.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': 'light'}])
    browser.click('#map rect[data-row="ChiNext"][data-month="2019-05"]')
    browser.wait_for('document.querySelector("#detail h3").textContent.startsWith("ChiNext, 2019-05")')
    if screenshot:
        browser.call('Emulation.setDeviceMetricsOverride', width=1740, height=640, deviceScaleFactor=1, mobile=False)
        browser.value('window.scrollTo(0, 0)')
        image = base64.b64decode(browser.call('Page.captureScreenshot', format='png')['data'])
        assert len(image) < 200_000, f'{len(image)} bytes'
        screenshot.write_bytes(image)
    requests = [event['params']['request']['url'] for event in browser.seen if event.get('method') == 'Network.requestWillBeSent']
    assert requests == [page.resolve().as_uri()], f'the page loads nothing: {requests}'
    faults = [event for event in browser.seen if event.get('method') in ('Runtime.exceptionThrown', 'Log.entryAdded')]
    assert not faults, faults


def main():
    page, screenshot = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else None
    names = [os.environ['CHROMIUM']] if 'CHROMIUM' in os.environ else ['chromium', 'chromium-browser', 'google-chrome']
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        raise SystemExit(f'needed: Chromium ({", ".join(names)}), on Debian: apt-get install chromium')
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(program, folder)
        try:
            check(browser, page, screenshot)
        finally:
            browser.close()
    print(f'{page}: a click shows the missing days')


main()
