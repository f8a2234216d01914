"""The templates and scripts beside this module."""

from importlib.resources import files

from jinja2 import Environment, PackageLoader, Template

_ENVIRONMENT = Environment(
    loader=PackageLoader("counterpoise", "pages"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)
# Unlike Jinja's own `capitalize`, it leaves the other letters as they are.
_ENVIRONMENT.filters["capfirst"] = lambda text: text[:1].upper() + text[1:]


def template(name: str) -> Template:
    """A template; what is put into it is escaped."""
    return _ENVIRONMENT.get_template(name)


def text_of(name: str) -> str:
    """A style sheet or script, to be put into a page as it is."""
    return (files("counterpoise.pages") / name).read_text(encoding="utf-8")
