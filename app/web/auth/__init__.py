"""Who asks over HTTP, how they show it, and which routes are theirs."""
