"""Files that are replaced as a whole, and the lock of the one process that writes a path.

Data goes to a temporary file in the same folder, which is then renamed: whenever a process or the
machine stops, the path names either the old file or the new one. Names of temporary files are
random, and each is opened exclusively, so that no link that somebody has put there is followed. A
process holds a lock on its temporary file: a file without one was left by a process that has ended,
and the next save of the same path removes it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import checks

_held: set[int] = set()  # file descriptors of the writer locks of this process


def replace(path: str | os.PathLike, data: bytes) -> None:
    """Write a file as a whole, in place of an earlier one, whose mode it keeps.

    Parameters
    ----------
    path : str or os.PathLike
        The file. A symbolic link stays one: the file that it points to is replaced.
    data : bytes
        All of the file's contents.

    Raises
    ------
    OSError
        If the folder does not exist, or the file cannot be written or must not be replaced because
        it is a folder, a device or the like. An earlier file stays as it was.
    """
    target, before = _target(path)
    _remove_abandoned(target)
    with _naming(path):
        _write(target, before, data)


def check_writable(path: str | os.PathLike) -> None:
    """Raise the error that `replace` would raise for a path, without changing a file there.

    Parameters
    ----------
    path : str or os.PathLike
        The file that is to be written.

    Raises
    ------
    OSError
        If the folder does not exist or is not writable, or if the path names a folder, a device or
        a file that is read-only.
    """
    target, before = _target(path)
    with _naming(path):
        _write(target, before, None)


def check_readable(path: str | os.PathLike) -> int:
    """Raise an error unless a path names a file whose contents can be read; return its size.

    A FIFO or a device is none: a reader would wait for ever, or never reach an end.

    Parameters
    ----------
    path : str or os.PathLike
        The file that is to be read.

    Returns
    -------
    int
        Size in bytes.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    """
    path = checks.path(path)  # a number would be a file descriptor
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(error.errno, error.strerror, os.fspath(path)) from None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{os.fspath(path)} is a folder; expected the name of a file")
    if not stat.S_ISREG(status.st_mode):
        kind = _kind(status.st_mode)
        raise OSError(f"{os.fspath(path)} is {kind}; expected the name of a file")
    with open(path, "rb"):  # its error says why it cannot be read
        return status.st_size


@contextmanager
def writer_lock(path: str | os.PathLike) -> Iterator[None]:
    """Hold the writer lock of a path: one training at a time writes a checkpoint.

    The lock is a file beside the path, locked by the kernel: it ends with the process, however that
    ends. `replace` works with and without it.

    Parameters
    ----------
    path : str or os.PathLike
        The file that is to be written, which need not exist.

    Raises
    ------
    OSError
        If another process, or another thread of this one, holds the lock, or if `path` cannot be
        written.
    """
    check_writable(path)
    target = _target(path)[0]
    lock = target.with_name(_lock_name(target))
    with _naming(path):
        file = _locked(lock, path)
    _held.add(file)
    try:
        yield
    finally:
        if file in _held:  # not in a forked child
            _held.remove(file)
            with suppress(OSError):
                lock.unlink()
            os.close(file)


def _forget_locks() -> None:
    """Close the locks of the parent in a forked child, so that they end with the parent."""
    for file in _held:
        os.close(file)
    _held.clear()


os.register_at_fork(after_in_child=_forget_locks)


def _target(path) -> tuple[Path, os.stat_result | None]:
    """Return the file that a path names, links followed, and its status; None if there is none.

    Raises OSError for anything that must not be replaced.
    """
    target = Path(os.path.realpath(checks.path(path)))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {target.parent} to write {target.name} to")
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return target, None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(f"{path} is a folder; expected the name of a file to write")
    if not stat.S_ISREG(status.st_mode):
        raise OSError(f"{path} is {_kind(status.st_mode)}; expected the name of a file to write")
    if not os.access(target, os.W_OK):
        raise PermissionError(f"{path} is read-only; make it writable or choose another file")
    return target, status


def _kind(mode: int) -> str:
    """Name the kind of what a path names."""
    kinds = {"a FIFO": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    return next((name for name, is_kind in kinds.items() if is_kind(mode)), "a device")


@contextmanager
def _naming(path):
    """Let errors of the system name `path`, not a temporary file."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from error


def _write(target: Path, before: os.stat_result | None, data: bytes | None) -> None:
    """Write a temporary file and rename it to `target`; without data, write and rename nothing."""
    mode = 0o666 if before is None else before.st_mode & 0o777
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
        try:
            with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
                _flock(file.fileno(), fcntl.LOCK_EX)
                if not _names(temporary, file.fileno()):
                    continue  # a save in another thread removed the file before it had its lock
                if data is None:
                    temporary.unlink()
                    return
                if before is not None:
                    os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, target)
                return
        except FileExistsError:
            continue  # another's file
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise


def _remove_abandoned(target: Path) -> None:
    """Remove the temporary files and the lock that processes which have ended left of a path."""
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{16}}\.tmp")
    with suppress(OSError), os.scandir(target.parent) as entries:
        names = [e.name for e in entries if ours.fullmatch(e.name)]
    for name in (*names, _lock_name(target)):
        with suppress(OSError):
            path = target.with_name(name)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            file = os.open(path, flags)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if stat.S_ISREG(os.fstat(file).st_mode) and _names(path, file):
                    path.unlink()
            finally:
                os.close(file)


def _locked(lock: Path, path) -> int:
    """Return the descriptor of the lock file, locked; raise OSError if another has the lock."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    owner = ""
    for _ in range(20):  # a save in another process holds an abandoned lock while it removes it
        file = os.open(lock, flags, 0o666)
        try:
            _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _names(lock, file):
                with suppress(OSError):  # the number is for the message alone
                    os.ftruncate(file, 0)
                    os.write(file, b"%d" % os.getpid())
                return file
        except BlockingIOError:
            owner = os.read(file, 20).decode("ascii", "replace")
        except BaseException:
            os.close(file)
            raise
        os.close(file)
        time.sleep(0.01)
    who = f"process {owner}" if owner.isdigit() else "another process"
    raise BlockingIOError(
        f"{path} is being written by another training ({who}); wait until it ends, or choose "
        "another file"
    )


def _lock_name(target: Path) -> str:
    """Return the name of the file that is the lock of a path."""
    return f".{target.name}.lock"


def _flock(file: int, how: int) -> None:
    """Lock a file, if its file system has locks."""
    try:
        fcntl.flock(file, how)
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
            raise


def _names(path: Path, file: int) -> bool:
    """Return whether a path still names this open file."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(file))
    except FileNotFoundError:
        return False
