"""Load configurations out of memory."""

from gateway.config.files import FileContent
from gateway.config.parse import load_agent, load_gateway
from gateway.errors import ConfigError

SECRET = "0f1e2d3c4b5a69788796a5b4"


def reader_of(**files):
    """Return a reader of files in memory: name -> text, bytes or `FileContent`."""

    def read(name):
        found = files.get(name)
        if found is None:
            raise FileNotFoundError(2, "No such file or directory")
        if isinstance(found, str):
            found = found.encode()
        return found if isinstance(found, FileContent) else FileContent(found, 0o600)

    return read


def load(text="", *, environ=None, options=None, name="gw.yaml", reader=None, **files):
    """Load a gateway's configuration from a text and files in memory."""
    return load_gateway(
        name,
        environ=environ or {},
        options=options or {},
        reader=reader or reader_of(**{name: text}, **files),
    )


def load_as_agent(text="", *, environ=None, options=None, name="agent.yaml", **files):
    """Load an agent's configuration from a text and files in memory."""
    return load_agent(
        name,
        environ=environ or {},
        options=options or {},
        reader=reader_of(**{name: text}, **files),
    )


def problems_of(*args, loader=load, **kwargs):
    """Return the problems that loading reports; none if it succeeds."""
    try:
        loader(*args, **kwargs)
    except ConfigError as fault:
        return fault.problems
    return []
