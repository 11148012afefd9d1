"""What is measured: frozen, named workloads."""
