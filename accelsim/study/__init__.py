"""Many runs: sweeps over lists of options."""
