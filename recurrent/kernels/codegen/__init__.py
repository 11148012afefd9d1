"""Code generation: the only place that writes LLVM."""
