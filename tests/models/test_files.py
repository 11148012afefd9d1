"""Files that are replaced as a whole: no save leaves a broken file, follows a link or is lost."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading

import pytest

from recurrent.models import files


def test_a_new_file_has_the_mode_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        files.replace(tmp_path / "m", b"1")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "m").stat().st_mode) == 0o640


def test_a_file_keeps_its_mode(tmp_path):
    path = tmp_path / "m"
    for mode in (0o600, 0o646):
        path.write_bytes(b"old")
        path.chmod(mode)
        files.replace(path, b"new")
        assert path.read_bytes() == b"new"
        assert stat.S_IMODE(path.stat().st_mode) == mode


def fifo(path):
    os.mkfifo(path)


def bound(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(path))


TARGETS = {
    "a folder": os.mkdir,
    "a FIFO": fifo,
    "a socket": bound,
    "a device": lambda path: path.symlink_to("/dev/null"),
}


@pytest.mark.parametrize("write", [files.check_writable, lambda p: files.replace(p, b"")])
@pytest.mark.parametrize("kind", TARGETS)
def test_what_is_no_file_is_refused_in_words(tmp_path, monkeypatch, kind, write):
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    TARGETS[kind]((tmp_path / "m").relative_to(tmp_path))
    with pytest.raises(OSError, match=f"^m is {kind}; expected the name of a file to write$"):
        write("m")
    assert os.listdir(tmp_path) == ["m"]


@pytest.mark.parametrize("write", [files.check_writable, lambda p: files.replace(p, b"")])
def test_a_folder_that_is_not_there_or_cannot_be_written_is_named(tmp_path, monkeypatch, write):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write m to"):
        write(tmp_path / "nowhere" / "m")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*file to write m to"):
        write(tmp_path / "file" / "m")
    with pytest.raises(OSError, match=r"/proc/m'$"):  # not the name of a temporary file
        write("/proc/m")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(PermissionError, match="file is read-only; make it writable or choose"):
        write(tmp_path / "file")


def test_a_check_changes_nothing(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new"):
        files.check_writable(tmp_path / name)
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_planted_names_are_not_followed(tmp_path, monkeypatch):
    """Even a link with the name of the temporary file is left alone, and so is its target."""
    victim, path, names = tmp_path / "victim", tmp_path / "m", iter(f"{k:016}" for k in range(9))
    victim.write_bytes(b"mine")
    (tmp_path / f".m.{'0' * 16}.tmp").symlink_to(victim)
    monkeypatch.setattr(files.secrets, "token_hex", lambda n: next(names))
    files.replace(path, b"data")
    assert (victim.read_bytes(), path.read_bytes()) == (b"mine", b"data")
    (tmp_path / ".m.lock").symlink_to(victim)
    with pytest.raises(OSError, match=r"m'$"), files.writer_lock(path):
        pass
    assert victim.read_bytes() == b"mine"


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("where", ["fsync", "replace", "fchmod"])
def test_a_failure_leaves_the_old_file_alone(tmp_path, monkeypatch, where, error):
    path = tmp_path / "m"
    files.replace(path, b"old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, where, fail)
    with pytest.raises(type(error)) as caught:
        files.replace(path, b"new")
    if isinstance(error, OSError):
        assert str(caught.value) == f"[Errno 28] No space left on device: '{path}'"
    assert os.listdir(tmp_path) == ["m"]
    assert path.read_bytes() == b"old"


def test_files_of_ended_processes_are_removed_and_no_others(tmp_path):
    """Of the files in the folder, only those go that `replace` made and nobody has locked."""
    kept = {".m.tmp", ".m.123.tmp", f".n.{'0' * 16}.tmp", f".m.{'g' * 16}.tmp", "m.lock"}
    for name in (*kept, f".m.{'0' * 16}.tmp", ".m.lock"):
        (tmp_path / name).write_bytes(b"left")
    held = tmp_path / f".m.{'1' * 16}.tmp"
    with open(held, "wb") as file:
        files.fcntl.flock(file, files.fcntl.LOCK_EX)
        files.replace(tmp_path / "m", b"data")
        assert set(os.listdir(tmp_path)) == kept | {held.name, "m"}
    files.replace(tmp_path / "m", b"data")
    assert set(os.listdir(tmp_path)) == kept | {"m"}


KILLED = """
import os, sys
from recurrent.models import files
os.fsync = lambda file: (print("writing", flush=True), sys.stdin.read())
with files.writer_lock(sys.argv[1]):
    files.replace(sys.argv[1], b"new" * 1000)
"""


def test_a_kill_inside_a_save_leaves_the_old_file_and_no_lock(tmp_path):
    path = tmp_path / "m"
    files.replace(path, b"old")
    command = [sys.executable, "-c", KILLED, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"writing\n"
        with pytest.raises(BlockingIOError, match=rf"m is being .* \(process {process.pid}\)"):
            files.writer_lock(path).__enter__()
        process.send_signal(signal.SIGKILL)
    assert path.read_bytes() == b"old"
    assert len(os.listdir(tmp_path)) == 3
    with files.writer_lock(path):
        files.replace(path, b"next")
    assert os.listdir(tmp_path) == ["m"]


def test_a_path_has_one_writer(tmp_path):
    path = tmp_path / "m"
    (tmp_path / "link").symlink_to(path)
    with files.writer_lock(path):
        files.replace(path, b"1")  # the lock survives that the file is replaced
        for name in ("m", "link"):
            with pytest.raises(BlockingIOError, match="wait until it ends, or choose another"):
                files.writer_lock(tmp_path / name).__enter__()
        with files.writer_lock(tmp_path / "other"):
            pass
    with files.writer_lock(path):
        pass
    assert sorted(os.listdir(tmp_path)) == ["link", "m"]


FORK_UNDER_THE_LOCK = """
import os, signal, time
from recurrent.models import files
reader, writer = os.pipe()
with files.writer_lock("m"):
    child = os.fork()
    if not child:
        os.write(writer, b"started")
        time.sleep(60)
        os._exit(0)
    os.read(reader, 1)
try:
    with files.writer_lock("m"):
        pass
finally:
    os.kill(child, signal.SIGKILL)
"""


def test_a_forked_child_does_not_keep_the_lock(tmp_path):
    """This runs in its own process, because other threads of this one may not allow a fork."""
    subprocess.run(
        [sys.executable, "-c", FORK_UNDER_THE_LOCK], cwd=tmp_path, check=True, timeout=60
    )


def test_readers_see_whole_files_while_threads_write(tmp_path):
    """Four threads replace one file while a reader reads it; all that it sees is one of theirs."""
    path, stop, seen, wrong = tmp_path / "m", threading.Event(), set(), []
    files.replace(path, bytes(20000))

    def read():
        while not stop.is_set():
            data = path.read_bytes()
            seen.add(data[:1])
            if data != data[:1] * 20000:
                wrong.append(len(data))

    def write(k):
        for _ in range(25):
            files.replace(path, bytes([k]) * 20000)

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for thread in writers:
        thread.start()
    for thread in writers:
        thread.join()
    stop.set()
    reader.join()
    assert not wrong
    assert seen
    assert os.listdir(tmp_path) == ["m"]
