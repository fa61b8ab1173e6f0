#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""`mirari dash`: who may ask what, the stream of samples, appliances that hang or lie, and the page in Chromium."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(ROOT, "test/harness")]
import browser as chromium  # noqa: E402
from browser import severe  # noqa: E402
from dash_fakes import Fake  # noqa: E402
from tap import done, ok  # noqa: E402

BUILD = os.path.join(ROOT, os.environ.get("B") or "build")
TOOL = os.environ.get("MIRARI", os.path.join(BUILD, "mirari"))
WEBSITE = os.path.join(BUILD, "examples/website")
SHOTS = os.environ.get("SCREENSHOTS", os.path.join(BUILD, "dash"))
PATIENCE = 60
BOX = tempfile.mkdtemp(prefix="mirari-dash.")
os.chmod(BOX, 0o700)
os.environ["XDG_RUNTIME_DIR"] = BOX

def skip(reason):
    print(f"# SKIP {reason}")


def wait_for(condition, limit=PATIENCE):
    """What the condition said last: true, or not in time."""
    end = time.monotonic() + limit
    while True:
        value = condition()
        if value or time.monotonic() > end:
            return value
        time.sleep(0.05)


class Dash:
    def __init__(self, *options):
        self.process = subprocess.Popen([TOOL, "dash", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        self.url = self.process.stdout.readline().strip()
        found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/#([0-9a-f]{32})", self.url)
        self.port, self.token = (int(found.group(1)), found.group(2)) if found else (0, "")

    def ask(self, path, body=None, **headers):
        """Status, headers and body; a header that is None is left out."""
        wanted = {"Host": f"127.0.0.1:{self.port}", "Authorization": f"Bearer {self.token}"}
        wanted.update({name.replace("_", "-"): value for name, value in headers.items()})
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.putrequest("GET" if body is None else "POST", path, skip_host=True)
        for name, value in wanted.items():
            if value is not None:
                connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, answer.headers, data

    def status(self, path, body=None, **headers):
        return self.ask(path, body, **headers)[0]

    def act(self, path, **body):
        status, _, data = self.ask(path, json.dumps(body).encode())
        return status, json.loads(data)

    def end(self):
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return "killed"


class Viewer:
    """Reads the stream, in a thread."""

    def __init__(self, dash):
        self.events, self.times, self.is_over = [], [], False
        self.connection = http.client.HTTPConnection("127.0.0.1", dash.port, timeout=PATIENCE)
        self.connection.request("GET", "/api/events", headers={"Authorization": f"Bearer {dash.token}"})
        self.answer = self.connection.getresponse()
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        try:
            for line in self.answer:
                if line.startswith(b"data: "):
                    self.events.append(json.loads(line[6:]))
                    self.times.append(time.monotonic())
        except (OSError, ValueError, AttributeError, http.client.HTTPException):
            pass
        self.is_over = True

    def last(self, ident):
        for one in self.events[-1]["appliances"] if self.events else ():
            if one["id"] == ident:
                return one
        return None

    def health(self, ident):
        return (self.last(ident) or {}).get("health")

    def samples(self, ident):
        return [sample for event in self.events for one in event["appliances"] if one["id"] == ident
                for sample in one["samples"]]

    def close(self):
        self.connection.sock and self.connection.sock.close()
        self.answer.close()


# ---- who may ask ---------------------------------------------------------------------------------------------


def test_who_may(dash):
    status, headers, page = dash.ask("/", Authorization=None)
    ok(status == 200 and b"<title>Mirari" in page, "the page itself needs no key")
    policy = headers["Content-Security-Policy"] or ""
    ok("default-src 'none'" in policy and "unsafe" not in policy and "*" not in policy, "it may load nothing of others",
       policy)
    parts = page + b"".join(dash.ask(path)[2] for path in ("/style.css", "/script.js", "/icon.svg"))
    foreign = [url for url in re.findall(rb"https?://[^\"' ]+", parts) if b"www.w3.org" not in url]
    ok(not foreign and b"@import" not in parts, "and does not name anything else", str(foreign))
    ok(dash.token.encode() not in parts, "nor the key")
    for path in ("/api/events", "/api/detail?x-1", "/api/levels?x-1", "/api/nothing"):
        ok(dash.status(path, Authorization=None) == 401, f"{path}: not without the key")
    wrong = ["Bearer " + dash.token[:-1], "Bearer " + dash.token + "0", "Bearer " + "0" * 32, "Bearer ", dash.token,
             "Basic " + dash.token]
    ok(all(dash.status("/api/levels?x-1", Authorization=key) == 401 for key in wrong), "nor with a wrong one")
    ok(dash.status("/api/levels?x-1") == 404, "the right one is taken")
    for host in ("evil.example", f"evil.example:{dash.port}", "127.0.0.1", f"127.0.0.1:{dash.port + 1}", "localhost",
                 f"localhost.:{dash.port}", f"127.0.0.1:{dash.port}.evil.example"):
        ok(dash.status("/", Host=host) == 403 and dash.status("/api/levels?x-1", Host=host) == 403,
           f"Host: {host} is refused")
    ok(dash.status("/", Host=f"localhost:{dash.port}") == 200, "Host: localhost with our port is not")
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{dash.port + 1}", "http://127.0.0.1",
                   f"https://127.0.0.1:{dash.port}", f"http://localhost:{dash.port}"):
        ok(dash.status("/api/shutdown", b"{}", Origin=origin) == 403, f"Origin: {origin} is refused")
    ok(dash.status("/api/levels?x-1", Origin=f"http://127.0.0.1:{dash.port}") == 404, "our own is not")
    ok(dash.status("/", Sec_Fetch_Site="cross-site") == 403, "nor does another page get an answer")
    with socket.socket() as probe:
        ok(probe.connect_ex(("127.0.0.2", dash.port)) != 0, "it listens at 127.0.0.1 only")


def test_confined(dash):
    status = open(f"/proc/{dash.process.pid}/status").read()
    ok("\nNoNewPrivs:\t1\n" in status and "\nSeccomp:\t2\n" in status, "the process is confined", status)


def test_port_of_http():
    """Browsers leave 80 out of Host. In a namespace, where it is free."""
    own = ["unshare", "-rn", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    if subprocess.run(own + ["true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
        skip("no network namespace can be made here")
        return
    run = subprocess.run(own + [sys.executable, os.path.abspath(__file__), "port-80"], capture_output=True, text=True,
                         timeout=PATIENCE, check=False)
    ok(run.stdout == "200 200 403 0\n", "at port 80 Host has no port", run.stdout, run.stderr)


def be_at_port_80():
    dash = Dash("--port", "80")
    answers = [dash.status("/", Host="127.0.0.1"), dash.status("/", Host="localhost", Origin="http://localhost"),
               dash.status("/", Host="example.org")]
    print(*answers, dash.end())
    shutil.rmtree(BOX, ignore_errors=True)


def test_requests(dash):
    ok(dash.status("/no/such/page") == 404 and dash.status("/api/none") == 404, "what is not there is not found")
    ok(dash.status("/api/level", b"x" * 5000) == 413, "a long request is refused")
    bad = [b"", b"{", b"[]", b'{"id":7}', b'{"id":"a-1"}', b'{"id":"a-1","set":null}',
           b'{"id":"' + b"a" * 400 + b'","set":"debug"}', b'{"id":"\\u0000"}', b"[" * 1000]
    statuses = [dash.status("/api/level", body) for body in bad]
    ok(statuses == [400] * len(bad), "one that makes no sense, too", str(statuses))
    ok(dash.status("/api/levels") == 400 and dash.status("/api/levels?" + "x" * 400) == 400, "and one without a name")
    status, answer = dash.act("/api/shutdown", id="../../etc-1")
    ok(status == 404 and "no such appliance" in answer["error"], "a name that is none is not looked for")


# ---- looking at appliances -----------------------------------------------------------------------------------


def test_stream(dash, fakes):
    viewer = Viewer(dash)
    good, hung, liar, many, closed = (fakes[kind] for kind in ("good", "hung", "liar", "many", "closed"))
    ok(wait_for(lambda: len(viewer.samples(good.id)) >= 4), "samples come")
    ok(viewer.events[0]["role"] == "full", "with the role")
    samples = viewer.samples(good.id)
    steps = {(b[5] - a[5], b[6] - a[6], b[7] - a[7]) for a, b in zip(samples, samples[1:])}
    ok(steps == {(42000, 9000, 50)}, "counters of devices are added up", str(steps))
    ok(samples[-1][2] == 250 * samples[-1][1] // 1000 and samples[-1][9] == 7, "the others are what they are",
       str(samples[-1]))
    ok(30 <= viewer.last(good.id)["lease_left_s"] <= 90, "a lease", str(viewer.last(good.id)))
    ok(wait_for(lambda: viewer.health(hung.id) == "silent"), "one that does not answer is silent")
    ok(wait_for(lambda: viewer.health(liar.id) == "closed"), "one that talks nonsense is hung up on")
    ok(viewer.health(closed.id) == "closed", "one without a channel has none")
    ok(wait_for(lambda: viewer.last(hung.id)["answered_s"] >= 4), "for how long it is silent is told")
    asked = [method for method, _ in hung.calls]
    ok(asked.count("stats") == 1 and len(asked) <= 2, "it is not asked again before it has answered", str(asked))
    seen = len(viewer.events)
    ok(wait_for(lambda: len(viewer.events) >= seen + 3), "the others go on")

    pair = fakes["pair"]
    ok(wait_for(lambda: [(viewer.last(pair.id + end) or {}).get("worker") for end in ("", ".1")] == [0, 1]),
       "each worker of an appliance is told of", str(viewer.last(pair.id)))
    answer = json.loads(dash.ask(f"/api/detail?{pair.id}.1")[2])
    ok(len(answer["rows"]) == 12 and answer["log"] == "first line\n", "and can be asked", str(answer)[:200])

    fresh = Fake(BOX, "fresh", 99, "good")
    ok(wait_for(lambda: viewer.health(fresh.id) == "ok"), "one that begins appears")
    fresh.remove()
    ok(wait_for(lambda: viewer.last(fresh.id) is None), "one that ends disappears")
    late = Viewer(dash)
    ok(wait_for(lambda: late.events), "a second viewer")
    got, past = late.samples(good.id), viewer.samples(good.id)
    ok(len(got) >= 4 and got[0] == past[0], "gets what was before", f"{len(got)} of {len(past)}")

    answer = json.loads(dash.ask(f"/api/detail?{good.id}")[2])
    ok(len(answer["rows"]) == 12 and answer["error"] is None and answer["log"] == "first line\n",
       "details: connections and log", str(answer)[:200])
    answer = json.loads(dash.ask(f"/api/detail?{many.id}")[2])
    ok(len(answer["rows"]) == 200 and answer["more"] is True, "of thousands of connections some", str(len(answer["rows"])))
    ok(wait_for(lambda: ("rpc.cancel" in [method for method, _ in many.calls])), "the others are canceled")
    begin = time.monotonic()
    answer = json.loads(dash.ask(f"/api/detail?{hung.id}")[2])
    ok("does not answer" in answer["error"] and answer["log"] == "first line\n", "of one that hangs the log", str(answer))
    ok(time.monotonic() - begin < 30, "without waiting for it")
    for view in (viewer, late):
        view.close()


def test_slow_viewers(dash, fakes):
    """Viewers that do not read cost nobody anything, and have a limit."""
    deaf = []
    for _ in range(20):
        one = socket.create_connection(("127.0.0.1", dash.port))
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        one.sendall(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{dash.port}\r\n"
                    f"Authorization: Bearer {dash.token}\r\n\r\n".encode())
        deaf.append(one)
    ok(wait_for(lambda: dash.status("/api/events") == 503, 10), "there is a limit of viewers")
    ok(json.loads(dash.ask(f"/api/detail?{fakes['good'].id}")[2])["error"] is None, "others are served")
    for one in deaf:
        one.close()

    def reads():
        viewer = Viewer(dash)
        got = wait_for(lambda: viewer.events or viewer.is_over, 10) and viewer.events
        viewer.close()
        return got
    ok(wait_for(reads), "places become free again")


def test_actions(dash, fakes):
    good = fakes["good"]
    ok(dash.act("/api/level", id=good.id, set="tcp=debug,net=info") == (200, {"result": {"app": "warn"}}), "levels are set")
    ok(("log.set", {"set": "tcp=debug,net=info"}) in good.calls, "as they were asked for")
    status, answer = dash.act("/api/level", id=good.id, set="no")
    ok(status == 409 and answer["error"] == "not plain", "what the appliance refuses is told", str(answer))
    ok(dash.act("/api/shutdown", id=good.id)[0] == 200 and ("shutdown", {}) in good.calls, "shutdown is asked for")
    ok(dash.act("/api/shutdown", id=fakes["hung"].id)[0] == 504, "one that hangs cannot be asked")


def test_read_only(fakes):
    good = fakes["good"]
    del good.calls[:]
    dash = Dash("--read-only")
    viewer = Viewer(dash)
    ok(wait_for(lambda: viewer.samples(good.id)) and viewer.events[0]["role"] == "read-only", "read-only: looks")
    ok(good.calls[0][0] == "rpc.drop", "read-only: and gives the right to more up", str(good.calls[:3]))
    statuses = [dash.status(f"/api/{what}", json.dumps({"id": good.id, "set": "debug"}).encode())
                for what in ("level", "shutdown")]
    ok(statuses == [403, 403] and not [c for c in good.calls if c[0] in ("log.set", "shutdown")],
       "read-only: nothing can be changed", str(statuses))
    viewer.close()
    ok(dash.end() == 0, "read-only: ends")


def test_command(dash):
    run = subprocess.run([TOOL, "dash", "--port", str(dash.port)], capture_output=True, text=True, timeout=PATIENCE)
    ok(run.returncode == 1 and "address in use; take another one with --port" in run.stderr, "a port that is taken",
       run.stderr)
    for wrong in (["--port", "70000"], ["--port"], ["-p", "x"], ["--prot"], ["web"]):
        run = subprocess.run([TOOL, "dash", *wrong], capture_output=True, text=True, timeout=PATIENCE)
        ok(run.returncode == 64 and run.stderr.startswith("mirari: "), f"dash {' '.join(wrong)} is refused", run.stderr)


# ---- the page ------------------------------------------------------------------------------------------------


class Page:
    def __init__(self, browser):
        self.browser = browser

    def js(self, text, *args):
        return self.browser.execute_script("return " + text, *args)

    def text(self, selector):
        return self.js("[...document.querySelectorAll(arguments[0])].map(e => e.textContent).join('\\n')", selector)

    def row(self, name):
        return self.js("[...([...document.querySelectorAll('#rows tr')].find(r => r.cells[0].textContent == "
                       "arguments[0]) || {cells: []}).cells].map(c => c.textContent)", name)

    def click(self, selector, text=None):
        self.js("[...document.querySelectorAll(arguments[0])].find(e => arguments[1] === null || e.textContent == "
                "arguments[1]).click()", selector, text)

    def shot(self, name):
        os.makedirs(SHOTS, exist_ok=True)
        path = os.path.join(SHOTS, name + ".png")
        self.browser.save_screenshot(path)
        print(f"# {path}")


def start_website():
    if not os.access(os.path.join(WEBSITE, "unix/website"), os.X_OK):
        skip("examples/website is not built (make examples): without a real appliance")
        return None
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    run = subprocess.run([TOOL, "run", "-q", "-d", "--no-build", "-C", os.path.join(ROOT, "examples/website"), "-o",
                          WEBSITE, "-p", f"127.0.0.1:{port}:80", "--lease", "1h"], capture_output=True, text=True,
                         timeout=PATIENCE)
    return port if ok(run.returncode == 0, "a real appliance starts", run.stdout, run.stderr) else None


def test_page(page, dash):
    page.browser.get(dash.url)
    ok(wait_for(lambda: page.text("#link") == "live"), "page: live", page.text("#link"))
    ok(page.js("location.hash") == "", "page: the key is taken out of the address")
    ok(wait_for(lambda: "not answering" in page.row("hung")), "page: one that hangs", str(page.row("hung")))
    ok("no channel" in page.row("closed"), "page: one without a channel")
    ok(page.row("pair worker 0") and page.row("pair worker 1"), "page: one in two processes")
    good = wait_for(lambda: (row := page.row("good")) and "25 %" in row and row)
    ok(bool(good) and "42.0 kB/s" in good and "3.00 MiB" in good and "7" in good, "page: numbers of one",
       str(page.row("good")))
    ok(page.js("document.querySelectorAll('img, td script, th script, pre *').length") == 0 and
       page.js("document.title") == "Mirari: running appliances", "page: what appliances say is text only")
    ok("<img" in page.text("#rows"), "page: and is shown as it is")
    # Shifts of the layout, counted from now on, while samples come and numbers change.
    page.js("(window.shifts = [], new PerformanceObserver(l => window.shifts.push(...l.getEntries().map(e => e.value)))"
            ".observe({type: 'layout-shift'}))")
    before = page.js("appliances.get('good-1').points.length")
    ok(wait_for(lambda: page.js("appliances.get('good-1').points.length") >= before + 4), "page: samples come")
    # A number that is right-aligned and gets a digit more counts as some millionths; 0.1 is called good.
    ok(page.js("window.shifts.reduce((a, b) => a + b, 0)") < 0.001, "page: nothing moves", str(page.js("window.shifts")))
    lines = page.js("[...document.querySelectorAll('#graphs .line')].map(p => (p.getAttribute('d') || '').length)")
    ok(len(lines) == 7 and min(lines) > 20, "page: graphs have lines", str(lines))
    labels = page.js("[...document.querySelectorAll('svg[role=img]')].map(s => s.getAttribute('aria-label'))")
    ok(len(labels) == 5 and all("now" in label for label in labels), "page: graphs say what they show", str(labels))
    ok(page.js("[...document.querySelectorAll('button, select')].every(e => e.textContent.trim() || e.ariaLabel)"),
       "page: every button has a name")
    page.shot("all")
    page.click("#rows button", "evil")
    ok(wait_for(lambda: "<img" in page.text("#flows")) and "<img" in page.text("#log"), "page: details are text, too")
    ok(page.js("document.querySelectorAll('img, td script, pre *').length") == 0, "page: really")
    page.click("#rows button", "hung")
    ok(wait_for(lambda: "does not answer" in page.text("#said") and "first line" in page.text("#log")),
       "page: the log of one that hangs", page.text("#said"))
    page.browser.refresh()
    ok(wait_for(lambda: page.text("#link") == "live"), "page: a reload needs no new address")
    errors = severe(page.browser)
    ok(not errors, "page: no error in the console", *errors)


def test_real(page, dash, port):
    """A real appliance: its traffic, its connections, its log, its end."""
    def fetch():
        subprocess.run(["curl", "-s", "-o", os.devnull, "-o", os.devnull, f"http://127.0.0.1:{port}/", f"http://127.0.0.1:{port}/api/stats"],
                       check=False, timeout=PATIENCE)
        return re.search(r"[1-9].* kB/s|[1-9].* MB/s", " ".join(page.row("website")))
    ok(wait_for(fetch), "real: traffic is seen", str(page.row("website")))
    ok(any(re.match("59m|1h00m", cell) for cell in page.row("website")), "real: its lease", str(page.row("website")))
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n")
        page.click("#rows button", "website")
        ok(wait_for(lambda: "ESTABLISHED" in page.text("#flows") and "LISTEN" in page.text("#flows")),
           "real: connections", page.text("#flows"))
    ok(wait_for(lambda: "website on port 80" in page.text("#log")), "real: log", page.text("#log"))
    page.js("(document.querySelector('#level').value = 'debug', document.querySelector('#set').click())")
    ok(wait_for(lambda: "website logs debug" in page.text("#said")), "real: the level of its log", page.text("#said"))
    levels = subprocess.run([TOOL, "log", "website"], capture_output=True, text=True, timeout=PATIENCE).stdout
    ok(bool(re.search(r"^tcp +debug$", levels, re.M)), "real: is set", levels)
    page.shot("one")
    page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                 {"features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    page.shot("one-dark")
    page.browser.set_window_size(500, 900)
    over = page.js("document.documentElement.scrollWidth - window.innerWidth")
    ok(over <= 0, "page: not wider than a phone", f"{over} px too wide")
    page.shot("phone")
    page.click("#shutdown")
    ok(page.js("document.querySelector('#sure').open"), "real: asks before it shuts down")
    page.click("#sure button", "Cancel")
    ok(wait_for(lambda: not page.js("document.querySelector('#sure').open")) and page.row("website"), "real: not yet")
    page.click("#shutdown")
    page.click("#sure button", "Shut down")
    ok(wait_for(lambda: not page.row("website")), "real: it has ended, and disappears", str(page.row("website")))
    ok(page.js("document.querySelector('#detail').hidden"), "real: so do its details")


def test_browser(dash):
    if chromium.why_none():
        skip(f"{chromium.why_none()}: the page is not looked at")
        return
    port = start_website()
    browser = chromium.start(os.path.join(BOX, "profile"), 1280, 1000)
    try:
        page = Page(browser)
        page.browser.get(dash.url.split("#", maxsplit=1)[0])
        ok(wait_for(lambda: "open the address" in page.text("#link")), "page: without the key it says what to do")
        test_page(page, dash)
        if port is not None:
            test_real(page, dash, port)
        ok(dash.end() == 0, "the first one ends")
        ok(wait_for(lambda: "live" not in page.text("#link")), "page: says that nobody answers", page.text("#link"))
    finally:
        browser.quit()


def main():
    if not os.access(TOOL, os.X_OK):
        print(f"1..1\nnot ok 1 - no {TOOL}; run make first")
        sys.exit(1)
    kinds = ("good", "evil", "hung", "liar", "many", "closed", "pair")
    fakes = {kind: Fake(BOX, kind, i + 1, kind) for i, kind in enumerate(kinds)}
    dash = Dash()
    try:
        if ok(dash.port > 0, "dash prints its address", dash.url):
            test_command(dash)
            test_who_may(dash)
            test_confined(dash)
            test_port_of_http()
            test_stream(dash, fakes)
            test_requests(dash)
            test_actions(dash, fakes)
            test_slow_viewers(dash, fakes)
            test_read_only(fakes)
            test_browser(dash)
    finally:
        if dash.process.poll() is None:
            ok(dash.end() == 0, "Ctrl-C ends it")
        subprocess.run([TOOL, "stop", "website"], capture_output=True, timeout=PATIENCE, check=False)
        shutil.rmtree(BOX, ignore_errors=True)
    ok(dash.process.stderr.read() == "", "it had nothing to complain of")
    done()


if __name__ == "__main__":
    be_at_port_80() if sys.argv[1:] == ["port-80"] else main()
