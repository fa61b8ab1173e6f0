#!/usr/bin/python3
# SPDX-License-Identifier: ISC
"""A headless Chromium reads the whole site over our stack: every link, no console error, a screenshot."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from urllib.parse import urldefrag, urljoin

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "test/harness"))
import browser as chromium  # noqa: E402
from browser import severe  # noqa: E402
from tap import done, ok, skip_all  # noqa: E402

BUILD = os.path.join(ROOT, os.environ.get("MIRARI_BUILD", "build"))
APPLIANCE = os.path.join(BUILD, "examples/website/unix/website")
SHOT = os.environ.get("SCREENSHOT", os.path.join(BUILD, "browser.png"))


def start_appliance():
    """Runs it on a free port of the host; returns process and address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen([APPLIANCE, "--net", "user", "-p", f"127.0.0.1:{port}:80"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    seen = []
    for line in process.stdout:
        seen.append(line.rstrip())
        found = re.match(r"http://127\.0\.0\.1:\d+/", line)
        if found:
            return process, found.group(0)
    process.wait()
    print("\n".join("# " + line for line in seen))
    return process, None


def crawl(browser, start):
    """Follows every link of the site from the first page; returns what was found on each page."""
    todo, pages = [start], {}
    while todo:
        url = todo.pop(0)
        if url in pages:
            continue
        browser.get(url)
        links = browser.execute_script("return [...document.querySelectorAll('a[href]')].map(a => a.getAttribute('href'))")
        pages[url] = {
            "title": browser.title,
            "ids": set(browser.execute_script("return [...document.querySelectorAll('[id]')].map(e => e.id)")),
            "anchors": set(),
            "errors": severe(browser),
            "status": browser.execute_script("return performance.getEntriesByType('navigation')[0].responseStatus"),
            "broken": browser.execute_script(
                "return [...document.images].filter(i => !i.complete || i.naturalWidth == 0).map(i => i.src)"),
            "wide": browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth"),
        }
        for link in links:
            target, anchor = urldefrag(urljoin(url, link))
            if target.startswith(start):
                pages[url]["anchors"].add((target, anchor))
                todo.append(target)
    return pages


def check_pages(pages):
    ok(len(pages) >= 10, f"{len(pages)} pages were reached by links")
    for key, wanted in (("errors", "no console error"), ("broken", "no broken picture")):
        bad = [f"{url}: {page[key]}" for url, page in pages.items() if page[key]]
        ok(not bad, wanted, *bad)
    bad = [f"{url}: {page['status']}" for url, page in pages.items() if page["status"] != 200]
    ok(not bad, "every page has status 200", *bad)
    bad = [url for url, page in pages.items() if not page["title"]]
    ok(not bad, "every page has a title", *bad)
    bad = [f"{url} -> {target}#{anchor}" for url, page in pages.items() for target, anchor in page["anchors"]
           if anchor and anchor not in pages[target]["ids"]]
    ok(not bad, "every link into a page finds its heading", *bad)


def test_site(browser, url):
    browser.get(url)
    ok("Mirari" in browser.title, "the first page opens", browser.title)
    os.makedirs(os.path.dirname(SHOT), exist_ok=True)
    browser.save_screenshot(SHOT)
    ok(os.path.getsize(SHOT) > 20000, "a screenshot of it is taken")
    print(f"# {SHOT}")
    pages = crawl(browser, url)
    check_pages(pages)

    browser.set_window_size(500, 900)
    bad = []
    for page in pages:
        browser.get(page)
        over = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
        if over > 0:
            bad.append(f"{page}: {over} px too wide")
    ok(not bad, "no page is wider than a phone", *bad)

    severe(browser)
    browser.get(url + "no/such/page")
    status = browser.execute_script("return performance.getEntriesByType('navigation')[0].responseStatus")
    ok(status == 404 and "No such page" in browser.page_source, "a wrong address shows the error page")


def main():
    if chromium.why_none():
        skip_all(chromium.why_none())
    if not os.access(APPLIANCE, os.X_OK):
        skip_all(f"{APPLIANCE} is not built (make examples)")

    process, url = start_appliance()
    profile = tempfile.mkdtemp(prefix="mirari-browser.")
    browser = None
    try:
        if ok(url is not None, "the appliance starts and prints its address"):
            browser = chromium.start(profile, 1200, 1600)
            test_site(browser, url)
    finally:
        if browser:
            browser.quit()
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        try:
            status = process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            status = "killed"
        shutil.rmtree(profile, ignore_errors=True)
    ok(status == 0, f"the appliance ends with status 0", f"status {status}")
    done()


if __name__ == "__main__":
    main()
