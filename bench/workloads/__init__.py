"""The workloads that are measured: frozen, each with a name."""
