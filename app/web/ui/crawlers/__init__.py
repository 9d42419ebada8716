"""Rules for crawlers."""
