"""Reading text from files and folders."""

import pytest

from recurrent.cli.source import read_text


def test_files_and_folders(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "a.txt").write_text("eins ", encoding="utf-8")
    (tmp_path / "b" / "c.txt").write_text("zwei", encoding="utf-8")
    (tmp_path / ".hidden").write_text("never")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\xff\xff")
    (tmp_path / "zero").write_bytes(b"a\0b")
    text, notes = read_text(str(tmp_path))
    assert "".join(text) == "eins zwei"
    assert notes == [f"skipped, not a text file: {tmp_path}/picture.png and 1 more"]
    assert list(read_text(str(tmp_path / "zero"), raw=True).pieces) == [b"a\0b"]
    with pytest.raises(
        ValueError, match=r"picture.png: not UTF-8 text \(byte 0x89 at position 0\)"
    ):
        list(read_text(str(tmp_path / "picture.png")).pieces)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no text files"):
        read_text(str(tmp_path / "empty"))
