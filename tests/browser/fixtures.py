"""A browser and its windows, for every folder of tests that looks through one."""

import pytest
from page_view import PageView, launch_chromium
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = launch_chromium(playwright.chromium)
        yield browser
        browser.close()


@pytest.fixture
def watch(browser):
    """Opens pages, each with a profile of its own, and closes them after the test."""
    opened = []

    def open_page(url: str, **options) -> PageView:
        opened.append(PageView(browser, url, **options))
        return opened[-1]

    yield open_page
    for view in opened:
        view.close()
