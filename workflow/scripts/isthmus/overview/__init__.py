"""The overview page: what the tables say, in words, with the claims first."""
