"""Training: the loop, truncated back-propagation through time, checkpoints."""

from ..checks.guided import module_getattr

__getattr__ = module_getattr(__name__)
