"""A real S3 server from a wheel: SeaweedFS, all of it in one process on loopback."""

import shutil
import sysconfig
import time
from pathlib import Path

from obstore.exceptions import BaseError
from obstore.store import S3Store

from gateway.local.probe import LOOPBACK, free_port, is_free
from gateway.local.processes import Child, ChildDiedError

BUCKET = "reelgate"
_START_WITHIN_S = 30.0
_START_TRIES = 3
# A service's gRPC port, which the server works out for itself.
_GRPC_OFFSET = 10_000
_SERVICES = ("master", "volume", "filer", "s3", "admin")


def find_program() -> str | None:
    """The server's program, as its wheel installs it; None without the wheel."""
    return shutil.which("weed", path=sysconfig.get_path("scripts"))


class SeaweedServer:
    """One server with one bucket; it dies with the process that started it.

    Attributes:
        environment: the `AWS_*` variables of its clients, complete once `start` has returned.
    """

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._keys = {"AWS_ACCESS_KEY_ID": "tests", "AWS_SECRET_ACCESS_KEY": "a-secret-of-tests"}
        self._child: Child | None = None
        self.environment: dict[str, str] = {}

    def start(self) -> None:
        """Start it and wait until the bucket is there; on other ports if somebody took ours."""
        for tries_left in reversed(range(_START_TRIES)):
            try:
                self._start(_free_ports())
            except ChildDiedError:
                if not tries_left:
                    raise
            else:
                return

    def stop(self) -> None:
        """Stop it; its files stay."""
        if self._child is not None:
            self._child.stop()

    def _start(self, ports: dict[str, int]) -> None:
        options = {
            "dir": str(self._folder),
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            **{f"{service}.port": str(port) for service, port in ports.items()},
            "s3.port.iceberg": "0",
            "s3.port.lance": "0",
            "s3.localSocket": str(self._folder / "s3.sock"),
            # As S3 has it: a bucket with a typing error in its name does not come into being.
            "s3.autoCreateBucket": "false",
            "bucket": BUCKET,
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
        }
        self._child = Child(
            "seaweedfs",
            [self._program, "mini", *(f"-{name}={value}" for name, value in options.items())],
            # It writes logs of its own to the folder for temporary files.
            env={**self._keys, "TMPDIR": str(self._folder)},
            log_path=self._folder / "seaweedfs.log",
        )
        self._child.start()
        self.environment = {
            **self._keys,
            "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{ports['s3']}",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
        self._wait(self._child)

    def _wait(self, child: Child) -> None:
        """Until a listing of the bucket is answered; the bucket is made last."""
        bucket = S3Store(
            BUCKET,
            config={
                "endpoint": self.environment["AWS_ENDPOINT_URL"],
                "access_key_id": self._keys["AWS_ACCESS_KEY_ID"],
                "secret_access_key": self._keys["AWS_SECRET_ACCESS_KEY"],
            },
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        deadline = time.monotonic() + _START_WITHIN_S
        while not _is_listed(bucket):
            child.check()
            assert time.monotonic() < deadline, child.log_tail()
            time.sleep(0.02)


def _is_listed(bucket: S3Store) -> bool:
    try:
        bucket.list_with_delimiter()
    except BaseError:
        return False
    return True


def _free_ports() -> dict[str, int]:
    ports: dict[str, int] = {}
    while len(ports) < len(_SERVICES):
        port = free_port()
        if port + _GRPC_OFFSET < 2**16 and is_free(port + _GRPC_OFFSET):
            ports[_SERVICES[len(ports)]] = port
    return ports
