"""Small disks of one's own: an ext4 in a file, mounted through a loop device. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TOOL_S = 60.0


@dataclass(frozen=True)
class Disk:
    """A mounted disk.

    Attributes:
        image: the file that holds it: what reached the block device.
        place: where it is mounted.
    """

    image: Path
    place: Path

    @property
    def ballast(self) -> Path:
        """A file that fills the disk."""
        return self.place / "ballast"

    def fill(self, leave_mb: int) -> None:
        """Take all space but so many MB."""
        free = shutil.disk_usage(self.place).free - leave_mb * 1024**2
        with self.ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(free, 1))

    def free(self) -> None:
        """Give the space back."""
        self.ballast.unlink()

    def cut(self, copy: Path) -> None:
        """Copy what has reached the device, as if the power went now."""
        _run("cp", "--sparse=always", str(self.image), str(copy))

    def mount(self) -> None:
        """Mount the image."""
        _run("mount", "-o", "loop", str(self.image), str(self.place))

    def unmount(self) -> None:
        """Unmount it; whoever still has a file open there keeps it open."""
        _run("umount", "-l", str(self.place))


def missing() -> str | None:
    """Why no disk can be made here, or nothing."""
    if os.geteuid() != 0:
        return "needs root to mount a disk of its own"
    if not Path("/dev/loop-control").exists():
        return "needs loop devices (/dev/loop-control)"
    return None if shutil.which("mkfs.ext4") else "needs mkfs.ext4"


@contextlib.contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[Disk]:
    """A new disk of that size, gone at the end."""
    made = Disk(folder / "disk.img", folder / "disk")
    made.place.mkdir(parents=True)
    with made.image.open("wb") as image:
        image.truncate(megabytes * 1024**2)
    _run("mkfs.ext4", "-q", "-F", "-m", "0", str(made.image))
    made.mount()
    made.place.chmod(0o755)
    try:
        yield made
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):  # it may be unmounted already
            made.unmount()
        made.image.unlink()


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=TOOL_S)
