"""What a run folder has to show: one HTML page without network, and its few numbers as JSON."""
