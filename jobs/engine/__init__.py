"""Where work is computed: processes of this machine, or Ray."""
