"""Importing the package imports no library of another program's models."""

import subprocess
import sys


def test_nothing_of_others_is_imported_before_use():
    code = (
        "import recurrent, sys\n"
        "from recurrent.cli import commands\n"
        "recurrent.from_torch(recurrent.to_torch(recurrent.Sequential(recurrent.Linear(2, 3))))\n"
        "print({'torch', 'keras', 'h5py', 'onnx', 'tensorflow'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
