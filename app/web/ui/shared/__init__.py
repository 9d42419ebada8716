"""What several pages share: rendering, the timeline of a deployment, charts and QR codes."""
