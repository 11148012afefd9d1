"""Real data that ship inside packages: accuracy and seconds beside baselines and PyTorch."""
