"""Files of events: read back bit by bit, found out when cut, altered or reordered, never half-written."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pyarrow as pa  # type: ignore[import-untyped] # pyarrow ships no types
import pyarrow.parquet as pq  # type: ignore[import-untyped] # pyarrow ships no types
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from partitioned import chained, row

from adapters.event_files.files import EventFile, open_events
from adapters.event_files.summary import Summary, verified
from adapters.postgres.rows import Row, StoredEvent
from domain.errors import InvalidInput, SetupError
from domain.events import event_id

FORMATS = ("parquet", "ndjson")
ROWS = chained([row(n, f"pool-{n % 3}", (n + 2) // 3, b'{"n": %d}' % n) for n in range(1, 201)])


def write(path: Path, linked: list[tuple[StoredEvent, bytes]], *, overwrite: bool = False) -> Summary:
    with EventFile(path, overwrite=overwrite) as file:
        for one, before in linked:
            file.add(one, before)
        return file.finish()


def read(path: Path) -> list[StoredEvent]:
    with open_events(path) as reader:
        return [one for batch in verified(reader) for one in batch]


numbers = st.integers(0, 2**63 - 1)
names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=30)


@st.composite
def rows(draw: st.DrawFn, position: int) -> Row:
    stream, version = draw(names), draw(numbers)
    return (
        position, stream, version, draw(names), draw(st.integers(0, 2**31 - 1)), draw(numbers),
        event_id(stream, version), draw(st.none() | st.uuids()), draw(st.uuids()), draw(names),
        draw(st.none() | numbers), draw(st.binary(max_size=80)),
    )  # fmt: skip


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[StoredEvent, bytes]]:
    """A piece of a log, and from it a selection."""
    first, count = draw(st.integers(1, 10**12)), draw(st.integers(0, 12))
    linked = chained([draw(rows(first + n)) for n in range(count)], draw(st.binary(min_size=32, max_size=32)))
    return [one for one in linked if draw(st.booleans())]


@settings(max_examples=60, deadline=None)
@given(linked=logs(), kind=st.sampled_from(FORMATS))
def test_what_was_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, linked: list[tuple[StoredEvent, bytes]], kind: str
) -> None:
    """Any names, numbers and bytes; whole pieces and selections; the claims are true."""
    path = tmp_path_factory.mktemp("files") / f"events.{kind}"
    summary = write(path, linked)
    assert read(path) == [one for one, _ in linked]
    with open_events(path) as reader:
        assert reader.summary == summary
    assert all(isinstance(one.event_id, UUID) for one in read(path))
    positions = [one.position for one, _ in linked]
    whole = bool(positions) and positions == list(range(positions[0], positions[-1] + 1))
    assert summary.contiguous == whole


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_was_cut_is_found_out(tmp_path: Path, kind: str) -> None:
    """Wherever it was cut, before a row is believed or at the end."""
    path = tmp_path / f"events.{kind}"
    write(path, ROWS)
    content = path.read_bytes()
    for size in [0, 1, 20, *range(100, len(content), len(content) // 23), len(content) - 1]:
        path.write_bytes(content[:size])
        with pytest.raises(InvalidInput):
            read(path)


@pytest.mark.parametrize("kind", FORMATS)
def test_no_byte_can_be_altered(tmp_path: Path, kind: str) -> None:
    """An alteration is found, or changed nothing that is read."""
    path = tmp_path / f"events.{kind}"
    write(path, ROWS[:40])
    content, good = path.read_bytes(), [one for one, _ in ROWS[:40]]
    found = 0
    for place in range(0, len(content), max(1, len(content) // 150)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        try:
            assert read(path) == good
        except InvalidInput:
            found += 1
    assert found > 75


def swap(lines: list[bytes]) -> None:
    lines[7], lines[8] = lines[8], lines[7]


def drop(lines: list[bytes]) -> None:
    del lines[7]


def repeat(lines: list[bytes]) -> None:
    lines.insert(7, lines[7])


def reformat(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b'{"n": 7}', b'{"n":7}')


def extend(lines: list[bytes]) -> None:
    lines[7] = lines[7].replace(b'"position"', b'"more":1,"position"')


def shorten(lines: list[bytes]) -> None:
    del lines[-2]


def renumber(field: bytes, number: int) -> Callable[[list[bytes]], None]:
    """A number that no column holds."""

    def damage(lines: list[bytes]) -> None:
        lines[7] = re.sub(b'"%b":[0-9]+' % field, b'"%b":%d' % (field, number), lines[7])

    return damage


def overstate(lines: list[bytes]) -> None:
    lines[-1] = lines[-1].replace(b'"last_position":200,"rows":200', b'"last_position":%d,"rows":1' % 2**80)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (swap, "line 8: position 8 stands where position 7 should"),
        (drop, "line 8: position 8 stands where position 7 should"),
        (repeat, "line 9: position 7 stands where position 8 should"),
        (reformat, "line 8: the event of position 7 is not as it was written"),
        (extend, "line 8: it is no event: Object contains unknown field"),
        (shorten, "holds 199 events up to position 199, and says that they are 200 up to position 200"),
        (renumber(b"recorded_at", 2**70), "line 8: the event of position 7 is not as it was written"),
        (renumber(b"version", -1), "line 8: the event of position 7 is not as it was written"),
        (renumber(b"schema_version", 2**33), "line 8: the event of position 7 is not as it was written"),
        (overstate, "does not say which events it holds"),
    ],
)
def test_altered_lines_are_found_at_their_place(
    tmp_path: Path, damage: Callable[[list[bytes]], None], says: str
) -> None:
    """NDJSON invites editing; the file and its first bad line are named, and nothing is said of the log."""
    path = tmp_path / "events.ndjson"
    write(path, ROWS)
    lines = path.read_bytes().splitlines(keepends=True)
    damage(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(InvalidInput, match=says) as caught:
        read(path)
    assert str(caught.value).startswith(str(path))
    assert "the log" not in str(caught.value)


def parquet(path: Path, **columns: list[object]) -> None:
    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize(
    ("name", "make", "says"),
    [
        ("missing.parquet", lambda _path: None, "is not there"),
        ("folder.parquet", lambda path: path.mkdir(), "is not there"),
        ("events.csv", lambda path: path.write_text("a,b"), "neither .parquet nor .ndjson"),
        ("noise.parquet", lambda path: path.write_bytes(b"PAR1" + bytes(500)), "cannot be read as Parquet"),
        ("empty.parquet", lambda path: path.write_bytes(b""), "cannot be read as Parquet"),
        ("other.parquet", lambda path: parquet(path, position=[1, 2]), "does not have the columns"),
        ("noise.ndjson", lambda path: path.write_bytes(b"\x00\xff" * 99), "its first line does not say so"),
        ("empty.ndjson", lambda path: path.write_bytes(b""), "its first line does not say so"),
        ("other.ndjson", lambda path: path.write_text('{"a":1}\n{"b":2}\n'), "its first line does not"),
        ("head.ndjson", lambda path: path.write_text('{"format":"daybook-events-1"}\n'), "is cut off"),
    ],
)  # fmt: skip
def test_other_files_are_refused(
    tmp_path: Path, name: str, make: Callable[[Path], object], says: str
) -> None:
    """Each with what is wrong with it."""
    make(tmp_path / name)
    with pytest.raises(InvalidInput, match=says):
        read(tmp_path / name)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_is_not_replaced_unasked(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"events.{kind}"
    write(path, ROWS)
    with pytest.raises(InvalidInput, match="--force"):
        write(path, ROWS[:5])
    assert len(read(path)) == 200
    write(path, ROWS[:5], overwrite=True)
    assert len(read(path)) == 5


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_that_is_not_finished_never_appears(tmp_path: Path, kind: str) -> None:
    """Whatever broke, the folder is as it was; the file that was to be replaced is still there."""
    path = tmp_path / f"events.{kind}"
    write(path, ROWS)

    def broken() -> None:
        with EventFile(path, overwrite=True) as file:
            file.add(*ROWS[0])
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        broken()
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    assert len(read(path)) == 200


def test_a_folder_that_is_not_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"No such file or directory; .*Make that folder"):
        write(tmp_path / "nowhere" / "events.ndjson", ROWS)
    with pytest.raises(InvalidInput, match="ends in neither"):
        write(tmp_path / "events.txt", ROWS)


FILLER = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from partitioned import chained, row
from random import Random
from adapters.event_files.files import EventFile
from domain.errors import SetupError
random = Random(1)
try:
    with EventFile(Path(sys.argv[1])) as file:
        for one, before in chained([row(n, "pool-1", n, random.randbytes(1_000)) for n in range(1, 20_000)]):
            file.add(one, before)
        file.finish()
except SetupError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", FORMATS)
def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, kind: str) -> None:
    """A process that may write no file over a megabyte: one sentence, an empty folder."""
    done = subprocess.run(
        [sys.executable, "-c", FILLER, str(tmp_path / f"events.{kind}")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)),
    )
    assert f"events.{kind} failed: File too large; nothing was left behind. Make room" in done.stdout
    assert list(tmp_path.iterdir()) == []
