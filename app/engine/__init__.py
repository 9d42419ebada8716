"""The engine: claims deployments, runs their steps, compensates, and records every checkpoint."""
