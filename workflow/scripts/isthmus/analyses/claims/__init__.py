"""Published claims, and verdicts on them from the tables of a study."""
