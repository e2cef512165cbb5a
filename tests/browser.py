#!/usr/bin/env python3
"""Opens pages that vis made in headless Chromium, and fails if anything is wrong with them.

    tests/browser.py FOLDER_OR_PAGE … [--shots FOLDER] [--all]

FOLDER is a site made by `vis site`, PAGE a file made by `vis report`. At the width of a desktop and of a telephone, in the
light and in the dark: an error on the console, a file that is missing, a request to anything but the folder itself, a
link or picture that leads nowhere, a picture without words or a page wider than the window is a fault. So are a search
that finds nothing, units that can't be put in order, and a page that does not turn dark. Every page is opened once, or
with --all in all four settings; the first of each kind always in all four. --shots keeps pictures of those.

Needs nothing but Python and Chromium (CHROMIUM, or chromium, chromium-browser, google-chrome on the path), and says so
where there is none. It speaks Chromium's DevTools protocol through a pipe.
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import urllib.parse

SETTINGS = [
    (name, width, height, scheme)
    for name, width, height in (("desktop", 1280, 900), ("phone", 390, 844))
    for scheme in ("light", "dark")
]

# What a page links to, what it shows, and how wide it is.
LOOK = """(() => ({
  links: [...document.querySelectorAll('a[href], img[src], link[href], script[src]')].map(e => e.href || e.src),
  wordless: [...document.images].filter(i => !i.hasAttribute('alt')).map(i => i.src),
  broken: [...document.images].filter(i => i.complete && !i.naturalWidth && i.loading !== 'lazy').map(i => i.src),
  unnamed: [...document.querySelectorAll('button, a, input')].filter(
    e => !(e.textContent.trim() || e.ariaLabel || e.title || e.querySelector('img[alt]'))).length,
  ids: [...document.querySelectorAll('[id]')].map(e => e.id),
  excess: document.documentElement.scrollWidth - innerWidth,
  paper: getComputedStyle(document.body).backgroundColor,
}))()"""

SEARCH = """(async () => {
  const key = (k, target) => (target || document.body).dispatchEvent(new KeyboardEvent('keydown', {key: k, bubbles: true}));
  const wait = () => new Promise(done => setTimeout(done, 150));
  key('/'); await wait();
  const query = document.getElementById('query');
  query.value = 'unit'; query.dispatchEvent(new Event('input')); await wait();
  const hits = document.querySelectorAll('#hits a').length;
  document.getElementById('search').close();
  return hits;
})()"""

ORDER = """(() => {
  const numbers = () => [...document.querySelectorAll('#units .card:not([hidden])')].map(c => +c.dataset.activation);
  document.querySelector('[data-order=activation]').click();
  const sorted = numbers().every((v, i, all) => !i || all[i - 1] >= v);
  const linked = location.hash.includes('order=activation');
  const filter = document.getElementById('filter');
  filter.value = 'no such unit'; filter.dispatchEvent(new Event('input'));
  const none = numbers().length === 0 && !document.getElementById('nothing').hidden;
  filter.value = ''; filter.dispatchEvent(new Event('input'));
  document.querySelector('[data-order=name]').click();
  return sorted && linked && none;
})()"""

TURN = """(() => {
  const paper = () => getComputedStyle(document.body).backgroundColor;
  const before = paper();
  document.getElementById('theme').click();
  const turned = paper() !== before;
  document.getElementById('theme').click();
  try { localStorage.removeItem('vis-theme'); } catch {}
  delete document.documentElement.dataset.theme;
  return turned;
})()"""


def chromium():
    names = (os.environ.get("CHROMIUM"), "chromium", "chromium-browser", "google-chrome")
    return next((path for path in map(shutil.which, filter(None, names)) if path), None)


class Browser:
    """Chromium with one page, spoken to by messages that end in a zero byte."""

    def __init__(self, program):
        self.profile = tempfile.TemporaryDirectory(prefix="vis-browser-", ignore_cleanup_errors=True)
        to_browser, self.out = os.pipe()
        self.inp, from_browser = os.pipe()
        # Chromium reads from 3 and writes to 4; a shell puts them there.
        command = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        flags = [
            "--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--hide-scrollbars", "--no-first-run", "--disable-background-networking", "--disable-component-update",
            f"--user-data-dir={self.profile.name}", "about:blank",
        ]
        self.process = subprocess.Popen(
            ["bash", "-c", command, program, *flags], pass_fds=(to_browser, from_browser), stderr=subprocess.DEVNULL
        )
        os.close(to_browser), os.close(from_browser)
        self.buffer, self.number, self.events = b"", 0, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = None
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    session = None

    def call(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self.receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]
            self.events.append(answer)

    def receive(self):
        while b"\0" not in self.buffer:
            part = os.read(self.inp, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.buffer += part
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def open(self, address):
        self.events.clear()
        self.call("Page.navigate", url=address)
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self.receive())

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"].get("exception", {}).get("description", "an exception"))
        return result["result"].get("value")

    def show(self, width, height, scheme):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, path):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 2600), "scale": 1}
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    def close(self):
        self.process.terminate()
        self.process.wait()
        self.profile.cleanup()


def troubles(events, root):
    """What the browser complains about, and what it asked for outside of the folder."""
    for event in events:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            yield parameters["exceptionDetails"].get("exception", {}).get("description", "an exception")
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            yield "console: " + " ".join(str(part.get("value")) for part in parameters["args"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            yield f"log: {parameters['entry']['text']} {parameters['entry'].get('url', '')}"
        elif method == "Network.requestWillBeSent":
            address = parameters["request"]["url"]
            if not address.startswith((root, "data:")):
                yield f"a request outside: {address}"
        elif method == "Network.loadingFailed" and not parameters.get("canceled"):
            yield f"not loaded: {parameters['errorText']}"


def file_of(address):
    return pathlib.Path(urllib.parse.unquote(urllib.parse.urlsplit(address).path))


def main():
    arguments = sys.argv[1:]
    shots = None
    if "--shots" in arguments:
        at = arguments.index("--shots")
        shots = pathlib.Path(arguments[at + 1])
        shots.mkdir(parents=True, exist_ok=True)
        del arguments[at : at + 2]
    every = "--all" in arguments
    places = [pathlib.Path(argument).resolve() for argument in arguments if argument != "--all"]
    program = chromium()
    if not program:
        print("SKIPPED: Chromium is not installed (Debian: apt-get install chromium)")
        return 0
    if not places:
        print(__doc__)
        return 2
    browser, faults, looked = Browser(program), [], 0
    ids, links = {}, []
    try:
        for place in places:
            root = (place if place.is_dir() else place.parent).as_uri() + ("/" if place.is_dir() else "")
            if not place.is_dir():
                root = place.as_uri()
            pages = sorted(place.rglob("*.html")) if place.is_dir() else [place]
            firsts = {}
            for page in pages:
                firsts.setdefault(page.parent, page)
            for page in pages:
                is_first = firsts[page.parent] == page
                papers = set()
                for name, width, height, scheme in SETTINGS if every or is_first else SETTINGS[:1]:
                    fault = lambda what: faults.append(f"{page} ({name}, {scheme}): {what}")
                    browser.show(width, height, scheme)
                    browser.open(page.as_uri())
                    seen = browser.evaluate(LOOK)
                    looked += 1
                    papers.add((scheme, seen["paper"]))
                    if seen["excess"] > 0:
                        fault(f"{seen['excess']} pixels wider than the window")
                    for what in ("wordless", "broken"):
                        for address in seen[what]:
                            fault(f"a picture is {what}: {address[:80]}")
                    if seen["unnamed"]:
                        fault(f"{seen['unnamed']} controls have no name")
                    ids[page] = set(seen["ids"])
                    for address in set(seen["links"]):
                        if not address.startswith("data:"):
                            links.append((page, address))
                    if is_first and place.is_dir():
                        if not browser.evaluate(SEARCH):
                            fault("the search finds no unit")
                        if page.parent.name == "layers" and not browser.evaluate(ORDER):
                            fault("the units can't be put in order")
                        if not browser.evaluate(TURN):
                            fault("the page does not turn dark or light")
                    for what in troubles(browser.events, root):
                        fault(what)
                    if shots and is_first:
                        kind = page.parent.name if page.parent != place else page.stem
                        browser.picture(shots / f"{kind if place.is_dir() else page.stem}-{name}-{scheme}.png")
                if len({paper for _, paper in papers}) < len({scheme for scheme, _ in papers}):
                    faults.append(f"{page}: light and dark are the same")
    finally:
        browser.close()
    for page, address in links:
        target, fragment = file_of(address), urllib.parse.urlsplit(address).fragment
        if not address.startswith("file:"):
            faults.append(f"{page}: leads outside: {address}")
        elif not target.is_file():
            faults.append(f"{page}: leads nowhere: {address}")
        elif fragment and "=" not in fragment and fragment not in ids.get(target, {fragment}):
            faults.append(f"{page}: there is no #{fragment} in {target}")
    for fault in sorted(set(faults)):
        print(fault)
    print(f"{looked} looks at pages, {len(set(links))} links, {len(set(faults))} faults")
    return 1 if faults else 0


sys.exit(main())
