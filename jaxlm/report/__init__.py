"""Pages without network: what a run folder has to show (page.py), and the datasheet of a corpus (datasheet.py)."""
