"""The statistics page (manual 4.2 `stats ...`): as a page for people, live, and as CSV and JSON for programs."""
