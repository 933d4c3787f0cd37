"""Tickets, their controls and dense networks trained further on a second data set."""
