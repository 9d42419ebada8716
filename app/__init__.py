"""AI Stack Deployer: a portal that deploys one person's stack on a Dokploy server and undoes itself on failure."""

__version__ = "0.1.0"
