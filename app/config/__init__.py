"""Settings of the portal: read from the environment and from files, and validated at the start."""
