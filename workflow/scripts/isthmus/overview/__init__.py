"""The page that answers: what the tables say, in words, with the claims first."""
