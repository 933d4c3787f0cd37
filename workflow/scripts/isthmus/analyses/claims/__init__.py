"""Published claims and the verdicts that the tables of a study give them."""
