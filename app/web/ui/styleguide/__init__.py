"""The style page, for developers."""
