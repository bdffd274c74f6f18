"""Whether a MongoDB URL can be used at all, before anything connects."""

from typing import Final

_SRV: Final = "mongodb+srv://"
_PLAIN: Final = "mongodb://"

NOT_A_URL: Final = (
    "is not a MongoDB URL; write it like mongodb://127.0.0.1:27017/, a port from 1 to 65535, and %40 for an @ in a user "
    "name or password"
)
WRONG_OPTION: Final = "has an option behind the ? that the driver refuses: its name or value is wrong, or a file that it names is not there"


def checked_mongodb_url(url: str) -> str:
    """Return a MongoDB URL as it is written. Nothing is looked up: the names of a `mongodb+srv` URL may be wrong still.

    Raises:
        ValueError: the driver would refuse it. The driver's own words are not passed on: they may quote a password.
    """
    base, _, options = url.replace(_SRV, _PLAIN, 1).partition("?")
    if _refused(base):
        raise ValueError(NOT_A_URL)
    # Some options are for srv alone, and reading such a URL whole would ask the name server.
    if options and not url.startswith(_SRV) and _refused(url):
        raise ValueError(WRONG_OPTION)
    return url


def _refused(url: str) -> bool:
    from pymongo.errors import PyMongoError  # here, because ingest reads settings and needs no driver
    from pymongo.uri_parser import parse_uri

    try:
        parse_uri(url)
    except (PyMongoError, ValueError, OSError):
        return True
    return False
