"""Deployments: their record, states, events, and the sentences that tell them."""
