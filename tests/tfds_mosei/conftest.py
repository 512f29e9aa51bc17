"""Builds of small corpora take most of their time to draw the report's page: few tests need it."""

import pytest

from tfds_mosei import report_page

_render_page = report_page.render_page


@pytest.fixture(scope="package", autouse=True)
def without_pages():
    """Reports without their plots."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report_page, "render_page", lambda *_: "<html></html>")
        yield


@pytest.fixture(scope="session")
def draw_page():
    """Makes the page of a dataset that was built."""
    return lambda built: _render_page(built.builder_config.name, dict(built.info.metadata))
