"""Chromium for the tests of the page; skips with a reason where there is none."""

import contextlib
import os

import pytest

CHROMIUM, CHROMEDRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
ENTER, ESCAPE, PAGE_UP = "\ue007", "\ue00c", "\ue00e"
_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@contextlib.contextmanager
def chromium(folder):
    """A browser with its profile and its downloads in a folder."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    for path in (CHROMIUM, CHROMEDRIVER):
        if not os.path.exists(path):
            pytest.skip(f"{path} is missing")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*_FLAGS.split(), f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(folder)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(CHROMEDRIVER))
    try:
        resize(driver, 1280)
        yield driver
    finally:
        driver.quit()


def resize(driver, width):
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def wait(driver, condition):
    support = pytest.importorskip("selenium.webdriver.support.ui")
    support.WebDriverWait(driver, 30).until(lambda _: condition())


def load(driver, address):
    """Opens a page and waits until its scripts are through: on a busy machine the browser says "loaded" before."""
    driver.get("about:blank")
    driver.get(address)
    wait(driver, lambda: driver.execute_script("return 'ready' in document.documentElement.dataset"))


def downloaded(driver, path):
    """The text of a file once the browser has it."""
    wait(driver, path.exists)
    return path.read_text("utf-8")


def problems(driver):
    """What the console says since it was last asked: errors, refusals of the content security policy."""
    return [entry["message"] for entry in driver.get_log("browser")]
