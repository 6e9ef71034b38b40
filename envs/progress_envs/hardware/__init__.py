"""Hardware that is not there: a servo bus on a terminal, servos that move the simulated arm, cameras that see it."""
