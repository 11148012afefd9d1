"""The memory of a text: at most 4 bytes a character, whatever its characters are."""

import subprocess
import sys
import tracemalloc

import pytest

from recurrent.cli.commands import main

TEXTS = {
    "ascii": "the cat sat on the mat.\n",
    "two bytes": "naïve “été” — the cat\r\n",
    "an emoji now and then": "the cat sat on the mat, and the dog lay on the log 🎉\n",
    "ideographs": "天地玄黄宇宙洪荒日月盈昃辰宿列张\n",
}
SMALL = [
    "--layers",
    "1",
    "--hidden",
    "8",
    "--embedding",
    "4",
    "--validation",
    "0",
    "--updates",
    "1",
]
MEASURED = """
import re, sys
from recurrent.cli.commands import main
code = main(sys.argv[1:])
peak = re.search(r"VmHWM:\\s*(\\d+) kB", open("/proc/self/status").read())[1]
print(1024 * int(peak) if code == 0 else -1)
"""


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("options", [[], ["--documents", "lines"]])
def test_training_takes_few_bytes_a_character(tmp_path, name, options):
    text = TEXTS[name] * (3_000_000 // len(TEXTS[name]))
    for path in ("large", "small"):
        (tmp_path / path).write_text(text if path == "large" else text[:20_000], encoding="utf-8")
    peaks = {}
    for path in ("small", "large"):
        tracemalloc.start()
        try:
            out = str(tmp_path / f"{path}.m")
            assert main(["train", str(tmp_path / path), *SMALL, *options, "--out", out]) == 0
            peaks[path] = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peaks["large"] - peaks["small"] < 4 * len(text)


@pytest.mark.slow
def test_a_text_of_40_megabytes(tmp_path):
    line = TEXTS["an emoji now and then"]
    peaks = {}
    for name, size in (("small", 10**5), ("large", 4 * 10**7)):
        (tmp_path / name).write_text(line * (size // len(line.encode())), encoding="utf-8")
        command = ["train", str(tmp_path / name), *SMALL, "--out", str(tmp_path / f"{name}.m")]
        done = subprocess.run(
            [sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True
        )
        peaks[name] = int(done.stdout.split()[-1])
    assert 0 < peaks["large"] - peaks["small"] < 4 * 4 * 10**7
