"""Text files from the package's templates."""

import jinja2


def render(template: str, **values: object) -> str:
    """Fill in a template of this package.

    Args:
        template: file name without the ending `.j2`.
        **values: what it names; a missing one is an error.

    Returns:
        The text.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mosei_ssl.serving"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template(f"{template}.j2").render(**values)
