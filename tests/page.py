#!/usr/bin/env python3
"""The status page in Chromium: light and dark, on a phone, without JavaScript, while real `ssh` clients forward.

    tests/page.py [FOLDER]      screenshots go to FOLDER; default: a folder that is removed

The program is target/debug/portreeve (`cargo build` first), or the one that PORTREEVE names. Without chromium and chromedriver
nothing is checked, and with CI set in the environment that is a failure (tests/install.sh installs them).
"""
import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from running import DOWN, PATIENCE, SECRET_HOST, UP, Gateway, Target, alone, eventually, process


class Browser:
    """Chromium, by the calls of the WebDriver standard."""

    def __init__(self, driver_port, folder, script=True):
        self.port = driver_port
        arguments = ["--headless=new", f"--user-data-dir={folder}", "--window-size=1200,1600", "--disable-sync"]
        arguments += ["--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-gpu"]
        if os.geteuid() == 0:
            arguments.append("--no-sandbox")
        options = {"args": arguments, "binary": shutil.which("chromium")}
        if not script:
            options["prefs"] = {"profile.managed_default_content_settings.javascript": 2}
        wanted = {"browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
        made = self.call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        self.path = f"/session/{made['sessionId']}"

    def call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {"Content-Type": "application/json"})
            answer = json.load(connection.getresponse())
        value = answer["value"]
        if isinstance(value, dict) and "error" in value:
            raise AssertionError(f"{path}: {value['error']}: {value['message']}")
        return value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.call("DELETE", self.path)

    def cdp(self, command, **parameters):
        self.call("POST", f"{self.path}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def open(self, url):
        self.call("POST", f"{self.path}/url", {"url": url})

    def run(self, script, *arguments):
        return self.call("POST", f"{self.path}/execute/sync", {"script": script, "args": arguments})

    def text(self, selector):
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def source(self):
        return self.call("GET", f"{self.path}/source")

    def shot(self, file):
        size = self.run("return [document.documentElement.clientWidth, document.documentElement.scrollHeight]")
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": False}
        self.cdp("Emulation.setDeviceMetricsOverride", **metrics)
        file.write_bytes(base64.b64decode(self.call("GET", f"{self.path}/screenshot")))

    def complaints(self):
        """What the console has: errors of scripts and of the network, and violations of the content policy."""
        lines = self.call("POST", f"{self.path}/se/log", {"type": "browser"})
        return [line["message"] for line in lines]


def number(text):
    return int(re.match(r"\d+", text).group())


def told(browser):
    """What the chart of relayed bytes says to those who do not see it."""
    label = browser.run("return document.querySelector('#chart-relayed .chart').getAttribute('aria-label')")
    return label.replace("\N{NO-BREAK SPACE}", " ")


def check_live(browser, url, gateway, connect, shots):
    """The numbers of an open page follow what happens."""
    browser.open(url)
    browser.run("window.loadedOnce = true")
    eventually("readiness", lambda: browser.text("#state") == "Ready for new clients")
    before = number(browser.text("#figure-tunnels .value"))
    refused = number(browser.text("#figure-refused .about"))
    near = connect()
    near.sendall(b"x" * UP)
    wanted = DOWN
    while wanted > 0:
        wanted -= len(near.recv(1 << 16))
    gateway.refused()
    gateway.swap("live")
    eventually("one more tunnel", lambda: number(browser.text("#figure-tunnels .value")) == before + 1)
    eventually("one more refusal", lambda: number(browser.text("#figure-refused .about")) == refused + 1)
    eventually("bytes", lambda: "at most" in told(browser) and "down: now 0 B/s, at most 0 B/s" not in told(browser))
    eventually("the swap's mark", lambda: browser.run(
        "return [...document.querySelectorAll('#chart-times .mark text')].map(mark => mark.textContent)").count("S"))
    assert "no-payroll" in browser.text("#outcomes")
    assert "marked" in told(browser), told(browser)
    assert browser.run("return window.loadedOnce"), "the script replaces parts; the page is not loaded again"
    browser.shot(shots / "light.png")
    return near


def check_dark(browser, url, shots):
    light = browser.run("return getComputedStyle(document.body).backgroundColor")
    browser.cdp("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    browser.open(url + "?span=hour")
    dark = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert light != dark, dark
    assert browser.text("nav [aria-current]") == "1 hour"
    browser.shot(shots / "dark.png")


def check_silence(browser, url):
    """A page that gets no answer says so, and goes on when there is one."""
    browser.open(url)
    network = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    browser.cdp("Network.enable")
    browser.cdp("Network.emulateNetworkConditions", offline=True, **network)
    eventually("the notice", lambda: "does not answer" in browser.text("#notice"))
    browser.cdp("Network.emulateNetworkConditions", offline=False, **network)
    eventually("no notice", lambda: browser.run("return document.querySelector('#notice').hidden"))


def check_phone(browser, url, shots):
    for width in (320, 390):
        browser.cdp("Emulation.setDeviceMetricsOverride", width=width, height=780, deviceScaleFactor=1, mobile=True)
        browser.open(url)
        sizes = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
        assert sizes[0] <= sizes[1] == width, f"the page scrolls sideways: {sizes}"
    browser.shot(shots / "phone.png")


def check_contrast(browser):
    """WCAG 2: 4.5 to 1 for text, 3 to 1 for lines."""
    poor = browser.run(CONTRAST)
    assert not poor, poor


CONTRAST = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const light = text => {
  const [r, g, b] = parse(text).map(part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = node => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (parse(colour)[3] !== 0) return colour;
  }
};
const ratio = (one, other) => {
  const [low, high] = [light(one), light(other)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
};
const poor = [];
for (const node of document.querySelectorAll("h1, p, a, li, dt, dd, th, td, caption, figcaption, span, text, .line")) {
  const style = getComputedStyle(node), drawn = node instanceof SVGElement;
  const colour = node.matches(".line") ? style.stroke : drawn ? style.fill : style.color;
  const found = ratio(colour, ground(node));
  if (found < (node.matches(".line") ? 3 : 4.5)) poor.push([node.outerHTML.slice(0, 80), colour, found]);
}
return poor;
"""


def check_without_script(browser, url, connect, shots):
    browser.open(url)
    find = {"using": "css selector", "value": "#figure-tunnels .value"}

    def tunnels():
        # The page loads itself again, so what was found may be gone.
        with contextlib.suppress(AssertionError):
            found = browser.call("POST", f"{browser.path}/element", find)
            return number(browser.call("GET", f"{browser.path}/element/{next(iter(found.values()))}/text"))
        return None

    before = eventually("a number", lambda: (tunnels() is not None) and str(tunnels()))
    near = connect()
    near.sendall(b"x")
    eventually("one more tunnel", lambda: tunnels() == int(before) + 1)
    shots.joinpath("no-script.png").write_bytes(base64.b64decode(browser.call("GET", f"{browser.path}/screenshot")))


def check_all(folder, shots, stack):
    gateway, target = Gateway(folder, stack), Target()
    url = f"http://127.0.0.1:{gateway.http_port}/"
    driver = stack.enter_context(process(["chromedriver", "--port=0"], stdout=subprocess.PIPE, text=True))
    started = next(line for line in driver.stdout if "started successfully on port" in line)
    port = int(re.search(r"port (\d+)", started).group(1))
    threading.Thread(target=driver.stdout.read, daemon=True).start()
    connect = gateway.local(target.port)
    with Browser(port, folder / "profile") as browser:
        check_live(browser, url, gateway, connect, shots)
        check_contrast(browser)
        check_dark(browser, url, shots)
        check_contrast(browser)
        check_phone(browser, url, shots)
        for words in ("wilhelmine", SECRET_HOST, "127.0.0.1"):
            assert words not in browser.source(), words
        complaints = browser.complaints()
        assert not complaints, complaints
        check_silence(browser, url)
    with Browser(port, folder / "other-profile", script=False) as browser:
        check_without_script(browser, url, connect, shots)
        complaints = browser.complaints()
        assert not complaints, complaints


def main():
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        print(f"not checked: {' and '.join(missing)} missing (tests/install.sh installs them)")
        return 1 if os.environ.get("CI") else 0
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        shots = Path(sys.argv[1]) if len(sys.argv) > 1 else folder
        check_all(folder, shots, stack)
    print("the status page is as it should be: light, dark, on a phone, and without JavaScript")
    return 0


if __name__ == "__main__":
    alone(main, 600)
