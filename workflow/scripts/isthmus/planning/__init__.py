"""What a study will cost, from counted work and measured speeds."""
