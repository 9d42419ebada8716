"""What Dokploy and an address show: progress, answers, drift from the record, and leftovers."""
