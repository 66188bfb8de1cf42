"""Labels of texts: votes of rules and of people, what they agree on, and the examples that come of it."""
