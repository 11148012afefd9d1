"""Synthetic benchmark runs to test tables, charts and reports on."""

from bench.results import OURS, Row, Run

PEAKS = {
    "1": {"float32": 100.0, "float64": 50.0, "cache_bandwidth": 80.0, "memory_bandwidth": 20.0}
}


def row(name="lstm-forward-N1-T100-D32-H64", **changes):
    """Return a row: recurrent takes 1, 2, 3 ms, torch twice and onnxruntime three times as long."""
    fields = dict(
        name=name,
        group="forward",
        cell="lstm",
        task="forward",
        threads=1,
        dtype="float32",
        samples={
            OURS: [1e-3, 2e-3, 3e-3],
            "torch": [2e-3, 4e-3, 6e-3],
            "onnxruntime": [3e-3, 6e-3, 9e-3],
        },
        flops=1e8,
        bytes=1e6,
    )
    return Row(**fields | changes)


def run(*rows, **changes):
    """Return a run with these rows."""
    machine = {
        "processor": "A CPU",
        "cpus": 2,
        "vector": "AVX2",
        "system": "Linux x86_64",
        "memory_bytes": 8 << 30,
    }
    versions = {"python": "3.11.7", "recurrent": "0.1.0", "torch": "2.13.0"}
    fields = dict(
        date="2026-01-02T03:04:05Z",
        command="python -m bench",
        mode="full",
        machine=machine,
        versions=versions,
    )
    return Run(
        **fields
        | dict(missing={"openvino": "No module named 'openvino'"}, peaks=PEAKS, rows=rows)
        | changes
    )


def synthetic():
    """Return a run with a row of each kind: ahead, behind, error, no peer, bytes, 2 threads."""
    return run(
        row(),
        row("lstm-forward-N64-T50-D512-H512", samples={OURS: [0.1], "torch": [0.0996]}),
        row(
            "gru-train-N16-T100-D32-H64",
            cell="gru",
            task="train",
            group="train",
            error="torch: result 2 differs by 1.0e-01",
        ),
        row("lstm-forward-cold", group="first", samples={OURS: [4.5]}, flops=None, bytes=None),
        row(
            "lstm-memory-N64",
            group="memory",
            task="train",
            quantity="bytes",
            samples={OURS: [2.0**21], "torch": [2.0**22]},
        ),
        row("lstm-train-N7-T33-D13-H50", group="train", task="train", threads=2),
    )
